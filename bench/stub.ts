/** An HTTP server in place of DynamoDB: it answers each write at once, as if the key had never been seen. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Stub {
  readonly endpoint: string;
  /** Bytes of the body of each request so far. */
  readonly bodies: readonly number[];
  stop(): void;
}

export async function startStub(): Promise<Stub> {
  const bodies: number[] = [];
  const server = createServer((request, response) => {
    bodies.push(Number(request.headers["content-length"]));
    request.resume().on("end", () => {
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0", "content-length": 2 }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { endpoint: `http://127.0.0.1:${port}`, bodies, stop };
}

// In a process of its own: its processor time isn't the client's. It ends with its parent.
if (import.meta.main) {
  const { endpoint } = await startStub();
  process.send?.(endpoint);
  process.once("disconnect", () => process.exit());
}
