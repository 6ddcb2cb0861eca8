/** The life of one invocation that may commit: before the handler, and after it. */
import type { Context } from "aws-lambda";
import { LockBatchError, LockError, LockOptionsError, LockTimeoutError } from "../common/errors.ts";
import { toFingerprint } from "../common/fingerprint.ts";
import { isMissing, toStoredKey } from "../common/key.ts";
import { show } from "../common/rules.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { answer, toCopy } from "../lambda/answer.ts";
import { contextOfRun, tokensIn } from "../lambda/context.ts";
import { acquireTimeOf, describeExecution, ownerOf, patienceOf, settleTimeOf } from "../lambda/execution.ts";
import { locksOf } from "../lambda/locks-of.ts";
import type { LockRequest } from "../lambda/options.ts";
import { hasRejected, partialBatchOf, reportsFailures } from "../lambda/partial-batch.ts";
import { isStream } from "../lambda/streams.ts";
import { CommitRun } from "../lock/commit-run.ts";
import type { Locks } from "../lock/locks.ts";
import { DEFAULTS } from "../lock/options.ts";
import type { DynamoCommitOptions } from "./options.ts";

/** The response that goes out in place of the handler's. */
export interface Answered {
  readonly answer: unknown;
}

/** The decision about an invocation: run the handler, or answer it as a repeat. */
export type CommitBegun = { readonly run: CommitRun; readonly context: Context } | Answered;

/**
 * The same for a middleware and for a wrapper: `begin` before the handler, then `succeed` or `fail`
 * once, and only if the handler is known to have ended. Both give what goes out in place of what the
 * handler returned or threw, if anything.
 */
export interface CommitGuard<TEvent> {
  begin(request: LockRequest<TEvent>): Promise<CommitBegun>;
  succeed(run: CommitRun, request: LockRequest<TEvent>, response: unknown): Promise<Answered | undefined>;
  /** Throws in place of the handler's error only what the key's refusal says. */
  fail(run: CommitRun, request: LockRequest<TEvent>): Promise<Answered | undefined>;
}

/** Takes options that a door has checked. */
export const createCommitGuard = <TEvent>(
  caller: string,
  options: DynamoCommitOptions<TEvent>,
  connect: Connect<never>,
): CommitGuard<TEvent> => {
  const locksInUse = locksOf(caller, options, connect);
  const duplicates = { ...options, duplicateResponse: toCopy(caller, options.duplicateResponse as never) };
  const clients = new WeakMap<CommitRun, Locks>();

  /** Gives the answer of the run that has the key, if that has refused this one. */
  const answerRefused = async (run: CommitRun, request: LockRequest<TEvent>): Promise<Answered | undefined> => {
    const { refused, error } = run.refusal ?? {};
    if (!error) return undefined;
    if (!refused) throw error;
    return { answer: await answer(clients.get(run) as Locks, refused, duplicates as typeof options, request) };
  };

  /** Waits for what the handler has begun and not awaited; then nothing is sent any more. */
  const conclude = async (run: CommitRun, request: LockRequest<TEvent>): Promise<unknown> => {
    const { hangs, failure } = await run.unawaited(patienceOf(describeExecution(request.context)));
    if (!hangs) return failure?.error;
    const hanging =
      "A commit that was not awaited has no answer while the invocation ends. It is not known whether it was applied: await it";
    run.close(ended());
    return new LockError("LOCK_REQUEST", hanging);
  };

  return {
    async begin(request) {
      const { event, context } = request;
      const { locks, disabled } = locksInUse();
      const execution = describeExecution(context);
      const key = disabled ? undefined : options.key(event, context);
      const isWithout = disabled || (isMissing(key) && options.onMissingKey === "run");
      if (!isWithout) refuseWhole(caller, event);
      if (!isWithout && execution.durableArn !== undefined) {
        throw new LockOptionsError(
          `${caller}: a durable execution would end at its commit when it is next resumed, with the steps after it left out: commit in a function of its own`,
        );
      }
      if (Array.isArray(key)) {
        throw new LockOptionsError(
          `${caller}: key must give one key, got ${show(key)}: a commit is all or nothing, so one key of what it is about will do`,
        );
      }
      const namespace = options.namespace ?? locks.options.namespace ?? execution.functionName;
      const client = isWithout ? locks.standIn : locks;
      const run = new CommitRun(client, {
        key: isWithout ? "none" : toStoredKey(key, namespace),
        owner: ownerOf(options.owner, [event, context], execution),
        fingerprint: isWithout || !options.fingerprint ? undefined : toFingerprint(options.fingerprint(event, context)),
        rememberMs: options.rememberMs ?? locks.options.rememberMs ?? DEFAULTS.rememberMs,
        settleTime: settleTimeOf(options.settleMs, locks, execution),
        around: tokensIn(context),
      });
      clients.set(run, client);
      locks.closing.signal.throwIfAborted();
      if (!run.isKnown() && options.lookFirst && !isWithout) await run.look(acquireTimeOf(execution));
      const answered = await answerRefused(run, request);
      const commit: CommitRun["commit"] = (items, given) => run.commit(items, given);
      return answered ?? { run, context: contextOfRun(context, "commit", commit, []) };
    },

    async succeed(run, request, response) {
      const failure = await conclude(run, request);
      const isDone = run.isCommitted || run.refusal !== undefined;
      if (failure !== undefined && !run.refusal) throw closed(run, failure);
      if (!isDone && isStream(response)) throw closed(run, streamed());
      const isOfBatch = partialBatchOf(request.event) !== undefined;
      // A response that reports a failure must not be remembered as if all were done.
      const isFailure = reportsFailures(response) || (isOfBatch && hasRejected(response));
      if (!isDone && !isFailure) {
        await run.finish(response).catch((error: unknown) => {
          // The response of a run that may have lost must not go out.
          if (!run.refusal) throw closed(run, error);
        });
      }
      run.close(ended());
      return answerRefused(run, request);
    },

    async fail(run, request) {
      await conclude(run, request);
      run.close(ended());
      return answerRefused(run, request);
    },
  };
};

const closed = (run: CommitRun, error: unknown): unknown => {
  run.close(ended());
  return error;
};

/** The error of a commit that comes when the invocation has been answered. */
export const ended = (): LockTimeoutError =>
  new LockTimeoutError("The invocation has ended, or was answered before its handler ended: the commit was not sent");

const streamed = (): LockError =>
  new LockError(
    "LOCK_STREAMING",
    "A streamed response can't be finished: it goes on after the handler has returned. Commit before, or return the body as a " +
      "string. The key is not finished",
  );

/** @throws LockBatchError: one key for all records would say that those are done which are not. */
const refuseWhole = (caller: string, event: unknown): void => {
  const batch = partialBatchOf(event);
  if (!batch || batch.records < 2) return;
  throw new LockBatchError(
    `the event is a batch of ${batch.records} records of ${batch.source}, and one key would acknowledge those of them that fail. ` +
      "The handler did not run. Call a withCommit handler for each record, or set BatchSize: 1",
    { caller },
  );
};
