/**
 * The server side of Lambda's Runtime API, for one runtime process.
 * https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 */
import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

export interface Invocation {
  requestId: string;
  event: unknown;
  /** Unix time in milliseconds at which Lambda ends the invocation. */
  deadlineMs: number;
  functionArn: string;
  traceId: string;
}

export interface FunctionError {
  type: "error";
  errorType: string;
  errorMessage: string;
}

/** What the runtime says of an invocation. */
export type Report = { type: "response"; payload: unknown } | FunctionError;

const ROOT = "/2018-06-01/runtime";

export class RuntimeApi {
  /** Set when the runtime could not load the handler. It exits after saying so. */
  initError: FunctionError | undefined;

  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #events = new EventEmitter<{ next: []; report: [Report] }>();
  /** The runtime's open request for its next invocation. */
  #next: ServerResponse | undefined;
  /** The invocation it is working on. */
  #requestId: string | undefined;

  /** Starts the server. Returns host and port, as AWS_LAMBDA_RUNTIME_API has them. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when the runtime asks for an invocation: it is initialised, or done with the last one. */
  async idle(): Promise<void> {
    if (!this.#next) await once(this.#events, "next");
  }

  /** Gives the idle runtime an invocation. Resolves with what it reports. */
  async deliver(invocation: Invocation): Promise<Report> {
    if (!this.#next) throw new Error("The runtime has not asked for an invocation");
    const reported = once(this.#events, "report");
    this.#requestId = invocation.requestId;
    this.#next
      .writeHead(200, {
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": invocation.requestId,
        "lambda-runtime-deadline-ms": invocation.deadlineMs,
        "lambda-runtime-invoked-function-arn": invocation.functionArn,
        "lambda-runtime-trace-id": invocation.traceId,
      })
      .end(JSON.stringify(invocation.event));
    this.#next = undefined;
    const [report] = await reported;
    return report;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = `${request.method} ${request.url}`;
    const current = `POST ${ROOT}/invocation/${this.#requestId}`;
    if (route === `GET ${ROOT}/invocation/next`) {
      // Held open until there is an invocation: "Do not set a timeout on the GET request".
      this.#next = response;
      this.#events.emit("next");
    } else if (route === `${current}/response`) {
      const payload = await json(request);
      response.writeHead(202).end();
      this.#report({ type: "response", payload });
    } else if (route === `${current}/error`) {
      const error = await functionError(request);
      response.writeHead(202).end();
      this.#report(error);
    } else if (route === `POST ${ROOT}/init/error`) {
      this.initError = await functionError(request);
      response.writeHead(202).end();
    } else {
      // An unknown path, or a report of an invocation that isn't the current one.
      response.writeHead(400).end();
    }
  }

  #report(report: Report): void {
    this.#requestId = undefined;
    this.#events.emit("report", report);
  }
}

async function functionError(request: IncomingMessage): Promise<FunctionError> {
  const { errorType, errorMessage } = (await json(request)) as FunctionError;
  return { type: "error", errorType, errorMessage };
}
