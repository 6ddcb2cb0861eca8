/** What the keys of late say about the next. */
import { describe, expect, it } from "vitest";
import { Expectation, type Found } from "../../src/dynamodb/found.ts";

const after = (...found: (readonly [Found, number])[]) => {
  const expectation = new Expectation();
  for (const [what, times] of found) for (let n = 0; n < times; n++) expectation.learn(what);
  return expectation.likely;
};

describe("a key is likely", () => {
  it.each<[Found, string, Parameters<typeof after>]>([
    ["absent", "before anything is known", []],
    ["absent", "after a few repeats", [["finished", 5]]],
    ["finished", "after a batch of repeats", [["finished", 10]]],
    ["other", "after a batch of entities", [["other", 10]]],
    [
      "absent",
      "after many repeats and a batch of new ones",
      [
        ["finished", 1_000],
        ["absent", 10],
      ],
    ],
    [
      "finished",
      "after many entities and a batch of repeats",
      [
        ["other", 1_000],
        ["finished", 10],
      ],
    ],
    [
      "absent",
      "while the half of each ten are repeats",
      [
        ["absent", 5],
        ["finished", 5],
        ["absent", 5],
      ],
    ],
  ])("to be %s %s", (likely, _when, found) => {
    expect(after(...found)).toBe(likely);
  });
});
