// example: java-lock-client
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ leaseMs: 10_000, heartbeatMs: 3_000, expiry: "observed" });
{
  await using lock = await locks.acquire("leader", { waitMs: 11_000, reentrant: true, data: { host: "a" } });
  await lead(lock.signal);
}
await locks.close();
