import type { Lock } from "../../src/index.ts";
import type { Item } from "../../src/protocol/item.ts";
import { EPOCH } from "./clock.ts";

/** A lock as the application that holds it sees it. */
export interface Handle {
  readonly lock: Lock;
  readonly permits: number;
  /** Somebody has taken its key by force: it may not know yet. */
  overruled: boolean;
  /** Its release or finish has been called: the application doesn't count on it any more. */
  settling: boolean;
}

/** How much of a trace a broken promise shows. */
const SHOWN_LINES = 60;

/** What the library promises of every story, whatever happens in it. */
export class Promises {
  /** The first promise that was broken, with the story so far. */
  broken: Error | undefined;
  /** Keys that somebody has taken by force, which also ends what is remembered. */
  readonly forced = new Set<string>();
  readonly #trace: string[] = [];
  readonly #items = new Map<string, Item>();
  readonly #fences = new Map<string, number>();
  readonly #worldTime: () => number;
  /** A lease that ends by watching alone also ends what is remembered by the watcher's clock, which is hours off. */
  readonly #clocksAgree: boolean;

  constructor(worldTime: () => number, clocksAgree: boolean) {
    this.#worldTime = worldTime;
    this.#clocksAgree = clocksAgree;
  }

  tell(what: string): void {
    this.#trace.push(`${String(this.#worldTime()).padStart(7)} ${what}`);
  }

  break(promise: string): void {
    this.broken ??= new Error(`${promise}\n${this.#trace.slice(-SHOWN_LINES).join("\n")}`);
  }

  /** The item of a key as it was last seen. */
  lastItem(key: string): Item | undefined {
    return this.#items.get(key);
  }

  deleted(key: string): void {
    this.#items.delete(key);
  }

  /** After every write that reached the table. */
  checkItem(key: string, item: Item | undefined): void {
    const before = this.#items.get(key);
    if (JSON.stringify(before) === JSON.stringify(item)) return;
    this.tell(`   ${key}: ${describeItem(item)}`);
    if (!item) {
      this.break(`${key}: gone, and not by TTL`);
      return;
    }
    this.#items.set(key, item);
    this.#checkFence(key, before, item);
    this.#checkMemory(key, before, item);
  }

  /** Also across a deletion by TTL: fences are remembered here, not in the table. */
  #checkFence(key: string, before: Item | undefined, item: Item): void {
    const fence = Number(item.fence?.N);
    const highest = this.#fences.get(key) ?? 0;
    const began = item.status?.S === "IN_PROGRESS" && before?.status?.S !== "IN_PROGRESS";
    const acquired = began || item.token?.S !== before?.token?.S;
    if (acquired ? !(fence > highest) : !(fence >= highest)) {
      this.break(`${key}: fencing token ${fence} ${acquired ? "of a new acquisition " : ""}after ${highest}`);
    }
    // A request of an acquisition that has ended would take the key for nobody.
    if (before && item.token?.S === before.token?.S && fence !== Number(before.fence?.N)) {
      this.break(`${key}: acquisition ${short(item.token?.S)} took the key a second time`);
    }
    this.#fences.set(key, Math.max(highest, fence));
  }

  #checkMemory(key: string, before: Item | undefined, item: Item): void {
    if (before?.status?.S !== "FINISHED" || !this.#clocksAgree || this.forced.has(key)) return;
    const until = Number(before.expires_at?.N) - EPOCH;
    const lost = item.status?.S !== "FINISHED" || item.token?.S !== before.token?.S;
    if (lost && this.#worldTime() < until) this.break(`${key}: finished until ${until}, and taken before that`);
  }

  /** `handles`: of all clients that run. One that is frozen can't act on what it believes. */
  checkHolders(key: string, handles: readonly Handle[]): void {
    const holders = handles.filter(
      ({ lock, overruled, settling }) => !overruled && !settling && lock.keys.includes(key) && lock.status === "held",
    );
    const { status, token } = this.#items.get(key) ?? {};
    // Where wall clocks are set by hours, one that is set back after a freeze that has stopped the other hides the end of a
    // lease from its holder. Nothing can know then, and what is finished stays so.
    const isFinished = status?.S === "FINISHED" && this.#clocksAgree;
    const overtaken = isFinished && holders.find(({ lock }) => lock.token !== token?.S);
    if (overtaken) this.break(`${key}: finished by another while ${overtaken.lock.owner} holds it`);
    if (holders.length < 2) return;
    // A plain lock excludes everybody; holders of different permits exclude those above the highest number.
    const permitted = holders.some(({ permits }) => permits === 1)
      ? 1
      : Math.max(...holders.map((held) => held.permits));
    if (holders.length <= permitted) return;
    const who = holders.map(
      ({ lock, permits }) => `${lock.owner} ${short(lock.token)} of ${permits}, ${lock.remainingMs} ms left`,
    );
    this.break(`${key}: ${holders.length} holders where ${permitted} may hold: ${who.join("; ")}`);
  }
}

const short = (token: string | undefined) => token?.slice(0, 4);

const describeItem = (item: Item | undefined): string => {
  if (!item) return "gone";
  const lease = ({ status, owner_id, token, expires_at }: Item) =>
    `${status?.S} ${owner_id?.S} ${short(token?.S)} until ${Number(expires_at?.N) - EPOCH}`;
  const slots = Object.entries(item).flatMap(([name, { M }]) =>
    M && /^slot_\d+$/.test(name) ? [`${name} ${lease(M)}`] : [],
  );
  const permits = item.permits ? `of ${item.permits.N}` : "";
  return [lease(item), `fence ${item.fence?.N}`, permits, ...slots].filter(Boolean).join(", ");
};
