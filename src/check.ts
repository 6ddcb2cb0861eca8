import { LockOptionsError } from "./errors.ts";

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
    value !== null && (types as string[]).includes(typeof value)
      ? undefined
      : `must be ${types.map(withArticle).join(" or ")}`;

const withArticle = (type: string) => (type === "object" ? "an object" : `a ${type}`);

export const text: Check = (value) =>
  typeof value === "string" && value !== "" ? undefined : "must be a non-empty string";

export const anyOf =
  (...checks: Check[]): Check =>
  (value) => {
    const complaints = checks.map((check) => check(value));
    return complaints.includes(undefined) ? undefined : complaints.join(", or ");
  };

export const anything: Check = () => undefined;

/** Throws for an unknown name or a bad value; an option that is `undefined` is not set. */
export const checkOptions = (caller: string, options: object, checks: Record<string, Check>): void => {
  if (typeof options !== "object" || options === null) {
    throw new LockOptionsError(`${caller}: options must be an object, got ${show(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (!check) {
      throw new LockOptionsError(
        `${caller}: unknown option ${JSON.stringify(name)}; options are ${Object.keys(checks).join(", ")}`,
      );
    }
    const complaint = value === undefined ? undefined : check(value);
    if (complaint) throw new LockOptionsError(`${caller}: ${name} ${complaint}, got ${show(value)}`);
  }
};

/** Throws when two options that contradict each other are both set. */
export const forbidTogether = (caller: string, options: object, name: string, others: string[], why: string): void => {
  const set = options as Record<string, unknown>;
  const other = set[name] === undefined ? undefined : others.find((candidate) => set[candidate] !== undefined);
  if (other) throw new LockOptionsError(`${caller}: ${name} and ${other} contradict each other: ${why}`);
};

const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
};
