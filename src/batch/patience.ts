import { LockError, LockTimeoutError } from "../common/errors.ts";

/** A DynamoDB that doesn't answer this often in a row is not asked any more. */
const MAX_FAULTS = 10;

/**
 * Many requests to a DynamoDB that doesn't answer must not eat the invocation: each takes seconds
 * to fail.
 */
export class Patience {
  /** The first of the faults, as long as there was no answer at all. */
  onlyFault: unknown;
  #inARow = 0;
  #answered = false;

  answered(): void {
    this.#answered = true;
    this.#inARow = 0;
    this.onlyFault = undefined;
  }

  /** An error that tells of DynamoDB's state counts as an answer. */
  failed(error: unknown): void {
    if (!isSilence(error)) this.answered();
    else {
      this.#inARow++;
      if (!this.#answered) this.onlyFault ??= error;
    }
  }

  get isOver(): boolean {
    return this.#inARow >= MAX_FAULTS;
  }
}

const isSilence = (error: unknown): boolean =>
  error instanceof LockTimeoutError
    ? error.record === undefined
    : error instanceof LockError && (error.code === "LOCK_REQUEST" || error.code === "LOCK_CLOSED");
