/** The errors of a lock as a caller over HTTP gets them. */
import type { Context } from "aws-lambda";
import { LockError, type LockErrorCode } from "../common/errors.ts";
import { checkOptions, type Rules, TEXT } from "../common/rules.ts";
import { DEFAULT_HEADER, HEADER } from "./idempotency-key.ts";

/** Options of `toProblem` and `httpProblems`. */
export interface ProblemOptions {
  /**
   * The address of your API's page about its keys: it is the `type` of each problem, and a `Link`.
   * The draft wants it in the responses 400, 409 and 422.
   * @default none: the type is `about:blank`
   */
  readonly documentation?: string | undefined;
  /**
   * The header that has the key, as it is named in titles.
   * @default `'Idempotency-Key'`
   */
  readonly header?: string | undefined;
}

/** A response of API Gateway, a function URL or a load balancer. Its body is JSON (RFC 9457). */
export interface ProblemResponse {
  readonly statusCode: number;
  readonly headers?: Record<string, string>;
  /** For a load balancer that sends headers with several values. */
  readonly multiValueHeaders?: Record<string, string[]>;
  readonly body: string;
}

const PROBLEM_RULES: Rules<ProblemOptions> = { documentation: TEXT, header: HEADER };

/** A caller that comes back no sooner wastes no request, and one that waits no longer loses little time. */
const MAX_RETRY_AFTER_S = 5;

/** By the code of the error: the title of its problem. `{}` is the header. */
const TITLES: Partial<Record<LockErrorCode, string>> = {
  LOCK_KEY: "{} is missing or not valid",
  LOCK_PAYLOAD_MISMATCH: "{} is already used",
  LOCK_HELD: "A request is outstanding for this {}",
  LOCK_TIMEOUT: "A request is outstanding for this {}",
  LOCK_LOST: "The request was overtaken by another with this {}",
  LOCK_REQUEST: "The service is not available for the moment",
};

/** What a problem without a type of its own is called (RFC 9457, 4.2.1; the phrases are RFC 9110's). */
const STATUSES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  409: "Conflict",
  422: "Unprocessable Content",
  503: "Service Unavailable",
};

/** What is said in place of a message that is for people who operate the service. */
const DETAILS: Partial<Record<LockErrorCode, string>> = {
  LOCK_REQUEST: "Nothing is lost: send the same request again, with the same key.",
};

/**
 * The response for an error of a lock, as `application/problem+json`: 400 for a key that is missing or no key, 409 while
 * another request with it is under way, 422 for a key that was used with another payload, and 503 when DynamoDB is away,
 * which `@middy/http-error-handler` alone would make a 500. 409 and 503 have `Retry-After`, from what is left of the lease,
 * 5 seconds at most. `undefined` for every other error, also a `ReplayedError`: it is answered as the first one was.
 *
 * @param event for a load balancer that sends headers with several values
 *
 * @example
 * const locked = withLock(charge, { namespace: "payments", ...httpIdempotency({ scope }) });
 * export const handler = (event, context) =>
 *   locked(event, context).catch((error) => toProblem(error, { documentation }) ?? { statusCode: 500 });
 *
 * Sources: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07#section-2.7,
 * https://www.rfc-editor.org/rfc/rfc9457
 */
export const toProblem = (
  error: unknown,
  options: ProblemOptions = {},
  event?: unknown,
): ProblemResponse | undefined => {
  if (!(error instanceof LockError)) return undefined;
  const { code, message, statusCode } = error;
  const title = TITLES[code];
  if (!title || statusCode === 500) return undefined;
  const { documentation, header = DEFAULT_HEADER } = options;
  const isPassing = statusCode === 409 || statusCode === 503;
  const headers = {
    "Content-Type": "application/problem+json",
    "Content-Language": "en",
    ...(documentation && { Link: `<${documentation}>; rel="describedby"` }),
    ...(isPassing && { "Retry-After": `${retryAfterS(error)}` }),
  };
  const problem = {
    type: documentation ?? "about:blank",
    title: documentation ? title.replace("{}", header) : STATUSES[statusCode],
    status: statusCode,
    detail: `${documentation ? "" : `${title.replace("{}", header)}. `}${DETAILS[code] ?? message}`,
  };
  const response = { statusCode, body: JSON.stringify(problem) };
  const { headers: single, multiValueHeaders } = Object(event) as Record<string, object | undefined>;
  return multiValueHeaders && !single
    ? { ...response, multiValueHeaders: eachInList(headers) }
    : { ...response, headers };
};

const eachInList = (headers: Record<string, string>): Record<string, string[]> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));

/** In whole seconds, as the header has it. */
const retryAfterS = (error: LockError): number => {
  const { record } = error as { readonly record?: { readonly expiresAt: number } };
  const leftMs = record ? record.expiresAt - Date.now() : 0;
  return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(leftMs / 1_000)));
};

/** Fits Middy's `MiddlewareObj`. */
export interface HttpProblemsMiddleware {
  onError(request: {
    event: unknown;
    context: Context;
    // biome-ignore lint/suspicious/noExplicitAny: a middleware fits handlers of any response, as in Middy's own types.
    response: any;
    error: Error | null | undefined;
    // biome-ignore lint/complexity/noBannedTypes: Middy's own default for a middleware that keeps nothing there.
    internal: {};
  }): void;
}

/**
 * Middy middleware: answers the errors of a lock by `toProblem`, and leaves every other error to the
 * middlewares around it. Register it before the lock, and behind `httpErrorHandler`.
 *
 * @example
 * middy()
 *   .use(httpErrorHandler())
 *   .use(httpProblems({ documentation: "https://api.example.com/docs/idempotency" }))
 *   .use(dynamoLock({ namespace: "payments", ...httpIdempotency({ scope }) }))
 *
 * @throws LockOptionsError at construction
 */
export const httpProblems = (options: ProblemOptions = {}): HttpProblemsMiddleware => {
  checkOptions("httpProblems", options, PROBLEM_RULES);
  return {
    onError(request) {
      if (request.response !== undefined) return;
      const response = toProblem(request.error, options, request.event);
      if (response) request.response = response; // not returned: the middlewares around it add their headers
    },
  };
};
