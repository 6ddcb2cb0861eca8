// example: powertools-idempotency
import middy from "@middy/core";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<APIGatewayProxyEventV2>()
  .use(dynamoLock<APIGatewayProxyEventV2>({ key: (event) => event.headers["idempotency-key"], onMissingKey: "run" }))
  .handler(async (event) => createOrder(event.body));
