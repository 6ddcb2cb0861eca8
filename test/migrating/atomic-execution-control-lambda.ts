// example: atomic-execution-control-lambda
import middy from "@middy/core";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<{ date: string }>()
  .use(dynamoLock<{ date: string }>({ key: (event) => event.date, waitMs: 840_000, rememberMs: 60_000 }))
  .handler(async (event) => runEtl(event.date));
