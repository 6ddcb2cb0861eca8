/** One request over HTTP/1.1, and its whole reply, each within a limit of time. */
import { Agent as HttpAgent, request as http, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as https } from "node:https";

export interface HttpRequest {
  readonly url: URL;
  readonly path: string;
  readonly method: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body?: string | undefined;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ExchangeOptions {
  readonly agent?: HttpAgent | undefined;
  /** How long it may take to connect, in ms. */
  readonly connectMs: number;
  /** How long a reply may take to begin, and each further part of it, in ms. */
  readonly replyMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** As many connections at most as the AWS SDK opens. Further requests wait for one. */
const MAX_SOCKETS = 50;

/** Keeps connections open between requests. While they are idle they keep no process awake. */
export const createAgent = ({ protocol }: URL): HttpAgent => {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS };
  return protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
};

const named = (name: string, message: string) => Object.assign(new Error(message), { name });

/**
 * Rejects with Node's own error, which has a `code`, with a `TimeoutError`, or with an `AbortError`.
 * Where a kept connection turned out to be closed, the error has `reusedSocket: true`.
 */
export const exchange = (
  { url, path, method, headers, body = "" }: HttpRequest,
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
    const request = protocol === "https:" ? https(options) : http(options);
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
        resolve({ status: response.statusCode as number, headers: response.headers, body: Buffer.concat(parts) });
      });
    });
    request.end(body);
  });
