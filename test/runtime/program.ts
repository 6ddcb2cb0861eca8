/** A plain program that takes a lock, and should end by itself when it has nothing left to do. */
import { LockClient } from "../../src/index.ts";

const [, , ending] = process.argv;
const locks = new LockClient();
const lock = await locks.acquire("nightly", { owner: "program" });
if (ending !== "holding its lock") await lock.release();
if (ending === "closing its client") await locks.close();
console.log(Date.now());
