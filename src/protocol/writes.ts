/**
 * The protocol: every condition under which the table may change, as pure functions.
 *
 *   absent | RELEASED | over ──acquire──▶ IN_PROGRESS ──finish──▶ FINISHED ──(expires_at)──▶ over
 *                                          │  ▲   └──release──▶ RELEASED
 *                                          └renew
 *
 * Acquire needs the key to be free. Everything later needs the token of this acquisition AND
 * IN_PROGRESS, never the owner alone: a settled record keeps its token, so a late write can't
 * revive it, and a write whose reply was lost is recognised by the token it left behind.
 *
 * A semaphore is the same item with status SEMAPHORE, in which each holder has a map `slot_<n>` of
 * its own (semaphore.ts).
 */
import type { LockRecord } from "../common/record.ts";
import { FIELDS, slotAttribute, slotFenceAttribute, slotInterventionAttribute } from "./fields.ts";

/** One conditional write to one item, as data. Fields are named as in fields.ts. */
export interface Write {
  /** As stored. */
  readonly key: string;
  /**
   * In it, `#field` is the attribute of a field, and `:name` one of `values`, or the value that is
   * set to a field.
   */
  readonly condition?: string;
  readonly values?: Readonly<Record<string, unknown>>;
  /**
   * The values to set, by field, or by path, such as `slot_3.status`. Fields with `undefined` are
   * left out, and a symbol stands for the expression that it describes.
   */
  readonly set?: Readonly<Record<string, unknown>>;
  readonly remove?: readonly string[];
  /** Epoch ms after which nobody needs the item: `ttl` comes after it. */
  readonly neededUntil?: number;
}

/** The part of what a caller asks for that goes into the record, or into its condition. */
export interface Asked {
  readonly owner: string;
  readonly token: string;
  readonly clockSkewMs: number;
  /** JSON of the application's data; without it the data of the record before stays. */
  readonly data?: string | undefined;
  /** Hash of the payload, by which a repeat of the key with another one is known. */
  readonly fingerprint?: string | undefined;
  /** ARN of the durable execution that asks. */
  readonly execution?: string | undefined;
  /** `observed`: don't let a lease end by the clock, only by `watched`. */
  readonly expiry?: "clock" | "observed" | undefined;
  /** Hash of the list of keys that was asked for, if it had more than one. */
  readonly keyList?: string | undefined;
}

/** One attempt to take a key. */
export interface Claim extends Asked {
  readonly key: string;
  readonly leaseMs: number;
  /** How many keys are taken together, if more than one. */
  readonly keyCount?: number | undefined;
  /**
   * A lease that the claimant has watched unchanged for its length: it is over, if it is still the
   * same.
   */
  readonly watched?: Pick<LockRecord, "token" | "expiresAt" | "leaseMs"> | undefined;
  /**
   * Set the fencing token to this, which the record's must be below: one token for several keys.
   */
  readonly fence?: number | undefined;
  /**
   * Take the key from this acquisition, if it is still the latest and in this state. So a request
   * that comes late can't take the key from a later one.
   */
  readonly seen?: Pick<LockRecord, "token" | "status" | "holders"> | undefined;
}

/** The proof of ownership that a holder's later writes carry. */
export interface Proof {
  readonly token: string;
  /** By it, the holder knows what an operator did to it. */
  readonly fencingToken?: number;
  /** The slot that a holder of a semaphore has. */
  readonly slot?: number | undefined;
}

/** How a held key ends, as it is written. */
export interface Ending {
  readonly status: "FINISHED" | "RELEASED";
  /** How long a finished key blocks repeats, in ms. */
  readonly rememberMs?: number;
  /** JSON text, compressed or not, `null` for `undefined`, or the number of the companion that has it. */
  readonly result?: string | Uint8Array | number | null | undefined;
  /** JSON text, as is `data`. */
  readonly failure?: string | undefined;
  readonly data?: string | undefined;
  /** The application's own. */
  readonly finalStatus?: string | undefined;
}

/** Every semaphore's item outlives all its holders, whoever wrote to it last. */
export const MAX_SEMAPHORE_LEASE_MS = 30 * 24 * 3_600_000;

export const STATES = { held: "IN_PROGRESS", finished: "FINISHED", released: "RELEASED" } as const;

/**
 * An item that we wrote: what something else wrote must not be overwritten. Reading demands the
 * same, in `toRecord`. (A comparison is false where the kinds differ, so that these demand text and
 * a number.) A request that comes late must not take the key for an acquisition that has ended: its
 * token is there already.
 */
export const OURS = "(#token < :token OR #token > :token) AND #fencingToken >= :one";

/** The value of a field that is set: a symbol stands for the expression that it describes. */
const sameAs = (value: string) => Symbol(`:${value}`);
const HELD = sameAs("held");
const ACQUIRED_AT = sameAs("acquiredAt");

/**
 * Stands for the fencing token before plus one, which starts at the clock: DynamoDB takes at most
 * 1,000 writes per second on one key
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html),
 * so a counter that adds one per acquisition can't outrun the milliseconds, and a record that TTL
 * deleted comes back with a higher one.
 */
export const NEXT_FENCE = Symbol("if_not_exists(#fencingToken, :acquiredAt) + :one");

/** The attributes of a semaphore's slots, which its record loses when it becomes another's. */
export const slotsOf = ({ holders = [] }: Pick<LockRecord, "holders">): string[] =>
  holders.flatMap(({ slot }) => [slotAttribute(slot), slotFenceAttribute(slot), slotInterventionAttribute(slot)]);

/** Takes the key if it is absent or free, or from the acquisition that was `seen`. */
export const acquire = (claim: Claim, now: number): Write => {
  const { key, owner, token, leaseMs, clockSkewMs, data, fingerprint, execution, keyCount, keyList } = claim;
  const { expiry, watched, seen, fence } = claim;
  const free = [
    `#status IN (${expiry === "observed" ? "" : ":held, "}:finished, :released) AND #expiresAt <= :over`,
    watched && "#status = :held AND #token = :watchedToken AND #expiresAt = :watchedEnd AND #leaseMs = :watchedLease",
    seen && "#status = :seenStatus AND #token = :seenToken",
  ].filter(Boolean);
  const set: Record<string, unknown> = {
    status: HELD,
    owner,
    token,
    leaseMs,
    expiresAt: now + leaseMs,
    acquiredAt: now,
    updatedAt: ACQUIRED_AT,
    fencingToken: fence ?? NEXT_FENCE,
    data,
    fingerprint,
    execution,
    keyCount,
    keyList,
  };
  const stays = ["data", "permits", "intervention"];
  const isStale = (field: string) => set[field] === undefined && !stays.includes(field);
  return {
    key,
    condition: `attribute_not_exists(#key) OR ${OURS} AND (${free.join(" OR ")})${fence ? " AND #fencingToken < :fencingToken" : ""}`,
    values: {
      ...STATES,
      one: 1,
      over: now - clockSkewMs,
      watchedToken: watched?.token,
      watchedEnd: watched?.expiresAt,
      watchedLease: watched?.leaseMs,
      seenStatus: seen?.status,
      seenToken: seen?.token,
    },
    set,
    remove: [...Object.keys(FIELDS).filter(isStale), ...(seen?.holders ? ["permits", ...slotsOf(seen)] : [])],
    neededUntil: now + leaseMs,
  };
};

/** Where a holder's own fields stand. */
const pathTo = ({ slot }: Proof) => (slot === undefined ? "" : `${slotAttribute(slot)}.`);

/** The proof that the key, or the slot, is held by this acquisition. */
export const holding = (key: string, proof: Proof): Write => {
  const at = pathTo(proof);
  return {
    key,
    condition: `${at}#token = :mine AND ${at}#status = :held`,
    values: { mine: proof.token, held: STATES.held },
  };
};

const change = (key: string, proof: Proof, now: number, own: object, neededUntil: number, rest?: object): Write => {
  const at = pathTo(proof);
  const set = Object.fromEntries(Object.entries(own).map(([field, value]) => [at + field, value]));
  return {
    ...holding(key, proof),
    set: { ...set, updatedAt: now, ...rest },
    neededUntil: neededUntil + (at ? MAX_SEMAPHORE_LEASE_MS : 0),
  };
};

/**
 * Prolongs the lease: only for the token that holds the key, and only to a later end, so that an
 * older renewal that arrives late can't undo a newer one.
 */
export const renew = (
  key: string,
  proof: Proof,
  { leaseMs, expiresAt }: Pick<LockRecord, "leaseMs" | "expiresAt">,
  now: number,
): Write => {
  const write = change(key, proof, now, { leaseMs, expiresAt }, expiresAt);
  return { ...write, condition: `${write.condition} AND ${pathTo(proof)}#expiresAt < :expiresAt` };
};

/**
 * Finishes or releases: only for the token that holds the key, and only once. A release keeps the
 * item, for its fencing token.
 */
export const settle = (key: string, proof: Proof, ending: Ending, now: number): Write => {
  const { status, rememberMs = 0, ...rest } = ending;
  const overAt = now + rememberMs;
  return change(key, proof, now, { status, expiresAt: rememberMs && overAt }, overAt, rest);
};

/**
 * Finishes or releases every key that was taken together. One copy of the response is enough for a
 * repeat, which reads all keys.
 */
export const settleAll = (keys: readonly string[], proof: Proof, ending: Ending, now: number): Write[] =>
  keys.map((key, index) => settle(key, proof, index === 0 ? ending : { ...ending, result: undefined }, now));

/**
 * A response too large for the record, compressed, in an item of its own that only a replay reads.
 */
export const storeResponse = (companion: string, result: Uint8Array, rememberMs: number, now: number): Write => ({
  key: companion,
  set: { result },
  neededUntil: now + rememberMs + 3_600_000, // it is written first, and must not go first
});
