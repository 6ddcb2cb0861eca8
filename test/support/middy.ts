import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import middy7 from "@middy/core";
import type { Context } from "aws-lambda";
import middy6 from "middy-core-6";
import { vi } from "vitest";
import {
  type Clock,
  type DynamoLockOptions,
  dynamoLock,
  type Lock,
  LockClient,
  type LockClientOptions,
  type LockContext,
  type LockEvent,
  withLock,
} from "../../src/index.ts";
import type { Item } from "../../src/protocol/item.ts";
import { countingClient, lockTable } from "./dynamodb.ts";
import { lambdaContext } from "./lambda.ts";

export type Table = Awaited<ReturnType<typeof lockTable>>;

export interface ReportEvent {
  date: string;
  region?: string;
}

/** Middy's request, as a middleware of these tests uses it. */
export interface Request {
  event: ReportEvent;
  context: Context & LockContext;
  response: unknown;
  earlyResponse?: unknown;
  error: unknown;
  internal: Record<string, unknown>;
}
type Hook = (request: Request) => unknown;
export interface Middleware {
  before?: Hook;
  after?: Hook;
  onError?: Hook;
}
export type Handler = (event: ReportEvent, context: Context & LockContext) => unknown;
export type Invoke = (event: ReportEvent, context?: Context) => Promise<unknown>;

/** The part of Middy that both majors share. Its types are tested in test/types. */
interface Chain {
  use(middleware: unknown): unknown;
  handler(handler: Handler): unknown;
}
export type Middy = (plugin?: object) => Chain;

export const versions: { name: string; middy: Middy }[] = [
  { name: "Middy 7", middy: middy7 as unknown as Middy },
  { name: "Middy 6", middy: middy6 as unknown as Middy },
];

/** Adds the missing context: a Lambda's, of its own for each invocation. */
export const invoker = (handler: unknown): Invoke => {
  const invoke = handler as (event: ReportEvent, context: Context) => Promise<unknown>;
  return (event, context = lambdaContext()) => invoke(event, context);
};

/** A handler behind middlewares, the first one outermost. */
export const chain = (middy: Middy, middlewares: unknown[], handler: Handler, plugin: object = {}): Invoke => {
  const chained = middy(plugin);
  for (const middleware of middlewares) chained.use(middleware);
  chained.handler(handler);
  return invoker(chained);
};

/** The three ways to put a lock around a handler, which must not differ where Middy has no say. */
export const wrappers: { name: string; wrap: (handler: Handler, options: DynamoLockOptions<ReportEvent>) => Invoke }[] =
  [
    ...versions.map(({ name, middy }) => ({
      name: `dynamoLock on ${name}`,
      wrap: (handler: Handler, options: DynamoLockOptions<ReportEvent>) => chain(middy, [dynamoLock(options)], handler),
    })),
    { name: "withLock", wrap: (handler, options) => invoker(withLock(handler as never, options)) },
  ];

let days = 0;

/** One day of reports in a table: a key that no other test uses, and everything that is seen of it. */
export const reportDay = (table: Table) => {
  const { client, sent } = countingClient({ maxAttempts: 1 });
  const events: LockEvent[] = [];
  const date = `day-${++days}`;
  return {
    /** The key as stored. */
    key: `report#${date}`,
    event: { date } satisfies ReportEvent as ReportEvent,
    /** Fits `dynamoLock` and `withLock`. */
    options: {
      key: (event: ReportEvent) => event.date,
      client,
      tableName: table.tableName,
      onEvent: (event: LockEvent) => void events.push(event),
    },
    /** The same, on a clock that the test moves. */
    clockedOptions: (clock: Clock, clientOptions: LockClientOptions = {}) => ({
      key: (event: ReportEvent) => event.date,
      locks: new LockClient({
        client,
        tableName: table.tableName,
        onEvent: (event) => void events.push(event),
        clock,
        ...clientOptions,
      }),
    }),
    /** Another run takes the key, and keeps it. */
    takenByAnother: () =>
      new LockClient({ client: table.client, tableName: table.tableName }).acquire(`report#${date}`),
    client,
    /** The requests that were sent, by name. */
    sent,
    events,
    types: () => events.map(({ type }) => type),
    /** The record as DynamoDB has it. */
    item: () => table.item(`report#${date}`),
  };
};

export const tableOfLocks = (): Promise<Table> => lockTable();

/** A raw item in one of its states, for `toMatchObject`. */
export const inProgress = (lock: Lock | undefined): Item => ({
  status: { S: "IN_PROGRESS" },
  token: { S: String(lock?.token) },
});
export const released = { status: { S: "RELEASED" }, expires_at: { N: "0" } };
export const finished = (response: unknown) => ({
  status: { S: "FINISHED" },
  result: response === undefined ? { NULL: true } : { S: JSON.stringify(response) },
});

/** One acquisition and one settlement: what an uncontended run costs. */
export const oneRun = ["UpdateItem", "UpdateItem"];

/** A promise that the test settles. */
export const deferred = <T = void>() => {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
};

/** Requests that DynamoDB refuses to serve, counted from 1; they are not sent. */
export const failRequests = (client: DynamoDBClient, fails: (request: number) => boolean) => {
  let count = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      if (fails(++count)) throw Object.assign(new Error("We could not serve you"), { name: "InternalServerError" });
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "fail-requests" },
  );
};

/** A handler that notes its locks. */
export const reporter = (response: unknown = "report") => {
  const locks: Lock[] = [];
  const handler = vi.fn<Handler>(async (_event, context) => {
    locks.push(context.lock);
    return response;
  });
  return { handler, locks };
};

/** Handlers that end well, and badly. */
export const succeeding = () => vi.fn<Handler>(async () => "report");
export const failing = (...thrown: unknown[]) =>
  vi.fn<Handler>(async () => {
    throw thrown.length > 0 ? thrown[0] : new OutOfStockError("no paper");
  });

export class OutOfStockError extends Error {
  override readonly name = "OutOfStockError";
  readonly statusCode = 410;
}
