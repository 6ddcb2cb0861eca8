// example: dynamo-dlm
import { LockClient, semaphore } from "middy-dynamo-lock";

const locks = new LockClient({ leaseMs: 5_000, heartbeatMs: false });
{
  await using _lock = await semaphore(locks, "printer", { permits: 2 }).acquire({ waitMs: 60_000 });
  console.log(await locks.count("printer")); // 1
  await printReport();
}
await locks.close();
