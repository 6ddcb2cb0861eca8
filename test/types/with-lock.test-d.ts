/** Checked by tsc, never run: what compiles with `withLock`, and what must not. */
import type { Context, Handler, SQSEvent } from "aws-lambda";
import { type Lock, withLock } from "../../src/index.ts";
import { type Equal, expectTrue, type ReportEvent } from "./expect.ts";

const byDate = { key: (event: ReportEvent) => event.date };

/** The event of the handler is the key function's, and the result is the handler's. */
const fromTheHandler = withLock(
  async (event: ReportEvent, context) => {
    expectTrue<Equal<typeof context.lock, Lock>>();
    expectTrue<Equal<typeof context.awsRequestId, string>>();
    return { total: event.date.length };
  },
  {
    key: (event, context) => {
      expectTrue<Equal<typeof event, ReportEvent>>();
      expectTrue<Equal<typeof context, Context>>();
      return event.date;
    },
  },
);
expectTrue<Equal<Parameters<typeof fromTheHandler>, [event: ReportEvent, context: Context]>>();
expectTrue<Equal<ReturnType<typeof fromTheHandler>, Promise<{ total: number }>>>();

/** Or the other way round. */
const fromTheKey = withLock(async (event, context) => `${event.date} ${context.lock.token}`, byDate);
expectTrue<Equal<Parameters<typeof fromTheKey>[0], ReportEvent>>();
expectTrue<Equal<ReturnType<typeof fromTheKey>, Promise<string>>>();

/** A handler that is not async becomes one. */
const notAsync = withLock((event: ReportEvent) => event.date, byDate);
expectTrue<Equal<ReturnType<typeof notAsync>, Promise<string>>>();

/** It is a Lambda handler. */
export const handler: Handler<ReportEvent, string> = fromTheKey;

export const maybe = withLock(
  async (_event: ReportEvent, context) => expectTrue<Equal<typeof context.lock, Lock | undefined>>(),
  { ...byDate, onMissingKey: "run" },
);
export const maybeToo = withLock(
  async (_event: ReportEvent, context) => expectTrue<Equal<typeof context.lock, Lock | undefined>>(),
  { ...byDate, onUnavailable: "run" },
);
export const always = withLock(async (_event: ReportEvent, context) => expectTrue<Equal<typeof context.lock, Lock>>(), {
  ...byDate,
  onMissingKey: "throw",
});
export const duplicate = withLock(async (event: ReportEvent) => event.date, {
  ...byDate,
  duplicateResponse: (record, { event }) => {
    expectTrue<Equal<typeof event, ReportEvent>>();
    return record.result?.value;
  },
});

// @ts-expect-error: options are required
withLock(async () => "report");
// @ts-expect-error: key is required
withLock(async () => "report", {});
// @ts-expect-error: an unknown name
withLock(async () => "report", { ...byDate, ttl: 60 });
// @ts-expect-error: a wrong literal
withLock(async () => "report", { ...byDate, onSuccess: "keep" });
// @ts-expect-error: a wrong type
withLock(async () => "report", { ...byDate, rememberMs: "1h" });
// @ts-expect-error: a key function must not be async
withLock(async (event: ReportEvent) => event.date, { key: async (event) => event.date });
// @ts-expect-error: the handler's event has no such property
withLock(async (event: ReportEvent) => event.date, { key: (event) => event.day });
// @ts-expect-error: the handler's event is another one
withLock(async (event: SQSEvent) => event.Records.length, byDate);
