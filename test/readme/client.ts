// example: client
import { LockClient, semaphore } from "middy-dynamo-lock";

const locks = new LockClient({ leaseMs: 20_000 }); // renewed every third of it, until released

// Once at a time: waits up to 10 s, releases after.
await locks.run("stock-42", async (lock) => recount(42, { signal: lock.signal }), { waitMs: 10_000 });

// Once only: a repeat gets what the first run returned.
const invoice = await locks.once("invoice-2026-11", () => makeInvoice("2026-11"), { rememberMs: 31 * 24 * 3_600_000 });

// By hand, several keys, all or none.
{
  await using lock = await locks.acquire(["account-1", "account-2"]);
  await transfer({ fence: lock.fencingToken });
} // released here

// A semaphore: at most 5 at once.
const smtp = semaphore(locks, "smtp", { permits: 5 });
await smtp.run(() => sendMail(invoice), { waitMs: 30_000 });

await locks.close(); // releases what is still held
