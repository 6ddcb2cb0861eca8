/**
 * One attempt of a request: signed, sent, and its reply read, or its error in the shape in which
 * the AWS SDK throws it.
 */
import type { Clock } from "../common/clock.ts";
import type { Output } from "../dynamodb/transport.ts";
import { crc32 } from "./crc32.ts";
import { credentialsOf } from "./credentials.ts";
import { resolveEndpoint } from "./endpoint.ts";
import { createAgent, exchange, type HttpReply } from "./http.ts";
import { decode, encode } from "./json.ts";
import { LEAN_DEFAULTS, type LeanClientConfig } from "./options.ts";
import { createSigner, type SigningCredentials, toAmzDate } from "./sign.ts";

export interface Attempts {
  /** Rejects with an error that has a `name` and `$metadata`. */
  attempt(operation: string, input: object, signal?: AbortSignal): Promise<Output>;
  region(): Promise<string>;
  close(): void;
}

/** The SDK, too, takes no smaller difference for one. DynamoDB allows 5 minutes. */
const MIN_SKEW_MS = 240_000;
/** How AWS names a signature's wrong time. */
const OF_SKEW = /Signature|RequestExpired|TooSkewed|InTheFuture|AuthFailure/;
/** How AWS names credentials that are not valid any more, or not yet. */
const OF_CREDENTIALS = /ExpiredToken|UnrecognizedClient|InvalidClientTokenId/;

export const createAttempts = (config: LeanClientConfig, clock: Clock): Attempts => {
  const credentials = credentialsOf(config, clock);
  const { connectionTimeout: connectMs = LEAN_DEFAULTS.connectionTimeout } = config.requestHandler ?? {};
  const { requestTimeout: replyMs = LEAN_DEFAULTS.requestTimeout } = config.requestHandler ?? {};
  /** How far DynamoDB's clock is ahead of ours, as far as that is known. */
  let skewMs = 0;

  const connect = async () => {
    const { url, region } = await resolveEndpoint(config, process.env);
    return { url, region, agent: await createAgent(url), sign: createSigner({ region, service: "dynamodb" }) };
  };
  let connecting: ReturnType<typeof connect> | undefined;
  const connection = () => {
    connecting ??= connect().catch((error: unknown) => {
      connecting = undefined; // a provider may succeed another time
      throw error;
    });
    return connecting;
  };

  /** Whether the same request may succeed when it is signed anew: with the right time, or other credentials. */
  const isCurable = (error: Failure, { headers }: HttpReply, signedBy: SigningCredentials): boolean => {
    const aheadMs = Date.parse(headers.date as string) - clock.now();
    if (OF_SKEW.test(error.name) && Math.abs(aheadMs - skewMs) >= MIN_SKEW_MS) {
      skewMs = aheadMs;
      return true;
    }
    return OF_CREDENTIALS.test(error.name) && credentials.refuse(signedBy);
  };

  return {
    async attempt(operation, input, signal) {
      const { url, agent, sign } = await connection();
      const path = url.pathname;
      const signer = await credentials.get();
      const body = encode(input);
      const amzDate = toAmzDate(clock.now() + skewMs);
      const { sessionToken } = signer;
      const headers: [string, string][] = [
        ["content-type", "application/x-amz-json-1.0"],
        ["host", url.host],
        ["x-amz-date", amzDate],
        ...(sessionToken ? [["x-amz-security-token", sessionToken] as [string, string]] : []),
        ["x-amz-target", `DynamoDB_20120810.${operation}`],
      ];
      const authorization = sign({ method: "POST", path, headers, body }, signer, amzDate);
      const sent = headers.filter(([name]) => name !== "host").flat();
      const others = ["authorization", authorization, "user-agent", "middy-dynamo-lock/lean"];
      const request = { url, path, method: "POST", headers: [...sent, ...others], body };
      const reply = await exchange(request, { agent, connectMs, replyMs, signal });
      if (reply.status === 200) return outputOf(reply);
      const error = errorOf(reply);
      throw isCurable(error, reply, signer) ? Object.assign(error, { $retryable: {} }) : error;
    },
    region: async () => (await connection()).region,
    close: () => {
      connecting?.then(({ agent }) => agent.destroy()).catch(() => {}); // what can't connect has nothing to close
    },
  };
};

/** An error of DynamoDB's in the shape of the AWS SDK's. */
interface Failure extends Error {
  readonly $fault: "client" | "server";
  readonly $metadata: { readonly httpStatusCode: number; readonly requestId?: string | undefined };
}

const metadataOf = ({ status, headers }: HttpReply) => ({
  httpStatusCode: status,
  requestId: headers["x-amzn-requestid"] as string | undefined,
});

const outputOf = (reply: HttpReply): Output => {
  const { headers, body } = reply;
  const expected = headers["x-amz-crc32"];
  try {
    if (expected !== undefined && Number(expected) !== crc32(body)) throw new Error("its checksum is another");
    return { $metadata: metadataOf(reply), ...decode(body.toString()) };
  } catch (error) {
    // The request may have applied: by its code, this is a fault of the connection.
    throw Object.assign(new Error(`DynamoDB's reply can't be read: ${(error as Error).message}`, { cause: error }), {
      name: "GarbledReplyError",
      code: "ERR_GARBLED_REPLY",
      $metadata: metadataOf(reply),
    });
  }
};

/** What a status says that is not DynamoDB's: a proxy may have handed the request on before it gave up. */
const NAMES: Readonly<Record<number, string>> = { 408: "RequestTimeout", 429: "Throttling" };

/**
 * The name is DynamoDB's own. A reply without one comes from whatever stands between: most often it
 * is an `HttpError`, with what it says.
 */
const errorOf = (reply: HttpReply): Failure => {
  const { status, statusMessage, headers, body } = reply;
  const text = body.toString();
  let members: Record<string, unknown> = {};
  try {
    members = Object(decode(text));
  } catch {} // no JSON: the status says enough
  const { __type: type = headers["x-amzn-errortype"], message, Message, ...rest } = members;
  // "com.amazonaws.dynamodb.v20120810#ThrottlingException", or "ThrottlingException:http://..."
  const isNamed = typeof type === "string";
  const name = isNamed ? type.replace(/^.*#|:.*$/g, "") : (NAMES[status] ?? "HttpError");
  const words = isNamed ? name : `${status} ${statusMessage}: ${text.slice(0, 200)}`;
  return Object.assign(new Error(String(message ?? Message ?? words)), {
    name,
    $fault: status < 500 ? ("client" as const) : ("server" as const),
    $metadata: metadataOf(reply),
    ...rest,
  });
};
