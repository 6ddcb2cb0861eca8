/** Serves an engine over HTTP, for clients of any language. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { answer, type Handle } from "./wire.ts";

/** Where the server listens. */
export interface ListenOptions {
  /** @default a free one */
  readonly port?: number | undefined;
  /** @default `'127.0.0.1'` */
  readonly host?: string | undefined;
  /**
   * Whether the server keeps the process running.
   * @default `true`
   */
  readonly keepsAlive?: boolean | undefined;
}

/** An engine that listens. */
export interface MemoryServer {
  /** For `endpoint` of a client, or `AWS_ENDPOINT_URL_DYNAMODB`: `http://127.0.0.1:41234`. */
  readonly endpoint: string;
  /** Breaks its connections, and ends when the port is free. */
  close(): Promise<void>;
}

export const serve = async (handle: Handle, options: ListenOptions = {}): Promise<MemoryServer> => {
  const { port = 0, host = "127.0.0.1", keepsAlive = true } = options;
  const server = createServer((request, response) => {
    reply(request, response, handle).catch(() => request.socket.destroy()); // a lost request, or a lost reply
  });
  server.listen(port, host);
  await once(server, "listening");
  if (!keepsAlive) server.unref().on("connection", (socket) => socket.unref());
  return {
    endpoint: `http://${host}:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
};

const reply = async (request: IncomingMessage, response: ServerResponse, handle: Handle): Promise<void> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const target = String(request.headers["x-amz-target"]);
  const { statusCode, headers, body } = await answer({ target, body: Buffer.concat(chunks).toString() }, handle);
  response.writeHead(statusCode, headers).end(body);
};
