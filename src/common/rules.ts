/**
 * Options are declared as data: a rule says in words what an option may be. The words are checked
 * by one interpreter, they are the error message, and the tables of options are generated from
 * them.
 */
import { inspect } from "node:util";
import { LockOptionsError } from "./errors.ts";
import { warnOfSeconds } from "./seconds.ts";
import { suggest } from "./suggest.ts";

/**
 * The values that an option may have: alternatives, joined by `or`, or by a comma before a quoted
 * text. A check that words can't say comes beside them. It may return what it got, in words, in
 * place of `false`.
 *
 * @example
 * "a whole number of milliseconds from 1 to 900000 or false"
 * "'release', 'finish' or a function"
 * "a logger with the methods debug, warn, error"
 * ["an AbortSignal", (value) => value instanceof AbortSignal]
 */
export type Rule = string | readonly [text: string, is: (value: unknown) => boolean | string];

/** The rule of each option, by its name. */
export type Rules<T = unknown> = { readonly [Name in keyof T]-?: Rule };

/**
 * Options that must not be together, and why. Where the text has `{}`, it is about what `is`
 * returned. The error adds the times that the text names.
 */
export type Contradictions<T> = readonly (readonly [is: (options: T) => unknown, why: string])[];

export const FUNCTION = "a function";
export const BOOLEAN = "a boolean";
/** DynamoDB takes UTF-8, in which half a surrogate pair can't be written. */
export const TEXT = "a non-empty string of whole characters";
/** The largest is 100 years: far beyond any use, and still exact in a number and in DynamoDB. */
export const MS = "a whole number of milliseconds from 1 to 3153600000000";
export const MS_OR_ZERO = "a whole number of milliseconds from 0 to 3153600000000";
/** No longer than a Lambda can run. */
export const MS_OF_INVOCATION = "a whole number of milliseconds from 0 to 900000";
export const ANYTHING: Rule = ["anything", () => true];
export const KEYS: Rule = ["an array of keys", Array.isArray];
export const SIGNAL: Rule = ["an AbortSignal", (value) => value instanceof AbortSignal];

/**
 * Rules of several kinds of options in one. A bundler drops the call where nobody needs its result.
 */
export const join = <T extends readonly object[]>(...groups: T): Joined<T> => Object.assign({}, ...groups);
type Joined<T> = T extends readonly [infer First, ...infer Others] ? First & Joined<Others> : unknown;

/** The rules of these options, for what has not all of a kind. */
export const pick = <T, Name extends keyof T>(rules: T, ...names: readonly Name[]): Pick<T, Name> =>
  Object.fromEntries(names.map((name) => [name, rules[name]])) as Pick<T, Name>;

export const wordsOf = (rule: Rule): string => (typeof rule === "string" ? rule : rule[0]);

/** Whether a value is what the rule says: `true`, or `false`, or what it is instead. */
export const fits = (value: unknown, rule: Rule): boolean | string =>
  typeof rule === "string" ? rule.split(/ or |, (?=')/).some((words) => isOne(value, words)) : rule[1](value);

const isOne = (value: unknown, words: string): boolean => {
  if (typeof value === "string") {
    if (!words.startsWith(TEXT)) return words === `'${value}'`;
    return value !== "" && value.isWellFormed() && !(words.endsWith("'#'") && value.includes("#"));
  }
  const [, min, max] = / (\d+) to (\d+)/.exec(words) ?? [];
  if (max) return Number.isInteger(value) && (value as number) >= Number(min) && (value as number) <= Number(max);
  const methods = words.split(/ methods? /)[1];
  if (value === null || Array.isArray(value)) return false;
  if (!methods) return words.endsWith(` ${typeof value}`) || (value === false && words === "false");
  const given = value as Record<string, unknown>;
  return typeof value === "object" && methods.split(", ").every((method) => typeof given[method] === "function");
};

/**
 * Whether a value is an object of these fields and no others; what it is instead, if it is another
 * object.
 */
export const hasShape = (value: unknown, rules: Rules<Record<string, unknown>>): boolean | string => {
  if (!isOne(value, "an object")) return false;
  const given = value as Record<string, unknown>;
  const names = Object.keys(given);
  const isWhole = Object.entries(rules).every(([name, rule]) => fits(given[name], rule) === true);
  return (isWhole && names.every((name) => Object.hasOwn(rules, name))) || `{ ${names.join(", ")} }`;
};

/**
 * Throws for unknown names, contradictions and bad values. An option that is `undefined` is not
 * set. Contradictions are asked first, because they say more. So they have to bear values of any
 * kind.
 */
export const checkOptions = <T extends object>(
  caller: string,
  options: T,
  rules: Rules<NoInfer<T>>,
  ...contradictions: readonly Contradictions<NoInfer<T>>[]
): void => {
  const known = Object.keys(rules);
  const names = Object.keys(Object(options));
  const isNone = !names.some((name) => known.includes(name)) && !/^\W*(Object|$)/.test(show(options));
  if (isNone || !isOne(options, "an object")) fail(caller, `options must be an object, got ${show(options)}`);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    fail(caller, `unknown option ${show(unknown)}; options are ${known.join(", ")}${suggest(unknown, known)}`);
  }
  refuse(caller, options, ...contradictions);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) checkArgument(caller, name, value, rules[name as keyof T]);
  }
};

const fail = (caller: string, what: string): never => {
  throw new LockOptionsError(`${caller}: ${what}`);
};

/** Throws for the first contradiction. */
export const refuse = <T extends object>(
  caller: string,
  options: T,
  ...contradictions: readonly Contradictions<NoInfer<T>>[]
): void => {
  for (const [is, why] of contradictions.flat()) {
    const found = is(options);
    if (!found) continue;
    const withValue = (name: string) => {
      const value = (options as Record<string, unknown>)[name];
      return Number.isFinite(value) ? `${name} (${value})` : name;
    };
    fail(caller, why.replace("{}", String(found)).replace(/\w+Ms/g, withValue));
  }
};

/** The first of the names that is set. */
export const firstSet = (options: object, names: readonly string[]): string | undefined =>
  names.find((name) => (options as Record<string, unknown>)[name] !== undefined);

/** Throws for a bad value, also for `undefined`. */
export const checkArgument = (caller: string, name: string, value: unknown, rule: Rule): void => {
  const fit = fits(value, rule);
  if (fit !== true) fail(caller, `${name} must be ${wordsOf(rule)}, got ${fit || show(value)}`);
  warnOfSeconds(caller, name, value);
};

/**
 * A value in an error, as Node.js prints it: a text as it is, and of an object only the name of its
 * class. An error is shown without its stack, which has no place within another's message.
 */
export const show = (value: unknown): string =>
  inspect(value, { depth: -1, customInspect: false, breakLength: 1e9 }).replace(/\n.*/s, "");
