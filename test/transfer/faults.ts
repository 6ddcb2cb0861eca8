/** What goes wrong in a worker, and where. */
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";

/** Every point between the arrival of a message and its end: in the code, or at a request of the lock or of the effect. */
export const POINTS = [
  "before acquire",
  "within acquire",
  "after acquire",
  "before the effect",
  "within the effect",
  "after the effect",
  "within finish",
  "after finish",
] as const;
export type Point = (typeof POINTS)[number];

/**
 * `crash`: the process is killed. `stall`: it stops, timers and heartbeats included, until another has had time to take over.
 * At a request both come when it has applied and its reply is not seen. `lost reply`: it applied, the reply doesn't come
 * back, and the SDK tries again. `lost replies`: neither do those of the SDK's retries. `late request`: the caller gets a
 * timeout, and the request reaches DynamoDB when another has had time to take over.
 */
export type Fault = "crash" | "stall" | "lost reply" | "lost replies" | "late request";

export interface Plan {
  readonly point: Point;
  readonly fault: Fault;
}

/** Every fault at every point where it can happen. */
export const PLANS: readonly Plan[] = POINTS.flatMap((point) => {
  const faults: Fault[] = point.startsWith("within")
    ? ["crash", "stall", "lost reply", "lost replies", "late request"]
    : ["crash", "stall"];
  return faults.map((fault) => ({ point, fault }));
});

/** The requests that follow a point in the code. */
const REQUESTS: Partial<Record<Point, Point>> = {
  "before acquire": "within acquire",
  "before the effect": "within the effect",
  "after the effect": "within finish",
};

/** What the SDK sees of a reply that is lost. */
const lost = () => Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET" });

/** Lets one fault strike in this process, as planned for the message that it handles. */
export class Faults {
  readonly #struck: () => Promise<void>;
  #plan: Plan | undefined;
  #requests: Point | undefined;
  #hasStruck = false;
  #late: (() => Promise<unknown>) | undefined;

  /** `struck` is told right before the process dies or stops, and as soon as a request fails. */
  constructor(clients: readonly DynamoDBClient[], struck: () => Promise<void>) {
    this.#struck = struck;
    for (const { middlewareStack } of clients) {
      middlewareStack.add(
        (next, context) => async (args) => {
          const send = () => next(args);
          return this.#isAt(String(context.commandName)) ? this.#strike(send) : send();
        },
        { step: "finalizeRequest", priority: "low", name: "faults" },
      );
    }
  }

  /** For the next message. */
  expect(plan: Plan | undefined): void {
    this.#plan = plan;
    this.#hasStruck = false;
    this.#late = undefined;
    this.#requests = undefined;
  }

  /** The code has come to this point. */
  at = async (point: Point): Promise<void> => {
    this.#requests = REQUESTS[point];
    if (this.#plan?.point === point) await this.#end(this.#plan.fault);
  };

  /** The late request arrives. Whatever comes of it, nobody waits for the reply. */
  async arrive(): Promise<void> {
    await this.#late?.().catch(() => {});
  }

  /** A renewal on the way is no part of the effect. */
  #isAt(command: string): boolean {
    if (!this.#plan || this.#plan.point !== this.#requests) return false;
    return this.#requests !== "within the effect" || command === "TransactWriteItemsCommand";
  }

  async #strike<T>(send: () => Promise<T>): Promise<T> {
    const { fault } = this.#plan as Plan;
    if (fault === "lost reply" && this.#hasStruck) return send();
    if (fault === "late request") {
      this.#late ??= send;
    } else {
      const reply = await send().catch((error: unknown) => {
        if (!fault.startsWith("lost")) throw error;
      });
      if (fault === "crash" || fault === "stall") {
        if (!this.#hasStruck) await this.#end(fault);
        return reply as T;
      }
    }
    if (!this.#hasStruck) await this.#struck();
    this.#hasStruck = true;
    throw lost();
  }

  async #end(fault: Fault): Promise<void> {
    this.#hasStruck = true;
    await this.#struck();
    process.kill(process.pid, fault === "crash" ? "SIGKILL" : "SIGSTOP");
  }
}
