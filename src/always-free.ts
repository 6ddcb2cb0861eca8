import type { Clock } from "./clock.ts";
import type { Claim } from "./requests.ts";
import type { Acquired, Store } from "./store.ts";

/** For local work without a table of locks: every key is free, and nothing is sent but what the application commits. */
export const alwaysFree = (clock: Clock, sender: Store): Store => {
  const acquire = async ({ leaseMs }: Claim): Promise<Acquired> => {
    const now = clock.now();
    return { acquired: true, fencingToken: now, acquiredAt: now, expiresAt: now + leaseMs };
  };
  return {
    acquire,
    acquireAll: ([claim]) => acquire(claim as Claim),
    acquireSlot: acquire,
    renew: async () => ({ done: true, status: "IN_PROGRESS" }),
    settle: async (_keys, _hold, { status }) => ({ done: true, status }),
    toCommit: (items, keys, hold, settlement) => {
      const { input, ...commit } = sender.toCommit([], keys, hold, settlement);
      return { ...commit, keys: [], input: { ...input, TransactItems: [...items] } };
    },
    commit: async (commit) =>
      commit.input.TransactItems?.length ? sender.commit(commit) : { done: true, status: "FINISHED" },
    condition: (key, hold) => sender.condition(key, hold),
    storeResult: async () => {},
    readResult: async () => undefined,
    read: async () => undefined,
    readBatch: async () => ({ records: [], unread: [] }),
    scan: async () => ({ records: [] }),
    remove: async () => true,
    forceRelease: async () => ({ released: true }),
  };
};
