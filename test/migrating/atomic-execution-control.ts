// example: atomic-execution-control
import { LockClient, purgeLocks } from "middy-dynamo-lock";

const date = "2023-01-01";
const locks = new LockClient({ leaseMs: 60_000, rememberMs: 365 * 24 * 3_600_000 });
await purgeLocks(locks, { keys: [date], finished: true, olderThanMs: 20 * 60_000 });
{
  await using lock = await locks.tryAcquire(date);
  if (lock) {
    await runEtl(date);
    await lock.finish();
  } else {
    const pending = await locks.waitUntilFinished([date], { timeoutMs: 840_000, intervalMs: 20_000 });
    if (pending.length > 0) console.warn("still running", pending);
  }
} // what is not finished here is released
await locks.close();
