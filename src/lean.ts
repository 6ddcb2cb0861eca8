/** The entry point without the AWS SDK: the same public names, over a signed `node:https` request. */
import { type DynamoLockBatch, dynamoLockBatchOver } from "./batch/dynamo-lock-batch.ts";
import type * as batch from "./batch/options.ts";
import { type WrapWithLockBatch, withLockBatchOver } from "./batch/with-lock-batch.ts";
import { LockClientOver } from "./client/lock-client.ts";
import type * as client from "./client/options.ts";
import { type DynamoCommit, dynamoCommitOver } from "./commit/dynamo-commit.ts";
import type * as commit from "./commit/options.ts";
import { type WrapWithCommit, withCommitOver } from "./commit/with-commit.ts";
import { type DynamoLock, dynamoLockOver } from "./invocation/dynamo-lock.ts";
import type * as invocation from "./invocation/options.ts";
import { type WrapWithLock, withLockOver } from "./invocation/with-lock.ts";
import type { DynamoDBEngine, LeanClientConfig, LeanClientOptions } from "./lean/options.ts";
import { connectLean } from "./lean/transport.ts";
import type { ClientOptions } from "./lock/options.ts";
import { type CreateLockTable, createLockTableOver } from "./operate/create-table.ts";
import {
  type DynamoSemaphore,
  dynamoSemaphoreOver,
  type WrapWithSemaphore,
  withSemaphoreOver,
} from "./semaphore/dynamo-semaphore.ts";
import type * as semaphore from "./semaphore/options.ts";

export type {
  CredentialsProvider,
  DynamoDBEngine,
  LeanClientConfig,
  LeanClientOptions,
  LeanTimeouts,
} from "./lean/options.ts";
export type { SigningCredentials } from "./lean/sign.ts";
export * from "./names.ts";

/** With what carries the requests here in place of a client of the AWS SDK. */
type Lean<TOptions> = Omit<TOptions, keyof ClientOptions> & LeanClientOptions;

/** Options of `dynamoLock` and `withLock`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export type DynamoLockOptions<TEvent = any> = Lean<invocation.DynamoLockOptions<TEvent>>;

/** Options of `dynamoCommit` and `withCommit`. */
// biome-ignore lint/suspicious/noExplicitAny: as DynamoLockOptions
export type DynamoCommitOptions<TEvent = any> = Lean<commit.DynamoCommitOptions<TEvent>>;

/** Options of `dynamoLockBatch` and `withLockBatch`. */
// biome-ignore lint/suspicious/noExplicitAny: as DynamoLockOptions
export type DynamoLockBatchOptions<TRecord = any> = Lean<batch.DynamoLockBatchOptions<TRecord>>;

/** Options of `dynamoSemaphore` and `withSemaphore`. */
// biome-ignore lint/suspicious/noExplicitAny: as DynamoLockOptions
export type DynamoSemaphoreOptions<TEvent = any> = Lean<semaphore.DynamoSemaphoreOptions<TEvent>>;

/** Options of `LockClient`. */
export type LockClientOptions = Lean<client.LockClientOptions>;

export const dynamoLock: DynamoLock<LeanClientOptions> = /* @__PURE__ */ dynamoLockOver(connectLean);
export const withLock: WrapWithLock<LeanClientOptions> = /* @__PURE__ */ withLockOver(connectLean);
export const dynamoCommit: DynamoCommit<LeanClientOptions> = /* @__PURE__ */ dynamoCommitOver(connectLean);
export const withCommit: WrapWithCommit<LeanClientOptions> = /* @__PURE__ */ withCommitOver(connectLean);
export const dynamoLockBatch: DynamoLockBatch<LeanClientOptions> = /* @__PURE__ */ dynamoLockBatchOver(connectLean);
export const withLockBatch: WrapWithLockBatch<LeanClientOptions> = /* @__PURE__ */ withLockBatchOver(connectLean);
export const dynamoSemaphore: DynamoSemaphore<LeanClientOptions> = /* @__PURE__ */ dynamoSemaphoreOver(connectLean);
export const withSemaphore: WrapWithSemaphore<LeanClientOptions> = /* @__PURE__ */ withSemaphoreOver(connectLean);

/** The first argument is as `clientConfig` elsewhere: `createLockTable({ region: "eu-west-1" }, { tableName: "dynamo-locks" })`. */
export const createLockTable: CreateLockTable<LeanClientConfig | DynamoDBEngine> = /* @__PURE__ */ createLockTableOver(
  (target) => connectLean("request" in target ? { client: target } : { clientConfig: target }),
  "an object",
);

/**
 * Locks on a DynamoDB table, for any Node.js program.
 *
 * @example
 * const locks = new LockClient({ tableName: "dynamo-locks", clientConfig: { region: "eu-west-1" } });
 * const report = await locks.once("report-2026-11-21", () => makeReport()); // a repeat gets the first report
 */
export class LockClient extends LockClientOver {
  /** @throws LockOptionsError */
  constructor(options: LockClientOptions = {}) {
    super(options, connectLean);
  }
}
