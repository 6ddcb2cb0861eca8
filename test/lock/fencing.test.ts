/** Whatever has happened to a key and its record, a later holder's fencing token is larger: else a resource could not tell them apart. */
import { DeleteItemCommand } from "@aws-sdk/client-dynamodb";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Lock, LockClient } from "../../src/index.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const SECOND = 1_000;
const DAY = 24 * 3_600 * SECOND;
const CLOCK_SKEW_MS = SECOND;
const LEASE_MS = 10 * SECOND;
const KEYS = 3;
/** Wall clocks apart by as much as they may be. */
const SKEWS = [-CLOCK_SKEW_MS / 2, 0, CLOCK_SKEW_MS / 2];

type Step =
  | { readonly do: "acquire"; readonly client: number; readonly keys: number[]; readonly permits: number }
  | { readonly do: "force"; readonly client: number; readonly keys: number[] }
  /** What the client does with a lock that it has: without, its process crashes, and the lease ends it. */
  | { readonly do: "release" | "finish" | "crash"; readonly lock: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "ttl" };

const client = fc.nat(SKEWS.length - 1);
const keys = fc.uniqueArray(fc.nat(KEYS - 1), { minLength: 1, maxLength: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("acquire"), client, keys, permits: fc.constantFrom(1, 1, 2, 3) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("force"), client, keys }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("release", "finish", "crash"), lock: fc.nat() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("wait"),
      ms: fc.oneof(fc.nat(SECOND), fc.nat(2 * LEASE_MS), fc.constantFrom(3 * DAY, 40 * DAY)),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("ttl") }) },
) as fc.Arbitrary<Step>;

/** What has to happen among all stories, or they prove nothing. */
const seen = {
  "deleted by TTL": 0,
  forced: 0,
  "a lease over": 0,
  "a window over": 0,
  "permits to plain": 0,
  "plain to permits": 0,
};
let stories = 0;

class Story {
  readonly #name = `story-${++stories}`;
  readonly #start = TODAY;
  readonly #clocks = SKEWS.map((skew) => manualClock(this.#start + skew));
  readonly #clients: readonly LockClient[];
  readonly #held: Lock[] = [];
  readonly #highest = new Map<string, number>();
  #elapsedMs = 0;

  constructor(retentionMs: number) {
    this.#clients = this.#clocks.map(
      (clock) =>
        new LockClient({
          onEvent: () => {},
          client: table.client,
          tableName: table.tableName,
          clock,
          leaseMs: LEASE_MS,
          heartbeatMs: false,
          clockSkewMs: CLOCK_SKEW_MS,
          retentionMs,
        }),
    );
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case "acquire":
        return this.#acquire(step.client, step.keys, step.keys.length === 1 ? { permits: step.permits } : {});
      case "force":
        return this.#acquire(step.client, step.keys, { force: true });
      case "wait":
        this.#elapsedMs += step.ms;
        for (const clock of this.#clocks) clock.advance(step.ms);
        return;
      case "ttl":
        return this.#deleteByTtl();
    }
    const [lock] = this.#held.splice(step.lock % this.#held.length, 1);
    if (!lock || step.do === "crash") return;
    const finishes = step.do === "finish" && (await this.#itemOf(lock.key))?.status?.S !== "SEMAPHORE";
    // Somebody may have taken it meanwhile: that is theirs to settle.
    await (finishes ? lock.finish({ rememberMs: LEASE_MS }) : lock.release()).catch(() => {});
  }

  async #acquire(client: number, numbers: readonly number[], options: { permits?: number; force?: boolean }) {
    const names = numbers.map((number) => `${this.#name}-${number}`);
    const before = await Promise.all(names.map((name) => this.#itemOf(name)));
    const { permits = 1, ...rest } = options;
    const lock = await takes(this.#clients[client] as LockClient, names, permits).tryAcquire(rest as object);
    if (!lock) return;
    for (const name of names) {
      expect(lock.fencingToken, `of ${name}`).toBeGreaterThan(this.#highest.get(name) ?? 0);
      this.#highest.set(name, lock.fencingToken);
    }
    for (const item of before) this.#note(item?.status?.S, options);
    this.#held.push(lock);
  }

  #note(status: string | undefined, { permits = 1, force = false }: { permits?: number; force?: boolean }): void {
    if (force) seen.forced++;
    else if (status === "IN_PROGRESS") seen["a lease over"]++;
    else if (status === "FINISHED") seen["a window over"]++;
    if (status === "SEMAPHORE" && permits === 1) seen["permits to plain"]++;
    if (status && status !== "SEMAPHORE" && permits > 1) seen["plain to permits"]++;
  }

  /** As soon as it may: DynamoDB's clock is right. */
  async #deleteByTtl(): Promise<void> {
    for (let number = 0; number < KEYS; number++) {
      const name = `${this.#name}-${number}`;
      const item = await this.#itemOf(name);
      if (!item || Number(item.ttl?.N) * SECOND > this.#start + this.#elapsedMs) continue;
      await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: name } } }));
      seen["deleted by TTL"]++;
    }
  }

  #itemOf(name: string) {
    return table.item(name);
  }
}

describe("the fencing tokens of a key", () => {
  it("strictly increase over releases, finishes, crashes, TTL, force, several keys and permits", {
    timeout: 300_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 10, maxLength: 40 }),
        fc.constantFrom(2 * CLOCK_SKEW_MS, 2 * DAY),
        async (steps, retentionMs) => {
          const story = new Story(retentionMs);
          for (const step of steps) await story.take(step);
        },
      ),
      { numRuns: 150 },
    );
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);
  });
});
