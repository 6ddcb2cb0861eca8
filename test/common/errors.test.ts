/** Errors are recognised whichever copy of the package made them: a bundle, a layer, or an entry point of its own. */
import { describe, expect, it, vi } from "vitest";
import * as ours from "../../src/index.ts";

vi.resetModules();
const other: typeof ours = await import("../../src/index.ts");

const record: ours.LockRecord = {
  key: "report#1",
  status: "IN_PROGRESS",
  owner: "me",
  token: "secret",
  fencingToken: 1,
  leaseMs: 1,
  expiresAt: Date.UTC(2026, 10, 21),
  acquiredAt: 1,
  updatedAt: 1,
};
const made = ({ ...errors }: typeof ours): Record<string, ours.LockError> => ({
  LockError: new errors.LockError("LOCK_REQUEST", "no"),
  LockHeldError: new errors.LockHeldError(record),
  PayloadMismatchError: new errors.PayloadMismatchError(record),
  LockTimeoutError: new errors.LockTimeoutError("no", record),
  LockLostError: new errors.LockLostError("report#1", "expired"),
  LockKeyError: new errors.LockKeyError("no"),
  LockOptionsError: new errors.LockOptionsError("no"),
  LockTableError: new errors.LockTableError("no"),
  ReplayedError: new errors.ReplayedError({ name: "TypeError", message: "no" }),
  LockBatchError: new errors.LockBatchError("no"),
});
const names = Object.keys(made(ours));
/** The classes of one copy that recognise an error. */
const classesOf = (error: unknown, asker: typeof ours): string[] =>
  names.filter((name) => (error as Error) instanceof (Reflect.get(asker, name) as new () => Error));

it("the two copies are two", () => {
  expect(other.LockError).not.toBe(ours.LockError);
});

describe.each([
  ["this copy", ours, ours],
  ["another copy", other, ours],
  ["this copy, as another sees it", ours, other],
])("an error of %s", (_name, maker, asker) => {
  it.each(names)("%s: of its class and of LockError, and of no other", (name) => {
    const error = made(maker)[name] as ours.LockError;
    expect(error.name).toBe(name);
    expect(classesOf(error, asker)).toEqual([...new Set(["LockError", name])]);
    expect(error).toBeInstanceOf(Error);
  });

  it("is none of a subclass of the application's", () => {
    class OrderHeldError extends asker.LockHeldError {}
    expect(made(maker).LockHeldError instanceof OrderHeldError).toBe(false);
    const own = new OrderHeldError(record);
    expect([own instanceof OrderHeldError, own instanceof ours.LockHeldError]).toEqual([true, true]);
    expect([own instanceof other.LockHeldError, own instanceof other.LockKeyError]).toEqual([true, false]);
  });

  it("shows no mark of it in a log", () => {
    const error = made(maker).LockKeyError as ours.LockError;
    expect(Object.keys(error).sort()).toEqual(["code", "name", "statusCode"]);
    expect(Object.getOwnPropertySymbols(error)).toEqual([]);
  });
});

it("nothing else is one, whatever it is", () => {
  const hostile = new Proxy(new Error("no"), {
    get: () => {
      throw new Error("no");
    },
  });
  const mock = new Proxy(() => {}, { get: () => () => mock });
  const strangers = [undefined, null, "LOCK_HELD", {}, { code: "LOCK_HELD" }, new Error("no"), hostile, mock];
  for (const thrown of strangers) expect(classesOf(thrown, ours)).toEqual([]);
});
