/**
 * `IN_PROGRESS`: held until `expiresAt`. `FINISHED`: remembered until `expiresAt`. `RELEASED`:
 * free. `SEMAPHORE`: `holders` says who holds it.
 */
export type LockStatus = "IN_PROGRESS" | "FINISHED" | "RELEASED" | "SEMAPHORE";

/** The operator who ended a lock, and the reason, where that was said. */
export interface OperatorNote {
  /** The person or the program. */
  readonly by?: string | undefined;
  /** The reason that was given. */
  readonly why?: string | undefined;
}

/**
 * What an operator last did to a key, or to one slot of a semaphore, by `breakLock`, `forgetLock` or
 * `finishLock`. It stays in the record when others take the key after that, so that the one who lost
 * the key learns why.
 */
export interface Intervention extends OperatorNote {
  /** What became of the acquisition. */
  readonly did: "broken" | "forgotten" | "finished";
  /** The acquisition that was ended. */
  readonly fencingToken: number;
  /** Epoch ms. */
  readonly at: number;
}

/** One holder of a semaphore. */
export interface SemaphoreHolder {
  readonly slot: number;
  readonly status: "IN_PROGRESS" | "RELEASED";
  readonly owner: string;
  readonly token: string;
  readonly fencingToken: number;
  readonly leaseMs: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
  readonly intervention?: Intervention;
}

/** The part that is remembered of a run that failed for good. */
export interface StoredFailure {
  readonly name: string;
  readonly message: string;
  readonly statusCode?: number;
}

/** The state of one key, as read from the table. */
export interface LockRecord {
  /** The key with its namespace, as stored. */
  readonly key: string;
  readonly status: LockStatus;
  /** The one who took it: in a Lambda, the request id. Empty if the record doesn't say. */
  readonly owner: string;
  /**
   * Random id of one acquisition: the only proof of ownership. It can be read, but not enumerated,
   * so that no log shows it.
   */
  readonly token: string;
  /**
   * Strictly increasing per key. 0 where it is not known: in a copy that `cacheSize` keeps of a
   * commit without a lock.
   */
  readonly fencingToken: number;
  /** Length of the lease, in ms; 0 if the record doesn't say. */
  readonly leaseMs: number;
  /** Epoch ms: end of the lease, or of the time a finished key is remembered; 0 when released. */
  readonly expiresAt: number;
  /** Epoch ms; 0 if the record doesn't say. */
  readonly acquiredAt: number;
  /** Epoch ms; 0 if the record doesn't say. */
  readonly updatedAt: number;
  /**
   * The stored response, in a box because `undefined` is a response too; absent when none was
   * stored.
   */
  readonly result?: { readonly value: unknown };
  /**
   * Key of the item that has the stored response, where that is too large for the record. Not
   * enumerable: the token is in it.
   */
  readonly resultKey?: string;
  /** The stored response as it stands in the record, compressed. Not enumerable: nobody can read it. */
  readonly resultBytes?: Uint8Array;
  /** Hash of the payload that the key was taken with. */
  readonly fingerprint?: string;
  /** Set when the run failed for good. */
  readonly failure?: StoredFailure;
  /** The status that the application gave `finish`. */
  readonly finalStatus?: string;
  /** The application's own data. */
  readonly data?: unknown;
  /**
   * Which of them are stored, and left out here because this version can't read them. A newer one
   * may.
   */
  readonly unreadable?: readonly ("result" | "failure" | "data")[];
  /** ARN of the durable execution that took it. */
  readonly execution?: string;
  /** How many keys were taken together, if more than one. */
  readonly keyCount?: number;
  /**
   * Hash of the list of keys that was asked for, in its order and with its repeats, if it had more
   * than one.
   */
  readonly keyList?: string;
  /** What an operator last did to the key. */
  readonly intervention?: Intervention;
  /** How many may hold a semaphore. The fields above are those of the latest to take it. */
  readonly permits?: number;
  /** Every slot of a semaphore that was ever taken, by number. */
  readonly holders?: readonly SemaphoreHolder[];
}

/** Keeps properties readable, and out of what JSON, logs and `console.log` show. */
export const conceal = <T extends object>(shown: T, ...names: readonly (keyof T)[]): T => {
  for (const name of names) if (Object.hasOwn(shown, name)) Object.defineProperty(shown, name, { enumerable: false });
  return shown;
};

/**
 * The record for the application, which may print it or answer with it: tokens are not shown, for
 * they prove ownership.
 */
export const withoutTokens = (record: LockRecord): LockRecord => {
  const holders = record.holders?.map((holder) => conceal({ ...holder }, "token"));
  return conceal({ ...record, ...(holders && { holders }) }, "token", "resultKey", "resultBytes");
};

/** The one who holds a key, or was the last to. */
export type KeyHolder = Pick<LockRecord, "status" | "owner" | "token" | "fencingToken" | "expiresAt" | "acquiredAt">;

/** The record itself; of a semaphore, each of its holders. */
export const holdersOf = (record: LockRecord): readonly KeyHolder[] => record.holders ?? [record];
