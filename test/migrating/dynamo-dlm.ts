// example: dynamo-dlm
import { LockClient } from "middy-dynamo-lock";

const locks = new LockClient({ leaseMs: 5_000, heartbeatMs: false });
{
  await using _lock = await locks.acquire("printer", { permits: 2, waitMs: 60_000 });
  console.log(await locks.count("printer")); // 1
  await printReport();
}
await locks.close();
