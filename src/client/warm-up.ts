import { randomUUID } from "node:crypto";
import { LockTableError } from "../common/errors.ts";
import { toStoredKey } from "../common/key.ts";
import type { LockInternals } from "../lock/internals.ts";

/** How long each request took, in ms. The first includes the connection and the credentials. */
export interface WarmUp {
  readonly writeMs: number;
  readonly readMs: number;
  readonly deleteMs: number;
}

/** The length of the probe's lease. Nobody else knows its key, so it only has to be one. */
const PROBE_LEASE_MS = 1;

/**
 * Writes, reads and deletes a record under a random key in the client's namespace. That opens the
 * connection, and shows that the table is there and may be used, before the first lock needs it.
 *
 * It is meant for a Lambda's init phase, and safe there: it sends three requests, sets no timer,
 * and leaves nothing in flight when it is done. An error fails the init phase, which Lambda then
 * repeats
 * (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib):
 * catch it if the function can do without. TTL deletes a probe that could not be deleted.
 *
 * Needs `dynamodb:UpdateItem`, `GetItem` and `DeleteItem`.
 *
 * @throws LockTableError that says which step failed. Its `cause` is the error of that step.
 */
export const warmUp = async ({ store, clock, namespace, clockSkewMs }: LockInternals): Promise<WarmUp> => {
  const token = randomUUID();
  const key = toStoredKey(`warm-up-${token}`, namespace);
  const timed = async <T>(step: string, work: () => Promise<T>) => {
    const startedAt = clock.monotonic();
    try {
      return { reply: await work(), ms: clock.monotonic() - startedAt };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new LockTableError(`warmUp could not ${step} its probe: ${why}`, { cause: error });
    }
  };

  const write = await timed("write", () =>
    store.acquire({ key, token, owner: "warm-up", leaseMs: PROBE_LEASE_MS, clockSkewMs }),
  );
  const read = await timed("read", async () => {
    const record = await store.read(key);
    if (record?.token !== token) throw new Error("the record that was just written is not there");
    return record;
  });
  const removal = await timed("delete", () => store.remove(read.reply));
  return { writeMs: write.ms, readMs: read.ms, deleteMs: removal.ms };
};
