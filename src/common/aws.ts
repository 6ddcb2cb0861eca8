/** Objects of the AWS SDK by their shape, so that no declaration of ours needs the SDK. */

/**
 * As much of the SDK's `DynamoDBClient` as is called. A client for documents
 * (`DynamoDBDocumentClient`) has it too.
 */
export interface DynamoDBClientLike {
  // biome-ignore lint/suspicious/noExplicitAny: the commands are the SDK's, and each has a reply of its own.
  send(command: any, options?: any): Promise<any>;
  /**
   * Settings that no other client of the SDK has: one of those is an error where it is compiled.
   */
  readonly config?: { readonly accountIdEndpointMode?: unknown; readonly endpointDiscoveryEnabled?: unknown };
}

/** A value, or a function that finds it out. */
type Provided<T> = T | (() => Promise<T | undefined>);

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Configuration of a `DynamoDBClient`: what the SDK's constructor takes. */
export interface DynamoDBClientConfigLike extends RareClientConfig {
  readonly region?: Provided<string> | undefined;
  /** Where DynamoDB answers, if not in the region: `'http://localhost:8000'`. */
  readonly endpoint?: Provided<string | object> | undefined;
  readonly credentials?: Credentials | ((...context: never[]) => Promise<Credentials>) | undefined;
  /** Section of the shared configuration files. */
  readonly profile?: string | undefined;
  /** How often a request is sent at most, the first time included. */
  readonly maxAttempts?: Provided<number> | undefined;
  /** `'standard'` or `'adaptive'`. */
  readonly retryMode?: Provided<string> | undefined;
  /**
   * A handler of HTTP requests, or the options of the default one: `{ connectionTimeout,
   * requestTimeout }`, in ms.
   */
  readonly requestHandler?: object | undefined;
  /** The SDK's own log of requests. */
  readonly logger?: object | undefined;
  readonly useDualstackEndpoint?: Provided<boolean> | undefined;
  readonly useFipsEndpoint?: Provided<boolean> | undefined;
  readonly customUserAgent?: string | readonly (readonly [name: string, version?: string])[] | undefined;
  readonly tls?: boolean | undefined;
}

/** By name only. */
type RareClientConfig = {
  readonly [Name in
    | "accountId"
    | "accountIdEndpointMode"
    | "apiVersion"
    | "authSchemePreference"
    | "base64Decoder"
    | "base64Encoder"
    | "bodyLengthChecker"
    | "cacheMiddleware"
    | "credentialDefaultProvider"
    | "defaultsMode"
    | "defaultUserAgentProvider"
    | "disableClockSkewCorrection"
    | "disableHostPrefix"
    | "endpointCacheSize"
    | "endpointDiscoveryEnabled"
    | "endpointDiscoveryEnabledProvider"
    | "endpointProvider"
    | "extensions"
    | "httpAuthSchemeProvider"
    | "httpAuthSchemes"
    | "ignoreConfiguredEndpointUrls"
    | "protocol"
    | "protocolSettings"
    | "retryStrategy"
    | "runtime"
    | "serviceConfiguredEndpoint"
    | "serviceId"
    | "sha256"
    | "signer"
    | "signerConstructor"
    | "signingEscapePath"
    | "signingRegion"
    | "streamCollector"
    | "systemClockOffset"
    | "urlParser"
    | "userAgentAppId"
    | "utf8Decoder"
    | "utf8Encoder"]?: unknown;
};
