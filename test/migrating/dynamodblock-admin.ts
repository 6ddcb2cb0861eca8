// example: dynamodblock-admin
import { describeLock, forceRelease, LockClient, listLocks, releaseAllLocks } from "middy-dynamo-lock";

const locks = new LockClient();
for await (const record of listLocks(locks, { status: "IN_PROGRESS" })) {
  console.log(describeLock(record, { timeZone: "America/Sao_Paulo" }));
}
await forceRelease(locks, "my-task-lock");
await releaseAllLocks(locks);
await locks.close();
