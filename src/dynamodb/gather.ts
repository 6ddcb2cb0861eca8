/** Sends in one request what is asked for at the same time. */
import type { Bounds } from "./persist.ts";

/** The least that makes a request: one alone is as well served by a request of its own. */
const MIN = 2;

interface Waiting<TAsked, TReply> {
  readonly asked: TAsked;
  readonly bounds: Bounds;
  readonly reply: (reply: TReply | undefined) => void;
}

/** Sends the request for some of the calls, and gives a reply for each. It must not reject. */
type SendTogether<TAsked, TReply> = (asked: readonly TAsked[], bounds: Bounds) => Promise<readonly TReply[]>;

/**
 * Collects the calls of one turn of the event loop, and sends them as few requests. In none of them
 * is a key twice, because DynamoDB would refuse that request.
 */
export class Gather<TAsked extends { readonly key: string }, TReply> {
  readonly #max: number;
  readonly #send: SendTogether<TAsked, TReply>;
  /** Those that end together have a request of their own: no other is ended with them. */
  #waiting = new Map<AbortSignal | undefined, Waiting<TAsked, TReply>[]>();

  /** `max`: how many calls go into a request. */
  constructor(max: number, send: SendTogether<TAsked, TReply>) {
    this.#max = max;
    this.#send = send;
  }

  /** Gives `undefined` if there is nothing to go with it: then nothing was sent. */
  ask(asked: TAsked, bounds: Bounds): Promise<TReply | undefined> {
    return new Promise((reply) => {
      if (this.#waiting.size === 0) setImmediate(() => this.#flush());
      const calls = this.#waiting.get(bounds.signal) ?? [];
      this.#waiting.set(bounds.signal, calls);
      calls.push({ asked, bounds, reply });
    });
  }

  #flush(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const calls of waiting) {
      for (let rest = calls; rest.length > 0; ) {
        const chunk = new Map<string, Waiting<TAsked, TReply>>();
        const others: typeof calls = [];
        for (const call of rest) {
          const { key } = call.asked;
          if (chunk.has(key) || chunk.size === this.#max) others.push(call);
          else chunk.set(key, call);
        }
        void this.#sendChunk([...chunk.values()]);
        rest = others;
      }
    }
  }

  async #sendChunk(calls: readonly Waiting<TAsked, TReply>[]): Promise<void> {
    const ends = calls.map(({ bounds: { until = Number.POSITIVE_INFINITY } }) => until);
    const bounds = { signal: calls[0]?.bounds.signal, until: Math.min(...ends) };
    const replies =
      calls.length < MIN
        ? []
        : await this.#send(
            calls.map(({ asked }) => asked),
            bounds,
          );
    for (const [index, { reply }] of calls.entries()) reply(replies[index]);
  }
}
