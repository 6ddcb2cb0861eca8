/** Doors that commit without a lock, and effects that can be counted. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { type CommitContext, type DynamoCommitOptions, dynamoCommit, withCommit } from "../../src/index.ts";
import type { lockTable } from "./dynamodb.ts";
import { chain, type Handler, type Invoke, invoker, type Middy, type ReportEvent, versions } from "./middy.ts";

export type Committing = (event: ReportEvent, context: Context & CommitContext) => unknown;
export type CommitDoorOptions = DynamoCommitOptions<ReportEvent>;

/** A handler behind `dynamoCommit` and other middlewares, the first one outermost. */
export const commitChain = (
  middy: Middy,
  options: CommitDoorOptions,
  handler: Committing,
  { outer = [], inner = [], plugin = {} }: { outer?: unknown[]; inner?: unknown[]; plugin?: object } = {},
): Invoke => chain(middy, [...outer, dynamoCommit(options), ...inner], handler as unknown as Handler, plugin);

/** The three ways to put it around a handler, which must not differ where Middy has no say. */
export const commitDoors: { name: string; wrap: (handler: Committing, options: CommitDoorOptions) => Invoke }[] = [
  ...versions.map(({ name, middy }) => ({
    name: `dynamoCommit on ${name}`,
    wrap: (handler: Committing, options: CommitDoorOptions) => commitChain(middy, options, handler),
  })),
  { name: "withCommit", wrap: (handler, options) => invoker(withCommit(handler, options)) },
];

/** Counters: an effect that is written twice counts two. */
export const countersIn = (table: Awaited<ReturnType<typeof lockTable>>) => ({
  add: (id: string, condition?: string): TransactWriteItem => ({
    Update: {
      TableName: table.tableName,
      Key: { lock_id: { S: id } },
      UpdateExpression: "ADD n :one",
      ExpressionAttributeValues: { ":one": { N: "1" } },
      ...(condition && { ConditionExpression: condition }),
    },
  }),
  total: async (id: string): Promise<number> => Number((await table.item(id))?.n?.N ?? 0),
});

/** How DynamoDB cancels a transaction: a code for each item. */
export const cancelled = (...codes: string[]) =>
  Object.assign(new Error(codes.join()), {
    name: "TransactionCanceledException",
    CancellationReasons: codes.map((Code) => ({ Code })),
  });
