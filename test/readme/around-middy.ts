// example: around-middy
import middy from "@middy/core";
import httpCors from "@middy/http-cors";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { withLock } from "middy-dynamo-lock";

export const handler = withLock(
  middy<APIGatewayProxyEventV2>()
    .use(httpCors({ origins: ["https://shop.example"] }))
    .handler(async (event) => ({ statusCode: 201, headers: {}, body: JSON.stringify(await charge(event.body)) })),
  { key: (event) => event.headers["idempotency-key"], replayedHeader: true },
);
