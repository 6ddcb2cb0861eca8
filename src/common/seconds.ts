import { print } from "./print.ts";

/** Times that are hardly ever short in milliseconds: not those that only keep something apart. */
const IS_DOUBTED = /(?<!Skew|safe|Early)Ms$/;
const LONG = 10_000;
/**
 * Up to which value such a time looks like seconds, as most other libraries take them. The others:
 * up to a minute.
 */
const SECONDS_UP_TO: Readonly<Record<string, number>> = {
  leaseMs: 900,
  rememberMs: LONG,
  retentionMs: LONG,
  olderThanMs: LONG,
};
const warned = new Set<string>();

/**
 * Says once that times are milliseconds. Whole hours in seconds are hardly ever whole minutes in
 * milliseconds.
 */
export const warnOfSeconds = (caller: string, name: string, value: unknown): void => {
  if (typeof value !== "number" || value === 0 || !IS_DOUBTED.test(name) || warned.has(name)) return;
  const upTo = SECONDS_UP_TO[name] ?? 60;
  const isHours = upTo === LONG && value % 3_600 === 0 && value % 60_000 !== 0;
  if (value > upTo && !isHours) return;
  warned.add(name);
  print("warn", `${caller}: ${name} is ${value} milliseconds. If seconds were meant, it must be ${value * 1000}`);
};
