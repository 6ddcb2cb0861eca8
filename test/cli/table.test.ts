/** `doctor`, `table`, `watch`, `completion`, and the exit codes of what can't be done. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { CreateTableCommand, DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { breakLock, LockClient } from "../../src/index.ts";
import { theCommand, until } from "../support/command.ts";
import { localConfig, lockTable } from "../support/dynamodb.ts";

const { tableName, client } = await lockTable();
const { run, start } = theCommand(tableName);
const locks = new LockClient({ client, tableName, owner: "i-0abc" });
const linesOf = (text: string) =>
  text
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

const headersOf = ({ headers }: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    ["x-amz-target", "x-amz-date", "authorization", "content-type"].map((name) => [name, String(headers[name])]),
  );

describe("doctor", () => {
  it("of a table as it should be finds nothing: 0, and leaves nothing", async () => {
    const { tableName: another } = await lockTable();
    const { code, stdout } = await run("--table", another, "doctor", "--json");
    const findings = linesOf(stdout);
    expect(findings.filter(({ status }) => status !== "ok" && status !== "unknown")).toEqual([]);
    expect(code).toBe(0);
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining(["key schema", "TTL", "may UpdateItem", "refused items", "clock"]),
    );
    expect(await run("--table", another, "list")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("0 items looked at"),
    });
  });

  it("of a table without TTL, or with a stale lock, says so, with a remedy: 78", async () => {
    const bare = `bare-${randomUUID()}`;
    await client.send(
      new CreateTableCommand({
        TableName: bare,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [{ AttributeName: "lock_id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "lock_id", KeyType: "HASH" }],
      }),
    );
    await new LockClient({ client, tableName: bare, owner: "crashed" }).acquire("k", {
      leaseMs: 500,
      heartbeatMs: false,
    });
    await new Promise((resolve) => setTimeout(resolve, 600)); // the lease is over
    const { code, stdout } = await run("--table", bare, "doctor");
    expect(code).toBe(78);
    expect(stdout).toMatch(/^fail +TTL +is off.*\n +-> aws dynamodb update-time-to-live --table-name/m);
    expect(stdout).toMatch(/^warn +stale locks +1 in 1 items: k: stale by crashed/m);
    expect((await run("--table", bare, "--key-attribute", "id", "doctor")).stdout).toContain(
      "the partition key is lock_id, not id",
    );
  });

  it("finds what only a real table, role or clock can have: 78", async () => {
    const { endpoint } = localConfig();
    /** Between the command and the engine: a role that may not all, a global table, an old engine, and a clock of its own. */
    const between = createServer(async (request, response) => {
      const operation = String(request.headers["x-amz-target"]).split(".")[1] as string;
      const reply = await fetch(endpoint, { method: "POST", headers: headersOf(request), body: await text(request) });
      const body = Object(await reply.json());
      if (operation === "DescribeTable")
        body.Table.Replicas = [{ RegionName: "eu-west-1" }, { RegionName: "us-east-1" }];
      if (operation === "UpdateItem") delete body.Item;
      const denied = { __type: "com.amazon.coral.service#AccessDeniedException", message: "not authorized" };
      const isDenied = ["DeleteItem", "DescribeTimeToLive", "TransactWriteItems"].includes(operation);
      const date = new Date(Date.now() - 60_000).toUTCString();
      response.writeHead(isDenied ? 400 : reply.status, { "content-type": "application/x-amz-json-1.0", date });
      response.end(JSON.stringify(isDenied ? denied : body));
    }).listen(0, "127.0.0.1");
    await until(() => between.listening);
    const address = `http://127.0.0.1:${(between.address() as AddressInfo).port}`;
    const { code, stdout } = await run("--endpoint", address, "doctor", "--json");
    between.close();
    const found = new Map(linesOf(stdout).map((finding) => [finding.check, finding]));
    expect(code).toBe(78);
    expect(found.get("replicas")).toMatchObject({ status: "warn", remedy: expect.stringContaining("one Region") });
    expect(found.get("TTL")).toMatchObject({ status: "unknown" });
    expect(found.get("refused items")).toMatchObject({ status: "fail" });
    expect(found.get("may UpdateItem")).toMatchObject({ status: "ok" });
    for (const action of ["DeleteItem", "ConditionCheckItem"])
      expect(found.get(`may ${action}`)).toMatchObject({ status: "warn" });
    expect(found.get("clock")).toMatchObject({
      status: "fail",
      detail: expect.stringMatching(/^(1m|59s|1m 1s).* ahead of/),
    });
  });

  it("of a table that is missing names the command that makes it: 78", async () => {
    const { code, stdout } = await run("--table", "none-such", "doctor");
    expect(code).toBe(78);
    expect(stdout).toContain("dynamo-lock --table none-such table create");
  });
});

describe("table", () => {
  it("create makes one that locks can use: 0", async () => {
    const name = `created-${randomUUID()}`;
    expect(await run("table", "create", "--table", name, "--deletion-protection")).toMatchObject({ code: 0 });
    const { Table } = await client.send(new DescribeTableCommand({ TableName: name }));
    expect(Table?.TableStatus).toBe("ACTIVE");
    expect(await run("--table", name, "run", "k", "--", "true")).toMatchObject({ code: 0 });
  });

  it("print gives its definition in three forms, and refuses others", async () => {
    const { stdout } = await run("table", "print", "--as", "cloudformation", "--table", "locks");
    expect(parse(stdout).Resources.LockTable.Properties).toMatchObject({
      TableName: "locks",
      TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
    });
    expect((await run("table", "print", "--as", "cdk")).stdout).toContain('partitionKey: { name: "lock_id"');
    expect((await run("table", "print", "--as", "terraform")).stdout).toContain('hash_key     = "lock_id"');
    expect(await run("table", "print", "--as", "pulumi")).toMatchObject({ code: 64, stdout: "" });
  });
});

describe("watch", () => {
  it("prints one JSON line a change, and ends when the key is free: 0", async () => {
    const key = `watched-${randomUUID()}`;
    const first = await locks.acquire(key);
    const watching = start(["watch", key, "--json", "--interval", "50ms", "--until", "free"]);
    let output = "";
    watching.child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    const seen = (type: string) => until(() => output.includes(`"type":"${type}"`));
    await seen("taken");
    await first.release();
    const { code, stdout } = await watching.ended;
    expect(code).toBe(0);
    expect(linesOf(stdout)).toMatchObject([
      { key, type: "taken", owner: "i-0abc", fencingToken: first.fencingToken },
      { key, type: "released", fencingToken: first.fencingToken },
    ]);
  });

  it("tells of hand-overs, of an operator, and of a finish", async () => {
    const key = `watched-${randomUUID()}`;
    const first = await locks.acquire(key);
    const watching = start(["watch", "--prefix", key, "--interval", "50ms", "--until", "finished"]);
    let output = "";
    watching.child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    await until(() => output.includes("taken"));
    await breakLock(locks, first, { by: "ann", why: "it hangs" });
    await until(() => output.includes("by ann: it hangs"));
    const second = await locks.acquire(key, { owner: "second" });
    await until(() => output.includes(`taken  second, fence ${second.fencingToken}`));
    await second.finish();
    expect(await watching.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/finished {2}second/) });
  });

  it("ends when nobody reads it any more, as a program that SIGPIPE ends: 141", async () => {
    const key = `watched-${randomUUID()}`;
    const watching = start(["watch", key, "--interval", "50ms"]);
    const gone = expect(watching.ended).rejects.toThrow("Premature close"); // of our own reading
    watching.child.stdout?.destroy();
    const lock = await locks.acquire(key);
    await until(() => watching.child.exitCode);
    expect(watching.child.exitCode).toBe(141);
    await gone;
    await lock.release();
  });

  it("gives up after --timeout: 124", async () => {
    const lock = await locks.acquire(`watched-${randomUUID()}`);
    expect(await run("watch", lock.key, "--until", "free", "--timeout", "200ms")).toMatchObject({ code: 124 });
    await lock.release();
  });
});

describe("completion", () => {
  it("for bash completes commands, options, and the command to run", async () => {
    const { stdout } = await run("completion", "bash");
    const complete = (...words: string[]) => {
      const script = `${stdout}\nCOMP_WORDS=(dynamo-lock ${words.map((word) => `'${word}'`).join(" ")})\nCOMP_CWORD=${words.length}\n_dynamo_lock\necho "\${COMPREPLY[@]}"`;
      return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split(" ");
    };
    expect(complete("br")).toEqual(["break"]);
    expect(complete("break", "k", "--fe")).toEqual(["--fence"]);
    expect(complete("table", "cr")).toEqual(["create"]);
    expect(complete("run", "k", "--", "tru")).toContain("true");
  });

  it("is there for zsh and fish, and for no other shell", async () => {
    expect((await run("completion", "zsh")).stdout).toContain("bashcompinit");
    expect((await run("completion", "fish")).stdout).toContain("complete -c dynamo-lock");
    expect(await run("completion", "csh")).toMatchObject({ code: 64 });
  });
});

describe("What can't be done", () => {
  it.each([
    [[]],
    [["lst"]],
    [["list", "--helt"]],
    [["break"]],
    [["break", "k", "--fence", "x"]],
    [["wait", "k", "--timeout", "5"]],
    [["list", "--time-zone", "Mars"]],
    [["show", ""]],
  ])("%j is a usage that is not known: 64", async (args) => {
    expect(await run(...args)).toMatchObject({ code: 64, stdout: "" });
  });

  it("help, and the version, are asked for: 0", async () => {
    expect(await run("--help")).toMatchObject({ code: 0, stdout: expect.stringContaining("Exit codes: 0 done") });
    expect(await run("run", "--help")).toMatchObject({ code: 0 });
    expect((await run("--version")).code).toBe(0);
  });

  it("a DynamoDB that doesn't answer, or a table that is missing: 69", async () => {
    expect(await run("--endpoint", "http://127.0.0.1:1", "run", "k", "--", "true")).toMatchObject({
      code: 69,
      stdout: "",
    });
    const missing = await run("--table", "none-such", "run", "k", "--", "true");
    expect(missing).toMatchObject({ code: 69, stderr: expect.stringContaining("none-such") });
  });

  it("without permission, or without credentials: 77", async () => {
    const denied = createServer((_request, response) => {
      response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
      response.end(
        JSON.stringify({ __type: "com.amazon.coral.service#AccessDeniedException", message: "not authorized" }),
      );
    }).listen(0, "127.0.0.1");
    await until(() => denied.listening);
    const endpoint = `http://127.0.0.1:${(denied.address() as AddressInfo).port}`;
    expect(await run("--endpoint", endpoint, "list")).toMatchObject({
      code: 77,
      stderr: expect.stringContaining("not authorized"),
    });
    denied.close();
    const { code } = await start(["list"], {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_EC2_METADATA_DISABLED: "true",
    }).ended;
    expect(code).toBe(77);
  });
});
