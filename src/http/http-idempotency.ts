import { checkOptions, MS, type Rules } from "../common/rules.ts";
import type { DynamoLockOptions } from "../index.ts";
import { httpFingerprint } from "./fingerprint.ts";
import { checkScope, type IdempotencyKeyOptions, idempotencyKey, KEY_RULES } from "./idempotency-key.ts";

/** Options of `httpIdempotency`. */
// biome-ignore lint/suspicious/noExplicitAny: see IdempotencyKeyOptions
export interface HttpIdempotencyOptions<TEvent = any> extends IdempotencyKeyOptions<TEvent> {
  /**
   * How long a key is remembered, in ms. Publish it: the draft wants callers to know.
   * @default 86_400_000, a day, as Stripe has it
   */
  readonly rememberMs?: number | undefined;
}

const DAY_MS = 24 * 3_600_000;

const HTTP_RULES: Rules<HttpIdempotencyOptions<never>> = {
  ...KEY_RULES,
  rememberMs: MS,
};

/** What `httpIdempotency` gives, for `dynamoLock` and `withLock`. */
export type HttpIdempotency<TEvent> = Required<
  Pick<DynamoLockOptions<TEvent>, "key" | "fingerprint" | "rememberMs" | "replayedHeader">
> & {
  readonly onMissingKey: "run";
};

/**
 * All options for requests with an `Idempotency-Key`, to spread into `dynamoLock` or `withLock`: the
 * key, the fingerprint, a day of memory, and `Idempotent-Replayed: true` on each replay. A safe
 * method runs without a lock, so `context.lock` may be missing.
 *
 * @example
 * dynamoLock({
 *   namespace: "payments",
 *   ...httpIdempotency<APIGatewayProxyEventV2WithJWTAuthorizer>({
 *     scope: (event) => String(event.requestContext.authorizer.jwt.claims.sub),
 *   }),
 * })
 *
 * @throws LockOptionsError at construction. In an invocation: as `idempotencyKey`
 */
// biome-ignore lint/suspicious/noExplicitAny: see IdempotencyKeyOptions
export const httpIdempotency = <TEvent = any>(options: HttpIdempotencyOptions<TEvent>): HttpIdempotency<TEvent> => {
  checkScope("httpIdempotency", options);
  checkOptions("httpIdempotency", options, HTTP_RULES);
  const { rememberMs = DAY_MS, ...ofKey } = options;
  return {
    key: idempotencyKey(ofKey) as HttpIdempotency<TEvent>["key"],
    fingerprint: httpFingerprint,
    rememberMs,
    replayedHeader: true,
    onMissingKey: "run",
  };
};
