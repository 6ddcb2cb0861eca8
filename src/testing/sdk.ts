/** What clients of the AWS SDK need to send their requests to an engine in the same process. */
import { Readable } from "node:stream";
import { answer, type Handle } from "./wire.ts";

/** A part of the configuration of a `DynamoDBClient`. */
export interface MemoryClientConfig {
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly requestHandler: {
    // biome-ignore lint/suspicious/noExplicitAny: requests and responses are the SDK's own classes
    handle(request: any, options?: any): Promise<{ response: any }>;
    destroy(): void;
    updateHttpClientConfig(): void;
    httpHandlerConfigs(): object;
  };
}

/** The region that clients of an engine in memory have. It is no region of AWS. */
export const REGION = "us-memory-1";

export const clientConfigOf = (handle: Handle): MemoryClientConfig => ({
  region: REGION,
  credentials: { accessKeyId: "memory", secretAccessKey: "memory" },
  requestHandler: {
    async handle({ headers, body }) {
      const { body: text, ...reply } = await answer(
        { target: String(headers["x-amz-target"]), body: Buffer.from(body ?? "").toString() },
        handle,
      );
      return { response: { ...reply, body: Readable.from([Buffer.from(text)]) } };
    },
    destroy() {},
    updateHttpClientConfig() {},
    httpHandlerConfigs: () => ({}),
  },
});
