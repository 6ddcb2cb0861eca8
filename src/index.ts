/** The entry point over the AWS SDK: the public names. */
import { type DynamoLockBatch, dynamoLockBatchOver } from "./batch/dynamo-lock-batch.ts";
import { type WrapWithLockBatch, withLockBatchOver } from "./batch/with-lock-batch.ts";
import { LockClientOver } from "./client/lock-client.ts";
import type { LockClientOptions } from "./client/options.ts";
import { type DynamoCommit, dynamoCommitOver } from "./commit/dynamo-commit.ts";
import { type WrapWithCommit, withCommitOver } from "./commit/with-commit.ts";
import { connectBatch, connectHandler, connectProgram } from "./dynamodb/aws-sdk.ts";
import { type DynamoLock, dynamoLockOver } from "./invocation/dynamo-lock.ts";
import { type WrapWithLock, withLockOver } from "./invocation/with-lock.ts";
import { CLIENT, type ClientOptions } from "./lock/options.ts";
import { type CreateLockTable, createLockTableOver } from "./operate/create-table.ts";
import {
  type DynamoSemaphore,
  dynamoSemaphoreOver,
  type WrapWithSemaphore,
  withSemaphoreOver,
} from "./semaphore/dynamo-semaphore.ts";

export type { DynamoLockBatchOptions } from "./batch/options.ts";
export type { LockClientOptions } from "./client/options.ts";
export type { DynamoCommitOptions } from "./commit/options.ts";
export type { DynamoLockOptions } from "./invocation/options.ts";
export * from "./names.ts";
export type { DynamoSemaphoreOptions } from "./semaphore/options.ts";

export const dynamoLock: DynamoLock<ClientOptions> = /* @__PURE__ */ dynamoLockOver(connectHandler);
export const withLock: WrapWithLock<ClientOptions> = /* @__PURE__ */ withLockOver(connectHandler);
export const dynamoCommit: DynamoCommit<ClientOptions> = /* @__PURE__ */ dynamoCommitOver(connectHandler);
export const withCommit: WrapWithCommit<ClientOptions> = /* @__PURE__ */ withCommitOver(connectHandler);
export const dynamoLockBatch: DynamoLockBatch<ClientOptions> = /* @__PURE__ */ dynamoLockBatchOver(connectBatch);
export const withLockBatch: WrapWithLockBatch<ClientOptions> = /* @__PURE__ */ withLockBatchOver(connectBatch);
export const dynamoSemaphore: DynamoSemaphore<ClientOptions> = /* @__PURE__ */ dynamoSemaphoreOver(connectHandler);
export const withSemaphore: WrapWithSemaphore<ClientOptions> = /* @__PURE__ */ withSemaphoreOver(connectHandler);
export const createLockTable: CreateLockTable<NonNullable<ClientOptions["client"]>> =
  /* @__PURE__ */ createLockTableOver((client) => connectProgram({ client }), CLIENT);

/**
 * Locks on a DynamoDB table, for any Node.js program.
 *
 * @example
 * const locks = new LockClient({ tableName: "dynamo-locks" });
 * const report = await locks.once("report-2026-11-21", () => makeReport()); // a repeat gets the first report
 */
export class LockClient extends LockClientOver {
  /** @throws LockOptionsError */
  constructor(options: LockClientOptions = {}) {
    super(options, connectProgram);
  }
}
