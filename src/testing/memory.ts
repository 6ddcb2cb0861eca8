import { LockOptionsError } from "../lean.ts";
import type { Item } from "../protocol/item.ts";
import { execute } from "./engine.ts";
import { aborted, connectionLost, type Fault, type FaultKind, type FaultOptions, Faults, throttled } from "./faults.ts";
import { addTables, checkMemoryOptions, LOCK_KEY, type MemoryOptions } from "./options.ts";
import { clientConfigOf, type MemoryClientConfig, REGION } from "./sdk.ts";
import { type ListenOptions, type MemoryServer, serve } from "./server.ts";
import { type ReadyStates, readyStates } from "./states.ts";
import { Store } from "./tables.ts";
import { copyOf } from "./values.ts";

/** A command of `@aws-sdk/client-dynamodb`, as far as it is read. */
export interface CommandLike<Output> {
  readonly input: object;
  // biome-ignore lint/suspicious/noExplicitAny: the SDK's own
  resolveMiddleware(...context: any[]): (...args: any[]) => Promise<{ output: Output }>;
}

/**
 * DynamoDB in memory. It fits the option `client` of everything in this package, and takes the
 * commands of `@aws-sdk/client-dynamodb` by `send` as a `DynamoDBClient` does. It does not retry.
 */
export interface MemoryDynamoDB extends ReadyStates {
  /** Sends a command of `@aws-sdk/client-dynamodb`. */
  send<Output>(command: CommandLike<Output>, options?: { readonly abortSignal?: AbortSignal }): Promise<Output>;
  /** Sends a request without the AWS SDK: `request("GetItem", { TableName, Key })`. */
  request(operation: string, input: object, signal?: AbortSignal): Promise<object>;
  readonly config: { readonly region: () => Promise<string>; readonly endpointDiscoveryEnabled: false };
  /**
   * The operations of all requests that reached the engine, in order: `["UpdateItem", "GetItem"]`.
   */
  readonly sent: readonly string[];
  /** The items of a table, of which nothing is marshalled, in the order of their keys. */
  items(tableName: string): Item[];
  /**
   * Lets requests fail.
   *
   * @example
   * const fault = memory.fault("lost-reply", { operation: "UpdateItem" });
   * await handler(event, context); // the lock finds out that its write was applied
   * expect(fault.met).toBe(1);
   */
  fault(kind: FaultKind, options?: FaultOptions): Fault;
  /**
   * Deletes the items whose TTL is over, as DynamoDB does within a few days, and gives how many
   * they were. Until then they can still be read
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html).
   */
  expireItems(): number;
  /** Makes it as new: no items, only the tables of its options, no faults, nothing sent. */
  reset(): void;
  /**
   * Configuration for a client of the AWS SDK in the same process, such as one that a
   * `DynamoDBDocumentClient` is made from. No port is opened.
   *
   * @example
   * const documents = DynamoDBDocumentClient.from(new DynamoDBClient(memory.clientConfig()));
   */
  clientConfig(): MemoryClientConfig;
  /**
   * Listens over HTTP, for other processes and languages. On a free port of this machine unless
   * told otherwise.
   */
  listen(options?: ListenOptions): Promise<MemoryServer>;
}

class Memory implements Omit<MemoryDynamoDB, keyof ReadyStates> {
  readonly config = { region: async () => REGION, endpointDiscoveryEnabled: false as const };
  readonly #options: MemoryOptions;
  readonly #faults = new Faults();
  readonly #now: () => number;
  #store!: Store;
  #sent: string[] = [];

  constructor(options: MemoryOptions) {
    const { clock } = options;
    this.#options = options;
    this.#now = () => (clock ? clock.now() : Date.now());
    this.reset();
  }

  get sent(): readonly string[] {
    return this.#sent;
  }

  reset(): void {
    this.#store = new Store(this.#now, this.#options.lockTables === false ? undefined : LOCK_KEY);
    addTables(this.#store, this.#options);
    this.#faults.clear();
    this.#sent = [];
  }

  fault(kind: FaultKind, options: FaultOptions = {}): Fault {
    return this.#faults.add(kind, options);
  }

  items(tableName: string): Item[] {
    return this.#store
      .table(tableName)
      .items()
      .map(([, item]) => copyOf(item));
  }

  expireItems(): number {
    const tables = [...this.#store.tables.values()];
    return tables.reduce((sum, table) => sum + table.expire(this.#now()), 0);
  }

  async send<Output>(
    command: CommandLike<Output>,
    { abortSignal }: { readonly abortSignal?: AbortSignal } = {},
  ): Promise<Output> {
    const output = await this.request(operationOf(command), command.input, abortSignal);
    return { $metadata: { httpStatusCode: 200, attempts: 1, totalRetryDelay: 0 }, ...output } as Output;
  }

  async request(operation: string, input: object, signal?: AbortSignal): Promise<object> {
    if (signal?.aborted) throw aborted();
    this.#sent.push(operation);
    await this.#options.onRequest?.({ operation, input });
    const { kind, delayMs = 0 } = this.#faults.meet(operation) ?? {};
    if (kind === "throttle") throw throttled();
    if (kind === "lost-request") throw connectionLost();
    const store = this.#store;
    const run = async () => execute(store, operation, input);
    if (kind === "delay") return delayed(run, delayMs, signal);
    if (kind !== "lost-reply") return run();
    await run().catch(() => {});
    throw connectionLost();
  }

  /** Past the faults, and not counted: for ready states. */
  readonly states: ReadyStates = readyStates(
    {
      request: async (operation, input) => execute(this.#store, operation, input),
    },
    () => this.#now(),
  );

  clientConfig(): MemoryClientConfig {
    return clientConfigOf((operation, input) => this.request(operation, input));
  }

  listen(options?: ListenOptions): Promise<MemoryServer> {
    return serve((operation, input) => this.request(operation, input), options);
  }
}

/** By the name of its class, as the SDK's own middlewares tell commands apart. */
const operationOf = (command: CommandLike<unknown>): string => {
  const { name } = command.constructor;
  if (command.input && /.Command$/.test(name) && !("clientCommand" in command)) return name.replace(/Command$/, "");
  throw new TypeError(
    `memoryDynamoDB takes commands of @aws-sdk/client-dynamodb, got ${name}. For those of @aws-sdk/lib-dynamodb use ` +
      "DynamoDBDocumentClient.from(new DynamoDBClient(memory.clientConfig()))",
  );
};

/** The caller may give up before. The request arrives all the same. */
const delayed = (run: () => Promise<object>, ms: number, signal?: AbortSignal): Promise<object> =>
  new Promise((resolve, reject) => {
    const giveUp = () => reject(aborted());
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp);
    setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      run().then(resolve, reject);
    }, ms);
  });

/**
 * Makes a DynamoDB in memory, for tests. It answers as DynamoDB does the requests that this package
 * sends, and those of applications beside it: items, transactions, batches, scans, tables, TTL. It
 * refuses what it doesn't know: operations, and parameters that it would not read.
 *
 * Tables of locks exist by themselves. The application's are named with their keys.
 *
 * @example
 * const memory = memoryDynamoDB({ tables: { orders: "id" } });
 * const handler = middy()
 *   .use(dynamoLock({ key: (event) => event.id, client: memory }))
 *   .handler(placeOrder);
 *
 * @throws LockOptionsError for unknown options, and inside a Lambda, where locks in memory would
 * protect nothing
 */
export const memoryDynamoDB = (options: MemoryOptions = {}): MemoryDynamoDB => {
  const { AWS_LAMBDA_RUNTIME_API, AWS_SAM_LOCAL } = process.env;
  if (AWS_LAMBDA_RUNTIME_API && !AWS_SAM_LOCAL) {
    throw new LockOptionsError(
      "memoryDynamoDB: this is a Lambda function, whose instances would each have locks of their own. It is for tests: " +
        "leave middy-dynamo-lock/testing out of what you deploy",
    );
  }
  checkMemoryOptions(options);
  const memory = new Memory(options);
  return Object.assign(memory, memory.states);
};
