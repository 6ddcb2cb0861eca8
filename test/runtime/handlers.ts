/**
 * The functions that the tests bundle and invoke: one job, whose event says how long it takes and how it ends, behind
 * each kind of lock. They are configured as in Lambda, by the environment; the table and its endpoint are there too.
 */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import middy from "@middy/core";
import type { Context } from "aws-lambda";
import { type DynamoLockOptions, dynamoLock, type LockContext, withLock } from "../../src/index.ts";

export interface Job {
  readonly key: string;
  /** File to which every run adds its steps. */
  readonly journal: string;
  /** The run goes on until this file exists. */
  readonly gate?: string;
  /** How it ends. Left out: with an `Answer`. */
  readonly ends?: "with nothing" | "throwing" | "exiting" | "blocking" | "settling by hand";
}

export interface Answer {
  readonly ranBy: string;
}

export interface Began {
  readonly step: "began";
  readonly requestId: string;
  /** Epoch ms at which Lambda will end the invocation, or 1 ms less. */
  readonly deadline: number;
  readonly acquiredAt: number;
  readonly fencingToken: number;
  /** Token of the run that was taken over. */
  readonly previous: string | undefined;
  /** What would have kept the process awake when the invocation began. */
  readonly awake: readonly string[];
  readonly pid: number;
}

/** `refused`: the run tried to settle its lock, and got this error. */
export type Step =
  | Began
  | { readonly step: "ended"; readonly requestId: string; readonly signalAborted: boolean }
  | { readonly step: "refused"; readonly requestId: string; readonly error: string };

/** What a test can set, in LOCK_OPTIONS. */
export type LockOptions = Pick<DynamoLockOptions, "clockSkewMs" | "onSuccess">;

const options = {
  key: (job: Job) => job.key,
  logger: console,
  ...(JSON.parse(process.env.LOCK_OPTIONS ?? "{}") as LockOptions),
} satisfies DynamoLockOptions<Job>;

let awake: string[] = [];
const takeCensus = () => {
  awake = process.getActiveResourcesInfo();
};

const work = async (job: Job, context: Context & LockContext): Promise<Answer | undefined> => {
  const { lock, awsRequestId: requestId } = context;
  const note = (step: Step) => appendFileSync(job.journal, `${JSON.stringify(step)}\n`);
  note({
    step: "began",
    requestId,
    deadline: Date.now() + context.getRemainingTimeInMillis(),
    acquiredAt: lock.acquiredAt,
    fencingToken: lock.fencingToken,
    previous: lock.previous?.token,
    awake,
    pid: process.pid,
  });

  if (job.ends === "blocking") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  if (job.ends === "exiting") process.exit(7);
  while (job.gate && !existsSync(job.gate)) await sleep(5);
  note({ step: "ended", requestId, signalAborted: lock.signal.aborted });
  if (job.ends === "settling by hand") {
    for (const settle of [() => lock.finish({ result: "stale" }), () => lock.release()]) {
      await settle().catch((error: Error) => note({ step: "refused", requestId, error: error.name }));
    }
  }
  if (job.ends === "throwing") throw new RangeError("out of paper");
  return job.ends === "with nothing" ? undefined : { ranBy: requestId };
};

export const middleware = middy<Job, Answer | undefined>().before(takeCensus).use(dynamoLock(options)).handler(work);

const locked = withLock(work, options);
export const wrapper = (job: Job, context: Context): Promise<Answer | undefined> => {
  takeCensus();
  return locked(job, context);
};

/** Middy answers in place of a handler that takes too long. */
export const answersEarly = middy<Job, unknown>({ timeoutEarlyResponse: () => "still at it" })
  .use(dynamoLock(options))
  .handler(work);

/** Middy's early timeout lets go of the handler; the lock inside doesn't. */
export const wrapperInMiddy = middy<Job, Answer | undefined>().handler(locked);
