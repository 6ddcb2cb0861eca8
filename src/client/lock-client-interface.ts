import type { Jsonified } from "../common/jsonified.ts";
import type { LockKey } from "../common/key.ts";
import type { LockInterface } from "../lock/lock-interface.ts";
import type { LockClientOver } from "./lock-client.ts";
import type { AcquireOptions, OnceOptions, RunOptions, TryAcquireOptions } from "./options.ts";

type Key = LockKey | readonly LockKey[];
type WorkUnderLock<T> = (lock: LockInterface) => Promise<T> | T;

/**
 * The public part of a `LockClient`, without its private members: for code that a test runs with a
 * client of its own. A `LockClient` is one. The functions beside the client, such as `listLocks`,
 * need a real one: give it `memoryDynamoDB()` of `middy-dynamo-lock/testing`.
 *
 * @example
 * class Importer {
 *   constructor(private readonly locks: Pick<LockClientInterface, "run">) {}
 * }
 */
export interface LockClientInterface
  extends Pick<LockClientOver, "commitOnce" | "get" | "count" | "waitUntilFinished" | "warmUp" | "close"> {
  /** As `LockClient.tryAcquire`. */
  tryAcquire(key: Key, options?: TryAcquireOptions): Promise<LockInterface | undefined>;
  /** As `LockClient.acquire`. */
  acquire(key: Key, options?: AcquireOptions): Promise<LockInterface>;
  /** As `LockClient.run`. */
  run<T>(key: Key, work: WorkUnderLock<T>, options?: RunOptions): Promise<T>;
  /** As `LockClient.once`. */
  once<T>(key: Key, work: WorkUnderLock<T>, options: OnceOptions & { readonly storeResult: false }): Promise<T>;
  once<T>(key: Key, work: WorkUnderLock<T>, options?: OnceOptions): Promise<Jsonified<T>>;
}
