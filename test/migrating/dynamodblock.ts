// example: dynamodblock
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ owner: "worker-1", leaseMs: 30_000, logger: console });
await locks.warmUp();
await locks.run("my-task-lock", (lock) => doSomethingExclusive(lock.signal), { waitMs: 5_000 });
await locks.close();
