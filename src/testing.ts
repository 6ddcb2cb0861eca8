export type { Fault, FaultKind, FaultOptions } from "./testing/faults.ts";
export { type LambdaContextOptions, lambdaContext } from "./testing/lambda-context.ts";
export { type CommandLike, type MemoryDynamoDB, memoryDynamoDB } from "./testing/memory.ts";
export type { MemoryOptions, MemoryRequest, MemoryTableKeys } from "./testing/options.ts";
export type { MemoryClientConfig } from "./testing/sdk.ts";
export type { ListenOptions, MemoryServer } from "./testing/server.ts";
export { setUpMemory, sharedMemory } from "./testing/setup.ts";
export type {
  FinishedStateOptions,
  HeldStateOptions,
  PermitsStateOptions,
  ReadyStates,
  StateOptions,
} from "./testing/states.ts";
export type { KeyPart } from "./testing/tables.ts";
