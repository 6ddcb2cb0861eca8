/** Checked by tsc, never run: what compiles with `dynamoCommit`, `withCommit` and `commitOnce`, and what must not. */
import middy7 from "@middy/core";
import type { Context, Handler, ScheduledEvent, SQSEvent, SQSRecord } from "aws-lambda";
import middy6 from "middy-core-6";
import { type CommitContext, dynamoCommit, type LockClient, withCommit } from "../../src/index.ts";
import { type Equal, expectTrue, type ReportEvent } from "./expect.ts";

const byDate = { key: (event: ReportEvent) => event.date };

/** Middy's type argument is the handler's event; the key function compiles on it. */
export const scheduled7 = middy7<ScheduledEvent>()
  .use(dynamoCommit({ key: (event) => event.detail.date }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.commit, CommitContext["commit"]>>();
    expectTrue<Equal<typeof context.awsRequestId, string>>();
  });
export const scheduled6 = middy6<ScheduledEvent>()
  .use(dynamoCommit({ key: (event) => event.detail.date }))
  .handler(async (event, context) => {
    expectTrue<Equal<typeof event, ScheduledEvent>>();
    expectTrue<Equal<typeof context.commit, CommitContext["commit"]>>();
  });

/** An event that is only named in the key function is the handler's; without a name it is not `any`. */
export const fromTheKey7 = middy7()
  .use(dynamoCommit(byDate))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());
export const typeArgument6 = middy6()
  .use(dynamoCommit<ReportEvent>({ key: (event) => event.date }))
  .handler(async (event) => expectTrue<Equal<typeof event.date, string>>());
export const untyped7 = middy7()
  .use(dynamoCommit({ key: (event) => event.date }))
  .handler(async (event) => expectTrue<Equal<typeof event, unknown>>());

/** A commit gives its result, which the handler may return. */
const placing = withCommit(
  async (event: ReportEvent, context) => {
    expectTrue<Equal<Parameters<typeof context.commit>[1], Parameters<CommitContext["commit"]>[1]>>();
    const result = await context.commit([], { result: { total: event.date.length } });
    expectTrue<Equal<typeof result, { total: number }>>();
    const none = await context.commit([]);
    expectTrue<Equal<typeof none, undefined>>();
    return { total: result.total, at: new Date() };
  },
  {
    key: (event, context) => {
      expectTrue<Equal<typeof event, ReportEvent>>();
      expectTrue<Equal<typeof context, Context>>();
      return event.date;
    },
    lookFirst: true,
  },
);
expectTrue<Equal<Parameters<typeof placing>, [event: ReportEvent, context: Context]>>();
/** All callers get what JSON makes of it. */
expectTrue<Equal<ReturnType<typeof placing>, Promise<{ total: number; at: string }>>>();
export const handler: Handler<ReportEvent, { total: number; at: string }> = placing;

/** Of each record of a batch. */
const perRecord = withCommit(async (record: SQSRecord, { commit }) => commit([], { result: record.body }), {
  key: (record) => record.messageId,
});
export const batch = async ({ Records }: SQSEvent, context: Context) =>
  Promise.allSettled(Records.map((record) => perRecord(record, context)));

export const once = async (locks: LockClient) => {
  const result = await locks.commitOnce("k", [{ Put: { TableName: "t", Item: {} } }], { result: { at: new Date() } });
  expectTrue<Equal<typeof result, { at: string }>>();
  const none = await locks.commitOnce("k", []);
  expectTrue<Equal<typeof none, undefined>>();
  // @ts-expect-error: one key
  await locks.commitOnce(["k"], []);
  // @ts-expect-error: there is no lease
  await locks.commitOnce("k", [], { leaseMs: 1 });
  // @ts-expect-error: an item of the document client
  await locks.commitOnce("k", [{ Put: { TableName: "t", Item: { id: "x" } } }]);
};

// @ts-expect-error: options are required
dynamoCommit();
// @ts-expect-error: key is required
dynamoCommit({});
// @ts-expect-error: one key
dynamoCommit({ key: (event: ReportEvent) => [event.date] });
// @ts-expect-error: a key function must not be async
dynamoCommit({ key: async (event: ReportEvent) => event.date });
// @ts-expect-error: nothing is taken, so there is no lease
dynamoCommit({ ...byDate, leaseMs: 10_000 });
// @ts-expect-error: nor is anything waited for
dynamoCommit({ ...byDate, waitMs: 10_000 });
// @ts-expect-error: the handler runs in any case
dynamoCommit({ ...byDate, onUnavailable: "run" });
// @ts-expect-error: there is no lock
withCommit(async (_event: ReportEvent, context) => context.lock, byDate);
// @ts-expect-error: the handler's event has no such property
withCommit(async (event: ReportEvent) => event.date, { key: (event) => event.day });
