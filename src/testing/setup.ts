/** For handlers whose locks are made at module level, with clients that nobody hands in. */
import { LockOptionsError } from "../lean.ts";
import { type MemoryDynamoDB, memoryDynamoDB } from "./memory.ts";

/** The test runner may load this module more than once. */
const SHARED = Symbol.for("middy-dynamo-lock.testing");
const shared = globalThis as { [SHARED]?: MemoryDynamoDB };

/**
 * Starts an engine over HTTP, and points every client of DynamoDB that is made from now on at it,
 * by the environment variables of the AWS SDK
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html). The setup file
 * `middy-dynamo-lock/testing/setup` calls it. Call it yourself where there are no setup files.
 *
 * @example
 * await setUpMemory();
 * const { handler } = await import("#orders/handler"); // its client finds the engine
 *
 * @throws LockOptionsError inside a Lambda
 */
export const setUpMemory = async (): Promise<void> => {
  if (shared[SHARED]) return shared[SHARED].reset(); // test files that share a process share the engine
  const memory = memoryDynamoDB();
  const { endpoint } = await memory.listen({ keepsAlive: false });
  shared[SHARED] = memory;
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_DYNAMODB: endpoint,
    AWS_REGION: process.env.AWS_REGION || "us-east-1",
    AWS_ACCESS_KEY_ID: "memory",
    AWS_SECRET_ACCESS_KEY: "memory",
  });
};

/**
 * The engine that the setup file `middy-dynamo-lock/testing/setup` has started for this test file.
 *
 * @example
 * beforeEach(() => sharedMemory().reset());
 *
 * @throws LockOptionsError without the setup file
 */
export const sharedMemory = (): MemoryDynamoDB => {
  const memory = shared[SHARED];
  if (memory) return memory;
  throw new LockOptionsError(
    "sharedMemory: there is none yet: add 'middy-dynamo-lock/testing/setup' to setupFiles of vitest or jest",
  );
};
