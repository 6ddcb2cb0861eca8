export {
  forceRelease,
  type ListLocksFilter,
  listLocks,
  type PurgeLocksOptions,
  purgeLocks,
  releaseAllLocks,
} from "./admin.ts";
export { dynamoLockBatch } from "./batch.ts";
export type { BatchLocks, DynamoLockBatchOptions, LocksContext, MaybeLocksContext } from "./batch-options.ts";
export type { BatchResponse, BatchResult } from "./batch-outcome.ts";
export type { Clock } from "./clock.ts";
export { type DescribeLockOptions, describeLock, type HoldingDescription, type LockDescription } from "./describe.ts";
export {
  LockBatchError,
  LockError,
  type LockErrorCode,
  LockHeldError,
  LockKeyError,
  LockLostError,
  type LockLostReason,
  LockOptionsError,
  LockTableError,
  LockTimeoutError,
  PayloadMismatchError,
  ReplayedError,
} from "./errors.ts";
export type {
  AboutLock,
  KeptReason,
  LockEvent,
  LockEventListener,
  LockLogger,
  LockMetrics,
  NotStartedReason,
} from "./events.ts";
export type {
  DuplicateResponse,
  DynamoLockOptions,
  LockContext,
  LockRequest,
  MaybeLockContext,
  OnError,
} from "./invocation-options.ts";
export type { LockKey } from "./key.ts";
export type { Lock, LockHandleStatus } from "./lock.ts";
export { LockClient } from "./lock-client.ts";
export { dynamoLock } from "./middleware.ts";
export type { DynamoLockMiddleware } from "./middy-request.ts";
export type { AcquireOptions, LockClientOptions, OnceOptions, RunOptions, TryAcquireOptions } from "./options.ts";
export type { LockRecord, LockStatus, SemaphoreHolder, StoredFailure } from "./record.ts";
export type { Jsonified } from "./result.ts";
export type { CommitOptions, FinishOptions, ReleaseOptions } from "./settlement.ts";
export { type CreateLockTableOptions, createLockTable } from "./table.ts";
export type { Backoff } from "./wait.ts";
export type { WaitUntilFinishedOptions } from "./wait-until-finished.ts";
export type { WarmUp } from "./warm-up.ts";
export { withLock } from "./with-lock.ts";
export { withLockBatch } from "./with-lock-batch.ts";
