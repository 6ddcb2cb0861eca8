import { memoryDynamoDB } from "middy-dynamo-lock/testing";

const memory = memoryDynamoDB({ tables: { orders: "id" } });
const { endpoint } = await memory.listen({ port: Number(process.env.PORT ?? 8000) });
console.log(`export AWS_ENDPOINT_URL_DYNAMODB=${endpoint}`);
