/** Options are declared once: the types, the rules, the defaults and the tables of the documents agree. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BATCH_DEFAULTS } from "../src/batch/options.ts";
import { WAIT_UNTIL_FINISHED_DEFAULTS } from "../src/client/wait-until-finished.ts";
import { fits } from "../src/common/rules.ts";
import { DEFAULTS } from "../src/lock/options.ts";
import { cellOf, DOORS, declaredBy, optionsPage } from "./support/declared-options.ts";

const read = (document: string) => readFileSync(new URL(`../${document}`, import.meta.url), "utf8");

/** The section of a document under a heading. */
const section = (document: string, heading: string): string =>
  read(document)
    .split(`\n## ${heading}\n`)[1]
    ?.split(/\n##+ /)[0] ?? "";

/** The rows of the tables whose first column is `option`: the names, and the default if there is such a column. */
const rows = (text: string): { names: string[]; cells: string[] }[] =>
  [...text.matchAll(/^\| option \|.*\n\|[-|]+\|\n((?:\|.*\n)+)/gm)].flatMap(([, body = ""]) =>
    body
      .trim()
      .split("\n")
      .map((row) => row.split(/(?<!\\)\|/).map((cell) => cell.trim()))
      .map(([, first = "", ...cells]) => ({ names: namesIn(first), cells })),
  );
const namesIn = (text: string): string[] => [...text.matchAll(/`(\w+)`/g)].map(([, name]) => name as string);

/** Values of all kinds, and what an alternative names: a quoted text, an object with methods. */
const samples = (alternative: string): unknown[] => {
  const methods = alternative.split(/ methods? /)[1]?.split(", ") ?? [];
  const object = Object.fromEntries(methods.map((method) => [method, () => {}]));
  return [/^'(.*)'$/.exec(alternative)?.[1] ?? "text", 1, true, false, () => {}, object];
};

const door = (type: string) => DOORS.find((candidate) => candidate.type === type) as (typeof DOORS)[number];

/** Expects the defaults of a table, its second column, to be those that the type names. */
const expectDefaults = (table: ReturnType<typeof rows>, type: string) => {
  const declared = declaredBy(type);
  const written = table.flatMap(({ names, cells }) => names.map((name) => [name, cells[0]]));
  expect(written).toEqual(written.map(([name = ""]) => [name, declared.get(name)?.default]));
};

describe.each(DOORS)("$title", ({ rules, type }) => {
  it("has rules in words that the interpreter knows: each alternative is true of something", () => {
    const words = Object.values(rules).filter((rule) => typeof rule === "string");
    const alternatives = words.flatMap((rule) => rule.split(/ or |, (?=')/));
    expect(
      alternatives.filter((alternative) => !samples(alternative).some((value) => fits(value, alternative))),
    ).toEqual([]);
  });

  it("has a rule for each option of its type, and for no other", () => {
    expect(Object.keys(rules).toSorted()).toEqual([...declaredBy(type).keys()].toSorted());
  });
});

it.each([DEFAULTS, BATCH_DEFAULTS, WAIT_UNTIL_FINISHED_DEFAULTS])(
  "the types name the default that holds: %o",
  (defaults) => {
    for (const [name, value] of Object.entries(defaults)) {
      const declared = DOORS.flatMap(({ type }) => declaredBy(type).get(name)?.default ?? []);
      expect(
        declared.filter((text) => text.includes(cellOf(value))),
        name,
      ).not.toEqual([]);
    }
  },
);

it.each(DOORS)("the type says what each option of $title is", ({ rules, type }) => {
  const declared = declaredBy(type);
  expect(Object.keys(rules).filter((name) => !declared.get(name)?.text)).toEqual([]);
});

describe("the tables of the documents", () => {
  it("README.md: all options of dynamoLock, with their defaults", () => {
    const table = rows(section("README.md", "Options"));
    const names = table.flatMap((row) => row.names);
    expect(names.toSorted()).toEqual(Object.keys(door("DynamoLockOptions").rules).toSorted());
    expectDefaults(table, "DynamoLockOptions");
  });

  it("docs/batches.md: all options of dynamoLockBatch, with the defaults of its own", () => {
    const text = section("docs/batches.md", "Options");
    const table = rows(text);
    const asInDynamoLock = namesIn(text.split("And:")[0] ?? "").filter((name) => name !== "dynamoLock");
    const names = [...asInDynamoLock, ...table.flatMap((row) => row.names)];
    expect(names.toSorted()).toEqual(Object.keys(door("DynamoLockBatchOptions").rules).toSorted());
    expectDefaults(table, "DynamoLockBatchOptions");
  });

  it("docs/observability.md: three options that all doors have", () => {
    const names = rows(read("docs/observability.md")).flatMap((row) => row.names);
    expect(names).toEqual(["logger", "metrics", "onEvent"]);
    for (const type of ["DynamoLockOptions", "DynamoLockBatchOptions", "LockClientOptions"]) {
      expect(Object.keys(door(type).rules)).toEqual(expect.arrayContaining(names));
    }
  });

  it("docs/options.md: all options of all functions", async () => {
    await expect(optionsPage()).toMatchFileSnapshot("../docs/options.md");
  });
});

it("a new option of dynamoLock is unknown to dynamoLockBatch: each has a list of its own", () => {
  const names = (type: string) => Object.keys(door(type).rules);
  const own = names("DynamoLockOptions").filter((name) => !names("DynamoLockBatchOptions").includes(name));
  expect(own).toEqual(["duplicateResponse", "onSuccess", "onError", "storeResponse", "replayedHeader"]);
});
