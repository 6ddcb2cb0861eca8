import { DynamoDBClient, type DynamoDBClientConfig, GetItemCommand } from "@aws-sdk/client-dynamodb";

/** A request as the AWS SDK would send it. */
export interface SdkRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the SDK's client, configured so, would send for a GetItem. Nothing is sent. Rejects as it does. */
export const sdkRequest = async (config: DynamoDBClientConfig): Promise<SdkRequest> => {
  let sent: SdkRequest | undefined;
  const requestHandler = {
    async handle(request: SdkRequest) {
      sent = request;
      throw new Error("It is not to be sent");
    },
  };
  const client = new DynamoDBClient({ maxAttempts: 1, ...config, requestHandler: requestHandler as never });
  const command = new GetItemCommand({ TableName: "locks", Key: { lock_id: { S: "a" } } });
  const refusal = await client.send(command).catch((error: unknown) => error);
  if (!sent) throw refusal;
  return sent;
};
