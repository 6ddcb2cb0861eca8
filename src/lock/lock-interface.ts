import type { Lock } from "./lock.ts";

/**
 * What a `Lock` offers, without what is private in it: for functions that a test calls with a lock
 * of its own. A `Lock` is one.
 *
 * @example
 * export const placeOrder = async (order: Order, lock: Pick<LockInterface, "commit" | "fencingToken">) => ...
 */
export interface LockInterface extends Pick<Lock, Exclude<keyof Lock, "toJSON">> {}
