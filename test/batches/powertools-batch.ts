// example: powertools-batch
import { BatchProcessor, EventType, processPartialResponse } from "@aws-lambda-powertools/batch";
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const processor = new BatchProcessor(EventType.SQS);
const recordHandler = async (record: SQSRecord) => shipOrder(record.body);

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) => JSON.parse(record.body).orderId,
      rememberMs: 15 * 24 * 3_600_000,
    }),
  )
  .handler(async (event, context) => processPartialResponse(event, recordHandler, processor, { context }));
