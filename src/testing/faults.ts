/** Faults on demand: what a network and a busy DynamoDB do to requests. */
import { MemoryFailure } from "./errors.ts";

/**
 * `throttle`: DynamoDB refuses it for the moment. `lost-request`: it never arrives, and the
 * connection breaks. `lost-reply`: it is applied, and then the connection breaks. `delay`: it is
 * applied later, also if the caller has given up by then.
 */
export type FaultKind = "throttle" | "lost-request" | "lost-reply" | "delay";

/** Which requests a fault meets. */
export interface FaultOptions {
  /**
   * Name of an operation, or names: `'UpdateItem'`.
   * @default every operation
   */
  readonly operation?: string | readonly string[] | undefined;
  /**
   * How many requests it meets. `Infinity`: all, until it is stopped.
   * @default 1
   */
  readonly times?: number | undefined;
  /**
   * How many requests pass before it begins.
   * @default 0
   */
  readonly skip?: number | undefined;
  /**
   * How long a `delay` is, in ms.
   * @default 100
   */
  readonly delayMs?: number | undefined;
}

/** A fault that has been asked for. */
export interface Fault {
  readonly kind: FaultKind;
  /** How many requests it has met. */
  readonly met: number;
  /** From now on it meets no request. */
  stop(): void;
}

/** What meets one request. */
export interface Strike {
  readonly kind: FaultKind;
  readonly delayMs: number;
}

export class Faults {
  readonly #active = new Set<(operation: string) => Strike | undefined>();

  add(kind: FaultKind, { operation, times = 1, skip = 0, delayMs = 100 }: FaultOptions): Fault {
    const operations = operation === undefined ? undefined : [operation].flat();
    let seen = 0;
    let met = 0;
    const stop = () => void this.#active.delete(strike);
    const strike = (name: string) => {
      if (operations && !operations.includes(name)) return undefined;
      seen++;
      if (seen <= skip) return undefined;
      met++;
      if (met >= times) stop();
      return { kind, delayMs };
    };
    this.#active.add(strike);
    return {
      kind,
      get met() {
        return met;
      },
      stop,
    };
  }

  /** The first fault that meets this request. */
  meet(operation: string): Strike | undefined {
    for (const strike of [...this.#active]) {
      const found = strike(operation);
      if (found) return found;
    }
    return undefined;
  }

  clear(): void {
    this.#active.clear();
  }
}

export const throttled = (): MemoryFailure =>
  new MemoryFailure(
    "ProvisionedThroughputExceededException",
    "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.",
  );

/** What the AWS SDK sees of a connection that breaks. */
export const connectionLost = (): Error =>
  Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET", $metadata: { attempts: 1 } });

export const aborted = (): Error => Object.assign(new Error("Request aborted"), { name: "AbortError" });
