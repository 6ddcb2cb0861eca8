import { LockOptionsError } from "./errors.ts";
import { print } from "./print.ts";
import { suggest } from "./suggest.ts";

/** Says what is wrong with a value, or nothing. */
export type Check = (value: unknown) => string | undefined;

const YEAR_MS = 365 * 24 * 3600 * 1000;
/** Far beyond any use, and still exact in a number and in DynamoDB. */
const MAX_MS = 100 * YEAR_MS;

export const wholeNumber =
  (min: number, max: number, unit = ""): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `must be a whole number${unit} from ${min} to ${max}`;

export const milliseconds = (min: number, max = MAX_MS): Check => wholeNumber(min, max, " of milliseconds");

export const oneOf =
  (...values: unknown[]): Check =>
  (value) =>
    values.includes(value) ? undefined : `must be one of ${values.map((v) => JSON.stringify(v)).join(", ")}`;

export const ofType =
  (...types: ("string" | "boolean" | "function" | "object")[]): Check =>
  (value) =>
    value !== null && !Array.isArray(value) && (types as string[]).includes(typeof value)
      ? undefined
      : `must be ${types.map(withArticle).join(" or ")}`;

const withArticle = (type: string) => (type === "object" ? "an object" : `a ${type}`);

/** DynamoDB takes UTF-8, in which half a surrogate pair can't be written. */
export const text: Check = (value) => {
  if (typeof value !== "string" || value === "") return "must be a non-empty string";
  return value.isWellFormed() ? undefined : "must be well-formed text, without half a character in it";
};

export const anyOf =
  (...checks: Check[]): Check =>
  (value) => {
    const complaints = checks.map((check) => check(value));
    return complaints.includes(undefined) ? undefined : complaints.join(", or ");
  };

export const arrayOfKeys: Check = (value) => (Array.isArray(value) ? undefined : "must be an array of keys");

export const anything: Check = () => undefined;

/** Asks for these methods, whatever the class. */
export const withMethods =
  (what: string, ...methods: string[]): Check =>
  (value) => {
    const missing = methods.filter(
      (method) => typeof (Object(value) as Record<string, unknown>)[method] !== "function",
    );
    return missing.length === 0 ? undefined : `must be ${what}: it has no method ${missing.join(", ")}`;
  };

/** An object of a few names, all of them checked, and no others. */
export const ofShape =
  (complaint: string, fields: Record<string, Check>): Check =>
  (value) => {
    const given = Object(value) as Record<string, unknown>;
    const unknown = Object.keys(given).find((name) => !Object.hasOwn(fields, name));
    if (unknown !== undefined) return `${complaint}, and nothing else: unknown ${JSON.stringify(unknown)}`;
    return Object.entries(fields).some(([name, check]) => check(given[name])) ? complaint : undefined;
  };

/** Throws for an unknown name or a bad value; an option that is `undefined` is not set. */
export const checkOptions = (caller: string, options: object, checks: Record<string, Check>): void => {
  const isKnown = (name: string) => Object.hasOwn(checks, name);
  const names = ofType("object")(options) ? [] : Object.keys(options);
  if (ofType("object")(options) || (isInstance(options) && !names.some(isKnown))) {
    throw new LockOptionsError(`${caller}: options must be an object, got ${show(options)}`);
  }
  for (const name of names) {
    if (isKnown(name)) continue;
    throw new LockOptionsError(
      `${caller}: unknown option ${JSON.stringify(name)}; options are ${Object.keys(checks).join(", ")}${suggest(name, Object.keys(checks))}`,
    );
  }
  for (const [name, value] of Object.entries(options)) checkValue(caller, name, value, checks[name] as Check);
};

/** Throws for a bad value; one that is `undefined` is not set. */
export const checkValue = (caller: string, name: string, value: unknown, check: Check): void => {
  const complaint = value === undefined ? undefined : check(value);
  if (complaint) throw new LockOptionsError(`${caller}: ${name} ${complaint}, got ${show(value)}`);
  warnOfSeconds(caller, name, value);
};

/** Throws for an argument, which can't be left out. */
export const checkArgument = (caller: string, name: string, value: unknown, check: Check): void => {
  const complaint = check(value);
  if (complaint) throw new LockOptionsError(`${caller}: ${name} ${complaint}, got ${show(value)}`);
};

/** Throws when two options that contradict each other are both set. */
export const forbidTogether = (caller: string, options: object, name: string, others: string[], why: string): void => {
  const set = options as Record<string, unknown>;
  const other = set[name] === undefined ? undefined : others.find((candidate) => set[candidate] !== undefined);
  if (other) throw new LockOptionsError(`${caller}: ${name} and ${other} contradict each other: ${why}`);
};

/** Describes a value in an error, whatever it is. */
export const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") {
    const isClass = Function.prototype.toString.call(value).startsWith("class");
    return isClass ? `the class ${value.name}` : "a function";
  }
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object" || value === null) return String(value);
  return isInstance(value) ? `an instance of ${classOf(value)}` : "an object";
};

/** The name of its class, if that can be known. */
const classOf = (value: object): unknown => {
  try {
    return (Object.getPrototypeOf(value) as object | null)?.constructor.name;
  } catch {
    return undefined;
  }
};

const isInstance = (value: object): boolean => {
  const name = classOf(value);
  return typeof name === "string" && name !== "" && name !== "Object";
};

/** Up to which value a time looks like seconds, as most other libraries take them. */
const SECONDS_UP_TO: Readonly<Record<string, number>> = {
  leaseMs: 900,
  waitMs: 60,
  timeoutMs: 60,
  heartbeatMs: 60,
  intervalMs: 60,
  reserveMs: 60,
  rememberMs: 10_000,
  retentionMs: 10_000,
  olderThanMs: 10_000,
};
const LONG = 10_000;
const warned = new Set<string>();

/** Says once that times are milliseconds. Whole hours in seconds are hardly ever whole minutes in milliseconds. */
const warnOfSeconds = (caller: string, name: string, value: unknown): void => {
  const upTo = SECONDS_UP_TO[name];
  if (typeof value !== "number" || value === 0 || upTo === undefined || warned.has(name)) return;
  const isHours = upTo === LONG && value % 3_600 === 0 && value % 60_000 !== 0;
  if (value > upTo && !isHours) return;
  warned.add(name);
  print("warn", `${caller}: ${name} is ${value} milliseconds. If seconds were meant, it must be ${value * 1000}`);
};
