import { types } from "node:util";
import type { Context } from "aws-lambda";
import { isPlain } from "../common/json.ts";

/** Longer than any lease: what says so, such as a mock, tells no time. */
const MAX_MS = 100 * 365 * 24 * 3_600_000;

/**
 * A durable execution's context carries Lambda's inside
 * (https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html).
 */
export const lambdaContextOf = (context: object): Partial<Context> => {
  const { lambdaContext } = context as { lambdaContext?: unknown };
  return typeof lambdaContext === "object" && lambdaContext !== null ? lambdaContext : context;
};

/** The ARN of a durable execution, which is what makes a context one. */
export const durableArnOf = (context: object): string | undefined => {
  const { executionContext } = context as { executionContext?: { durableExecutionArn?: unknown } };
  return textOrNone(executionContext?.durableExecutionArn);
};

/** A mock may answer to every name with a function. */
export const textOrNone = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;

/**
 * The time that is left of the invocation, in ms; negative when it is late, `Infinity` when that is
 * not known. Contexts made for tests leave the method out, or have one that returns nothing.
 */
export const remainingMsOf = (context: object): number => {
  try {
    const remainingMs = lambdaContextOf(context).getRemainingTimeInMillis?.();
    if (Number.isFinite(remainingMs) && (remainingMs as number) < MAX_MS) return remainingMs as number;
  } catch {
    // It is not known.
  }
  return Number.POSITIVE_INFINITY;
};

/** The names under which a run finds its locks in its context, or its commit. */
type Name = "lock" | "locks" | "commit";

/**
 * The tokens of a run's locks, and of those around it, by its context and by the locks that it
 * finds there.
 */
const tokens = new WeakMap<object, readonly string[]>();

/** The tokens of the locks around a run that is given this context, or a copy of it. */
export const tokensIn = (context: object): readonly string[] => {
  const carriers = [
    () => context,
    () => (context as { lock?: object }).lock,
    () => (context as { locks?: object }).locks,
  ];
  return carriers.flatMap((carrier) => {
    try {
      return tokens.get(Object(carrier())) ?? [];
    } catch {
      return []; // a getter that throws
    }
  });
};

/**
 * The context of one run: the caller's, and under `name` what the run holds. It is an object of its
 * own, because runs may share the caller's: an inner run must not change what an outer one finds.
 * Without a `value` it has none, whatever the caller's has.
 *
 * Copies of a plain object share its accessors, such as `callbackWaitsForEmptyEventLoop`, which
 * Lambda's runtime for Node.js 22 has
 * (https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/blob/main/src/CallbackContext.js).
 * Other objects are wrapped.
 */
export const contextOfRun = <T extends object>(
  callers: T,
  name: Name,
  value: object | undefined,
  ownTokens: readonly string[],
): T => {
  const isWrapped = !isCopied(callers);
  const { [name]: _callers, ...descriptors } = Object.getOwnPropertyDescriptors(callers) as PropertyDescriptorMap;
  // A proxy can describe a property as it likes only where its target's is configurable.
  if (isWrapped) for (const property of Reflect.ownKeys(descriptors)) setFree(descriptors, property);
  const copy = Object.create(Object.getPrototypeOf(callers), descriptors);
  if (value || name in copy) {
    Object.defineProperty(copy, name, { value, writable: true, enumerable: true, configurable: true });
  }
  const context = isWrapped ? wrap(callers, copy, name) : copy;
  const all = [...ownTokens, ...tokensIn(callers)];
  for (const carrier of value ? [context, value] : [context]) tokens.set(carrier, all);
  return context;
};

const setFree = (descriptors: PropertyDescriptorMap, property: PropertyKey): void => {
  (descriptors[property] as PropertyDescriptor).configurable = true;
};

/**
 * Whether a copy does what the object does. An instance of a class may have private fields, and
 * state that must not be there twice, such as the step counter of a durable execution. A mock may
 * answer to names that it doesn't list.
 */
const isCopied = (value: object): boolean =>
  isPlain(value) && !types.isProxy(value) && durableArnOf(value) === undefined;

/**
 * Reads, writes and calls everything but `name` on the original. The copy is what `console.log`
 * shows.
 */
const wrap = <T extends object>(original: T, copy: T, name: Name): T => {
  const holderOf = (property: PropertyKey) => (property === name ? copy : original);
  // biome-ignore lint/complexity/noBannedTypes: a proxy of any function
  const method = (target: Function) =>
    new Proxy(target, {
      apply: (_target, self, args) => Reflect.apply(target, self === wrapped ? original : self, args),
    });
  /** Leaves out the receiver, so that a setter is called on the original and not on the proxy. */
  const onHolder =
    (trap: "set" | "has" | "deleteProperty" | "defineProperty") =>
    (_copy: T, property: PropertyKey, value?: PropertyDescriptor) =>
      Reflect[trap](holderOf(property), property, value as PropertyDescriptor);
  const wrapped: T = new Proxy(copy, {
    get: (_copy, property) => {
      const holder = holderOf(property);
      const value: unknown = Reflect.get(holder, property);
      const isMethod = typeof value === "function" && !Object.hasOwn(holder, property) && property !== "constructor";
      return isMethod ? method(value) : value;
    },
    set: onHolder("set"),
    has: onHolder("has"),
    deleteProperty: onHolder("deleteProperty"),
    defineProperty: onHolder("defineProperty"),
    getOwnPropertyDescriptor: (_copy, property) => {
      const descriptor = Reflect.getOwnPropertyDescriptor(holderOf(property), property);
      return descriptor && { ...descriptor, configurable: true };
    },
    ownKeys: () => [
      ...Reflect.ownKeys(original).filter((property) => property !== name),
      ...(Object.hasOwn(copy, name) ? [name] : []),
    ],
  });
  return wrapped;
};
