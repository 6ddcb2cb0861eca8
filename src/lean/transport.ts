/** A transport to DynamoDB without the AWS SDK: a signed request over `node:https`. */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../common/clock.ts";
import { LockOptionsError } from "../common/errors.ts";
import { checkOptions } from "../common/rules.ts";
import type { Connect, Transport } from "../dynamodb/transport.ts";
import { type Attempts, createAttempts } from "./attempt.ts";
import {
  type DynamoDBEngine,
  LEAN_CLIENT_CONFIG_RULES,
  LEAN_DEFAULTS,
  type LeanClientConfig,
  type LeanClientOptions,
  TIMEOUT_RULES,
} from "./options.ts";
import { retrying } from "./retry.ts";

/** @throws LockOptionsError */
export const connectLean: Connect<LeanClientOptions> = ({ client, clientConfig = {} }) => {
  if (client) return overEngine(client);
  checkOptions("clientConfig", clientConfig, LEAN_CLIENT_CONFIG_RULES);
  const { requestHandler } = clientConfig;
  if (requestHandler) checkOptions("clientConfig.requestHandler", requestHandler, TIMEOUT_RULES);
  return overNetwork(clientConfig, createAttempts(clientConfig, systemClock), systemClock);
};

/** Every attempt of a transaction has one token, by which DynamoDB knows it again. */
export const withToken = (operation: string, input: object): object =>
  operation === "TransactWriteItems" ? { ClientRequestToken: randomUUID(), ...input } : input;

const overNetwork = (config: LeanClientConfig, attempts: Attempts, clock: Clock): Transport => {
  const { maxAttempts = LEAN_DEFAULTS.maxAttempts, requestHandler } = config;
  const requestMs = requestHandler?.requestTimeout ?? LEAN_DEFAULTS.requestTimeout;
  return {
    send: (operation, given, options = {}) => {
      const input = withToken(operation, given);
      const attempt = () => attempts.attempt(operation, input, options.signal);
      return retrying(attempt, maxAttempts, clock, Math.random, options);
    },
    requestMs: () => requestMs,
    region: () => attempts.region(),
    close: () => attempts.close(),
  };
};

const overEngine = (engine: DynamoDBEngine): Transport => {
  if (typeof engine.request !== "function") {
    throw new LockOptionsError(
      "client: middy-dynamo-lock/lean sends its requests without the AWS SDK, so it has no use for one of its clients. Give " +
        "region, endpoint and credentials as clientConfig, or import from middy-dynamo-lock. (An engine in place of " +
        "DynamoDB has the method request.)",
    );
  }
  return {
    send: (operation, given, { signal, onFailure } = {}) => {
      const attempt = async () => engine.request(operation, withToken(operation, given), signal);
      return retrying(attempt, 1, systemClock, Math.random, { signal, onFailure });
    },
    requestMs: () => LEAN_DEFAULTS.requestTimeout,
    region: async () => "the engine's region",
    close: () => {},
  };
};
