/** Checked by tsc, never run: what callers of `once` and `withLock` get, by its type. */
import type { Context } from "aws-lambda";
import { type Jsonified, type LockClient, withLock } from "../../src/index.ts";
import { type Equal, expectTrue } from "./expect.ts";

// What JSON carries as it is, is the same type.

interface Line {
  readonly name: string;
  readonly price?: number;
}
interface Tree {
  readonly value: number;
  readonly children: Tree[];
}
type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
type Shape = { kind: "circle"; radius: number } | { kind: "square"; side: number };

expectTrue<Equal<Jsonified<string>, string>>();
expectTrue<Equal<Jsonified<"a" | 1 | true | null | undefined>, "a" | 1 | true | null | undefined>>();
expectTrue<Equal<Jsonified<void>, void>>();
expectTrue<Equal<Jsonified<undefined>, undefined>>();
// biome-ignore lint/suspicious/noExplicitAny: it stays
expectTrue<Equal<Jsonified<any>, any>>();
expectTrue<Equal<Jsonified<unknown>, unknown>>();
expectTrue<Equal<Jsonified<never>, never>>();
expectTrue<Equal<Jsonified<Line>, Line>>();
expectTrue<Equal<Jsonified<Line | undefined>, Line | undefined>>();
expectTrue<Equal<Jsonified<readonly Line[]>, readonly Line[]>>();
expectTrue<Equal<Jsonified<[string, Line]>, [string, Line]>>();
expectTrue<Equal<Jsonified<Tree>, Tree>>();
expectTrue<Equal<Jsonified<Json>, Json>>();
expectTrue<Equal<Jsonified<Shape>, Shape>>();
expectTrue<Equal<Jsonified<Record<string, Line>>, Record<string, Line>>>();
expectTrue<Equal<Jsonified<{ body: unknown; tags: string[] }>, { body: unknown; tags: string[] }>>();
expectTrue<Equal<Jsonified<{ statusCode: number; headers?: Record<string, string> }>["statusCode"], number>>();
/** Fits where the type itself is wanted, also where an optional member names `undefined`. */
export const loose = (value: Jsonified<{ a?: string | undefined }>): { a?: string | undefined } => value;

// What JSON changes.

expectTrue<Equal<Jsonified<Date>, string>>();
expectTrue<Equal<Jsonified<{ at: Date; by: { on?: Date } }>, { at: string; by: { on?: string } }>>();
expectTrue<Equal<Jsonified<Date[]>, string[]>>();
expectTrue<Equal<Jsonified<[Date, number]>, [string, number]>>();
expectTrue<Equal<Jsonified<Date | null>, string | null>>();
expectTrue<Equal<Jsonified<URL>, string>>();
expectTrue<Equal<Jsonified<bigint>, never>>();
expectTrue<Equal<Jsonified<{ id: bigint; name: string }>, { id: never; name: string }>>();
expectTrue<Equal<Jsonified<() => number>, undefined>>();
expectTrue<Equal<Jsonified<symbol>, undefined>>();
expectTrue<Equal<Jsonified<Map<string, number>>, Record<string, never>>>();
expectTrue<Equal<Jsonified<{ seen: Set<string> }>, { seen: Record<string, never> }>>();
expectTrue<Equal<Jsonified<{ a: string | undefined }>, { a?: string }>>();
expectTrue<Equal<Jsonified<{ a: number; go(): void; [Symbol.iterator]: string }>, { a: number }>>();
expectTrue<Equal<Jsonified<(string | undefined)[]>, (string | null)[]>>();
expectTrue<Equal<Jsonified<{ toJSON(): { at: Date } }>, { at: string }>>();
expectTrue<Equal<Jsonified<Buffer>, { type: "Buffer"; data: number[] }>>();
interface Linked {
  at: Date;
  next?: Linked;
}
expectTrue<Equal<NonNullable<NonNullable<Jsonified<Linked>["next"]>["next"]>["at"], string>>();
type Dates = Date | Dates[];
type Texts = string | Texts[];
export const texts = (value: Jsonified<Dates>): Texts => value;
class Money {
  readonly cents: number;
  constructor(cents: number) {
    this.cents = cents;
  }
  toString() {
    return `${this.cents}`;
  }
}
expectTrue<Equal<Jsonified<Money>, { readonly cents: number }>>();

// Where a response is stored, its callers get JSON; where it isn't, what was returned.

declare const locks: LockClient;
const report = async () => ({ at: new Date(), lines: 3 });
type Report = Awaited<ReturnType<typeof report>>;
type StoredReport = { at: string; lines: number };
expectTrue<Equal<Awaited<ReturnType<typeof locks.once<number>>>, number>>();
const stored = locks.once("k", report);
expectTrue<Equal<typeof stored, Promise<StoredReport>>>();
const inOptions = locks.once("k", report, { rememberMs: 1 });
expectTrue<Equal<Awaited<typeof inOptions>["at"], string>>();
const notStored = locks.once("k", report, { storeResult: false });
expectTrue<Equal<typeof notStored, Promise<Report>>>();
const ran = locks.run("k", report);
expectTrue<Equal<typeof ran, Promise<Report>>>();

const key = () => "k";
const locked = withLock(report, { key });
expectTrue<Equal<Awaited<ReturnType<typeof locked>>["at"], string>>();
const released = withLock(report, { key, onSuccess: "release" });
expectTrue<Equal<ReturnType<typeof released>, Promise<Report>>>();
const forgotten = withLock(report, { key, storeResponse: false });
expectTrue<Equal<ReturnType<typeof forgotten>, Promise<Report>>>();
const perhaps = withLock(async (_event: unknown, context) => ({ at: new Date(), lock: context.lock?.key }), {
  key,
  onMissingKey: "run",
});
expectTrue<Equal<Awaited<ReturnType<typeof perhaps>>["at"], string>>();
const perhapsReleased = withLock(async (_event: unknown, context) => ({ at: new Date(), lock: context.lock?.key }), {
  key,
  onMissingKey: "run",
  onSuccess: "release",
});
expectTrue<Equal<Awaited<ReturnType<typeof perhapsReleased>>["at"], Date>>();
export const handler: (event: unknown, context: Context) => Promise<StoredReport> = locked;
