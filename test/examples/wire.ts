import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { inject } from "vitest";

/**
 * Statements have actions of their own
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html).
 */
const actionsOf = (json: string): Set<string> => {
  const { Statements } = JSON.parse(json) as { Statements: { Statement: string }[] };
  const kinds = Statements.map(({ Statement }) => (Statement.startsWith("INSERT") ? "Insert" : "Update"));
  return new Set(kinds.map((kind) => `dynamodb:PartiQL${kind}`));
};

/**
 * A proxy before the engine, for handlers whose clients can't be reached: it notes the IAM action of each request, and
 * passes the requests on one at a time, in the order in which they came.
 */
export const openWire = async () => {
  const actions: string[] = [];
  let queue: Promise<unknown> = Promise.resolve();
  let arrived = () => {};

  const pass = async (request: IncomingMessage, body: Promise<Buffer>, response: ServerResponse) => {
    const { host: _, ...headers } = request.headers;
    const reply = await fetch(inject("endpoint"), {
      method: "POST",
      headers: headers as Record<string, string>,
      body: new Uint8Array(await body),
    });
    response.writeHead(reply.status, { "content-type": "application/x-amz-json-1.0" });
    response.end(await reply.text());
  };
  const server = createServer((request, response) => {
    const { "x-amz-target": target } = request.headers; // "DynamoDB_20120810.UpdateItem"
    const operation = String(target).split(".")[1];
    const body = buffer(request);
    if (operation !== "BatchExecuteStatement") actions.push(`dynamodb:${operation}`);
    else body.then((json) => actions.push(...actionsOf(String(json)))).catch(() => {});
    queue = queue.then(() => pass(request, body, response)).catch((error) => response.destroy(error));
    arrived();
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    actions,
    /** The next two requests are at the same time, however busy the machine: the first waits for the second. */
    meet: () => {
      let missing = 2;
      queue = new Promise<void>((resolve) => {
        arrived = () => {
          missing--;
          if (missing === 0) resolve();
        };
      });
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
};
