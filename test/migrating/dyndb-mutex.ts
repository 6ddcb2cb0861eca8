// example: dyndb-mutex
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ tableName: "mutexes", ensureTable: true, clientConfig: { region: "us-west-2" } });
{
  await using lock = await locks.tryAcquire("i-8abd832c32", { owner: "my-name", leaseMs: 20_000, heartbeatMs: false });
  if (lock) await restart("i-8abd832c32");
} // released here, also when it throws
await locks.close();
