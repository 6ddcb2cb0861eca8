// example: payment
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<APIGatewayProxyEventV2>()
  .use(httpErrorHandler())
  .use(dynamoLock({ key: (event) => event.headers["idempotency-key"], rememberMs: 24 * 3_600_000 }))
  .handler(async (event) => ({ statusCode: 201, body: JSON.stringify(await charge(event.body)) }));
