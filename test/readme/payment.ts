// example: payment
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<APIGatewayProxyEventV2>()
  .use(httpErrorHandler())
  .use(
    dynamoLock<APIGatewayProxyEventV2>({
      namespace: "payments",
      key: (event) => event.headers["idempotency-key"],
      fingerprint: (event) => event.body,
      rememberMs: 24 * 3_600_000,
      replayedHeader: true,
    }),
  )
  .handler(async (event, context) => {
    const payment = await charge(event.body, { idempotencyKey: context.lock.key });
    return { statusCode: 201, body: JSON.stringify(payment) };
  });
