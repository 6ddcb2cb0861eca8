import type { Context } from "aws-lambda";
import { checkArgument, FUNCTION } from "../common/rules.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { isMiddyTimeout } from "../lambda/middy-request.ts";
import type { WithLock } from "../lambda/options.ts";
import { isStream, refuseCallback, refuseStreaming } from "../lambda/streams.ts";
import type { Over } from "../lock/options.ts";
import type { DynamoLockBatchOptions, LocksContext, MaybeLocksContext } from "./options.ts";
import type { BatchResponse, BatchResult } from "./outcome.ts";
import { createBatchGuard } from "./run.ts";

type BatchEvent<TRecord> = { Records: TRecord[] };

/** The wrapper of handlers of batches, over what carries its requests. */
export interface WrapWithLockBatch<TClient> {
  /**
   * `dynamoLockBatch` around a plain Lambda handler, with the same options. Nothing can return past
   * it, and it knows when the handler has ended. Prefer it where other middlewares answer early: such
   * an answer acknowledges what another run holds.
   *
   * @example
   * export const handler = withLockBatch(
   *   async (event: SQSEvent) => Promise.allSettled(event.Records.map(ship)),
   *   { key: (record) => JSON.parse(record.body).orderId },
   * );
   *
   * @throws LockOptionsError at construction. In an invocation LockBatchError, LockTableError or
   * LockError: then Lambda retries the whole batch. If something is wrong with one record, that
   * record comes back, and is reported (`record-failed`).
   */
  <TRecord, TContext extends object = Context>(
    handler: (
      event: BatchEvent<TRecord>,
      context: TContext & LocksContext<TRecord>,
    ) => PromiseLike<BatchResult> | BatchResult,
    options: Over<TClient, DynamoLockBatchOptions<TRecord>> & WithLock,
  ): (event: BatchEvent<TRecord>, context: TContext) => Promise<BatchResponse>;
  <TRecord, TContext extends object = Context>(
    handler: (
      event: BatchEvent<TRecord>,
      context: TContext & MaybeLocksContext<TRecord>,
    ) => PromiseLike<BatchResult> | BatchResult,
    options: Over<TClient, DynamoLockBatchOptions<TRecord>>,
  ): (event: BatchEvent<TRecord>, context: TContext) => Promise<BatchResponse>;
}

type BatchHandler<TRecord> = (
  event: BatchEvent<TRecord>,
  context: Context & LocksContext<TRecord>,
) => PromiseLike<BatchResult> | BatchResult;

export const withLockBatchOver = <TClient>(connect: Connect<TClient>): WrapWithLockBatch<TClient> =>
  function withLockBatch<TRecord>(handler: BatchHandler<TRecord>, options: DynamoLockBatchOptions<TRecord>) {
    checkArgument("withLockBatch", "the handler, the first argument,", handler, FUNCTION);
    refuseCallback("withLockBatch", handler);
    const begin = createBatchGuard("withLockBatch", options, connect);
    return async (event: BatchEvent<TRecord>, callers: Context) => {
      if (isStream(callers)) throw refuseStreaming(); // awslambda.streamifyResponse puts the stream second
      const { run, context } = await begin(event, callers ?? {}); // a test may leave it out
      if (run.records.length === 0) return run.settle(undefined);
      const given = { ...event, Records: [...run.records] as TRecord[] };
      let response: unknown;
      try {
        response = await handler(given, context as Context & LocksContext<TRecord>);
      } catch (error) {
        if (isMiddyTimeout(error))
          run.abandon("timeout"); // of a Middy within: its handler may still be running
        else await run.fail();
        throw error;
      }
      return run.settle(response, given);
    };
  } as WrapWithLockBatch<TClient>;
