/** The client of tests: the AWS SDK's, or with `DYNAMODB_TRANSPORT=lean` the transport without it, in the same shape. */
import { DynamoDBClient, type DynamoDBClientConfig, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { systemClock } from "../../src/common/clock.ts";
import { type Attempts, createAttempts } from "../../src/lean/attempt.ts";
import type { LeanClientConfig } from "../../src/lean/options.ts";
import { retrying } from "../../src/lean/retry.ts";
import { withToken } from "../../src/lean/transport.ts";

type Command = GetItemCommand & { readonly input: object };
type Stack = Command["middlewareStack"];

/** The SDK's client has no limits of its own. */
const PATIENT = { connectionTimeout: 60_000, requestTimeout: 60_000 };

/**
 * A client's `send` and its stack of middlewares, by which tests let requests fail. Between the
 * middlewares it is all ours: tokens, retries, signatures, replies.
 */
class LeanClient {
  /** Empty, as the SDK makes it for each command. */
  readonly middlewareStack: Stack = new GetItemCommand({ TableName: undefined, Key: undefined }).middlewareStack;
  readonly config: object;
  readonly #attempts: Attempts;
  readonly #maxAttempts: number;

  constructor(config: LeanClientConfig) {
    const { maxAttempts = 3, requestHandler = {} } = config;
    this.#maxAttempts = maxAttempts;
    this.#attempts = createAttempts({ ...config, requestHandler: { ...PATIENT, ...requestHandler } }, systemClock);
    this.config = {
      serviceId: "DynamoDB",
      region: () => this.#attempts.region(),
      requestHandler: { configProvider: Promise.resolve(requestHandler) },
    };
  }

  async send(command: Command, { abortSignal: signal }: { abortSignal?: AbortSignal } = {}): Promise<object> {
    const commandName = command.constructor.name;
    const operation = commandName.replace("Command", "");
    const stack = this.middlewareStack.concat(command.middlewareStack as never);
    const retry = (next: (args: { input: object }) => Promise<unknown>) => (args: { input: object }) => {
      const same = { ...args, input: withToken(operation, args.input) };
      return retrying(() => next(same), this.#maxAttempts, systemClock, Math.random, { signal });
    };
    stack.add(retry as never, { step: "finalizeRequest", priority: "high", name: "retry" }); // where the SDK has its own
    const wire = async ({ input }: { input: object }) => ({
      response: {},
      output: await this.#attempts.attempt(operation, input, signal),
    });
    const send = stack.resolve(wire as never, { commandName } as never);
    return (await send({ input: command.input } as never)).output;
  }

  destroy(): void {
    this.#attempts.close();
  }
}

export const isLean = process.env.DYNAMODB_TRANSPORT === "lean";

export const newClient = (config: DynamoDBClientConfig): DynamoDBClient =>
  isLean ? (new LeanClient(config as LeanClientConfig) as unknown as DynamoDBClient) : new DynamoDBClient(config);
