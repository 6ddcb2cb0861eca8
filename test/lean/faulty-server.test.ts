/** What becomes of a request when its server, or the way there, is at fault. */
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { fateOf, mayHaveApplied } from "../../src/dynamodb/aws-errors.ts";
import type { Transport } from "../../src/dynamodb/transport.ts";
import type { LeanClientConfig } from "../../src/lean/options.ts";
import { connectLean } from "../../src/lean/transport.ts";
import { type Answer, json, startServer } from "../support/http-server.ts";

const base = { region: "eu-west-1", credentials: { accessKeyId: "local", secretAccessKey: "local" } };
const open: Transport[] = [];
const transportTo = (endpoint: string, config: LeanClientConfig = {}) => {
  const transport = connectLean({ clientConfig: { ...base, endpoint, ...config } });
  open.push(transport);
  return transport;
};
afterEach(() => {
  for (const transport of open.splice(0)) transport.close();
});

const exception = (name: string, more: object = {}) => ({
  __type: `com.amazonaws.dynamodb.v20120810#${name}`,
  message: `${name} happened`,
  ...more,
});
/** The CRC-32 of `{}`. */
const CRC_OF_NOTHING = "2745614147";

type Sent = {
  readonly error?: Error & { readonly $metadata?: object };
  readonly output?: object;
  readonly attempts: number;
};

/** Sends one write, and tells how it ended, and how many attempts reached the server. */
const send = async (answer: Answer, config: LeanClientConfig = {}): Promise<Sent> => {
  await using server = await startServer(answer);
  const outcome = await transportTo(server.endpoint, { requestHandler: { requestTimeout: 300 }, ...config })
    .send("UpdateItem", { TableName: "locks" })
    .then(
      (output) => ({ output }),
      (error) => ({ error }),
    );
  return { ...outcome, attempts: server.received.length };
};

interface Fault {
  readonly answer: Answer;
  readonly error: object;
  /** How `persist` has to take the error of a single attempt. */
  readonly fate: ReturnType<typeof fateOf>;
  readonly attempts: number;
}

const cut: Answer = (_request, response) => {
  response.writeHead(200, { "content-length": "1000" });
  response.write(`{"Attributes":{`, () => response.destroy());
};

const faults: Record<string, Fault> = {
  "a connection that is reset": {
    answer: ({ connection: _ }, response) => response.socket?.resetAndDestroy(),
    error: { code: "ECONNRESET" },
    fate: "unknown",
    attempts: 3,
  },
  "a reply that is cut": { answer: cut, error: { code: "ECONNRESET" }, fate: "unknown", attempts: 3 },
  "a reply that is no JSON": {
    answer: (_request, response) => response.end("<html>"),
    error: { name: "GarbledReplyError", code: "ERR_GARBLED_REPLY", $metadata: { httpStatusCode: 200 } },
    fate: "unknown",
    attempts: 3,
  },
  "a reply whose checksum is another": {
    answer: (_request, response) => json(response, 200, {}, { "x-amz-crc32": "1" }),
    error: { name: "GarbledReplyError", message: "DynamoDB's reply can't be read: its checksum is another" },
    fate: "unknown",
    attempts: 3,
  },
  "no reply": {
    answer: () => {},
    error: { name: "TimeoutError", message: expect.stringMatching(/No reply from 127.0.0.1:\d+ within 300 ms/) },
    fate: "unknown",
    attempts: 3,
  },
  "a reply that never ends": {
    answer: (_request, response) => void response.writeHead(200).write("{"),
    error: { name: "TimeoutError" },
    fate: "unknown",
    attempts: 3,
  },
  "an error of the server's": {
    answer: (_request, response) => json(response, 500, exception("InternalServerError")),
    error: { name: "InternalServerError", $fault: "server", $metadata: { httpStatusCode: 500 } },
    fate: "unknown",
    attempts: 3,
  },
  "a 503 that is not DynamoDB's": {
    answer: (_request, response) => void response.writeHead(503).end("upstream is away"),
    error: { name: "HttpError", message: "503 Service Unavailable: upstream is away" },
    fate: "unknown",
    attempts: 3,
  },
  "a 408 that is not DynamoDB's": {
    answer: (_request, response) => void response.writeHead(408).end(),
    error: { name: "RequestTimeout" },
    fate: "unknown",
    attempts: 3,
  },
  "a 429 that is not DynamoDB's": {
    answer: (_request, response) => void response.writeHead(429).end(),
    error: { name: "Throttling" },
    fate: "passing",
    attempts: 3,
  },
  throttling: {
    answer: (_request, response) => json(response, 400, exception("ProvisionedThroughputExceededException")),
    error: { name: "ProvisionedThroughputExceededException", $fault: "client" },
    fate: "passing",
    attempts: 3,
  },
  "a request that is too large": {
    answer: (_request, response) => void response.writeHead(413).end("Request Entity Too Large"),
    error: { name: "HttpError", message: "413 Payload Too Large: Request Entity Too Large" },
    fate: "refused",
    attempts: 1,
  },
  "a permission that is missing, named in a header": {
    answer: (_request, response) =>
      json(response, 400, { Message: "no" }, { "x-amzn-errortype": "AccessDeniedException:http://internal/" }),
    error: { name: "AccessDeniedException", message: "no" },
    fate: "refused",
    attempts: 1,
  },
  "a redirection": {
    answer: (_request, response) => void response.writeHead(302, { location: "http://elsewhere" }).end(),
    error: { name: "HttpError", $metadata: { httpStatusCode: 302 } },
    fate: "strange",
    attempts: 1,
  },
  "another transaction in the way": {
    answer: (_request, response) =>
      json(
        response,
        400,
        exception("TransactionCanceledException", { CancellationReasons: [{ Code: "TransactionConflict" }] }),
      ),
    error: { name: "TransactionCanceledException", CancellationReasons: [{ Code: "TransactionConflict" }] },
    fate: "passing",
    attempts: 1, // who sent it decides
  },
};

describe.each(Object.entries(faults))("After %s", (_name, { answer, error, fate, attempts }) => {
  it(`the request is ${attempts === 1 ? "not sent again" : "sent three times in all"}`, async () => {
    const sent = await send(answer);
    expect(sent.error).toMatchObject(error);
    expect(sent.error?.$metadata).toMatchObject({ attempts });
    expect(sent.attempts).toBe(attempts);
  });

  it(`the fate of a single attempt is: ${fate}`, async () => {
    const { error: thrown } = await send(answer, { maxAttempts: 1 });
    expect(fateOf(thrown)).toBe(fate);
    expect(mayHaveApplied(thrown)).toBe(fate === "unknown" || fate === "strange");
  });
});

const passing = Object.entries(faults).filter(([, { attempts }]) => attempts > 1);

describe.each(passing)("After %s", (_name, { answer }) => {
  it("a repeat that succeeds is the answer", async () => {
    const healed: Answer = (request, response, n) =>
      n === 1 ? answer(request, response, n) : json(response, 200, {}, { "x-amz-crc32": CRC_OF_NOTHING });
    expect(await send(healed)).toMatchObject({ output: { $metadata: { httpStatusCode: 200 } }, attempts: 2 });
  });

  it("a repeat that is refused leaves it in doubt whether the first applied", async () => {
    const refused: Answer = (request, response, n) =>
      n === 1
        ? answer(request, response, n)
        : json(response, 400, exception("ConditionalCheckFailedException", { Item: { token: { S: "mine" } } }));
    const { error: thrown } = await send(refused);
    expect(thrown).toMatchObject({ name: "ConditionalCheckFailedException", Item: { token: { S: "mine" } } });
    expect(mayHaveApplied(thrown)).toBe(true);
  });
});

describe("A connection", () => {
  it("is used again, and replaced when the server has closed it meanwhile", async () => {
    await using server = await startServer((_request, response) => json(response, 200, {}));
    const transport = transportTo(server.endpoint);
    const write = () => transport.send("UpdateItem", {});
    await write();
    await write();
    server.connections[0]?.destroy();
    await write();
    expect(server.received.map(({ connection }) => connection)).toEqual([0, 0, 1]);
  });

  it("that is closed just as it is used again costs one attempt, and no pause", async () => {
    await using server = await startServer((request, response, n) =>
      request.connection === 0 && n > 1 ? response.socket?.resetAndDestroy() : json(response, 200, {}),
    );
    const transport = transportTo(server.endpoint);
    await transport.send("UpdateItem", {});
    const failures: unknown[] = [];
    await transport.send("UpdateItem", {}, { onFailure: (error) => failures.push(error) });
    expect(failures).toMatchObject([{ code: "ECONNRESET", reusedSocket: true }]);
  });

  it("that nobody accepts is given up after connectionTimeout", async () => {
    // TLS that never begins: the socket is there, and the handshake is not answered.
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const config = { maxAttempts: 1, requestHandler: { connectionTimeout: 100 } };
    const sent = transportTo(`https://127.0.0.1:${port}`, config).send("GetItem", {});
    await expect(sent).rejects.toMatchObject({
      name: "TimeoutError",
      message: `No connection to 127.0.0.1:${port} within 100 ms`,
    });
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it("that is refused is tried three times", async () => {
    await expect(transportTo("http://127.0.0.1:1").send("GetItem", {})).rejects.toMatchObject({
      code: "ECONNREFUSED",
      $metadata: { attempts: 3 },
    });
  });
});

describe("A signal", () => {
  it("ends a request on its way, and no other is sent", async () => {
    await using server = await startServer(() => stop.abort());
    const stop = new AbortController();
    const sent = transportTo(server.endpoint).send("UpdateItem", {}, { signal: stop.signal });
    await expect(sent).rejects.toMatchObject({ name: "AbortError", $metadata: { attempts: 1 } });
    expect(server.received.length).toBe(1);
  });

  it("that is aborted before sends nothing", async () => {
    await using server = await startServer(() => {});
    const sent = transportTo(server.endpoint).send("UpdateItem", {}, { signal: AbortSignal.abort() });
    await expect(sent).rejects.toMatchObject({ name: "AbortError" });
    expect(server.received).toEqual([]);
  });

  it("ends requests that wait for a connection: they are never sent", async () => {
    const stop = new AbortController();
    await using server = await startServer((_request, response, n) => {
      if (n === 50) stop.abort();
      if (n >= 50) setTimeout(() => response.socket?.destroy(), 20);
    });
    const { send } = transportTo(server.endpoint);
    const sent = Array.from({ length: 60 }, () =>
      send("GetItem", {}, { signal: stop.signal }).catch((error) => error.name),
    );
    expect(new Set(await Promise.all(sent))).toEqual(new Set(["AbortError"]));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.received.length).toBe(50);
  });

  it("ends the pause before another attempt", async () => {
    const stop = new AbortController();
    await using server = await startServer((_request, response) => {
      json(response, 500, exception("InternalServerError"));
      setTimeout(() => stop.abort(), 1);
    });
    const sent = transportTo(server.endpoint, { maxAttempts: 100 }).send("GetItem", {}, { signal: stop.signal });
    await expect(sent).rejects.toThrow();
    expect(server.received.length).toBeLessThan(20);
  });
});

describe("A signature that AWS refuses", () => {
  const dateOf = (header: string | undefined) =>
    Date.parse(String(header).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));

  it("for this machine's clock is made anew by the reply's date, and so are all later ones", async () => {
    const AHEAD_MS = 3 * 3_600_000;
    await using server = await startServer(({ headers }, response) => {
      const now = Date.now() + AHEAD_MS;
      const isLate = Math.abs(dateOf(headers["x-amz-date"] as string) - now) > 300_000;
      const body = exception("InvalidSignatureException", {
        message: "Signature expired: it is now earlier than then",
      });
      json(response, isLate ? 400 : 200, isLate ? body : {}, { date: new Date(now).toUTCString() });
    });
    const transport = transportTo(server.endpoint);
    await transport.send("GetItem", {});
    expect(server.received.length).toBe(2);
    await transport.send("GetItem", {});
    expect(server.received.length).toBe(3);
  });

  it("though the time is right is an error at once", async () => {
    const wrong: Answer = (_request, response) => json(response, 400, exception("InvalidSignatureException"));
    expect(await send(wrong)).toMatchObject({ error: { name: "InvalidSignatureException" }, attempts: 1 });
  });

  it("because the credentials have expired is made anew with others", async () => {
    const keyOf = (header: string | undefined) => /Credential=([^/]+)/.exec(String(header))?.[1];
    await using server = await startServer(({ headers }, response) =>
      keyOf(headers.authorization) === "key-1"
        ? json(response, 400, exception("ExpiredTokenException"))
        : json(response, 200, {}),
    );
    let asked = 0;
    const credentials = async () => ({ accessKeyId: `key-${++asked}`, secretAccessKey: "s", sessionToken: "t" });
    await transportTo(server.endpoint, { credentials }).send("GetItem", {});
    expect(server.received.map(({ headers }) => keyOf(headers.authorization))).toEqual(["key-1", "key-2"]);
  });
});

describe("What can't be sent", () => {
  it.each([
    ["without a region", { region: async () => "" }, /^Error: Region is missing/],
    [
      "without credentials",
      { credentials: async () => Promise.reject(new Error("no role")) },
      /^CredentialsProviderError/,
    ],
  ])("%s is refused, and is not in doubt", async (_what, config: LeanClientConfig, message) => {
    await using server = await startServer(() => {});
    const error = await transportTo(server.endpoint, config)
      .send("UpdateItem", {})
      .catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(message);
    expect(mayHaveApplied(error)).toBe(false);
    expect(server.received).toEqual([]);
  });
});
