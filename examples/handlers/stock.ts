import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { SQSBatchItemFailure, SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "stock" });

/** Longer than 14 days in the queue, and 14 in a dead-letter queue of its own. SQS itself drops repeats for five minutes only. */
const REMEMBER_MS = 29 * 24 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

interface Movement {
  movementId: string;
  item: string;
  quantity: number;
}

const movementOf = (record: SQSRecord): Movement => JSON.parse(record.body) as Movement;

const book = async (record: SQSRecord): Promise<void> => {
  const movement = movementOf(record);
  if (!Number.isInteger(movement.quantity)) throw new Error("quantity must be a whole number");
  await sleep(WORK_MS);
  logger.info("Movement booked", { movement });
};

/**
 * Books each movement of stock once, and those of an item in their order: its message group stops at the first movement that is held
 * by another invocation, which the lock sees to, or that fails, which the handler sees to.
 */
export const handler = middy<SQSEvent>()
  .use(injectLambdaContext(logger))
  .use(
    dynamoLockBatch({
      namespace: "stock",
      key: (record: SQSRecord) => movementOf(record).movementId,
      rememberMs: REMEMBER_MS,
      bulk: true,
      logger,
    }),
  )
  .handler(async ({ Records }) => {
    const batchItemFailures: SQSBatchItemFailure[] = [];
    const stopped = new Set<string | undefined>();
    for (const record of Records) {
      const group = record.attributes.MessageGroupId;
      if (!stopped.has(group)) {
        await book(record).catch((error: Error) => {
          logger.error("Movement not booked", error);
          stopped.add(group);
        });
      }
      if (stopped.has(group)) batchItemFailures.push({ itemIdentifier: record.messageId });
    }
    return { batchItemFailures };
  });
