import { BOOLEAN, type Contradictions, join, type Rules } from "../common/rules.ts";
import {
  ANSWER_RULES,
  type AnswerOptions,
  HOLDING_RULES,
  type HoldingOptions,
  INVOCATION_RULES,
  type InvocationOptions,
  type OnError,
  REPEAT_RULES,
  type RepeatOptions,
} from "../lambda/options.ts";

/** Options of `dynamoLock` and `withLock`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export interface DynamoLockOptions<TEvent = any>
  extends InvocationOptions<TEvent>,
    HoldingOptions,
    RepeatOptions<TEvent>,
    AnswerOptions<TEvent> {
  /**
   * The fate of the key when the handler succeeds: `'finish'`: once only, repeats are answered
   * without running; `'release'`: once at a time, a repeat may run.
   * @default `'finish'`
   */
  readonly onSuccess?: "finish" | "release" | undefined;
  /**
   * The fate of the key when the handler fails: `'release'`: a retry may run at once; `'finish'`:
   * the failure is final, repeats throw it as `ReplayedError`; `'keep'`: nobody may run until the
   * lease ends; or a function that decides.
   * @default `'release'`
   */
  readonly onError?: OnError | ((error: unknown) => OnError | Promise<OnError>) | undefined;
  /**
   * Keep what JSON makes of the response with the finished key, for repeats, as Lambda sends it to
   * the first caller. What JSON can't carry (a BigInt, a circular structure) is not stored and
   * reported; repeats then get `undefined`. What the handler settles itself keeps the `result` that
   * it gave `finish` or `commit`, and no other.
   * @default `true`
   */
  readonly storeResponse?: boolean | undefined;
  /**
   * Add the header `Idempotent-Replayed: true` to a stored HTTP response (an object with a
   * `statusCode`) when it is replayed, and as `headers` to a `ReplayedError`.
   * @default `false`
   */
  readonly replayedHeader?: boolean | undefined;
}

export const DYNAMO_LOCK_RULES: Rules<DynamoLockOptions> = /* @__PURE__ */ join(
  INVOCATION_RULES,
  HOLDING_RULES,
  REPEAT_RULES,
  ANSWER_RULES,
  {
    onSuccess: "'finish' or 'release'",
    onError: "'release', 'finish', 'keep' or a function",
    storeResponse: BOOLEAN,
    replayedHeader: BOOLEAN,
  },
);

export const DYNAMO_LOCK_CONTRADICTIONS: Contradictions<DynamoLockOptions> = [
  [
    ({ onSuccess, storeResponse }) => onSuccess === "release" && storeResponse,
    "storeResponse needs onSuccess 'finish'",
  ],
  [
    ({ onSuccess, onError, rememberMs }) =>
      onSuccess === "release" && rememberMs !== undefined && onError !== "finish" && typeof onError !== "function",
    "rememberMs needs onSuccess or onError 'finish'",
  ],
];
