import { DeleteItemCommand } from "@aws-sdk/client-dynamodb";
import type { lockTable } from "../support/dynamodb.ts";
import { lost, type Wire } from "../support/process.ts";
import { Chance } from "./chance.ts";
import { SimulatedClient } from "./client.ts";
import { EPOCH } from "./clock.ts";
import { Promises } from "./promises.ts";

/** What may happen in a world. */
export interface Rules {
  readonly clients: number;
  readonly keys: number;
  /** Length of a story. */
  readonly steps: number;
  readonly expiry: "clock" | "observed";
  /** What an acquisition asks for: one of these. */
  readonly permits: readonly number[];
  /** Two keys in one transaction. */
  readonly several?: boolean;
  readonly extend?: boolean;
  readonly force?: boolean;
  /** Requests that DynamoDB gets long after their sender has given them up. */
  readonly zombies?: boolean;
  readonly ttl?: boolean;
  /** Commits without a lock on the same keys. */
  readonly commits?: boolean;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

interface PendingRequest {
  readonly client: SimulatedClient;
  readonly name: string;
  readonly send: () => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** DynamoDB's answer, or the fault, once there is one: it is on its way back. */
  outcome?: Outcome | undefined;
}

/** Wide apart where nobody trusts clocks, and otherwise within what `clockSkewMs` allows for. */
const WALL_CLOCK_SPREAD_MS = { observed: 7_200_000, clock: 900 };
const MAX_CLOSING_STEPS = 400;

/** What a reply sets off, down to the next request, takes a few turns of the event loop and no time in the world. */
const aftermath = async () => {
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
};

/**
 * Several clients and one table on a real engine, in a time of their own. A request waits until chance delivers it, drops it,
 * brings its reply, loses its reply or sends it again; meanwhile clients freeze, their clocks jump and TTL deletes.
 */
export class World {
  /** In ms. */
  time = 0;
  readonly rules: Rules;
  readonly table: Awaited<ReturnType<typeof lockTable>>;
  readonly chance: Chance;
  readonly keys: readonly string[];
  readonly promises: Promises;
  readonly counts: Record<string, number> = {};
  readonly #clients: readonly SimulatedClient[];
  #pending: PendingRequest[] = [];
  #zombies: PendingRequest[] = [];

  constructor(rules: Rules, seed: number, table: World["table"]) {
    this.rules = rules;
    this.table = table;
    this.chance = new Chance(seed);
    this.promises = new Promises(() => this.time, rules.expiry === "clock");
    this.keys = Array.from({ length: rules.keys }, (_, index) => `${seed}-${index}`);
    this.#clients = Array.from({ length: rules.clients }, (_, index) => new SimulatedClient(`client-${index}`, this));
    for (const client of this.#clients) this.#setWallClock(client);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** A client's request, until chance has brought its reply. */
  onTheWay(client: SimulatedClient, { name, send }: Parameters<Wire>[0]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ client, name, send, resolve, reject });
    });
  }

  /** Somebody has taken these keys by force: who held them is not told at once. */
  overrule(keys: readonly string[]): void {
    const handles = this.#clients.flatMap((client) => client.handles);
    for (const handle of handles) if (handle.lock.keys.some((key) => keys.includes(key))) handle.overruled = true;
  }

  /** Tells the story, and throws if it breaks a promise. */
  async run(): Promise<void> {
    for (let step = 0; step < this.rules.steps && !this.promises.broken; step++) {
      await this.#step();
      await aftermath();
      this.#checkHolders();
    }
    await this.#close();
    if (this.promises.broken) throw this.promises.broken;
  }

  /** Lets everything come to an end, so that nothing of this world goes on in the next. */
  async #close(): Promise<void> {
    for (const client of this.#clients) {
      if (client.clock.isFrozen) await this.#thaw(client);
      for (const { lock } of client.handles) lock.abandon("timeout", new Error("the story is over"));
    }
    const closing = this.#clients.map(({ locks }) => locks.close().catch(() => {})); // a release may fail: who cares now
    const isOpen = () => this.#pending.length > 0 || this.#clients.some(({ calls }) => calls > 0);
    for (let step = 0; step < MAX_CLOSING_STEPS && isOpen(); step++) {
      const [request] = this.#pending;
      if (request) await (request.outcome ? this.#answer(request, request.outcome) : this.#deliver(request));
      await aftermath();
      await this.#pass(500);
    }
    await Promise.all(closing);
  }

  async #step(): Promise<void> {
    const { chance } = this;
    const roll = chance.random();
    const frozen = this.#clients.filter(({ clock }) => clock.isFrozen);
    const running = this.#clients.filter(({ clock }) => !clock.isFrozen);
    if (roll < 0.5 && this.#pending.length > 0) return this.#progress(chance.pick(this.#pending));
    if (roll < 0.72 && running.length > 0) return chance.pick(running).act();
    if (roll < 0.92) return this.#pass(chance.happens(0.7) ? chance.below(400) : chance.below(3_000));
    if (roll < 0.95) {
      const client = chance.pick(this.#clients);
      if (client.clock.isFrozen) return this.#thaw(client);
      client.clock.freeze();
      return this.promises.tell(`${client.name} freezes`);
    }
    if (roll < 0.97) return frozen.length > 0 ? this.#thaw(chance.pick(frozen)) : undefined;
    if (roll < 0.985 || !this.rules.ttl) {
      const client = chance.pick(running.length > 0 ? running : this.#clients);
      this.#setWallClock(client);
      return this.promises.tell(`${client.name} has its wall clock set to ${client.clock.skew} ms`);
    }
    return this.#deleteByTtl(chance.pick(this.keys));
  }

  async #progress(request: PendingRequest): Promise<void> {
    const { chance, promises } = this;
    const { client, name, outcome } = request;
    const about = `${client.name}'s ${name}`;
    if (!outcome) {
      if (!chance.happens(0.08)) return this.#deliver(request);
      promises.tell(`${about} doesn't arrive`);
      if (this.rules.zombies && chance.happens(0.7)) this.#zombies.push({ ...request });
      request.outcome = { error: lost() };
      if (!client.clock.isFrozen) await this.#answer(request, request.outcome);
      return;
    }
    if (chance.happens(0.15)) {
      promises.tell(`${about} is sent again by the SDK`);
      this.count("retries");
      request.outcome = undefined;
      return;
    }
    if (client.clock.isFrozen) return;
    if (chance.happens(0.12)) {
      promises.tell(`${about} loses its reply`);
      this.count("lost replies");
      return this.#answer(request, { error: lost() });
    }
    await this.#answer(request, outcome);
  }

  async #deliver(request: PendingRequest): Promise<void> {
    request.outcome = await request.send().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (request.name === "GetItem") return;
    this.count("writes");
    this.promises.tell(`${request.client.name}'s ${request.name} arrives`);
    const items = await Promise.all(this.keys.map(this.table.item));
    for (const [index, key] of this.keys.entries()) this.promises.checkItem(key, items[index]);
  }

  async #answer(request: PendingRequest, outcome: Outcome): Promise<void> {
    this.#pending = this.#pending.filter((other) => other !== request);
    const answer = "error" in outcome ? (outcome.error as Error).name : "ok";
    this.promises.tell(`${request.client.name}'s ${request.name} is answered: ${answer}`);
    if ("error" in outcome) request.reject(outcome.error);
    else request.resolve(outcome.value);
    if (this.#zombies.length === 0 || !this.chance.happens(0.2)) return;
    const zombie = this.chance.pick(this.#zombies);
    this.#zombies = this.#zombies.filter((other) => other !== zombie);
    this.promises.tell(`${zombie.client.name}'s ${zombie.name} of long ago comes`);
    this.count("zombies");
    await this.#deliver(zombie);
  }

  /** Timers are due, replies have come: who goes first is up to the event loop. */
  async #thaw(client: SimulatedClient): Promise<void> {
    const ms = client.clock.thaw({ monotonicStoodStill: this.chance.happens(0.5) });
    this.promises.tell(`${client.name} thaws after ${ms} ms`);
    if (this.chance.happens(0.5)) {
      for (const request of this.#pending.filter((other) => other.client === client)) {
        if (request.outcome) await this.#answer(request, request.outcome);
      }
      await aftermath();
      this.#checkHolders();
    }
    client.clock.fireDueTimers();
  }

  /** Lets time pass, stopping at every timer on the way. */
  async #pass(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      const next = Math.min(...this.#clients.map(({ clock }) => clock.nextTimerAt));
      if (next > end) break;
      this.time = Math.max(this.time, next);
      for (const { clock } of this.#clients) clock.fireDueTimers();
      await aftermath();
      this.#checkHolders();
    }
    this.time = end;
  }

  /** DynamoDB deletes once `ttl` has passed, which is long after any request on its way: `retentionMs` is days by default. */
  async #deleteByTtl(key: string): Promise<void> {
    if (this.#pending.length > 0) return;
    this.#zombies = [];
    const deletableAt = Number(this.promises.lastItem(key)?.ttl?.N) * 1_000;
    if (!(deletableAt < EPOCH + this.time)) return; // also when there is no item
    const { client, tableName } = this.table;
    await client.send(new DeleteItemCommand({ TableName: tableName, Key: { lock_id: { S: key } } }));
    this.promises.tell(`TTL deletes ${key}`);
    this.count("deletions");
    this.promises.deleted(key);
  }

  #setWallClock({ clock }: SimulatedClient): void {
    clock.skew = this.chance.around(WALL_CLOCK_SPREAD_MS[this.rules.expiry]);
  }

  #checkHolders(): void {
    const handles = this.#clients.filter(({ clock }) => !clock.isFrozen).flatMap((client) => client.handles);
    for (const key of this.keys) this.promises.checkHolders(key, handles);
  }
}
