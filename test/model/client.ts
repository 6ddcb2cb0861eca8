import { type LockClient, LockError } from "../../src/index.ts";
import { locksOf, takes } from "../support/locks.ts";
import { aProcess } from "../support/process.ts";
import { SimulatedClock } from "./clock.ts";
import type { Handle } from "./promises.ts";
import type { World } from "./world.ts";

/** All that clients of one world have in common. */
const SKEW_MS = 1_000;
const LEASE_MS = 3_000;
const REMEMBER_MS = 4_000;
/** Short, so that TTL deletes within a story. */
const RETENTION_MS = 5_000;

/** How many calls of one client are under way at once. */
const MAX_CALLS = 3;

/** One process that uses the library: it acquires, extends, finishes and releases by chance. */
export class SimulatedClient {
  readonly name: string;
  readonly clock: SimulatedClock;
  readonly locks: LockClient;
  readonly handles: Handle[] = [];
  /** Calls that have not come back. */
  calls = 0;
  readonly #world: World;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
    this.clock = new SimulatedClock(() => world.time);
    const { tableName, client } = world.table;
    const { locks, state } = aProcess(tableName, {
      config: { requestHandler: client.config.requestHandler }, // one pool of connections for all clients of all worlds
      clock: this.clock,
      owner: name,
      leaseMs: LEASE_MS,
      heartbeatMs: undefined,
      rememberMs: REMEMBER_MS,
      retentionMs: RETENTION_MS,
      clockSkewMs: SKEW_MS,
      expiry: world.rules.expiry,
      random: world.chance.random,
      settleMs: world.chance.pick([0, 5_000]),
    });
    // Requests take long in these worlds: some clients give them up, and some wait.
    const requestMs = world.chance.pick([1_000, 10_000, 10_000]);
    Object.assign(locksOf(locks).transport, { requestMs: () => requestMs });
    state.wire = (call) => world.onTheWay(this, call);
    this.locks = locks;
  }

  act(): void {
    const { chance, rules } = this.#world;
    const live = this.handles.filter(({ settling }) => !settling);
    if (rules.commits && this.calls < MAX_CALLS && chance.happens(0.15)) {
      this.#commit();
      return;
    }
    const roll = chance.random();
    if (roll < 0.45 || live.length === 0) {
      if (this.calls < MAX_CALLS) this.#acquire();
      return;
    }
    const handle = chance.pick(live);
    const { lock, permits } = handle;
    if (roll < 0.7 && rules.extend) {
      const ms = 500 + chance.below(4_000);
      this.#call(`extends ${lock.keys} to ${ms} ms`, lock.extend(ms));
      return;
    }
    handle.settling = true;
    if (roll < 0.85 && permits === 1) this.#call(`finishes ${lock.keys}`, lock.finish({ result: 1 }));
    else this.#call(`releases ${lock.keys}`, lock.release());
  }

  #commit(): void {
    const { chance, keys, table } = this.#world;
    const key = chance.pick(keys);
    const effect = {
      TableName: table.tableName,
      Key: { lock_id: { S: `effect of ${key}` } },
      UpdateExpression: "ADD n :one",
      ExpressionAttributeValues: { ":one": { N: "1" } },
    };
    const items = chance.happens(0.6) ? [{ Update: effect }] : [];
    const committing = this.locks.commitOnce(key, items, { result: this.name }).then((winner) => {
      this.#world.count(winner === this.name ? "commits" : "repeats");
    });
    this.#call(`commits ${key}${items.length > 0 ? " with an effect" : ""}`, committing);
  }

  #acquire(): void {
    const { chance, rules, keys: all, promises } = this.#world;
    const permits = chance.pick(rules.permits);
    const together = rules.several && permits === 1 && chance.happens(0.4);
    const keys = together ? chance.shuffled(all).slice(0, 2) : [chance.pick(all)];
    const force = rules.force === true && permits === 1 && chance.happens(0.05);
    if (force) for (const key of keys) promises.forced.add(key);
    const waitMs = chance.happens(0.5) ? 0 : chance.below(9_000);
    const options = {
      waitMs,
      ...(force && { force }),
      ...(chance.happens(0.4) && { heartbeatMs: false as const }),
    };
    const acquiring = takes(this.locks, keys, permits)
      .acquire(options)
      .then((lock) => {
        this.#world.count("locks");
        if (force) this.#world.overrule(keys);
        this.handles.push({ lock, permits, overruled: false, settling: false });
        return `${lock.token.slice(0, 4)}, fence ${lock.fencingToken}, ${lock.status}`;
      });
    this.#call(`acquires ${keys} of ${permits} ${JSON.stringify(options)}`, acquiring);
  }

  #call(what: string, call: Promise<unknown>): void {
    const { promises } = this.#world;
    promises.tell(`${this.name} ${what}`);
    this.calls++;
    call
      .then(
        (value) => promises.tell(`${this.name} ${what}: done${value ? `, ${value}` : ""}`),
        (error: Error) => {
          promises.tell(`${this.name} ${what}: ${error.message}`);
          if (!(error instanceof LockError)) promises.break(`${what} threw what is no LockError: ${error.stack}`);
        },
      )
      .finally(() => this.calls--);
  }
}
