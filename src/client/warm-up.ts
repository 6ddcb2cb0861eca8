import { randomUUID } from "node:crypto";
import { LockTableError } from "../common/errors.ts";
import { toStoredKey } from "../common/key.ts";
import { removeAsSeen } from "../dynamodb/remove.ts";
import type { Locks } from "../lock/locks.ts";
import { acquire } from "../protocol/writes.ts";

/** How long each request took, in ms. The first includes the connection and the credentials. */
export interface WarmUp {
  readonly writeMs: number;
  readonly readMs: number;
  readonly deleteMs: number;
}

/** Length of the probe's lease. Nobody else knows its key, so it only has to be one. */
const PROBE_LEASE_MS = 1;

/**
 * Writes, reads and deletes a record under a random key in the client's namespace. It opens the
 * connection and shows that the table is there and may be used, before the first lock needs it.
 *
 * Meant for a Lambda's init phase, and safe there: three requests, no timer, nothing in flight when
 * it is done. An error fails the init phase, which Lambda then repeats
 * (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib):
 * catch it if the function can do without. A probe that could not be deleted goes by TTL.
 *
 * Needs `dynamodb:UpdateItem`, `GetItem` and `DeleteItem`.
 *
 * @throws LockTableError that says which step failed; `cause` is the error of that step.
 */
export const warmUp = async ({ table, clock, options, clockSkewMs }: Locks): Promise<WarmUp> => {
  const token = randomUUID();
  const key = toStoredKey(`warm-up-${token}`, options.namespace);
  const timed = async <T>(step: string, work: () => Promise<T>): Promise<[T, number]> => {
    const startedAt = clock.monotonic();
    try {
      return [await work(), clock.monotonic() - startedAt];
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new LockTableError(`warmUp could not ${step} its probe: ${why}`, { cause: error });
    }
  };

  const claim = { key, token, owner: "warm-up", leaseMs: PROBE_LEASE_MS, clockSkewMs };
  const [, writeMs] = await timed("write", () => table.write([acquire(claim, clock.now())], { allowsAbsent: true }));
  const [probe, readMs] = await timed("read", async () => {
    const record = await table.read(key);
    if (record?.token !== token) throw new Error("the record that was just written is not there");
    return record;
  });
  const [, deleteMs] = await timed("delete", () => removeAsSeen(table, probe));
  return { writeMs, readMs, deleteMs };
};
