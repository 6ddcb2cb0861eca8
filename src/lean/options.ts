/** What a transport without the AWS SDK takes: its types, its rules, its defaults. */
import { BOOLEAN, fits, type Rule, type Rules, TEXT } from "../common/rules.ts";
import type { SigningCredentials } from "./sign.ts";

/**
 * Gives credentials. It is asked before the first request, and again from 5 minutes before they
 * expire. Those of `@aws-sdk/credential-providers` fit.
 */
export type CredentialsProvider = () => Promise<SigningCredentials>;

/** How long the parts of one request may take, in ms. */
export interface LeanTimeouts {
  /**
   * To connect.
   * @default 500
   */
  readonly connectionTimeout?: number | undefined;
  /**
   * For a reply to begin, and for each further part of it.
   * @default 1_000
   */
  readonly requestTimeout?: number | undefined;
}

/**
 * Where DynamoDB is, and whose credentials sign the requests. The names are those of the AWS SDK's
 * `DynamoDBClient`.
 */
export interface LeanClientConfig {
  /** @default `AWS_REGION` or `AWS_DEFAULT_REGION` */
  readonly region?: string | (() => Promise<string>) | undefined;
  /**
   * Where DynamoDB answers, if not in the region: `'http://localhost:8000'`.
   * @default `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL`, or the region's own
   */
  readonly endpoint?: string | URL | (() => Promise<string | URL>) | undefined;
  /**
   * Credentials, or an async function that gives them.
   * @default those of the environment, or of a container's endpoint
   */
  readonly credentials?: SigningCredentials | CredentialsProvider | undefined;
  /**
   * How often a request is sent at most, the first time included.
   * @default 3
   */
  readonly maxAttempts?: number | undefined;
  /** Limits of time, in ms. */
  readonly requestHandler?: LeanTimeouts | undefined;
  /** @default `AWS_USE_FIPS_ENDPOINT` */
  readonly useFipsEndpoint?: boolean | undefined;
  /** @default `AWS_USE_DUALSTACK_ENDPOINT` */
  readonly useDualstackEndpoint?: boolean | undefined;
}

/**
 * DynamoDB itself, in place of the one that is reached over the network: the engine in memory of
 * `middy-dynamo-lock/testing`, or one of your own. It rejects as DynamoDB does, with an error that
 * has the exception's `name`.
 */
export interface DynamoDBEngine {
  request(operation: string, input: object, signal?: AbortSignal): Promise<object>;
}

/** How the entry point without the AWS SDK reaches DynamoDB. */
export interface LeanClientOptions {
  /**
   * An engine in place of DynamoDB, for tests. A `DynamoDBClient` is refused: that needs the AWS
   * SDK, and the other entry point.
   */
  readonly client?: DynamoDBEngine | undefined;
  /**
   * Region, endpoint and credentials.
   * @default 500 ms to connect, 1,000 ms for a reply, 3 attempts
   */
  readonly clientConfig?: LeanClientConfig | undefined;
}

export const LEAN_DEFAULTS = { maxAttempts: 3, connectionTimeout: 500, requestTimeout: 1_000 } as const;

const TIMEOUT = "a whole number of milliseconds from 1 to 900000";

export const TIMEOUT_RULES: Rules<LeanTimeouts> = { connectionTimeout: TIMEOUT, requestTimeout: TIMEOUT };

const CREDENTIALS: Rule = [
  "an object with the texts accessKeyId and secretAccessKey, or a function",
  (value) => {
    const { accessKeyId, secretAccessKey } = Object(value);
    return typeof value === "function" || (fits(accessKeyId, TEXT) && fits(secretAccessKey, TEXT)) || "something else";
  },
];

export const LEAN_CLIENT_CONFIG_RULES: Rules<LeanClientConfig> = {
  region: `${TEXT} or a function`,
  endpoint: [`a URL or a function`, (value) => value instanceof URL || fits(value, `${TEXT} or a function`)],
  credentials: CREDENTIALS,
  maxAttempts: "a whole number from 1 to 100",
  requestHandler: "an object",
  useFipsEndpoint: BOOLEAN,
  useDualstackEndpoint: BOOLEAN,
};
