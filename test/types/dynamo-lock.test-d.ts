/** Checked by tsc, never run: what compiles with `dynamoLock` on the types of both Middys, and what must not. */

import type { DurableContext } from "@aws/durable-execution-sdk-js";
import { Logger } from "@aws-lambda-powertools/logger";
import middy7 from "@middy/core";
import type { Context, EventBridgeEvent, ScheduledEvent, SQSEvent } from "aws-lambda";
import middy6 from "middy-core-6";
import { type DynamoLockOptions, dynamoLock, type Lock, LockClient, type LockRecord } from "../../src/index.ts";
import { type Equal, expectTrue, type ReportEvent } from "./expect.ts";

const byDate = { key: (event: ReportEvent) => event.date };

// The event.

/** Middy's type argument is the handler's event; the key function compiles on it. */
export const scheduled7 = middy7<ScheduledEvent>()
  .use(dynamoLock({ key: (event) => event.detail.date }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
  });
export const scheduled6 = middy6<ScheduledEvent>()
  .use(dynamoLock({ key: (event) => event.detail.date }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
  });

/** Without a type argument the key function compiles too, and doesn't make the handler's event `any`. */
export const untyped7 = middy7()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(async (event) => expectTrue<Equal<typeof event, unknown>>());
export const untyped6 = middy6()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(async (event) => expectTrue<Equal<typeof event, unknown>>());

export const notWidened7 = middy7<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(async (event) => {
    expectTrue<Equal<typeof event, ReportEvent>>();
    // @ts-expect-error: the handler's event has no such property
    return event.day;
  });
export const notWidened6 = middy6<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(async (event) => {
    expectTrue<Equal<typeof event, ReportEvent>>();
    // @ts-expect-error: the handler's event has no such property
    return event.day;
  });

/** An event that is only named in the key function is the handler's event. */
export const fromTheKey7 = middy7()
  .use(dynamoLock(byDate))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());
export const fromTheKey6 = middy6()
  .use(dynamoLock(byDate))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());
export const typeArgument = middy7()
  .use(dynamoLock<ReportEvent>({ key: (event) => event.date }))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());

/** A named function with types of its own fits, once the event is named anywhere. */
const runReport = async (event: ReportEvent, context: Context & { lock: Lock }) =>
  `${event.date} ${context.lock.fencingToken}`;
export const named7 = middy7<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(runReport);
export const named6 = middy6<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(runReport);
export const named7FromTheKey = middy7().use(dynamoLock(byDate)).handler(runReport);
export const named6FromTheKey = middy6().use(dynamoLock(byDate)).handler(runReport);

dynamoLock<EventBridgeEvent<"Report", ReportEvent>>({
  key: (event, context) => {
    expectTrue<Equal<typeof event.detail, ReportEvent>>();
    expectTrue<Equal<typeof context, Context>>();
    return event.detail.date;
  },
});

/** The other middlewares keep what they added to the context, before and behind ours. */
const withUser = { before: (request: { context: Context & { user: string } }) => void request };
export const amongOthers = middy7<ReportEvent>()
  .use(withUser)
  .use(dynamoLock({ key: (event) => event.date }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ReportEvent>>();
    expectTrue<Equal<typeof context.user, string>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
    expectTrue<Equal<typeof context.awsRequestId, string>>();
  });
export const twice = middy7<SQSEvent>()
  .use([dynamoLock({ key: (event) => event.Records[0] }), dynamoLock({ key: () => "all" })])
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, SQSEvent>>();
    expectTrue<Equal<typeof context.lock, Lock>>();
  });

/** Middy 7's durable mode. */
export const durable = middy7<ReportEvent, string, Error, DurableContext>()
  .use(dynamoLock({ key: (event) => event.date, leaseMs: 3_600_000 }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof context.lock, Lock>>();
    return context.step("print", async () => event.date);
  });

// The lock in the context.

export const maybe7 = middy7<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date, onMissingKey: "run" }))
  .handler(async (_event, context) => expectTrue<Equal<typeof context.lock, Lock | undefined>>());
export const maybe6 = middy6<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date, onMissingKey: "run" }))
  .handler(async (_event, context) => expectTrue<Equal<typeof context.lock, Lock | undefined>>());
export const never = middy7<ReportEvent>()
  .use(dynamoLock({ key: (event) => event.date, onMissingKey: "throw" }))
  .handler(async (_event, context) => expectTrue<Equal<typeof context.lock, Lock>>());

export const readonlyLock = middy7()
  .use(dynamoLock(byDate))
  .handler(async (_event, context) => {
    // @ts-expect-error: the lock is not the handler's to replace
    context.lock = undefined;
    // @ts-expect-error: nor is its token
    context.lock.token = "mine";
  });

// Options that fit.

dynamoLock({ key: () => 7 });
dynamoLock({ key: () => 7n });
dynamoLock({ key: () => [7n, 7, "7"] });
dynamoLock({ key: (event) => event.detail?.date });
dynamoLock({ key: () => null, onMissingKey: "run" });
dynamoLock({ ...byDate, namespace: false, onSuccess: "release", onError: "keep", leaseMs: 1_000 });
dynamoLock({ ...byDate, owner: (event, context) => `${event.date} ${context.functionName}` });
dynamoLock({ ...byDate, onError: (error) => (error instanceof TypeError ? "finish" : "release") });
dynamoLock({ ...byDate, locks: new LockClient() });
dynamoLock({ ...byDate, clientConfig: { region: "eu-west-1", endpoint: "http://localhost:8000" } });
dynamoLock({ ...byDate, onEvent: (event) => event.type === "held" && event.status });
dynamoLock({ ...byDate, logger: new Logger() });
dynamoLock({ ...byDate, logger: console });
/** As with exactOptionalPropertyTypes off: what is undefined is not set. */
dynamoLock({ ...byDate, tableName: process.env.TABLE, logger: undefined, namespace: undefined });
export const options: DynamoLockOptions<ReportEvent> = byDate;

/** `duplicateResponse`: any JSON value, or a function whose parameters need no types. */
for (const duplicateResponse of [{ statusCode: 409 }, [1], "seen", 0, false, null]) {
  dynamoLock({ ...byDate, duplicateResponse });
}
dynamoLock({ ...byDate, duplicateResponse: (record) => expectTrue<Equal<typeof record, LockRecord>>() });
dynamoLock({
  ...byDate,
  duplicateResponse: async (record, { event, context }) => {
    expectTrue<Equal<typeof event, ReportEvent>>();
    expectTrue<Equal<typeof context, Context>>();
    return record.result?.value;
  },
});

// Options that don't.

// @ts-expect-error: key is required
dynamoLock({});
// @ts-expect-error: an unknown name
dynamoLock({ ...byDate, keyy: "date" });
// @ts-expect-error: seconds are not an option
dynamoLock({ key: () => "date", leaseSeconds: 60 });
// @ts-expect-error: a key function must not be async
dynamoLock({ key: async (event) => event.date });
// @ts-expect-error: a key is a string or a number
dynamoLock({ key: () => ({ date: "today" }) });
// @ts-expect-error: a key is a function of the event
dynamoLock({ key: "date" });
// @ts-expect-error: a wrong literal
dynamoLock({ ...byDate, onSuccess: "keep" });
// @ts-expect-error: a wrong literal
dynamoLock({ ...byDate, onError: "retry" });
// @ts-expect-error: a function that decides must not be async
dynamoLock({ ...byDate, onError: async () => "keep" });
// @ts-expect-error: a wrong literal
dynamoLock({ ...byDate, onError: () => "retry" });
// @ts-expect-error: a wrong literal
dynamoLock({ ...byDate, onMissingKey: "skip" });
// @ts-expect-error: milliseconds are a number
dynamoLock({ ...byDate, leaseMs: "60s" });
// @ts-expect-error: milliseconds are a number
dynamoLock({ ...byDate, rememberMs: { hours: 1 } });
// @ts-expect-error: a semaphore has a door of its own
dynamoLock({ ...byDate, permits: 2 });
// @ts-expect-error: a namespace is a name, or false
dynamoLock({ ...byDate, namespace: true });
// @ts-expect-error: an owner is a function
dynamoLock({ ...byDate, owner: "me" });
// @ts-expect-error: an owner is a string
dynamoLock({ ...byDate, owner: () => 7 });
// @ts-expect-error: a LockClient, not its options
dynamoLock({ ...byDate, locks: { tableName: "locks" } });
// @ts-expect-error: a DynamoDBClient, not its configuration
dynamoLock({ ...byDate, client: { region: "eu-west-1" } });
// @ts-expect-error: a logger has debug, warn and error
dynamoLock({ ...byDate, logger: { info: console.info } });
// @ts-expect-error: the event has no such property
dynamoLock<ReportEvent>({ key: (event) => event.day });

/** A handler for another event doesn't fit. */
export const otherEvent = middy7()
  .use(dynamoLock(byDate))
  // @ts-expect-error: the event has a date, and no Records
  .handler(async (event: SQSEvent) => event.Records.length);
