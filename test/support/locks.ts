import type { LockClient } from "../../src/index.ts";
import { type Locks, locksIn } from "../../src/lock/locks.ts";

/** What doors work with, for tests of what no public function asks for. */
export const locksOf = (client: LockClient): Locks => locksIn(client) as Locks;
