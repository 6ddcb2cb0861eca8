/** Ends one acquisition, if it is still the one that an operator saw. */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { LockError, LockOptionsError } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import {
  type Intervention,
  type KeyHolder,
  type LockRecord,
  type SemaphoreHolder,
  withoutTokens,
} from "../common/record.ts";
import type { Locks } from "../lock/locks.ts";
import { endHolder, endSeen } from "../protocol/operate.ts";
import type { Ending } from "../protocol/writes.ts";
import type { BreakLockOptions } from "./operator-options.ts";
import { isRecord, type OperatorKey, readingsOf, readMeant } from "./readings.ts";

/**
 * What became of a key. `done`: it was changed, and `record` is as it was before. `free`: nobody
 * holds it, and it is not finished. `absent`: there is no such key in the table. `changed`: it is
 * not as it was seen, and `record` is as it is. Only with `done` something was written.
 */
export type OperatorResult =
  | { readonly outcome: "done" | "free" | "changed"; readonly key: string; readonly record: LockRecord }
  | { readonly outcome: "absent"; readonly key: string; readonly record?: undefined };

/** One kind of ending an acquisition. */
interface Kind {
  readonly caller: string;
  readonly did: Intervention["did"];
  /** The state in which it must be. */
  readonly from: "IN_PROGRESS" | "FINISHED";
  /** How the key is left; without it, free. */
  readonly ending?: (ended: Ended) => Promise<Ending>;
}

/** The key, and the token that its record gets. */
export interface Ended {
  readonly key: string;
  readonly token: string;
}

/** How often a lock that keeps changing hands is tried to end, whoever has it. */
const MAX_ATTEMPTS = 10;

export const end = async (
  locks: Locks,
  target: OperatorKey,
  options: BreakLockOptions,
  kind: Kind,
): Promise<OperatorResult> => {
  const { caller, did, from } = kind;
  const { any = false } = options;
  const readings = readingsOf(target, locks.options.namespace);
  const fencingToken = any ? undefined : (options.fencingToken ?? tokenOf(caller, target));
  const { key, record } = await readMeant(locks, readings);
  if (!record) return { outcome: "absent", key };
  if (record.status === "SEMAPHORE" && did === "finished") {
    throw new LockOptionsError(`${caller}: a semaphore is never finished: break the permit. Nothing was written`);
  }
  if (!any || record.status !== "SEMAPHORE") return endOne(locks, record, fencingToken, options, kind);
  // Those who hold it now, one by one, and nobody who comes after them.
  const results: OperatorResult[] = [];
  for (const holder of heldIn(record, from)) {
    results.push(await endOne(locks, record, holder.fencingToken, options, kind));
  }
  const isDone = results.some(({ outcome }) => outcome === "done");
  return isDone
    ? { outcome: "done", key, record: withoutTokens(record) }
    : (results.at(-1) ?? nothingDone(record, from));
};

/** The key is not as it was seen, or needs nothing. */
const nothingDone = (record: LockRecord, from: Kind["from"]): OperatorResult => {
  const { key, status } = record;
  const isFree = status === "RELEASED" || (status === "SEMAPHORE" && heldIn(record, from).length === 0);
  return { outcome: isFree ? "free" : "changed", key, record: withoutTokens(record) };
};

/** Ends the acquisition with this fencing token, or whichever has the key. */
const endOne = async (
  locks: Locks,
  first: LockRecord,
  fencingToken: number | undefined,
  options: BreakLockOptions,
  kind: Kind,
): Promise<OperatorResult> => {
  const { key } = first;
  let record = first;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const seen = heldIn(record, kind.from).find((each) => each.fencingToken === (fencingToken ?? each.fencingToken));
    if (!seen) return nothingDone(record, kind.from);
    const written = await write(locks, record, seen, options, kind);
    if (written.applied) return { outcome: "done", key, record: withoutTokens(record) };
    if (!written.found) return { outcome: "absent", key };
    record = written.found;
  }
  throw new LockError(
    "LOCK_REQUEST",
    `${kind.caller}: key ${JSON.stringify(key)} changed ${MAX_ATTEMPTS} times meanwhile`,
  );
};

/** The acquisition that a record or an event stands for. */
const tokenOf = (caller: string, target: OperatorKey): number => {
  if (!isRecord(target)) {
    throw new LockOptionsError(
      `${caller}: which acquisition? Give its record, or its fencingToken, or any: true for whoever it is by now. Nothing was written`,
    );
  }
  if ("holders" in target && target.holders) {
    const tokens = heldIn(target as LockRecord, "IN_PROGRESS").map(
      (holder) => `${holder.fencingToken} (${holder.owner})`,
    );
    throw new LockOptionsError(
      `${caller}: which holder of the semaphore? Give its fencingToken: ${tokens.join(", ") || "nobody holds it"}. Nothing was written`,
    );
  }
  return target.fencingToken;
};

/** The acquisitions in this state: of a semaphore there may be several. */
const heldIn = (record: LockRecord, status: Kind["from"]): readonly KeyHolder[] =>
  (record.holders ?? [record]).filter((holder) => holder.status === status);

const write = async (
  locks: Locks,
  record: LockRecord,
  seen: KeyHolder,
  { by = locks.options.owner, why }: BreakLockOptions,
  { did, ending }: Kind,
): Promise<{ readonly applied: boolean; readonly found?: LockRecord | undefined }> => {
  const { table, clock } = locks;
  const { key } = record;
  const { fencingToken } = seen;
  const at = clock.now();
  const note: Intervention = { did, fencingToken, at, ...(by && { by }), ...(why && { why }) };
  const operation = { ...note, token: randomUUID() };
  const left: Ending = (await ending?.({ key, token: operation.token })) ?? { status: "RELEASED" };
  const slot = record.holders && (seen as SemaphoreHolder);
  const request = slot ? endHolder(key, slot, operation) : endSeen(record, operation, left);
  // Also if it fails: it may have been applied.
  const reply = await table.write([request]).finally(() => locks.forget(key));
  if (!reply.applied) {
    const item = reply.refusals[0]?.item;
    const found = item && table.record(item, key);
    const owner = slot ? found?.holders?.find((holder) => holder.slot === slot.slot) : found;
    // Our own note: the write applied and its reply was lost, whoever took the key after that.
    if (!isDeepStrictEqual(owner?.intervention, note)) return { applied: false, found };
  }
  report(locks, key, seen, note, left);
  return { applied: true };
};

const report = (
  { clock, report }: Locks,
  key: string,
  { owner, token, fencingToken, expiresAt, acquiredAt }: KeyHolder,
  { did, by, why }: Intervention,
  { result }: Ending,
): void => {
  const about = { key, owner, token, fencingToken, elapsedMs: clock.now() - acquiredAt };
  const more = did === "finished" ? { responseStored: result !== undefined } : { expiresAt };
  report({ type: did, ...about, ...more, ...(by && { by }), ...(why && { why }) } as LockEvent);
};
