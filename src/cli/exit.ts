/** Exit codes, and which of them an error stands for. */
import type { LockError } from "../index.ts";

/**
 * 64 to 78 are those of BSD's sysexits (https://man.openbsd.org/sysexits), 124 to 128 those of
 * `timeout` and of a shell.
 */
export const EXIT = {
  done: 0,
  /** More is needed to go on: a guard, or a confirmation. */
  refused: 2,
  /** The key is free, or nothing matched. */
  nothing: 3,
  /** The key is not as it was seen. */
  changed: 4,
  usage: 64,
  unavailable: 69,
  bug: 70,
  held: 75,
  lost: 76,
  permission: 77,
  found: 78,
  timeout: 124,
  notExecutable: 126,
  notFound: 127,
  /** Plus the number of the signal. */
  signal: 128,
  /** As of a program that SIGPIPE ends. */
  brokenPipe: 141,
} as const;

/** Ends the command with a message on stderr. */
export class CommandEnd extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

const DENIED =
  /AccessDenied|NotAuthorized|Unrecognized|InvalidSignature|InvalidClientToken|ExpiredToken|TokenProvider|Credentials|MissingAuthentication|SSO/;

const namesIn = (error: unknown): string[] =>
  error instanceof Error ? [error.name, ...namesIn(error.cause)] : error ? [String(error)] : [];

/** The exit code and the text of whatever was thrown. */
export const endOf = (error: unknown): CommandEnd => {
  if (error instanceof CommandEnd) return error;
  const { code, message = String(error) } = Object(error) as Partial<LockError>;
  if (namesIn(error).some((name) => DENIED.test(name))) return new CommandEnd(EXIT.permission, message);
  if (code === "LOCK_OPTIONS" || code === "LOCK_KEY") return new CommandEnd(EXIT.usage, message);
  if (code === "LOCK_LOST") return new CommandEnd(EXIT.lost, message);
  if (code === "LOCK_HELD" || code === "LOCK_TIMEOUT") return new CommandEnd(EXIT.held, message);
  if (code === "LOCK_REQUEST" || code === "LOCK_TABLE" || code === "LOCK_CLOSED") {
    return new CommandEnd(EXIT.unavailable, message);
  }
  const stack = error instanceof Error && error.stack ? error.stack : message;
  return new CommandEnd(EXIT.bug, `This is a bug of dynamo-lock, please report it: ${stack}`);
};
