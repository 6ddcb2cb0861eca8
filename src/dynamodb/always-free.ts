import type { Clock } from "../common/clock.ts";
import type { Claim } from "../protocol/requests.ts";
import type { Acquired, Store } from "./store.ts";

/** For local work without a table of locks: every key is free, and nothing is sent but what the application commits. */
export const alwaysFree = (clock: Clock, sender: Store): Store => {
  const acquire = async ({ leaseMs }: Claim): Promise<Acquired> => {
    const now = clock.now();
    return { acquired: true, fencingToken: now, acquiredAt: now, leaseMs, expiresAt: now + leaseMs };
  };
  return {
    acquire,
    acquireAll: ([claim]) => acquire(claim as Claim),
    acquireSlot: acquire,
    renew: async () => ({ done: true, status: "IN_PROGRESS" }),
    settle: async (_keys, _hold, { status }) => ({ done: true, status }),
    commit: async (commit, _keys, hold) =>
      commit.items.length > 0 ? sender.commit(commit, [], hold) : { done: true, status: "FINISHED" },
    condition: (key, hold) => {
      const { TableName, Key } = sender.condition(key, hold);
      return {
        TableName,
        Key,
        ConditionExpression: "attribute_exists(#any) OR attribute_not_exists(#any)",
        ExpressionAttributeNames: { "#any": "status" },
      };
    },
    storeResult: async () => {},
    withResult: async (record) => record,
    read: async () => undefined,
    readBatch: async () => ({ records: [], unread: [] }),
    scan: async () => ({ records: [] }),
    remove: async () => true,
    forceRelease: async () => ({ released: true }),
  };
};
