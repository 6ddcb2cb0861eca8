import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

export interface ReceivedRequest {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  /** Which of the server's connections it came by, from 0. */
  readonly connection: number;
}

/** What a server does with a request. `n` counts them from 1. */
export type Answer = (request: ReceivedRequest, response: ServerResponse, n: number) => void;

/** A server on a free port of this machine. Whoever starts it disposes of it. */
export const startServer = async (answer: Answer) => {
  const received: ReceivedRequest[] = [];
  const connections: Socket[] = [];
  const server: Server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const { method, url, headers, socket } = request;
      const body = Buffer.concat(parts).toString();
      received.push({ method, url, headers, body, connection: connections.indexOf(socket) });
      answer(received.at(-1) as ReceivedRequest, response, received.length);
    });
  });
  server.on("connection", (socket) => connections.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    connections,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

/** Answers as DynamoDB does. */
export const json = (response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) =>
  response.writeHead(status, { "content-type": "application/x-amz-json-1.0", ...headers }).end(JSON.stringify(body));
