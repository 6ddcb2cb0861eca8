// example: sns
import middy from "@middy/core";
import type { SNSEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<SNSEvent>()
  .use(dynamoLock({ key: (event) => event.Records[0]?.Sns.MessageId }))
  .handler(async (event) => {
    for (const { Sns } of event.Records) await notify(JSON.parse(Sns.Message));
  });
