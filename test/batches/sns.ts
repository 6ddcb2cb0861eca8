// example: sns
import middy from "@middy/core";
import type { SNSEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<SNSEvent>()
  .use(dynamoLock<SNSEvent>({ key: (event) => event.Records[0]?.Sns.MessageId, rememberMs: 40 * 24 * 3_600_000 }))
  .handler(async (event) => {
    for (const { Sns } of event.Records) await notify(JSON.parse(Sns.Message));
  });
