import type { Context } from "aws-lambda";
import type { Connect } from "../dynamodb/transport.ts";
import {
  answerEarly,
  DEFAULT_TIMEOUT_EARLY_MS,
  type DynamoLockMiddleware,
  holdsFor,
  isMiddyTimeout,
  isPastEarlyTimeout,
  isThenable,
  remember,
  take,
} from "../lambda/middy-request.ts";
import type { WithLock } from "../lambda/options.ts";
import type { Over } from "../lock/options.ts";
import type { DynamoLockBatchOptions, LocksContext, MaybeLocksContext } from "./options.ts";
import { isReport, refuseAnswer } from "./outcome.ts";
import { type BatchRun, createBatchGuard } from "./run.ts";

/**
 * Without a type argument the key function's record is `any`, which must not become the handler's.
 */
type EventOfBatch<TRecord> = 0 extends 1 & TRecord ? unknown : { Records: TRecord[] };

/** The middleware for batches, over what carries its requests. */
export interface DynamoLockBatch<TClient> {
  /**
   * Middy middleware for SQS, Kinesis and DynamoDB Streams, which takes a lock for each record of a
   * batch. The handler is given the records whose locks it has. Repeats that are finished are
   * acknowledged, and records that another run holds come back. Afterwards a record that succeeded is
   * finished. One that failed is released, and comes back. In a FIFO queue's message group and in a
   * stream nothing is processed behind a record that comes back.
   *
   * The event source needs `FunctionResponseTypes: [ReportBatchItemFailures]`: without it Lambda
   * acknowledges the whole batch. Register the middleware last. A middleware after it that answers
   * early skips its `after`, and acknowledges what another run holds.
   *
   * @example
   * export const handler = middy<SQSEvent>()
   *   .use(dynamoLockBatch({ key: (record: SQSRecord) => JSON.parse(record.body).orderId }))
   *   .handler(async (event) => Promise.allSettled(event.Records.map(ship)));
   *
   * @throws LockOptionsError at construction. In an invocation LockBatchError, LockTableError or
   * LockError: then Lambda retries the whole batch. If something is wrong with one record, that
   * record comes back, and is reported (`record-failed`).
   */
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
  <TRecord = any>(
    options: Over<TClient, DynamoLockBatchOptions<TRecord>> & WithLock,
  ): DynamoLockMiddleware<EventOfBatch<TRecord>, Context & LocksContext<TRecord>>;
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
  <TRecord = any>(
    options: Over<TClient, DynamoLockBatchOptions<TRecord>>,
  ): DynamoLockMiddleware<EventOfBatch<TRecord>, Context & MaybeLocksContext<TRecord>>;
}

export const dynamoLockBatchOver = <TClient>(connect: Connect<TClient>): DynamoLockBatch<TClient> =>
  function dynamoLockBatch(options: DynamoLockBatchOptions) {
    return createBatchMiddleware(options, connect);
  } as DynamoLockBatch<TClient>;

const createBatchMiddleware = (
  options: DynamoLockBatchOptions,
  connect: Connect<never>,
): DynamoLockMiddleware<object, Context> => {
  const begin = createBatchGuard("dynamoLockBatch", options, connect);
  const timeoutEarlyMs = options.timeoutEarlyMs ?? DEFAULT_TIMEOUT_EARLY_MS;
  const self = Symbol("dynamoLockBatch");
  type Hook = DynamoLockMiddleware<object, Context>["before"];

  const dynamoLockBatchMiddlewareBefore: Hook = async (request) => {
    const { event } = request;
    const { run, context } = await begin(event, request.context);
    if (run.records.length === 0) return answerEarly(request, await run.settle(undefined));
    const answeredEarly = (response: unknown) => run.settle(response, request.event);
    remember(request, self, { run, event, answeredEarly } as HeldBatch);
    request.event = { ...event, Records: [...run.records] };
    request.context = context;
  };

  const dynamoLockBatchMiddlewareAfter: Hook = async (request) => {
    // Middy 7 doesn't wait for a handler's thenable that is no Promise. If it rejects, our onError
    // runs.
    if (isThenable(request.response) && holdsFor(request, self)) request.response = await request.response;
    const { event } = request;
    const run = takeBatch(request);
    if (!run) return;
    if (isPastEarlyTimeout(request, timeoutEarlyMs)) {
      request.response = run.abandon("timeout");
      return;
    }
    request.response = await run.settle(request.response, event);
  };

  const dynamoLockBatchMiddlewareOnError: Hook = async (request) => {
    const { event } = request;
    const run = takeBatch(request);
    if (!run) return;
    const isAnswered = request.response !== undefined; // by the onError of another middleware
    if (isMiddyTimeout(request.error) || isPastEarlyTimeout(request, timeoutEarlyMs)) {
      const response = run.abandon("timeout");
      if (isAnswered) request.response = response;
    } else if (isReport(request.response)) request.response = await run.settle(request.response, event);
    else {
      await run.fail();
      if (isAnswered) throw refuseAnswer(request.response);
    }
  };

  /**
   * The batch that this request holds, once, with the event as it was: the middlewares before this
   * one know no other.
   */
  const takeBatch = (request: Parameters<Hook>[0]): BatchRun | undefined => {
    const held = take<HeldBatch>(request, self);
    if (held) request.event = held.event;
    return held?.run;
  };

  return {
    before: dynamoLockBatchMiddlewareBefore,
    after: dynamoLockBatchMiddlewareAfter,
    onError: dynamoLockBatchMiddlewareOnError,
  };
};

interface HeldBatch {
  readonly run: BatchRun;
  readonly event: object;
  readonly answeredEarly: (response: unknown) => Promise<unknown>;
}
