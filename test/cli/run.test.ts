/** `run`: processes of the real command, the processes that they start, and how each of them may end. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { breakLock, LockClient } from "../../src/index.ts";
import { theCommand, until } from "../support/command.ts";
import { localConfig, lockTable } from "../support/dynamodb.ts";

const { tableName, client } = await lockTable();
const { run, start } = theCommand(tableName);
const locks = new LockClient({ client, tableName });
const aKey = () => `job-${randomUUID()}`;
const sh = (script: string) => ["--", "sh", "-c", script];
const held = (key: string) =>
  until(async () => {
    const record = await locks.get(key);
    return record?.status === "IN_PROGRESS" && record;
  });
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
/** What a started command has printed so far. */
const printed = ({ child }: ReturnType<typeof start>) => {
  const output = { text: "" };
  child.stdout?.on("data", (chunk) => {
    output.text += chunk;
  });
  return output;
};

describe("The command's exit code is its own", () => {
  it("also when it fails: the key is free afterwards, and nothing is remembered", async () => {
    const key = aKey();
    expect(await run("run", key, "--once", ...sh("exit 5"))).toMatchObject({ code: 5 });
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });

  it.each([
    ["is not found: 127", ["--", "no-such-command-anywhere"], 127],
    ["is not executable: 126", ["--", "/etc/passwd"], 126],
    ["is killed: 137", sh("kill -KILL $$"), 137],
  ])("one that %s, and its key is free", async (_name, command, code) => {
    const key = aKey();
    expect(await run("run", key, ...command)).toMatchObject({ code });
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });
});

describe("The command gets", () => {
  it("the keys and the fencing token; the token in a file that is its user's alone, and gone afterwards", async () => {
    const [a, b] = [aKey(), aKey()];
    const script =
      'echo $DYNAMO_LOCK_KEY "$DYNAMO_LOCK_KEYS" $DYNAMO_LOCK_FENCING_TOKEN $DYNAMO_LOCK_TOKEN_FILE; stat -c %a $DYNAMO_LOCK_TOKEN_FILE; cat $DYNAMO_LOCK_TOKEN_FILE; env | grep -c TOKEN=';
    const { code, stdout } = await run("run", a, b, ...sh(script));
    expect(code).toBe(0);
    const [line = "", mode, secrets] = stdout.trim().split("\n");
    const [key, keys, fence, file = ""] = line.split(" ");
    const record = await locks.get(b);
    expect([key, JSON.parse(keys as string), Number(fence)]).toEqual([a, [a, b], record?.fencingToken]);
    expect(mode).toBe("600");
    expect(secrets).toBe(`${record?.token}1`); // one variable is the fencing token
    expect(existsSync(file)).toBe(false);
    expect(record?.owner).toMatch(/^.+@.+:\d+$/);
  });
});

describe("A key that is held", () => {
  it("is not waited for: 75, or the code of one's own; the command does not run", async () => {
    const key = aKey();
    const lock = await locks.acquire(key, { owner: "i-0abc" });
    const { code, stdout, stderr } = await run("run", key, ...sh("echo ran"));
    expect({ code, stdout }).toEqual({ code: 75, stdout: "" });
    expect(stderr).toContain(`${key}: held by i-0abc`);
    expect(await run("run", key, "--conflict-exit-code", "0", ...sh("echo ran"))).toMatchObject({
      code: 0,
      stdout: "",
    });
    await lock.release();
  });

  it("is waited for with --wait: it says by whom, and runs when the key is free", async () => {
    const key = aKey();
    const lock = await locks.acquire(key, { owner: "i-0abc" });
    const waiting = start(["run", key, "--wait", "20s", ...sh("echo ran")]);
    waiting.child.stderr?.once("data", () => lock.release());
    expect(await waiting.ended).toMatchObject({
      code: 0,
      stdout: "ran\n",
      stderr: expect.stringContaining("waiting up to 20s for"),
    });
    const other = await locks.acquire(key);
    expect(await run("run", key, "--wait", "300ms", ...sh("echo ran"))).toMatchObject({ code: 75, stdout: "" });
    await other.release();
  });

  it("can be given up waiting for by a signal, and the command does not run: 143", async () => {
    const key = aKey();
    const lock = await locks.acquire(key);
    const waiting = start(["run", key, "--wait", "20s", ...sh("echo ran")]);
    waiting.child.stderr?.once("data", () => waiting.child.kill("SIGTERM"));
    expect(await waiting.ended).toMatchObject({ code: 143, stdout: "" });
    await lock.release();
    expect(await locks.count(key)).toBe(0);
  });
});

describe("--once", () => {
  it("remembers success: a repeat does not run, and ends with 0", async () => {
    const key = aKey();
    expect(await run("run", key, "--once", "--remember", "2h", ...sh("echo ran"))).toMatchObject({
      code: 0,
      stdout: "ran\n",
    });
    const record = await locks.get(key);
    expect(record?.status).toBe("FINISHED");
    expect((record?.expiresAt ?? 0) - Date.now()).toBeGreaterThan(7_000_000);
    expect(await run("run", key, "--once", ...sh("echo ran"))).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("done already"),
    });
  });
});

describe("--permits", () => {
  it("lets so many hold the key at once", async () => {
    const key = aKey();
    const command = ["run", key, "--permits", "2", ...sh("exec sleep 30")];
    const running = [start(command), start(command)];
    await until(async () => (await locks.count(key)) === 2);
    expect(await run(...command)).toMatchObject({ code: 75 });
    for (const { child } of running) child.kill("SIGTERM");
    expect((await Promise.all(running.map(({ ended }) => ended))).map(({ code }) => code)).toEqual([143, 143]);
    expect(await locks.count(key)).toBe(0);
  });
});

describe("A signal", () => {
  it("goes to all that the command has started, and the key is free afterwards: 128+n", async () => {
    const key = aKey();
    const running = start(["run", key, ...sh("sleep 30 & echo $!; wait")]);
    const output = printed(running);
    const grandchild = Number(await until(() => output.text.trim()));
    running.child.kill("SIGTERM");
    expect((await running.ended).code).toBe(143);
    expect((await locks.get(key))?.status).toBe("RELEASED");
    await until(() => !isAlive(grandchild));
  });

  it("that the command handles is its own affair", async () => {
    const key = aKey();
    const running = start([
      "run",
      key,
      ...sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"),
    ]);
    const output = printed(running);
    await until(() => output.text.includes("ready"));
    running.child.kill("SIGTERM");
    expect((await running.ended).code).toBe(7);
    expect(output.text).toContain("bye");
  });
});

describe("A lock that is lost", () => {
  it("ends the command with TERM, and says by whom and why: 76", async () => {
    const key = aKey();
    const running = start([
      "run",
      key,
      "--lease",
      "600ms",
      ...sh("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"),
    ]);
    await breakLock(locks, await held(key), { by: "ann", why: "it hangs" });
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 76, stdout: "bye\n" });
    expect(stderr).toContain("an operator has ended it (ann: it hangs)".replace("(ann", "(by ann"));
  });

  it("ends with KILL after --kill-after what ignores TERM, and all of its group: 76", async () => {
    const key = aKey();
    const script = "trap '' TERM; (while :; do sleep 0.05; done) & echo $!; while :; do sleep 0.05; done";
    const running = start(["run", key, "--lease", "600ms", "--kill-after", "300ms", ...sh(script)]);
    const output = printed(running);
    const grandchild = Number(await until(() => output.text.trim()));
    await breakLock(locks, await held(key));
    expect((await running.ended).code).toBe(76);
    await until(() => !isAlive(grandchild));
  });

  it("because DynamoDB is away, ends the command before the lease is over for others: 76", async () => {
    const key = aKey();
    const engine = new URL(localConfig().endpoint);
    const pipes: Socket[] = [];
    /** A wire between the command and the engine, that can be cut. */
    const wire = createServer((socket) => {
      const other = connect(Number(engine.port), engine.hostname);
      pipes.push(socket, other);
      for (const each of [socket, other]) each.on("error", () => {});
      socket.pipe(other).pipe(socket);
    }).listen(0, "127.0.0.1");
    await until(() => wire.listening);
    const endpoint = `http://127.0.0.1:${(wire.address() as AddressInfo).port}`;
    const script = "trap 'date +%s%3N; exit 0' TERM; while :; do sleep 0.02; done";
    const running = start(["run", key, "--endpoint", endpoint, "--lease", "2s", ...sh(script)]);
    const { expiresAt } = await held(key);
    wire.close();
    for (const pipe of pipes) pipe.destroy();
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(76);
    expect(stderr).toContain("it could not be renewed before its lease was over");
    expect(Number(stdout)).toBeLessThan(expiresAt + 1_000); // others wait for clockSkewMs
    await until(() => locks.tryAcquire(key));
  });

  it("is not remembered as done, though the command ended well: 76", async () => {
    const key = aKey();
    const running = start(["run", key, "--once", ...sh("echo ready; sleep 1")]);
    await breakLock(locks, await held(key));
    expect((await running.ended).code).toBe(76);
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });
});

describe("--timeout", () => {
  it("ends the command, and the key is free afterwards: 124", async () => {
    const key = aKey();
    expect(await run("run", key, "--timeout", "300ms", ...sh("exec sleep 30"))).toMatchObject({ code: 124 });
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });
});

describe("The lease", () => {
  it("is renewed for as long as the command runs", async () => {
    const key = aKey();
    const { fencingToken } = await (async () => {
      const running = start(["run", key, "--lease", "600ms", ...sh("sleep 2.5")]);
      const record = await held(key);
      await new Promise((resolve) => setTimeout(resolve, 1_800));
      expect(await locks.tryAcquire(key)).toBeUndefined();
      expect((await running.ended).code).toBe(0);
      return record;
    })();
    expect(await locks.get(key)).toMatchObject({ status: "RELEASED", fencingToken });
  });
});

describe("SIGKILL of run itself", () => {
  it("leaves the key to its lease: it is shown as stale, and the next takes it over", async () => {
    const key = aKey();
    const running = start(["run", key, "--lease", "3s", ...sh("echo $$; exec sleep 30")]);
    const output = printed(running);
    const child = Number(await until(() => output.text.trim()));
    const { fencingToken } = await held(key);
    running.child.kill("SIGKILL");
    process.kill(child, "SIGKILL"); // nobody has told it that its lock will end
    expect((await running.ended).code).toBe("SIGKILL");
    expect(await run("run", key, ...sh("echo ran"))).toMatchObject({ code: 75, stdout: "" });
    await until(async () => ((await locks.get(key))?.expiresAt ?? 0) < Date.now());
    expect(await run("list", "--stale", "--prefix", key)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`${fencingToken}`),
    });
    expect((await run("show", key)).stdout).toContain("Its holder has crashed");
    expect(await run("run", key, "--wait", "10s", ...sh("echo $DYNAMO_LOCK_FENCING_TOKEN"))).toMatchObject({
      code: 0,
      stdout: `${fencingToken + 1}\n`,
    });
  });
});

describe("What contradicts itself is refused: 64", () => {
  it.each([
    [["run", "k"]],
    [["run", "k", "--permits", "2", "--once", "--", "true"]],
    [["run", "a", "b", "--permits", "2", "--", "true"]],
    [["run", "k", "--remember", "1h", "--", "true"]],
    [["run", "k", "--lease", "20", "--", "true"]],
  ])("%j", async (args) => {
    expect(await run(...args)).toMatchObject({ code: 64, stdout: "" });
  });
});
