import type { Context } from "aws-lambda";
import type { Connect } from "../dynamodb/transport.ts";
import {
  answerEarly,
  DEFAULT_TIMEOUT_EARLY_MS,
  type DynamoLockMiddleware,
  type HeldByRequest,
  holdsFor,
  isMiddyTimeout,
  isPastEarlyTimeout,
  isThenable,
  type MiddyRequest,
  remember,
  take,
} from "../lambda/middy-request.ts";
import { checkKeyed, type EventOf } from "../lambda/options.ts";
import type { CommitRun } from "../lock/commit-run.ts";
import type { Over } from "../lock/options.ts";
import { type CommitGuard, createCommitGuard, ended } from "./guard.ts";
import { type CommitContext, DYNAMO_COMMIT_RULES, type DynamoCommitOptions } from "./options.ts";

/** Fits Middy's `MiddlewareObj`. */
export interface DynamoCommitMiddleware<TEvent, TContext>
  extends Pick<DynamoLockMiddleware<TEvent, TContext>, "before" | "after"> {
  onError(request: MiddyRequest<TEvent, TContext>): Promise<unknown>;
}

/** The middleware, over what carries its requests. */
export interface DynamoCommit<TClient> {
  /**
   * Middy middleware for effects that happen exactly once without a lock: a repeat may run the
   * handler's reading and computing again, before its commit is refused. It writes nothing then, and
   * the caller gets the response of the run that has committed. A run is one request. For handlers
   * whose effects are items in DynamoDB.
   *
   * Nothing is taken before the handler. `context.commit(items, { result })` writes the items and
   * finishes the key in one transaction, if nobody has finished or holds it. A handler that returns
   * without a commit has its response finished in one conditional write, and the first to write wins;
   * what it did outside of DynamoDB may happen more than once. One that throws leaves nothing behind.
   *
   * Register it last: a middleware after it whose `after` or `onError` answers keeps it from
   * finishing, or from answering a repeat.
   *
   * @example
   * export const handler = middy<OrderEvent>()
   *   .use(dynamoCommit<OrderEvent>({ key: (event) => event.id, rememberMs: 15 * 24 * 3_600_000 }))
   *   .handler(async (event, context) =>
   *     context.commit([{ Put: { TableName: "orders", Item: { id: { S: event.id } } } }], { result: { statusCode: 201 } }),
   *   );
   *
   * @throws LockOptionsError at construction, for several keys, and in a durable execution. In an
   * invocation: LockHeldError while a run under a lock is at it, PayloadMismatchError, ReplayedError
   * where a run under a lock has failed for good, LockKeyError, LockTableError, LockError, and
   * LockBatchError for a batch of more than one record.
   */
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoCommitOptions
  <TEvent = any>(
    options: Over<TClient, DynamoCommitOptions<TEvent>>,
  ): DynamoCommitMiddleware<EventOf<TEvent>, Context & CommitContext>;
}

export const dynamoCommitOver = <TClient>(connect: Connect<TClient>): DynamoCommit<TClient> =>
  function dynamoCommit<TEvent>(options: DynamoCommitOptions<TEvent>) {
    checkKeyed("dynamoCommit", options, DYNAMO_COMMIT_RULES);
    return createHooks(createCommitGuard("dynamoCommit", options, connect), options.timeoutEarlyMs);
  } as DynamoCommit<TClient>;

type Hooks<TEvent> = DynamoCommitMiddleware<TEvent, Context>;
type Held = HeldByRequest & { readonly run: CommitRun };

/** They only translate: the work is in the guard. */
const createHooks = <TEvent>(guard: CommitGuard<TEvent>, timeoutEarlyMs = DEFAULT_TIMEOUT_EARLY_MS): Hooks<TEvent> => {
  const self = Symbol("dynamoCommit");
  const takeRun = (request: object) => take<Held>(request, self)?.run;

  const dynamoCommitMiddlewareBefore: Hooks<TEvent>["before"] = async (request) => {
    const begun = await guard.begin(request);
    if ("answer" in begun) return answerEarly(request, begun.answer);
    remember(request, self, held(begun.run));
    request.context = begun.context;
  };

  const dynamoCommitMiddlewareAfter: Hooks<TEvent>["after"] = async (request) => {
    // Middy 7 doesn't wait for a handler's thenable that is no Promise. If it rejects, our onError
    // runs.
    if (isThenable(request.response) && holdsFor(request, self)) request.response = await request.response;
    const run = takeRun(request);
    if (!run) return;
    if (isPastEarlyTimeout(request, timeoutEarlyMs)) return run.close(ended());
    const answered = await guard.succeed(run, request, request.response);
    if (answered) request.response = answered.answer;
  };

  const dynamoCommitMiddlewareOnError: Hooks<TEvent>["onError"] = async (request) => {
    const run = takeRun(request);
    if (!run) return;
    if (isMiddyTimeout(request.error) || isPastEarlyTimeout(request, timeoutEarlyMs)) return run.close(ended());
    try {
      const answered = await guard.fail(run, request);
      if (!answered) return;
      await answerEarly(request, answered.answer);
    } catch (error) {
      request.error = error as Error; // what throws here keeps the others' onErrors from hearing of it
      return;
    }
    // Only what is returned keeps them from making an error response, and `undefined` is nothing.
    const { earlyResponse = null } = request;
    return earlyResponse;
  };

  return {
    before: dynamoCommitMiddlewareBefore,
    after: dynamoCommitMiddlewareAfter,
    onError: dynamoCommitMiddlewareOnError,
  };
};

const held = (run: CommitRun): Held => ({
  run,
  async answeredEarly(response) {
    run.close(ended());
    return response;
  },
});
