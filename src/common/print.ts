import { textOf } from "./errors.ts";

/**
 * Prints a problem on the console, with what was thrown, its stack and its causes. It never throws,
 * whatever the console and the error are.
 */
export const print = (level: "warn" | "error", problem: string, ...thrown: readonly [error?: unknown]): void => {
  try {
    console[level](["middy-dynamo-lock", problem, ...thrown.map((error) => withStack(error))].join(": "));
  } catch {
    // There is nobody left to tell.
  }
};

/** How many causes of an error are printed. An error can be its own cause. */
const MAX_CAUSES = 5;

/** The text alone: an error of AWS carries the items that it is about. */
const withStack = (error: unknown, causes = MAX_CAUSES): string => {
  try {
    const { stack, cause } = error as Error;
    const [frames = ""] = /\n {4}at .*/s.exec(`${stack}`) ?? [];
    const next = cause === undefined || causes === 0 ? "" : `\ncaused by ${withStack(cause, causes - 1)}`;
    return textOf(error) + frames + next;
  } catch {
    return textOf(error);
  }
};

/**
 * A function of the user's must not break a run that goes well: what it throws is printed.
 *
 * @returns whether it went well.
 */
export const callSafely = async (name: string, callback: () => unknown): Promise<boolean> => {
  try {
    await callback();
    return true;
  } catch (error) {
    print("error", `${name} failed, which changes nothing else`, error);
    return false;
  }
};
