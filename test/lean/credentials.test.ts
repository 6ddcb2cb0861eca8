import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import { credentialsOf } from "../../src/lean/credentials.ts";
import type { SigningCredentials } from "../../src/lean/sign.ts";
import { json, startServer } from "../support/http-server.ts";

const NAMES = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_CREDENTIAL_EXPIRATION",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];
beforeEach(() => {
  for (const name of NAMES) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const HOUR = 3_600_000;

/** A clock that stands still unless it is set. */
const stoppedClock = () => {
  const clock = { ...systemClock, at: Date.parse("2026-11-21T12:00:00Z"), now: () => clock.at };
  return clock;
};

/** A provider of numbered credentials, each for an hour from when it is asked. */
const hourly = (clock: { at: number }) => {
  const asked: number[] = [];
  const provider = vi.fn(async (): Promise<SigningCredentials> => {
    asked.push(clock.at);
    return { accessKeyId: `key-${asked.length}`, secretAccessKey: "s", expiration: new Date(clock.at + HOUR) };
  });
  return { provider, asked };
};

describe("Given credentials", () => {
  it("are used as they are, and nothing else is there when AWS refuses them", async () => {
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const inUse = credentialsOf({ credentials }, systemClock);
    expect(await inUse.get()).toBe(credentials);
    expect(inUse.refuse(credentials)).toBe(false);
  });

  it("of a function are asked for once, however many requests begin at once, and again before they expire", async () => {
    const clock = stoppedClock();
    const { provider, asked } = hourly(clock);
    const { get } = credentialsOf({ credentials: provider }, clock);
    const first = await Promise.all([get(), get(), get()]);
    expect(first.map(({ accessKeyId }) => accessKeyId)).toEqual(["key-1", "key-1", "key-1"]);
    clock.at += HOUR - 301_000;
    expect((await get()).accessKeyId).toBe("key-1");
    clock.at += 2_000;
    expect((await get()).accessKeyId).toBe("key-2");
    expect(asked.length).toBe(2);
  });

  it("of a function that fails stay in use while they are valid", async () => {
    const clock = stoppedClock();
    const { provider } = hourly(clock);
    const { get } = credentialsOf({ credentials: provider }, clock);
    await get();
    provider.mockRejectedValue(new Error("away"));
    clock.at += HOUR - 1_000;
    expect((await get()).accessKeyId).toBe("key-1");
    clock.at += 2_000;
    await expect(get()).rejects.toMatchObject({
      name: "CredentialsProviderError",
      message: "No credentials: clientConfig.credentials failed: Error: away",
    });
    provider.mockResolvedValue({ accessKeyId: "back", secretAccessKey: "s" });
    expect((await get()).accessKeyId).toBe("back");
  });

  it("of a function are asked for anew once AWS has refused them", async () => {
    const { provider } = hourly(stoppedClock());
    const { get, refuse } = credentialsOf({ credentials: provider }, stoppedClock());
    const first = await get();
    expect(refuse(first)).toBe(true);
    const second = await get();
    expect(second.accessKeyId).toBe("key-2");
    refuse(first); // another request that was signed with the first
    expect(await get()).toEqual(second);
  });

  it("that are none are an error", async () => {
    const { get } = credentialsOf({ credentials: (async () => ({ accessKeyId: "a" })) as never }, systemClock);
    await expect(get()).rejects.toMatchObject({ name: "CredentialsProviderError" });
  });
});

describe("Without credentials in the configuration", () => {
  it("those of the environment are used, as Lambda sets them", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "a");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "b");
    expect(await credentialsOf({}, systemClock).get()).toEqual({ accessKeyId: "a", secretAccessKey: "b" });
    vi.stubEnv("AWS_SESSION_TOKEN", "c");
    vi.stubEnv("AWS_CREDENTIAL_EXPIRATION", "2026-11-21T13:00:00Z");
    expect(await credentialsOf({}, stoppedClock()).get()).toEqual({
      accessKeyId: "a",
      secretAccessKey: "b",
      sessionToken: "c",
      expiration: new Date("2026-11-21T13:00:00Z"),
    });
  });

  it("the error names the sources, and how to bring another", async () => {
    await expect(credentialsOf({}, systemClock).get()).rejects.toMatchObject({
      name: "CredentialsProviderError",
      message: expect.stringMatching(
        /AWS_ACCESS_KEY_ID.*AWS_CONTAINER_CREDENTIALS_FULL_URI.*clientConfig\.credentials/,
      ),
    });
  });
});

const issued = (n: number, expiration = new Date(Date.now() + 6 * HOUR)) => ({
  AccessKeyId: `key-${n}`,
  SecretAccessKey: "secret",
  Token: "token",
  Expiration: expiration.toISOString(),
});

describe("A container's endpoint", () => {
  it("gives credentials, and is asked again before they expire", async () => {
    const expiration = new Date(Date.now() + 2 * HOUR);
    await using server = await startServer((_request, response, n) => json(response, 200, issued(n, expiration)));
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${server.endpoint}/v1/credentials?role=x`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc");
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    let ahead = 0;
    const { get } = credentialsOf({}, clock);
    expect(await get()).toEqual({
      accessKeyId: "key-1",
      secretAccessKey: "secret",
      sessionToken: "token",
      expiration,
    });
    await get();
    ahead = 2 * HOUR - 200_000;
    expect((await get()).accessKeyId).toBe("key-2");
    expect(server.received).toMatchObject([
      { method: "GET", url: "/v1/credentials?role=x", headers: { authorization: "Basic abc" } },
      { method: "GET" },
    ]);
  });

  it("is shown the token of the file, as that is at the time: EKS changes it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lean-credentials-"));
    await using server = await startServer((_request, response, n) => json(response, 200, issued(n, new Date())));
    try {
      const file = join(folder, "token");
      vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.endpoint);
      vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this");
      vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
      const { get } = credentialsOf({}, systemClock);
      for (const token of ["first", "second"]) {
        await writeFile(file, token);
        await get();
      }
      expect(server.received.map(({ headers }) => headers.authorization)).toEqual(["first", "second"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("is asked three times when it fails", async () => {
    await using server = await startServer((_request, response, n) =>
      n < 3 ? json(response, 500, { message: "busy" }) : json(response, 200, issued(n)),
    );
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.endpoint);
    expect((await credentialsOf({}, systemClock).get()).accessKeyId).toBe("key-3");
  });

  it.each([
    ["an error", 403, { code: "AccessDenied", message: "no role" }, /403 .*no role/],
    ["no credentials", 200, {}, /has no accessKeyId/],
  ])("that gives %s is an error that says so", async (_what, status, body, message) => {
    await using server = await startServer((_request, response) => json(response, status, body));
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.endpoint);
    const failure = { name: "CredentialsProviderError", message: expect.stringMatching(message) };
    await expect(credentialsOf({}, systemClock).get()).rejects.toMatchObject(failure);
    expect(server.received.length).toBe(3);
  });

  it.each(["http://evil.example/", "http://169.254.170.9/", "http://127.0.0.1.evil.example/", "ftp://localhost", "x"])(
    "at %s isn't asked: a token must not travel there unencrypted",
    async (uri) => {
      vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
      await expect(credentialsOf({}, systemClock).get()).rejects.toThrow("must be https, or http to this machine");
    },
  );

  it("of a path is asked at ECS's address", async () => {
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1");
    const sleepless = { ...systemClock, sleep: async () => {} };
    await expect(credentialsOf({}, sleepless).get()).rejects.toThrow("http://169.254.170.2/v2/credentials/1");
  });
});
