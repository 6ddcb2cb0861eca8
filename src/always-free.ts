import type { Clock } from "./clock.ts";
import type { Claim } from "./requests.ts";
import type { Acquired, Store } from "./store.ts";

/** For local work without a table: every key is free, and nothing is sent. */
export const alwaysFree = (clock: Clock): Store => {
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
    read: async () => undefined,
    readBatch: async () => ({ records: [], unread: [] }),
    scan: async () => ({ records: [] }),
    remove: async () => true,
    forceRelease: async () => ({ released: true }),
  };
};
