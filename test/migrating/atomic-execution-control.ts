// example: atomic-execution-control
import { LockClient, purgeLocks } from "middy-dynamo-lock";

const date = "2023-01-01";
const locks = new LockClient({ leaseMs: 60_000, rememberMs: 365 * 24 * 3_600_000 });
await purgeLocks(locks, { keys: [date], finished: true, olderThanMs: 20 * 60_000 });
await locks.once(date, () => runEtl(date), { waitMs: 840_000 }); // runs it, or waits for the instance that does
await locks.close();
