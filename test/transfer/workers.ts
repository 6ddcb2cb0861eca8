/** The processes that handle messages, as many as are needed at the same time. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { end, hasEnded, killWithParent } from "../../scripts/child.ts";
import type { Transfer } from "./bank.ts";
import type { Plan } from "./faults.ts";
import type { VariantName } from "./variants.ts";
import type { News, Order, Premises } from "./worker.ts";

export interface Outcome {
  /** `done`: the message can be acknowledged. */
  readonly type: "done" | "failed" | "crashed";
  readonly error?: string;
  /** How long the handler took, if it came back. */
  readonly ms?: number;
}

/** A message on its way through a process. */
export interface Delivery {
  /** Whether the planned fault struck: known as soon as it does, or when all is over. */
  readonly struck: Promise<boolean>;
  readonly ended: Promise<Outcome>;
  /** Lets a process that is stopped go on, and a late request arrive. Resolves when nothing of the message is left. */
  resume(): Promise<void>;
}

const program = fileURLToPath(new URL("worker.ts", import.meta.url));
/** A signal that comes before the process has stopped itself would be lost. */
const RESUME_INTERVAL_MS = 20;

class Worker {
  readonly #child: ChildProcess;
  #listen: (news: News | undefined) => void = () => {};

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (news: News) => this.#listen(news));
    child.once("exit", () => this.#listen(undefined));
  }

  static async start(premises: Premises): Promise<Worker> {
    const child = fork(program, {
      env: {
        AWS_LAMBDA_FUNCTION_NAME: "transfer",
        DYNAMODB_TRANSPORT: process.env.DYNAMODB_TRANSPORT,
        PREMISES: JSON.stringify(premises),
      },
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const worker = new Worker(child);
    if ((await worker.#next())?.type !== "ready") throw new Error("A worker did not start: its error is above");
    return worker;
  }

  deliver(order: Order & { type: "handle" }): Delivery {
    const struck = Promise.withResolvers<boolean>();
    const ended = Promise.withResolvers<Outcome>();
    this.#listen = (news) => {
      if (news?.type === "struck") return struck.resolve(true);
      struck.resolve(false);
      if (news?.type !== "handled") return ended.resolve({ type: "crashed" });
      const { ms, error } = news;
      ended.resolve({ type: error === undefined ? "done" : "failed", ms, ...(error !== undefined && { error }) });
    };
    this.#child.send(order);
    return { struck: struck.promise, ended: ended.promise, resume: () => this.#resume(order, ended.promise) };
  }

  get hasEnded(): boolean {
    return hasEnded(this.#child);
  }

  kill(): boolean {
    return this.#child.kill("SIGKILL");
  }

  stop(): Promise<void> {
    return end(this.#child);
  }

  async #resume({ plan }: Order & { type: "handle" }, ended: Promise<unknown>): Promise<void> {
    const goOn = setInterval(() => plan?.fault === "stall" && this.#child.kill("SIGCONT"), RESUME_INTERVAL_MS);
    await ended;
    clearInterval(goOn);
    if (plan?.fault !== "late request") return;
    const arrived = this.#next();
    this.#child.send({ type: "arrive" } satisfies Order);
    await arrived;
  }

  #next(): Promise<News | undefined> {
    return new Promise((resolve) => {
      this.#listen = resolve;
    });
  }
}

export class Workers {
  readonly #premises: Premises;
  readonly #all = new Set<Worker>();
  readonly #idle: Worker[] = [];
  readonly #release: () => void;
  started = 0;

  constructor(premises: Premises) {
    this.#premises = premises;
    this.#release = killWithParent({
      kill: () => {
        for (const worker of this.#all) worker.kill();
        return true;
      },
    });
  }

  async deliver(variant: VariantName, transfer: Transfer, plan?: Plan): Promise<Delivery> {
    const worker = this.#idle.pop() ?? (await this.#start());
    const delivery = worker.deliver({ type: "handle", variant, transfer, ...(plan && { plan }) });
    const resume = async () => {
      await delivery.resume();
      if (worker.hasEnded) this.#all.delete(worker);
      else this.#idle.push(worker);
    };
    return { ...delivery, resume };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#all].map((worker) => worker.stop()));
    this.#release();
  }

  async #start(): Promise<Worker> {
    this.started++;
    const worker = await Worker.start(this.#premises);
    this.#all.add(worker);
    return worker;
  }
}
