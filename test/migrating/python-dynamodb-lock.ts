// example: python-dynamodb-lock
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ leaseMs: 30_000, heartbeatMs: 5_000 });
{
  await using lock = await locks.acquire("customer-xyz", {
    waitMs: 35_000,
    data: { job: "billing" },
    safeMs: 10_000, // called when 20 s have passed without a heartbeat
    onExpiring: () => hurry(),
    onLost: (_lock, error) => rollBack(error.reason),
  });
  await updateCustomer("xyz", { signal: lock.signal });
} // released here, also when it throws
await locks.close();
