// example: dynamodblock-admin
import { breakLock, describeLock, LockClient, listLocks } from "middy-dynamo-lock";

const locks = new LockClient();
for await (const record of listLocks(locks, { status: "IN_PROGRESS" })) {
  console.log(describeLock(record, { timeZone: "America/Sao_Paulo" }));
  await breakLock(locks, record, { by: "ann", why: "the host is gone" }); // it, and no later one
}
await locks.close();
