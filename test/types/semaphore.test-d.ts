/** Checked by tsc, never run: what compiles with semaphores, and what must not. */

import middy7 from "@middy/core";
import type { Context, ScheduledEvent } from "aws-lambda";
import middy6 from "middy-core-6";
import {
  type DynamoSemaphoreOptions,
  dynamoLock,
  dynamoSemaphore,
  type Lock,
  LockClient,
  type LockRecord,
  type Semaphore,
  semaphore,
  withLock,
  withSemaphore,
} from "../../src/index.ts";
import { type Equal, expectTrue, type ReportEvent } from "./expect.ts";

const five = { key: (event: ReportEvent) => event.date, permits: 5 };
const locks = new LockClient();

// The event and the lock in the context.

export const typed7 = middy7<ScheduledEvent>()
  .use(dynamoSemaphore({ key: (event) => event.detail.date, permits: 5 }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
  });
export const typed6 = middy6<ScheduledEvent>()
  .use(dynamoSemaphore({ key: (event) => event.detail.date, permits: 5 }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
  });
export const untyped = middy7()
  .use(dynamoSemaphore({ key: (event) => event.date, permits: 5 }))
  .handler(async (event) => expectTrue<Equal<typeof event, unknown>>());
export const fromTheKey = middy7()
  .use(dynamoSemaphore(five))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());
export const maybe = middy7<ReportEvent>()
  .use(dynamoSemaphore({ ...five, onMissingKey: "run" }))
  .handler(async (_event, context) => expectTrue<Equal<typeof context.lock, Lock | undefined>>());

/** A response is handed on as it is, a Date as a Date: none is stored. */
export const plain = withSemaphore(async (event: ReportEvent, context) => {
  expectTrue<Equal<typeof context.lock, Lock>>();
  return { date: event.date, at: new Date() };
}, five);
expectTrue<Equal<ReturnType<typeof plain>, Promise<{ date: string; at: Date }>>>();
expectTrue<Equal<Parameters<typeof plain>, [event: ReportEvent, context: Context]>>();
withSemaphore(
  (_event: ReportEvent, context) => {
    expectTrue<Equal<typeof context.lock, Lock | undefined>>();
  },
  { ...five, onMissingKey: "run" },
);

// Options that fit.

dynamoSemaphore({ ...five, leaseMs: 1_000, heartbeatMs: false, waitMs: 100, locks, namespace: false });
dynamoSemaphore({ ...five, onError: "keep" });
dynamoSemaphore({ ...five, onError: (error) => (error instanceof TypeError ? "keep" : "release") });
dynamoSemaphore({ ...five, onError: async () => "keep" as const });
dynamoSemaphore({ ...five, duplicateResponse: (record) => expectTrue<Equal<typeof record, LockRecord>>() });
dynamoSemaphore({ ...five, duplicateResponse: { statusCode: 429 } });
export const options: DynamoSemaphoreOptions<ReportEvent> = five;

// Options that don't.

// @ts-expect-error: permits are required
dynamoSemaphore({ key: () => "date" });
// @ts-expect-error: key is required
dynamoSemaphore({ permits: 5 });
// @ts-expect-error: permits are a number
dynamoSemaphore({ ...five, permits: "5" });
// @ts-expect-error: a semaphore has one key
dynamoSemaphore({ key: () => ["a", "b"], permits: 5 });
// @ts-expect-error: a key function must not be async
dynamoSemaphore({ key: async () => "a", permits: 5 });
// @ts-expect-error: a semaphore is never finished
dynamoSemaphore({ ...five, onSuccess: "release" });
// @ts-expect-error: a semaphore is never finished
dynamoSemaphore({ ...five, onError: "finish" });
// @ts-expect-error: a semaphore is never finished
dynamoSemaphore({ ...five, onError: () => "finish" });
// @ts-expect-error: nothing is remembered
dynamoSemaphore({ ...five, rememberMs: 1_000 });
// @ts-expect-error: nothing is stored
dynamoSemaphore({ ...five, storeResponse: false });
// @ts-expect-error: nothing is replayed
dynamoSemaphore({ ...five, replayedHeader: true });
// @ts-expect-error: each holder has a payload of its own
dynamoSemaphore({ ...five, fingerprint: (event: ReportEvent) => event });
// @ts-expect-error: permits end by the clock
dynamoSemaphore({ ...five, expiry: "observed" });
// @ts-expect-error: a LockClient, not its options
dynamoSemaphore({ ...five, locks: { tableName: "locks" } });

// Locks have no permits.

// @ts-expect-error: see dynamoSemaphore
dynamoLock({ ...five, permits: 5 });
// @ts-expect-error: see withSemaphore
withLock(async () => 1, { key: () => "k", permits: 5 });
// @ts-expect-error: see semaphore
locks.acquire("k", { permits: 5 });
// @ts-expect-error: see semaphore
locks.tryAcquire("k", { permits: 5 });
// @ts-expect-error: see semaphore
locks.run("k", () => 1, { permits: 5 });

// By hand.

export const imports: Semaphore = semaphore(locks, 7n, { permits: 3 });
expectTrue<Equal<ReturnType<typeof imports.tryAcquire>, Promise<Lock | undefined>>>();
expectTrue<Equal<ReturnType<typeof imports.acquire>, Promise<Lock>>>();
export const ran: Promise<Date> = imports.run(() => new Date(), { waitMs: 100, timeoutMs: 100 });
imports.acquire({ waitMs: 100, signal: AbortSignal.timeout(50), data: { job: 1 }, owner: "me", safeMs: 10 });

// @ts-expect-error: permits are required
semaphore(locks, "k");
// @ts-expect-error: permits are required
semaphore(locks, "k", {});
// @ts-expect-error: a semaphore has one key
semaphore(locks, ["a", "b"], { permits: 3 });
// @ts-expect-error: a LockClient, not its options
semaphore({ tableName: "locks" }, "k", { permits: 3 });
// @ts-expect-error: it doesn't wait
imports.tryAcquire({ waitMs: 100 });
// @ts-expect-error: a permit is taken only if one is free
imports.acquire({ force: true });
// @ts-expect-error: each permit is a holder of its own
imports.acquire({ reentrant: true });
// @ts-expect-error: permits end by the clock
imports.acquire({ expiry: "clock" });
