/** One request over HTTP/1.1, and its whole reply, each within a limit of time. */
import type { Agent, IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

export interface OutgoingRequest {
  readonly url: URL;
  readonly path: string;
  readonly method: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body?: string | undefined;
}

export interface HttpReply {
  readonly status: number;
  readonly statusMessage: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ExchangeOptions {
  readonly agent?: Agent | undefined;
  /** How long it may take to connect, in ms. */
  readonly connectMs: number;
  /** How long a reply may take to begin, and each further part of it, in ms. */
  readonly replyMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** As many connections at most as the AWS SDK opens. Further requests wait for one. */
const MAX_SOCKETS = 50;

type NodeHttp = Pick<typeof import("node:http"), "Agent" | "request">;

const HTTPS = { Agent: HttpsAgent, request: httpsRequest } as NodeHttp;

/**
 * `node:http` is loaded only for an endpoint that needs it, and not by `import`, which asks for all
 * that it exports: that loads the client of `fetch`, too, and takes 20 ms of a cold start. Node.js
 * 22.2 and older have no other way.
 */
const nodeHttp = async ({ protocol }: URL): Promise<NodeHttp> =>
  protocol === "https:" ? HTTPS : (process.getBuiltinModule?.("node:http") ?? import("node:http"));

/** Keeps connections open between requests. While they are idle they keep no process awake. */
export const createAgent = async (url: URL): Promise<Agent> =>
  new (await nodeHttp(url)).Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });

const named = (name: string, message: string) => Object.assign(new Error(message), { name });

/**
 * Rejects with Node's own error, which has a `code`, with a `TimeoutError`, or with an `AbortError`.
 * Where a kept connection turned out to be closed, the error has `reusedSocket: true`.
 */
export const exchange = async (request: OutgoingRequest, options: ExchangeOptions): Promise<HttpReply> =>
  exchangeOver(await nodeHttp(request.url), request, options);

const exchangeOver = (
  http: NodeHttp,
  { url, path, method, headers, body = "" }: OutgoingRequest,
  { agent, connectMs, replyMs, signal }: ExchangeOptions,
): Promise<HttpReply> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(named("AbortError", "Request aborted"));
    const { protocol, hostname, port, host } = url;
    const options = {
      agent: agent ?? false,
      method,
      host: hostname.replace(/^\[|\]$/g, ""),
      port,
      path,
      headers: ["host", host, "content-length", `${Buffer.byteLength(body)}`, ...headers],
    };
    const request = http.request(options);
    let timer: NodeJS.Timeout | undefined;
    const limit = (ms: number, what: string) => {
      clearTimeout(timer);
      timer = setTimeout(() => end(named("TimeoutError", `${what} ${host} within ${ms} ms`)), ms);
    };
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const end = (error: Error) => {
      done();
      reject(error);
      request.destroy();
    };
    const abort = () => end(named("AbortError", "Request aborted"));
    signal?.addEventListener("abort", abort, { once: true });

    const awaitReply = () => limit(replyMs, "No reply from");
    request.on("socket", (socket) => {
      if (!socket.connecting) return awaitReply();
      limit(connectMs, "No connection to");
      socket.once(protocol === "https:" ? "secureConnect" : "connect", awaitReply);
    });
    request.on("error", (error) => end(Object.assign(error, request.reusedSocket && { reusedSocket: true })));
    request.on("response", (response: IncomingMessage) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => {
        timer?.refresh();
        parts.push(part);
      });
      response.on("error", end);
      response.on("end", () => {
        done();
        const { statusCode, statusMessage, headers: given } = response;
        resolve({ status: statusCode as number, statusMessage, headers: given, body: Buffer.concat(parts) });
      });
    });
    request.end(body);
  });
