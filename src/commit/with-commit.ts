import type { Context } from "aws-lambda";
import type { Jsonified } from "../common/jsonified.ts";
import { fromStorable, toStorable } from "../common/result.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { isMiddyTimeout } from "../lambda/middy-request.ts";
import { checkKeyed } from "../lambda/options.ts";
import { isStream, refuseStreaming } from "../lambda/streams.ts";
import { checkHandler } from "../lambda/wrapper.ts";
import type { Over } from "../lock/options.ts";
import { createCommitGuard, ended } from "./guard.ts";
import { type CommitContext, DYNAMO_COMMIT_RULES, type DynamoCommitOptions } from "./options.ts";

/** The wrapper of handlers, over what carries its requests. */
export interface WrapWithCommit<TClient> {
  /**
   * `dynamoCommit` around a plain Lambda handler, with the same options: a repeat may run the
   * handler's reading and computing again, before its commit is refused. All callers get the same
   * response: what JSON makes of it, as Lambda does.
   *
   * @example
   * export const handler = withCommit(
   *   async (event: OrderEvent, context) =>
   *     context.commit([{ Put: { TableName: "orders", Item: { id: { S: event.id } } } }], { result: { statusCode: 201 } }),
   *   { key: (event) => event.id, rememberMs: 15 * 24 * 3_600_000 },
   * );
   *
   * @throws as `dynamoCommit`.
   */
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & CommitContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoCommitOptions<TEvent>>,
  ): (event: TEvent, context: TContext) => Promise<Jsonified<TResult>>;
}

export const withCommitOver = <TClient>(connect: Connect<TClient>): WrapWithCommit<TClient> =>
  function withCommit<TEvent>(
    handler: (event: TEvent, context: Context & CommitContext) => unknown,
    options: DynamoCommitOptions<TEvent>,
  ) {
    checkHandler("withCommit", handler);
    checkKeyed("withCommit", options, DYNAMO_COMMIT_RULES);
    const guard = createCommitGuard("withCommit", options, connect);
    return async (event: TEvent, callers: Context) => {
      if (isStream(callers)) throw refuseStreaming(); // awslambda.streamifyResponse puts the stream second
      const request = { event, context: callers ?? {} }; // a test may leave it out
      const begun = await guard.begin(request);
      if ("answer" in begun) return begun.answer;
      const { run, context } = begun;
      let response: unknown;
      try {
        response = await handler(event, context as Context & CommitContext);
      } catch (error) {
        if (isMiddyTimeout(error)) {
          run.close(ended()); // of a Middy within: its handler may go on
          throw error;
        }
        const answered = await guard.fail(run, request);
        if (answered) return answered.answer;
        throw error;
      }
      const answered = await guard.succeed(run, request, response);
      if (answered) return answered.answer;
      const stored = isStream(response) ? undefined : toStorable(response);
      return !stored || "reason" in stored ? response : fromStorable(stored);
    };
  } as WrapWithCommit<TClient>;
