/**
 * Credentials, kept until shortly before they expire: given ones, those of the environment, or
 * those of a container's endpoint, which ECS, EKS (pod identity) and others have
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html).
 */
import type { Clock } from "../common/clock.ts";
import { textOf } from "../common/errors.ts";
import { exchange } from "./http.ts";
import type { LeanClientConfig } from "./options.ts";
import type { SigningCredentials } from "./sign.ts";

export interface CredentialsInUse {
  /** @throws an error named `CredentialsProviderError`: nothing is sent then. */
  get(): Promise<SigningCredentials>;
  /** Forgets what AWS refuses. Says whether there may be others. */
  refuse(refused: SigningCredentials): boolean;
}

/** So long before they expire others are asked for, as the AWS SDK does. */
const REFRESH_MS = 300_000;

/** How often a container's endpoint is asked, and how long each time. */
const ATTEMPTS = 3;
const TIMEOUT_MS = 1_000;

const providerError = (message: string, cause?: unknown) =>
  Object.assign(new Error(message, { cause }), { name: "CredentialsProviderError" });

/** Asks its source once at a time, however many requests need credentials. */
export const credentialsOf = ({ credentials: given }: LeanClientConfig, clock: Clock): CredentialsInUse => {
  if (given && typeof given !== "function") return { get: async () => given, refuse: () => false };
  let known: SigningCredentials | undefined;
  let asking: Promise<SigningCredentials> | undefined;
  const leftMs = () => (known ? (known.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - clock.now() : 0);
  const ask = async (): Promise<SigningCredentials> => {
    try {
      known = checked(await (given ? given() : fromSurroundings(clock)));
      return known;
    } catch (error) {
      if (known && leftMs() > 0) return known; // they are still valid: the next request asks again
      if (Object(error).name === "CredentialsProviderError") throw error;
      throw providerError(`No credentials: clientConfig.credentials failed: ${textOf(error)}`, error);
    } finally {
      asking = undefined;
    }
  };
  return {
    get: async () => {
      if (known && leftMs() > REFRESH_MS) return known;
      asking ??= ask();
      return asking;
    },
    refuse: (refused) => {
      if (known === refused) known = undefined;
      return true;
    },
  };
};

const checked = (credentials: SigningCredentials): SigningCredentials => {
  const { accessKeyId, secretAccessKey, expiration } = Object(credentials) as SigningCredentials;
  if (typeof accessKeyId === "string" && typeof secretAccessKey === "string" && accessKeyId && secretAccessKey) {
    return expiration === undefined ? credentials : { ...credentials, expiration: new Date(expiration) };
  }
  throw providerError("No credentials: what was given has no accessKeyId and secretAccessKey");
};

const fromSurroundings = (clock: Clock): Promise<SigningCredentials> | SigningCredentials => {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION } = process.env;
  if (AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY) {
    return {
      accessKeyId: AWS_ACCESS_KEY_ID,
      secretAccessKey: AWS_SECRET_ACCESS_KEY,
      sessionToken: AWS_SESSION_TOKEN || undefined,
      ...(AWS_CREDENTIAL_EXPIRATION && { expiration: new Date(AWS_CREDENTIAL_EXPIRATION) }),
    };
  }
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI } = process.env;
  const uri = AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
    ? `http://169.254.170.2${AWS_CONTAINER_CREDENTIALS_RELATIVE_URI}`
    : AWS_CONTAINER_CREDENTIALS_FULL_URI;
  if (uri) return fromContainer(uri, clock);
  throw providerError(
    "No credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, nor is AWS_CONTAINER_CREDENTIALS_RELATIVE_URI " +
      "or AWS_CONTAINER_CREDENTIALS_FULL_URI. middy-dynamo-lock/lean knows no other source: give clientConfig.credentials, an " +
      "object or an async function, such as fromNodeProviderChain() of @aws-sdk/credential-providers",
  );
};

const TRUSTED_HOSTS = /^(localhost|127(\.\d+){3}|\[::1\]|169\.254\.170\.(2|23)|\[fd00:ec2::23\])$/;

/**
 * Credentials must not travel unencrypted, but to this machine, and to the addresses that ECS and
 * EKS have for this.
 */
const isTrusted = ({ protocol, hostname }: URL): boolean =>
  protocol === "https:" || (protocol === "http:" && TRUSTED_HOSTS.test(hostname));

const fromContainer = async (uri: string, clock: Clock): Promise<SigningCredentials> => {
  const from = `No credentials from ${uri}, the container's endpoint`;
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (!url || !isTrusted(url)) {
    throw providerError(
      `${from}: it must be https, or http to this machine, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]`,
    );
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await askContainer(url);
    } catch (error) {
      if (attempt === ATTEMPTS) throw providerError(`${from}: ${textOf(error)}`, error);
      await clock.sleep(attempt * 50);
    }
  }
};

const askContainer = async (url: URL): Promise<SigningCredentials> => {
  const token = await authorization();
  const { status, body } = await exchange(
    { url, path: url.pathname + url.search, method: "GET", headers: token ? ["authorization", token] : [] },
    { connectMs: TIMEOUT_MS, replyMs: TIMEOUT_MS },
  );
  const text = body.toString();
  if (status !== 200) throw new Error(`${status} ${text.slice(0, 200)}`);
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = JSON.parse(text);
  const expiration = Expiration ? { expiration: new Date(Expiration) } : undefined;
  return checked({ accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token, ...expiration });
};

/** EKS changes the file's token from time to time: it is read each time. */
const authorization = async (): Promise<string | undefined> => {
  const { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file, AWS_CONTAINER_AUTHORIZATION_TOKEN: text } = process.env;
  const token = file ? await (await import("node:fs/promises")).readFile(file, "utf8") : text;
  if (token && /[\r\n]/.test(token)) throw new Error("its authorization token has line breaks");
  return token;
};
