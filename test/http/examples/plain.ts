// example: plain
import type { APIGatewayProxyEventV2WithIAMAuthorizer, Context } from "aws-lambda";
import { withLock } from "middy-dynamo-lock";
import { httpIdempotency, toProblem } from "middy-dynamo-lock/http";

type Event = APIGatewayProxyEventV2WithIAMAuthorizer;

const refund = withLock(
  async (event: Event, context) => {
    const refunded = await charge(event.body, { idempotencyKey: context.lock?.idempotencyKey("refund") });
    return { statusCode: 201, body: JSON.stringify(refunded) };
  },
  {
    namespace: "refunds",
    ...httpIdempotency<Event>({ scope: (event) => event.requestContext.authorizer.iam.userId }),
  },
);

export const handler = async (event: Event, context: Context) => {
  try {
    return await refund(event, context);
  } catch (error) {
    const problem = toProblem(error);
    if (problem) return problem;
    throw error;
  }
};
