// example: operate
import { breakLock, LockClient, listLocks } from "middy-dynamo-lock";

const locks = new LockClient({ namespace: "report" }); // the locks of one function; without a namespace: of the whole table
for await (const record of listLocks(locks, { status: "IN_PROGRESS" })) {
  const { outcome } = await breakLock(locks, record, { by: "ann", why: "the deployment hangs" });
  if (outcome === "changed") console.warn(`${record.key} has changed hands since: nothing was written`);
}
await locks.close();
