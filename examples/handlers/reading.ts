import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { KinesisStreamEvent, KinesisStreamRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "reading" });

/** A repeat comes from a producer that tries again, or from a shard that is read again: within the day that the stream keeps a record. */
const REMEMBER_MS = 48 * 3_600_000;

/** Half of the function's timeout to work: a batch of 50 readings takes 25 s, one after the other. */
const RESERVE_MS = 30_000;
/** And half to wait for a held key, because the retries of a shard are counted. */
const WAIT_MS = 30_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

interface Reading {
  readingId: string;
  meter: string;
  kWh: number;
}

const readingOf = ({ kinesis }: KinesisStreamRecord): Reading =>
  JSON.parse(Buffer.from(kinesis.data, "base64").toString()) as Reading;

const store = async (record: KinesisStreamRecord): Promise<void> => {
  const reading = readingOf(record);
  if (!(reading.kWh >= 0)) throw new Error("kWh must not be negative");
  await sleep(WORK_MS);
  logger.info("Reading stored", { reading });
};

/**
 * Stores each meter reading once, in the order of the shard: the batch stops at its first record that is held by another invocation,
 * or that fails, and is retried from there.
 */
export const handler = middy<KinesisStreamEvent>()
  .use(injectLambdaContext(logger))
  .use(
    dynamoLockBatch({
      namespace: "readings",
      key: (record: KinesisStreamRecord) => readingOf(record).readingId,
      rememberMs: REMEMBER_MS,
      waitMs: WAIT_MS,
      reserveMs: RESERVE_MS,
      bulk: true,
      logger,
    }),
  )
  .handler(async ({ Records }) => {
    for (const record of Records) {
      try {
        await store(record);
      } catch (error) {
        logger.error("Reading not stored", error as Error);
        return { batchItemFailures: [{ itemIdentifier: record.kinesis.sequenceNumber }] };
      }
    }
    return { batchItemFailures: [] };
  });
