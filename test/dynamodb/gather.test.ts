/** What is asked for at the same time, and how it is sent. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Gather } from "../../src/dynamodb/gather.ts";
import type { Bounds } from "../../src/dynamodb/persist.ts";

const setUp = (max = 25) => {
  const requests: { keys: string[]; bounds: Bounds }[] = [];
  const gather = new Gather<{ key: string }, string>(max, async (asked, bounds) => {
    requests.push({ keys: asked.map(({ key }) => key), bounds });
    return asked.map(({ key }) => `reply to ${key}`);
  });
  const ask = (...keys: string[]) => Promise.all(keys.map((key) => gather.ask({ key }, {})));
  return { gather, requests, ask };
};
const keys = (count: number) => Array.from({ length: count }, (_, index) => `k${index}`);

describe("calls of one turn of the event loop", () => {
  it("are one request, and each gets its own reply", async () => {
    const { requests, ask } = setUp();
    expect(await ask("a", "b")).toEqual(["reply to a", "reply to b"]);
    expect(requests.map((request) => request.keys)).toEqual([["a", "b"]]);
  });

  it("are as few requests as hold them", async () => {
    const { requests, ask } = setUp();
    await ask(...keys(60));
    expect(requests.map((request) => request.keys.length)).toEqual([25, 25, 10]);
  });

  it("one alone is not sent", async () => {
    const { requests, ask } = setUp();
    expect(await ask("a")).toEqual([undefined]);
    expect(requests).toEqual([]);
  });

  it("of another turn are another request", async () => {
    const { requests, ask } = setUp();
    await ask("a", "b");
    await ask("c", "d");
    expect(requests).toHaveLength(2);
  });

  it("with another signal are another request, so that none is ended with it", async () => {
    const { gather, requests } = setUp();
    const { signal } = new AbortController();
    await Promise.all([
      gather.ask({ key: "a" }, { signal }),
      gather.ask({ key: "b" }, {}),
      gather.ask({ key: "c" }, { signal }),
      gather.ask({ key: "d" }, {}),
    ]);
    expect(requests.map((request) => request.keys)).toEqual([
      ["a", "c"],
      ["b", "d"],
    ]);
    expect(requests.map(({ bounds }) => bounds.signal)).toEqual([signal, undefined]);
  });

  it("have the time of the one that has least", async () => {
    const { gather, requests } = setUp();
    await Promise.all([
      gather.ask({ key: "a" }, { until: 300 }),
      gather.ask({ key: "b" }, {}),
      gather.ask({ key: "c" }, { until: 200 }),
    ]);
    expect(requests.map(({ bounds }) => bounds.until)).toEqual([200]);
  });
});

it("no request has a key twice, or too many, and every call has the reply to its own key", async () => {
  const somebody = fc.array(fc.constantFrom(...keys(8)), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(somebody, fc.integer({ min: 2, max: 6 }), async (asked, max) => {
      const { requests, ask } = setUp(max);
      const replies = await ask(...asked);
      for (const request of requests) {
        expect(new Set(request.keys).size).toBe(request.keys.length);
        expect(request.keys.length).toBeLessThanOrEqual(max);
        expect(request.keys.length).toBeGreaterThan(1);
      }
      for (const [index, key] of asked.entries()) expect([`reply to ${key}`, undefined]).toContain(replies[index]);
      const sent = requests.flatMap((request) => request.keys);
      expect(sent).toHaveLength(replies.filter((reply) => reply !== undefined).length);
    }),
  );
});
