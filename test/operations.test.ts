/** Every command of docs/operations.md is run, in its order, on records in the states that the page tells of. */
import { readFileSync } from "node:fs";
import * as sdk from "@aws-sdk/client-dynamodb";
import { beforeEach, describe, expect, it } from "vitest";
import { LockClient, type LockRecord } from "../src/index.ts";
import { theCommand } from "./support/command.ts";
import { lockTable } from "./support/dynamodb.ts";

const { tableName, client, put } = await lockTable();
const { run } = theCommand(tableName);
const locks = new LockClient({ client, tableName });
const DAY = 86_400_000;

const page = readFileSync(new URL("../docs/operations.md", import.meta.url), "utf8");
const sections = page.split(/^## /m).slice(1);
const blocksOf = (text: string) => [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block as string);

/** The words of a command, as a shell has them. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? (bare as string),
  );

const commandsOf = (block: string) =>
  block
    .replaceAll("\\\n", " ")
    .trim()
    .split("\n")
    .map((line) => {
      const [, command = "", code = "0"] = /^(.*?)(?: # exit (\d+))?$/.exec(line) ?? [];
      return { command, code: Number(code), words: wordsOf(command) };
    });

/** Sends a command of the AWS CLI with the SDK. Its options are the fields of the request, in other words. */
const aws = ([service, operation = "", ...options]: string[]) => {
  expect(service).toBe("dynamodb");
  const pascal = (name: string) => name.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase());
  const input: Record<string, unknown> = {};
  for (let at = 0; at < options.length; at++) {
    const name = pascal(options[at]?.slice(2) ?? "");
    const value = options[at + 1];
    if (value === undefined || value.startsWith("--")) input[name] = true;
    else {
      input[name] = value.startsWith("{") ? JSON.parse(value) : value;
      at++;
    }
  }
  if (input.TableName === "dynamo-locks") input.TableName = tableName;
  const Command = (sdk as unknown as Record<string, new (input: object) => sdk.GetItemCommand>)[
    `${pascal(operation)}Command`
  ];
  if (!Command) throw new Error(`the AWS CLI has no ${operation}`);
  return client.send(new Command(input));
};

const record = (key: string, status: string, fence: number, more: Record<string, string | number | object> = {}) => {
  const now = Date.now();
  const fields = {
    lock_id: key,
    status,
    token: `token of ${key}`,
    fence,
    owner_id: "i-0abc",
    lease_ms: 900_000,
    acquired_at: now - 600_000,
    updated_at: now - 600_000,
    expires_at: now + 10 * DAY,
    ttl: Math.ceil(now / 1_000) + 100 * 86_400,
    ...more,
  };
  const attribute = (value: string | number | object): object =>
    typeof value === "object" ? value : typeof value === "number" ? { N: String(value) } : { S: value };
  return put(Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, attribute(value)])) as never);
};

const setTheScene = async () => {
  await record("report#2026-11-21", "FINISHED", 1796064005104, { result: '{"lines":3}' });
  await record("report#2026-11-22", "IN_PROGRESS", 1796064006857);
  await record("report#2026-10-01", "FINISHED", 1790000000000, { updated_at: Date.now() - 40 * DAY });
  await record("payment#7", "IN_PROGRESS", 1796064003003);
  await record("orders#order-14", "IN_PROGRESS", 1796064001201, { expires_at: Date.now() - 1_000 });
  const holder = {
    M: {
      status: { S: "IN_PROGRESS" },
      token: { S: "t" },
      owner_id: { S: "i-0abc" },
      lease_ms: { N: "900000" },
      acquired_at: { N: `${Date.now()}` },
      expires_at: { N: `${Date.now() + DAY}` },
    },
  };
  await record("imports", "SEMAPHORE", 1796064002001, { permits: 3, slot_0: holder, slot_0_fence: 1796064002001 });
};

/** What the commands of a section, and those of the AWS CLI beside them, have in common: how they leave the records. */
const effects: Readonly<Record<string, () => Promise<void>>> = {
  "The report ran but was wrong: run it again": async () => {
    expect(await locks.get("report#2026-11-21")).toMatchObject({ status: "RELEASED", expiresAt: 0 });
    expect(await locks.once("report#2026-11-21", () => "again")).toBe("again");
  },
  "A key is stuck": async () => {
    const stuck = (await locks.get("report#2026-11-22")) as LockRecord;
    expect(stuck).toMatchObject({ status: "RELEASED", expiresAt: 0 });
    expect(stuck.token).not.toBe("token of report#2026-11-22");
    await (await locks.acquire("report#2026-11-22")).release();
  },
};

const isAws = (block: string) => block.startsWith("aws ");
const cases = sections.map((section) => ({ title: section.split("\n")[0] as string, blocks: blocksOf(section) }));
const having = (isWanted: (block: string) => boolean) =>
  cases.flatMap(({ title, blocks }) => {
    const commands = blocks.filter(isWanted).flatMap(commandsOf);
    return commands.length > 0 ? [{ title, commands }] : [];
  });

beforeEach(setTheScene);

describe("The commands of the page end as it says", () => {
  it.each(having((block) => !isAws(block)))("$title", async ({ title, commands }) => {
    for (const { command, code, words } of commands) {
      expect(words[0], command).toBe("dynamo-lock");
      const ended = await run(...words.slice(1));
      expect(ended.code, `${command}\n${ended.stdout}${ended.stderr}`).toBe(code);
    }
    await effects[title]?.();
  });
});

describe("The AWS CLI does the same", () => {
  it.each(having(isAws))("$title", async ({ title, commands }) => {
    for (const { words } of commands) await aws(words.slice(1));
    await effects[title]?.();
  });

  it.each(having(isAws).filter(({ title }) => effects[title]))(
    "and nothing, if it is not as it was seen: $title",
    async ({ commands }) => {
      const updates = commands.filter(({ words }) => words[2] === "update-item");
      for (const { words } of updates) {
        await aws(words.slice(1));
        await expect(aws(words.slice(1))).rejects.toThrow(sdk.ConditionalCheckFailedException);
      }
    },
  );
});

it("names only commands and options that there are", async () => {
  const prose = page.replace(/```.*?```/gs, "");
  const { stdout } = await run("--help");
  const named = [...page.matchAll(/`dynamo-lock (?:--\w+ \S+ )*(\w+)[^`]*`/g)].map(([, name]) => name as string);
  expect(named.filter((name) => !new RegExp(`^  ${name}\\b`, "m").test(stdout))).toEqual([]);
  const options = [
    ...new Set([...prose.matchAll(/`[^`\n]*?(--[a-z][a-z-]*)[^`\n]*`/g)].map(([, option]) => option as string)),
  ];
  const helps = await Promise.all(
    ["list", "show", "watch", "run", "break", "purge", "wait"].map((name) => run(name, "--help")),
  );
  const known = [stdout, ...helps.map((help) => help.stdout), "--global --help"].join("\n");
  expect(options.filter((option) => !known.includes(option))).toEqual([]);
});
