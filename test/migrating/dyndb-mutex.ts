// example: dyndb-mutex
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ tableName: "Mutex", ensureTable: true, clientConfig: { region: "us-west-2" } });
const lock = await locks.tryAcquire("i-8abd832c32", { owner: "my-name", leaseMs: 20_000, heartbeatMs: false });
if (lock) {
  try {
    await restart("i-8abd832c32");
  } finally {
    await lock.release();
  }
}
await locks.close();
