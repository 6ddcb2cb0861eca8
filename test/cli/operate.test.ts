/** `list`, `show`, `break`, `forget`, `finish`, `purge`, `wait`: processes of the real command. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { LockClient, semaphore } from "../../src/index.ts";
import { theCommand, until } from "../support/command.ts";
import { lockTable } from "../support/dynamodb.ts";

const { tableName, client } = await lockTable();
const { run, start } = theCommand(tableName);
const locks = new LockClient({ client, tableName, owner: "i-0abc" });
const aKey = () => `report#${randomUUID()}`;
const aHeldKey = async () => {
  const key = aKey();
  const lock = await locks.acquire(key, { data: { step: 3 } });
  return { key, lock, fence: String(lock.fencingToken) };
};
const aFinishedKey = async (result: unknown = { lines: 3 }) => {
  const held = await aHeldKey();
  await held.lock.finish({ result });
  return held;
};

describe("break", () => {
  it("without a guard shows the record and the command to repeat, and does nothing: 2", async () => {
    const { key, lock, fence } = await aHeldKey();
    const { code, stdout, stderr } = await run("break", key, "--why", "it's stuck");
    expect(code).toBe(2);
    expect(stdout).toMatch(new RegExp(`^${key}: held by i-0abc, fence ${fence}, since .* UTC, \\d+s left\n$`));
    expect(stderr).toContain(`dynamo-lock break ${key} --fence ${fence} --why 'it'\\''s stuck'`);
    await lock.extend(20_000);
  });

  it("breaks what was seen, tells its holder by whom and why, and can be taken at once: 0", async () => {
    const { key, lock, fence } = await aHeldKey();
    const { code, stdout } = await run("break", key, "--fence", fence, "--why", "it hangs");
    expect(code).toBe(0);
    expect(stdout).toMatch(`broken: ${key}: held by i-0abc`);
    await expect(lock.release()).rejects.toMatchObject({
      reason: "broken",
      by: expect.stringMatching(/^.+@.+$/),
      why: "it hangs",
    });
    await (await locks.acquire(key)).release();
  });

  it("by its token, in place of its fence: 0; by another token: 4", async () => {
    const { key, lock } = await aHeldKey();
    expect(await run("break", key, "--token", "another")).toMatchObject({ code: 4 });
    expect(await run("break", key, "--token", lock.token)).toMatchObject({ code: 0 });
  });

  it("of a key that changed hands writes nothing, and shows who has it: 4", async () => {
    const { key, lock, fence } = await aHeldKey();
    await lock.release();
    const next = await locks.acquire(key, { owner: "the next" });
    const { code, stdout, stderr } = await run("break", key, "--fence", fence, "--json");
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toMatchObject({ outcome: "changed", record: { state: "held", owner: "the next" } });
    expect(stderr).toContain("Nothing was written");
    await next.release();
  });

  it("of a finished key writes nothing, and names the command that is meant for it: 4", async () => {
    const { key, fence } = await aFinishedKey();
    const { code, stderr } = await run("break", key, "--fence", fence);
    expect(code).toBe(4);
    expect(stderr).toContain(`dynamo-lock forget ${key} --fence ${fence}`);
    const asked = await run("break", key);
    expect(asked).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`dynamo-lock forget ${key} --fence ${fence}`),
    });
    expect(asked.stderr).not.toContain(`dynamo-lock break ${key}`);
    expect((await locks.get(key))?.status).toBe("FINISHED");
  });

  it("of what is free, or is not there: 3", async () => {
    const { key, lock, fence } = await aHeldKey();
    await lock.release();
    expect(await run("break", key, "--fence", fence)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("free already"),
    });
    expect(await run("break", key)).toMatchObject({ code: 3, stderr: expect.stringContaining("free already") });
    expect(await run("break", aKey(), "--fence", "1")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("no such key"),
    });
  });

  it("of a semaphore asks which holder, and breaks that one", async () => {
    const key = aKey();
    const [one, two] = await Promise.all(
      ["one", "two"].map((owner) => semaphore(locks, key, { permits: 3 }).acquire({ owner })),
    );
    const asked = await run("break", key);
    expect(asked.code).toBe(2);
    for (const lock of [one, two]) expect(asked.stderr).toContain(`--fence ${lock?.fencingToken}   # ${lock?.owner}`);
    expect(await run("break", key, "--fence", `${one?.fencingToken}`)).toMatchObject({ code: 0 });
    await expect(one?.release()).rejects.toMatchObject({ reason: "broken" });
    await two?.release();
  });

  it("with --namespace takes the key of the namespace, or as it is stored; if both are there, neither: 2", async () => {
    const [a, b] = [await aHeldKey(), await aHeldKey()];
    const inside = a.key.replace("report#", "");
    expect(await run("--namespace", "report", "break", inside, "--fence", a.fence)).toMatchObject({ code: 0 });
    const doubled = await locks.acquire(`report#${b.key}`, { owner: "doubled" });
    const refused = await run("break", "--namespace", "report", b.key, "--fence", b.fence);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("held by doubled") });
    expect(refused.stderr).toContain(`${b.key}: held by i-0abc`);
    await doubled.release();
    await b.lock.release();
  });
});

describe("forget", () => {
  it("makes a finished key run again: 0; and only the run that was seen: 4", async () => {
    const { key, fence } = await aFinishedKey();
    expect(await run("forget", key)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`forget ${key} --fence ${fence}`),
    });
    expect(await run("forget", key, "--fence", fence, "--why", "wrong prices")).toMatchObject({ code: 0 });
    expect(await locks.once(key, () => "again")).toBe("again");
    expect(await run("forget", key, "--fence", fence)).toMatchObject({ code: 4 });
    expect(await locks.once(key, () => "ran")).toBe("again");
  });
});

describe("finish", () => {
  it("says for another that it is done: 0", async () => {
    const { key, lock, fence } = await aHeldKey();
    const args = ["--fence", fence, "--status", "PAID", "--result", '{"statusCode":201}', "--remember", "2h"];
    expect(await run("finish", key, ...args)).toMatchObject({ code: 0 });
    const record = await locks.get(key);
    expect(record).toMatchObject({ finalStatus: "PAID", result: { value: { statusCode: 201 } } });
    expect((record?.expiresAt ?? 0) - Date.now()).toBeGreaterThan(7_000_000);
    await expect(lock.finish()).rejects.toMatchObject({ reason: "broken" });
  });

  it("with a result that is no JSON: 64", async () => {
    const { key, lock, fence } = await aHeldKey();
    expect(await run("finish", key, "--fence", fence, "--result", "{")).toMatchObject({ code: 64 });
    await lock.release();
  });
});

describe("list", () => {
  it("shows what is asked for as a table, or as JSON without tokens: 0; nothing: 3", async () => {
    const owner = randomUUID();
    const prefix = `${owner}-`;
    const held = await locks.acquire(`${prefix}held`, { owner });
    await locks.acquire(`${prefix}stale`, { owner, leaseMs: 1_000, heartbeatMs: false });
    await (await locks.acquire(`${prefix}finished`, { owner })).finish();
    await (await locks.acquire(`${prefix}released`, { owner })).release();
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // the lease is over
    const keysOf = async (...args: string[]) => {
      const { stdout } = await run("list", "--owner", owner, "--json", ...args);
      return stdout
        .trim()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line).key.slice(prefix.length))
        .sort();
    };
    expect(await keysOf()).toEqual(["finished", "held", "released", "stale"]);
    expect(await keysOf("--held")).toEqual(["held"]);
    expect(await keysOf("--stale", "--finished")).toEqual(["finished", "stale"]);
    expect(await keysOf("--released", "--older", "10m")).toEqual([]);
    const { code, stdout, stderr } = await run("list", "--prefix", prefix);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^KEY +STATE +OWNER +FENCE +SINCE +FOR +ENDS\n/);
    expect(stdout.trim().split("\n")).toHaveLength(5);
    expect(stderr).toMatch(/\d+ items looked at, 4 locks, [\d.]+ read units/);
    expect((await run("list", "--prefix", prefix, "--json")).stdout).not.toContain(held.token);
    expect(await run("list", "--quiet", "--prefix", "nothing-begins-so")).toEqual({ code: 3, stdout: "", stderr: "" });
    await held.release();
  });
});

describe("list --watch", () => {
  it("lists again and again, until it is interrupted", async () => {
    const { key, lock } = await aHeldKey();
    const listing = start(["list", "--prefix", key, "--watch", "--json"]);
    let output = "";
    listing.child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    await until(() => output.includes('"state":"held"'));
    await lock.release();
    await until(() => output.includes('"state":"released"'));
    listing.child.kill("SIGINT");
    expect((await listing.ended).code).toBe("SIGINT");
  });
});

describe("show", () => {
  it("tells all, in a time zone of choice; the result only when it is asked for: 0", async () => {
    const { key, fence } = await aFinishedKey();
    const { code, stdout } = await run("show", key, "--time-zone", "America/Sao_Paulo");
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`key +${key}\nstate +finished\nowner +i-0abc\nfence +${fence}\n`));
    expect(stdout).toContain("America/Sao_Paulo");
    expect(stdout).toContain("Not free: it is finished, and repeats don't run until");
    expect(stdout).not.toContain('"lines":3');
    expect((await run("show", key, "--result")).stdout).toContain('{"lines":3}');
    expect(JSON.parse((await run("show", key, "--result", "--json")).stdout)).toMatchObject({
      result: { value: { lines: 3 } },
    });
  });

  it("of no such key: 3", async () => {
    expect(await run("show", aKey())).toMatchObject({ code: 3, stdout: "" });
  });

  it("what stands in a record can't move the cursor", async () => {
    const key = aKey();
    await (await locks.acquire(key, { owner: "\x1b[2Jgone" })).release();
    const { stdout } = await run("show", key);
    expect(stdout).toContain("\\u001b[2Jgone");
    expect(stdout).not.toContain("\x1b");
  });

  it("nor what stands in a key, and the command to repeat still means it", async () => {
    const lock = await locks.acquire(`it's \x1b[2J ${aKey()}`);
    const { stdout, stderr } = await run("break", lock.key);
    expect(stdout + stderr).not.toContain("\x1b");
    const [, word = ""] = /dynamo-lock break (\$'.*') --fence/.exec(stderr) ?? [];
    expect(execFileSync("bash", ["-c", `printf %s ${word}`], { encoding: "utf8" })).toBe(lock.key);
    await lock.release();
  });
});

describe("purge", () => {
  it("without --yes deletes nothing: 2; with it, what was shown: 0; then there is nothing: 3", async () => {
    const { key } = await aFinishedKey();
    const args = ["purge", "--finished", "--prefix", key];
    await new Promise((resolve) => setTimeout(resolve, 1_200)); // past the clock skew, in which no record is purged
    expect(await run(...args)).toMatchObject({
      code: 2,
      stdout: `${key}\n`,
      stderr: expect.stringContaining("Nothing was deleted"),
    });
    expect(await run(...args, "--dry-run")).toMatchObject({ code: 0, stdout: `${key}\n` });
    expect(await locks.get(key)).toBeDefined();
    expect(await run(...args, "--yes")).toMatchObject({ code: 0, stdout: `${key}\n` });
    expect(await locks.get(key)).toBeUndefined();
    expect(await run(...args, "--yes")).toMatchObject({ code: 3, stdout: "" });
  });
});

describe("wait", () => {
  it("ends when nobody holds the keys: 0; or shows those that are held when the time is up: 124", async () => {
    const [a, b] = [await aHeldKey(), await aHeldKey()];
    await b.lock.release();
    expect(await run("wait", a.key, b.key, "--timeout", "100ms")).toMatchObject({ code: 124, stdout: `${a.key}\n` });
    const { ended } = start(["wait", a.key, b.key]);
    await a.lock.release();
    expect(await ended).toMatchObject({ code: 0, stdout: "" });
  });
});
