/**
 * A world of several clients on one real engine: every request waits until the scheduler delivers it, drops it, answers it,
 * loses its reply or retries it; clients freeze, their clocks differ and jump, TTL deletes.
 */
import { DeleteItemCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { type Lock, LockClient, LockError } from "../../src/index.ts";
import { localConfig, type lockTable } from "../support/dynamodb.ts";

export interface Rules {
  readonly clients: number;
  readonly keys: number;
  readonly steps: number;
  readonly expiry: "clock" | "observed";
  readonly permits: readonly number[];
  readonly several?: boolean;
  readonly extend?: boolean;
  readonly zombies?: boolean;
  readonly force?: boolean;
  readonly reentrant?: boolean;
  readonly ttl?: boolean;
  /** Count a handle as held even after a release or finish that failed. */
  readonly strict?: boolean;
}

const START = Date.UTC(2026, 10, 21);
const SKEW = 1_000;
const LEASE = 3_000;
const REMEMBER = 4_000;
const RETENTION = 5_000;

const mulberry = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const settle = async () => {
  for (let i = 0; i < 4; i++) await new Promise(setImmediate);
};
const lost = () => Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET" });

interface Job {
  client: Sim;
  name: string;
  send: () => Promise<unknown>;
  state: "sent" | "answered";
  outcome?: { value?: unknown; error?: unknown };
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  writes: string;
}
interface Handle {
  lock: Lock;
  permits: number;
  exempt: boolean;
  settling: boolean;
}

class Sim {
  readonly locks: LockClient;
  skew = 0;
  monoLost = 0;
  frozenAt: number | undefined;
  frozenNow = 0;
  frozenMono = 0;
  timers = new Map<object, { at: number; callback: () => void }>();
  handles: Handle[] = [];
  busy = 0;

  constructor(
    readonly id: number,
    readonly world: World,
    tableName: string,
  ) {
    const client = new DynamoDBClient({ ...localConfig(), maxAttempts: 1 });
    client.middlewareStack.add(
      (next, context) => (args) =>
        new Promise((resolve, reject) => {
          const name = String(context.commandName).replace("Command", "");
          const job: Job = { client: this, name, send: () => next(args), state: "sent", resolve: resolve as any, reject, writes: JSON.stringify((args as any).input) };
          world.jobs.push(job);
        }),
      { step: "finalizeRequest", priority: "low", name: "world" },
    );
    const sim = this;
    this.locks = new LockClient({
      client,
      tableName,
      owner: `client-${id}`,
      leaseMs: LEASE,
      rememberMs: REMEMBER,
      retentionMs: RETENTION,
      clockSkewMs: SKEW,
      expiry: world.rules.expiry,
      random: world.random,
      clock: {
        now: () => Math.floor(sim.frozenAt === undefined ? START + world.t + sim.skew : sim.frozenNow),
        monotonic: () => (sim.frozenAt === undefined ? world.t - sim.monoLost : sim.frozenMono),
        sleep: (ms, signal) =>
          new Promise((resolve, reject) => {
            const cancel = sim.setTimer(ms, resolve as () => void);
            signal?.addEventListener("abort", () => (cancel(), reject(signal.reason)));
          }),
        setTimer: (ms, callback) => sim.setTimer(ms, callback),
      },
    });
  }
  setTimer(ms: number, callback: () => void) {
    const id = {};
    const mono = this.frozenAt === undefined ? this.world.t - this.monoLost : this.frozenMono;
    this.timers.set(id, { at: mono + ms, callback });
    return () => void this.timers.delete(id);
  }
  fire() {
    if (this.frozenAt !== undefined) return;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= this.world.t - this.monoLost).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) return;
      this.timers.delete(due[0]);
      due[1].callback();
    }
  }
  nextTimer() {
    if (this.frozenAt !== undefined) return Number.POSITIVE_INFINITY;
    return Math.min(...[...this.timers.values()].map(({ at }) => at + this.monoLost));
  }
}

export class World {
  t = 0;
  readonly random: () => number;
  jobs: Job[] = [];
  zombies: Job[] = [];
  readonly sims: Sim[];
  readonly log: string[] = [];
  readonly keyNames: string[];
  maxFence = new Map<string, number>();
  last = new Map<string, Record<string, any> | undefined>();
  stats: Record<string, number> = {};

  constructor(
    readonly rules: Rules,
    seed: number,
    readonly table: Awaited<ReturnType<typeof lockTable>>,
  ) {
    this.random = mulberry(seed);
    this.keyNames = Array.from({ length: rules.keys }, (_, index) => `m${seed}-${index}`);
    this.sims = Array.from({ length: rules.clients }, (_, id) => new Sim(id, this, table.tableName));
    for (const sim of this.sims) this.jump(sim);
  }
  int(n: number) {
    return Math.floor(this.random() * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)] as T;
  }
  count(what: string) {
    this.stats[what] = (this.stats[what] ?? 0) + 1;
  }
  jump(sim: Sim) {
    sim.skew = this.rules.expiry === "observed" ? Math.floor((this.random() - 0.5) * 7_200_000) : Math.floor((this.random() - 0.5) * 900);
  }

  async run() {
    for (let step = 0; step < this.rules.steps; step++) {
      await this.step();
      await settle();
      this.check();
    }
    // Drain, so that nothing is left open.
    for (const sim of this.sims) if (sim.frozenAt !== undefined) await this.thaw(sim);
    for (const sim of this.sims) for (const handle of sim.handles) handle.lock.abandon("timeout", new Error("end"));
    const closing = this.sims.map((sim) => sim.locks.close().catch(() => {}));
    for (let i = 0; i < 400 && (this.jobs.length > 0 || this.sims.some(({ busy }) => busy > 0)); i++) {
      const job = this.jobs[0];
      if (job) await this.progress(job, true);
      await settle();
      await this.advance(500);
    }
    await Promise.all(closing);
  }

  async step() {
    const roll = this.random();
    const running = this.sims.filter(({ frozenAt }) => frozenAt === undefined);
    if (roll < 0.5 && this.jobs.length > 0) return this.progress(this.pick(this.jobs), false);
    if (roll < 0.72 && running.length > 0) return this.act(this.pick(running));
    if (roll < 0.92) return this.advance(this.random() < 0.7 ? this.int(400) : this.int(3_000));
    if (roll < 0.95) {
      const sim = this.pick(this.sims);
      if (sim.frozenAt !== undefined) return this.thaw(sim);
      sim.frozenNow = START + this.t + sim.skew;
      sim.frozenMono = this.t - sim.monoLost;
      sim.frozenAt = this.t;
      this.log.push(`${this.t} freeze ${sim.id}`);
      return;
    }
    if (roll < 0.97) {
      const frozen = this.sims.filter(({ frozenAt }) => frozenAt !== undefined);
      if (frozen.length) return this.thaw(this.pick(frozen));
      return;
    }
    if (roll < 0.985 || !this.rules.ttl) {
      const sim = this.pick(running.length ? running : this.sims);
      this.jump(sim);
      this.log.push(`${this.t} jump ${sim.id} ${sim.skew}`);
      return;
    }
    // A request is younger than retentionMs, which is 2 days by default.
    if (this.jobs.length > 0) return;
    this.zombies = [];
    const key = this.pick(this.keyNames);
    const item = this.last.get(key);
    if (item && Number(item.ttl?.N) * 1000 < START + this.t) {
      await this.table.client.send(new DeleteItemCommand({ TableName: this.table.tableName, Key: { lock_id: { S: key } } }));
      this.log.push(`${this.t} ttl ${key}`);
      this.count("ttl");
      this.last.set(key, undefined);
    }
  }

  async thaw(sim: Sim) {
    const gone = this.t - (sim.frozenAt as number);
    if (this.random() < 0.5) sim.monoLost += gone; // its monotonic clock stood still
    sim.frozenAt = undefined;
    this.log.push(`${this.t} thaw ${sim.id} after ${gone}`);
    // Replies may be handled before the timers that are due.
    if (this.random() < 0.5) {
      for (const job of this.jobs.filter(({ client, state }) => client === sim && state === "answered")) await this.progress(job, true);
      await settle();
      this.check();
    }
    sim.fire();
  }

  async advance(ms: number) {
    const end = this.t + ms;
    for (;;) {
      const next = Math.min(...this.sims.map((sim) => sim.nextTimer()));
      if (next > end) break;
      this.t = Math.max(this.t, next);
      for (const sim of this.sims) sim.fire();
      await settle();
    }
    this.t = end;
  }

  async progress(job: Job, kindly: boolean) {
    const done = () => {
      this.jobs = this.jobs.filter((other) => other !== job);
    };
    if (job.state === "sent") {
      if (!kindly && this.random() < 0.08) {
        done();
        this.log.push(`${this.t} drop ${job.client.id} ${job.name}`);
        if (this.rules.zombies && this.random() < 0.7) this.zombies.push(job);
        if (job.client.frozenAt === undefined) job.reject(lost());
        else this.jobs.push({ ...job, state: "answered", outcome: { error: lost() } });
        return;
      }
      job.outcome = await this.deliver(job);
      job.state = "answered";
      return;
    }
    if (!kindly && this.random() < 0.15) {
      job.state = "sent"; // the SDK's own retry
      this.log.push(`${this.t} retry ${job.client.id} ${job.name}`);
      this.count("retry");
      return;
    }
    if (job.client.frozenAt !== undefined && !kindly) return;
    done();
    if (!kindly && this.random() < 0.12) {
      this.log.push(`${this.t} lose ${job.client.id} ${job.name}`);
      this.count("lost");
      job.reject(lost());
      return;
    }
    this.log.push(`${this.t} reply ${job.client.id} ${job.name} ${job.outcome?.error ? (job.outcome.error as Error).name : "ok"}`);
    if (job.outcome && "error" in job.outcome) job.reject(job.outcome.error);
    else job.resolve(job.outcome?.value);
    if (this.zombies.length && this.random() < 0.2) {
      const zombie = this.pick(this.zombies);
      this.zombies = this.zombies.filter((other) => other !== zombie);
      this.log.push(`${this.t} zombie ${zombie.client.id} ${zombie.name}`);
      await this.deliver(zombie);
    }
  }

  async deliver(job: Job) {
    const outcome = await job.send().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (job.name === "GetItem") return outcome;
    this.count("writes");
    for (const key of this.keyNames) {
      if (!job.writes.includes(key)) continue;
      const item = (await this.table.item(key)) as Record<string, any> | undefined;
      const before = this.last.get(key);
      this.last.set(key, item);
      if (JSON.stringify(before) === JSON.stringify(item)) continue;
      this.log.push(`${this.t} DB ${job.client.id} ${key} ${item?.status?.S} ${item?.owner_id?.S} ${item?.token?.S.slice(0, 4)} f${item?.fence?.N} until ${Number(item?.expires_at?.N) - START} ${Object.entries(item ?? {}).filter(([n, a]) => /^slot_\d+$/.test(n) && a.M).map(([n, a]) => `${n}:${a.M.owner_id.S}:${a.M.status.S[0]}:${Number(a.M.expires_at.N) - START}`)}`);
      const fence = Number(item?.fence?.N);
      const max = this.maxFence.get(key) ?? 0;
      const taken = item?.token?.S !== before?.token?.S || (before?.status?.S !== item?.status?.S && item?.status?.S === "IN_PROGRESS");
      if (taken ? !(fence > max) : fence < max) this.fail(`fence of ${key}: ${fence} after ${max}`);
      this.maxFence.set(key, Math.max(max, fence));
      if (before?.status?.S === "FINISHED" && (item?.status?.S !== "FINISHED" || item.token.S !== before.token.S)) {
        if (this.rules.expiry === "clock" && START + this.t < Number(before.expires_at.N) && !this.forced.has(key)) {
          this.fail(`FINISHED of ${key} lost at ${this.t}, until ${Number(before.expires_at.N) - START}`);
        }
        this.count("finished-over");
      }
    }
    return outcome;
  }
  forced = new Set<string>();

  act(sim: Sim) {
    const live = sim.handles.filter(({ settling }) => !settling);
    const roll = this.random();
    const record = (what: string, promise: Promise<unknown>, after?: () => void) => {
      this.count(what);
      sim.busy++;
      promise
        .then(
          (value) => this.log.push(`${this.t} ${what} ${sim.id} -> ${value instanceof Object ? "lock" : value}`),
          (error: unknown) => {
            this.log.push(`${this.t} ${what} ${sim.id} !! ${(error as Error).message}`);
            if (!(error instanceof LockError)) this.fail(`${what} threw ${(error as Error).stack}`);
          },
        )
        .finally(() => {
          sim.busy--;
          after?.();
        });
    };
    if (roll < 0.45 || live.length === 0) {
      if (sim.busy > 2) return;
      const permits = this.pick(this.rules.permits);
      const several = this.rules.several && permits === 1 && this.random() < 0.4;
      const keys = several ? [...this.keyNames].sort(() => this.random() - 0.5).slice(0, 2) : [this.pick(this.keyNames)];
      const force = this.rules.force && permits === 1 && this.random() < 0.05;
      if (force) {
        for (const key of keys) this.forced.add(key);
      }
      const reentrant = this.rules.reentrant && permits === 1 && this.random() < 0.5;
      const waitMs = this.random() < 0.5 ? 0 : this.int(9_000);
      this.log.push(`${this.t} acquire ${sim.id} ${keys} permits ${permits} wait ${waitMs}${force ? " force" : ""}${reentrant ? " reentrant" : ""}`);
      const options = {
        waitMs,
        ...(permits > 1 && { permits, expiry: "clock" as const }),
        ...(force && { force }),
        ...(reentrant && { reentrant }),
        ...(this.random() < 0.4 && { heartbeatMs: false as const }),
      };
      record(
        "acquired",
        sim.locks.acquire(keys, options).then((lock) => {
          this.count("locks");
          if (force) for (const other of this.sims) for (const handle of other.handles) if (handle.lock !== lock && handle.lock.keys.some((key) => keys.includes(key))) handle.exempt = true;
          if (!sim.handles.some((handle) => handle.lock === lock)) sim.handles.push({ lock, permits, exempt: false, settling: false });
          return `${lock.keys} ${lock.token.slice(0, 4)} f${lock.fencingToken} ${lock.status}`;
        }),
      );
      return;
    }
    const handle = this.pick(live);
    if (roll < 0.7 && this.rules.extend) {
      const ms = 500 + this.int(4_000);
      record(`extend ${ms}`, handle.lock.extend(ms));
      return;
    }
    handle.settling = !this.rules.strict;
    if (roll < 0.85 && handle.permits === 1) record("finish", handle.lock.finish({ result: 1 }));
    else record("release", handle.lock.release());
  }

  check() {
    for (const key of this.keyNames) {
      const holders = this.sims
        .filter(({ frozenAt }) => frozenAt === undefined)
        .flatMap((sim) => sim.handles.map((handle) => ({ ...handle, sim })))
        .filter(({ lock, exempt, settling }) => lock.keys.includes(key) && !exempt && !settling && lock.status === "held");
      if (holders.length < 2) continue;
      const most = Math.max(...holders.map(({ permits }) => permits));
      const plain = holders.some(({ permits }) => permits === 1);
      if (holders.length > (plain ? 1 : most)) {
        this.fail(`${key}: held by ${holders.map(({ sim, lock, permits }) => `${sim.id}/${lock.token.slice(0, 4)}/${permits}/${Math.round(lock.remainingMs)}`)}`);
      }
      this.count("shared");
    }
  }
  failure: Error | undefined;
  fail(message: string): never {
    this.failure ??= new Error(`${message}\n${this.log.slice(-60).join("\n")}`);
    throw this.failure;
  }
}
