/** The public names that have nothing to do with how DynamoDB is reached: every entry point has them. */

export type { DynamoLockBatch } from "./batch/dynamo-lock-batch.ts";
export type { BatchLocks, LocksContext, MaybeLocksContext } from "./batch/options.ts";
export type { BatchResponse, BatchResult } from "./batch/outcome.ts";
export type { WrapWithLockBatch } from "./batch/with-lock-batch.ts";
export type { LockClientOver } from "./client/lock-client.ts";
export type { LockClientInterface } from "./client/lock-client-interface.ts";
export type {
  AcquireOptions,
  CloseOptions,
  CommitOnceOptions,
  OnceOptions,
  RunOptions,
  TryAcquireOptions,
} from "./client/options.ts";
export type { WaitUntilFinishedOptions } from "./client/wait-until-finished.ts";
export type { WarmUp } from "./client/warm-up.ts";
export type { DynamoCommit, DynamoCommitMiddleware } from "./commit/dynamo-commit.ts";
export type { CommitContext } from "./commit/options.ts";
export type { WrapWithCommit } from "./commit/with-commit.ts";
export type { Backoff } from "./common/backoff.ts";
export type { Clock } from "./common/clock.ts";
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
} from "./common/errors.ts";
export type {
  AboutLock,
  KeptReason,
  LockEvent,
  LockEventListener,
  LockLogger,
  LockMetrics,
  NotStartedReason,
} from "./common/events.ts";
export type { Jsonified } from "./common/jsonified.ts";
export type { LockKey } from "./common/key.ts";
export type {
  Intervention,
  LockRecord,
  LockStatus,
  OperatorNote,
  SemaphoreHolder,
  StoredFailure,
} from "./common/record.ts";
export type { DynamoLock } from "./invocation/dynamo-lock.ts";
export type { WrapWithLock } from "./invocation/with-lock.ts";
export type { DynamoLockMiddleware } from "./lambda/middy-request.ts";
export type { DuplicateResponse, LockContext, LockRequest, MaybeLockContext, OnError } from "./lambda/options.ts";
export type { Lock, LockHandleStatus } from "./lock/lock.ts";
export type { LockInterface } from "./lock/lock-interface.ts";
export type { ClientOptions } from "./lock/options.ts";
export type { CommitOptions, FinishOptions, ReleaseOptions } from "./lock/settle-options.ts";
export type { CreateLockTable, CreateLockTableOptions, LockTableDescription } from "./operate/create-table.ts";
export {
  type DescribeLockOptions,
  describeLock,
  type HoldingDescription,
  type LockDescription,
} from "./operate/describe.ts";
export type { OperatorResult } from "./operate/end.ts";
export { breakLock, finishLock, forgetLock } from "./operate/end-locks.ts";
export { listLocks } from "./operate/list-locks.ts";
export type { BreakLockOptions, FinishLockOptions, ForgetLockOptions } from "./operate/operator-options.ts";
export type { ListLocksFilter, PurgeLocksOptions, ScanProgress } from "./operate/options.ts";
export { purgeLocks } from "./operate/purge-locks.ts";
export type { OperatorKey } from "./operate/readings.ts";
export type { DynamoSemaphore, WrapWithSemaphore } from "./semaphore/dynamo-semaphore.ts";
export type {
  AcquirePermitOptions,
  RunPermitOptions,
  SemaphoreOnError,
  SemaphoreOptions,
  TryAcquirePermitOptions,
} from "./semaphore/options.ts";
export { type Semaphore, semaphore } from "./semaphore/semaphore.ts";
