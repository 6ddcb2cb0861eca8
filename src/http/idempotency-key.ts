/** The key of a request, from the caller and its `Idempotency-Key` header. */
import type { Context } from "aws-lambda";
import { LockKeyError, LockOptionsError } from "../common/errors.ts";
import { hashOf } from "../common/fingerprint.ts";
import { notAsync } from "../common/not-async.ts";
import { BOOLEAN, checkOptions, fits, type Rule, type Rules, show, TEXT } from "../common/rules.ts";
import { type HttpRequest, readRequest } from "./request.ts";

/** Options of `idempotencyKey`. `TEvent` is the request that API Gateway, a function URL or a load balancer hands on. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.requestContext` has to compile.
export interface IdempotencyKeyOptions<TEvent = any> {
  /**
   * Gives the identity of the caller, such as the subject of its token or its account: keys are
   * chosen by callers, and without a scope one caller's key gets another caller's response. Give
   * the identity, not the token, which is another one after it was refreshed. `false`: all callers
   * share their keys, as where there is only one.
   * @default required
   */
  readonly scope: ((event: TEvent, context: Context) => string) | false;
  /**
   * The header that has the key.
   * @default `'Idempotency-Key'`
   */
  readonly header?: string | undefined;
  /**
   * The longest key that is taken, in characters.
   * @default 255
   */
  readonly maxLength?: number | undefined;
  /**
   * Whether a request that is not idempotent by its method (POST, PATCH, and methods of your own)
   * needs the header. `false`: without it the handler runs without a lock.
   * @default `true`
   */
  readonly required?: boolean | undefined;
}

/** Stripe's limit (https://docs.stripe.com/api/idempotent_requests). */
const MAX_LENGTH = 255;

export const DEFAULT_HEADER = "Idempotency-Key";

/** The name of a header: a token (https://www.rfc-editor.org/rfc/rfc9110#section-5.1). */
export const HEADER: Rule = [
  "the name of a header",
  (value) => typeof value === "string" && /^[\w!#$%&'*+.^`|~-]+$/.test(value),
];

export const KEY_RULES: Rules<IdempotencyKeyOptions<never>> = {
  scope: "a function or false",
  header: HEADER,
  maxLength: "a whole number from 1 to 1024",
  required: BOOLEAN,
};

/** They change nothing: whoever repeats them may (https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1). */
const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
/** Each repeat has the same effect (https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2). */
const IDEMPOTENT = new Set(["PUT", "DELETE"]);

/**
 * Gives a function for `key`: a hash of the caller, the method, the path and the key that the
 * request brings in its header, 43 characters long. Nothing of the request stands in the table.
 * Safe methods (GET, HEAD, OPTIONS, TRACE) have no key and run without a lock, if `onMissingKey` is
 * `'run'`. So do PUT and DELETE without the header, which are idempotent by themselves.
 *
 * It reads the header as the IETF's draft has it, as a String of Structured Fields in quotes
 * (https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07#section-2.1),
 * and as it is in use, without them: `"k1"` and `k1` are one key.
 *
 * @example
 * key: idempotencyKey({ scope: (event) => event.requestContext.authorizer.jwt.claims.sub })
 *
 * @throws LockOptionsError at construction. In an invocation: LockKeyError (400) without the
 * header, with two of them, or with a value that is no key; LockOptionsError for a scope that
 * is no text.
 */
// biome-ignore lint/suspicious/noExplicitAny: see IdempotencyKeyOptions
export const idempotencyKey = <TEvent = any>(
  options: IdempotencyKeyOptions<TEvent>,
): ((event: TEvent, context: Context) => string | undefined) => {
  checkScope("idempotencyKey", options);
  checkOptions("idempotencyKey", options, KEY_RULES);
  const { scope, header = DEFAULT_HEADER, maxLength = MAX_LENGTH, required = true } = options;
  return (event, context) => {
    const request = readRequest(event);
    if (!request) {
      throw new LockKeyError("The event is no request of API Gateway, a function URL or an Application Load Balancer");
    }
    const { method, path } = request;
    if (SAFE.has(method)) return undefined;
    const key = keyIn(request, header, maxLength);
    if (key === undefined) {
      if (!required || IDEMPOTENT.has(method)) return undefined;
      throw new LockKeyError(
        `The header ${header} is missing. ${method} ${path} needs it: a new key for each operation`,
      );
    }
    const caller = scope ? notAsync(scope(event, context)) : "";
    if (scope && !fits(caller, TEXT)) {
      throw new LockOptionsError(`scope must return the caller's identity, ${TEXT}, got ${show(caller)}`);
    }
    return hashOf(JSON.stringify([caller, method, path, key]));
  };
};

/** @throws LockOptionsError that says what a scope is for */
export const checkScope = (caller: string, options: { readonly scope?: unknown }): void => {
  if (Object(options).scope !== undefined) return;
  throw new LockOptionsError(
    `${caller}: scope is missing: callers choose their keys, and without the caller's identity in it one caller's key gets ` +
      "another caller's response. Give a function of the event that returns the identity, or false if there is one caller only",
  );
};

/** A String of Structured Fields, with parameters, which have no meaning here (https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3). */
const QUOTED = /^"((?:[ !#-[\]-~]|\\["\\])*)"(?: *;[^,]*)?$/;
/** What is in use without quotes: visible characters. A comma would make a list, and several headers are joined by one. */
const BARE = /^[!#-+\--~]+$/;

const keyIn = (request: HttpRequest, header: string, maxLength: number): string | undefined => {
  const [value, ...others] = request.header(header);
  if (value === undefined) return undefined;
  const refuse = (why: string) => new LockKeyError(`The header ${header} ${why}`);
  if (others.length > 0) throw refuse("is there more than once");
  const text = value.replace(/^[ \t]+|[ \t]+$/g, "");
  const quoted = QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, "$1");
  const key = quoted ?? (BARE.test(text) ? text : "");
  if (key === "") {
    throw refuse(
      'is not valid: one non-empty text of visible ASCII characters, such as "8e03978e-40d5-43e8-bc93-6894a57f9324"',
    );
  }
  if (key.length > maxLength) throw refuse(`is too long: ${key.length} characters, of ${maxLength} at most`);
  return key;
};
