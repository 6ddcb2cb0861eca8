/**
 * Signs requests by AWS's Signature Version 4
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
 *
 * A library would do it too: `aws4` adds 3.3 kB (gzip) to a bundle, this 0.6, and it parses again
 * what is known here: one method, one path, the headers in their order.
 */
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto";

/** What a request is signed with. */
export interface SigningCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** When they cease to be valid. Left out: never. */
  readonly expiration?: Date | undefined;
}

export interface Unsigned {
  readonly method: string;
  /** As it is sent: percent-encoded, without a query. */
  readonly path: string;
  /** Names in small letters, in alphabetical order, with `host` and `x-amz-date` among them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Where a signature is valid: in a region, for a service. */
export interface Scope {
  readonly region: string;
  readonly service: string;
}

const hmac = (key: string | Buffer | KeyObject, text: string) => createHmac("sha256", key).update(text).digest();

/** `20150830T123600Z`, from epoch ms. */
export const toAmzDate = (ms: number): string => new Date(ms).toISOString().replace(/[-:]|\.\d+/g, "");

/** The key of a day needs four of the five HMACs of a signature: it is made once a day. */
const createKeys = () => {
  let known = "";
  let key: KeyObject;
  return ({ secretAccessKey }: SigningCredentials, day: string, { region, service }: Scope): KeyObject => {
    const id = `${secretAccessKey}/${day}/${region}/${service}`;
    if (id !== known) {
      const parts = [day, region, service, "aws4_request"];
      key = createSecretKey(parts.reduce<string | Buffer>(hmac, `AWS4${secretAccessKey}`) as Buffer);
      known = id;
    }
    return key;
  };
};

/**
 * Gives a function that makes the header `authorization` of a request.
 *
 * @example
 * const sign = createSigner({ region: "eu-west-1", service: "dynamodb" });
 * const authorization = sign({ method: "POST", path: "/", headers, body }, credentials, "20150830T123600Z");
 */
export const createSigner = (scope: Scope) => {
  const keyOf = createKeys();
  return ({ method, path, headers, body }: Unsigned, credentials: SigningCredentials, amzDate: string): string => {
    const day = amzDate.slice(0, 8);
    const names = headers.map(([name]) => name).join(";");
    const lines = headers.map(([name, value]) => `${name}:${value}\n`).join("");
    // What is encoded in the path already is encoded once more, for every service but S3.
    const canonicalPath = path.split("/").map(encodeURIComponent).join("/");
    const canonical = `${method}\n${canonicalPath}\n\n${lines}\n${names}\n${hash("sha256", body)}`;
    const place = `${day}/${scope.region}/${scope.service}/aws4_request`;
    const text = `AWS4-HMAC-SHA256\n${amzDate}\n${place}\n${hash("sha256", canonical)}`;
    const signature = hmac(keyOf(credentials, day, scope), text).toString("hex");
    return `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${place}, SignedHeaders=${names}, Signature=${signature}`;
  };
};
