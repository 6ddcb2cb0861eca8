/** What comes between a client and DynamoDB, for batches with `bulk`. */
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { shop } from "./batches.ts";
import type { lockTable } from "./dynamodb.ts";

export interface Sent {
  /** Of this operation, from 1. */
  readonly n: number;
  readonly operation: string;
  readonly input: {
    Statements?: { Statement: string; Parameters: { S?: string }[] }[];
    Key?: { lock_id?: { S?: string } };
    RequestItems?: object;
  };
  readonly send: () => Promise<{ output: Reply }>;
}
interface Reply {
  Responses?: { Error?: { Code: string; Message: string } }[];
}

/** Puts itself between a client's commands and DynamoDB. */
export const onTheWire = (client: DynamoDBClient, act: (sent: Sent) => Promise<unknown>) => {
  const counts: Record<string, number> = {};
  client.middlewareStack.add(
    (next, context) => (args) => {
      const operation = String(context.commandName).replace("Command", "");
      counts[operation] = (counts[operation] ?? 0) + 1;
      const call = { n: counts[operation], operation, input: args.input, send: () => next(args) };
      return act(call as unknown as Sent) as ReturnType<typeof next>;
    },
    { step: "initialize", name: "bulk-wire" },
  );
};

export const BULK = "BatchExecuteStatement";
export const named = (name: string, httpStatusCode = 400) =>
  Object.assign(new Error(name), { name, $metadata: { httpStatusCode, attempts: 1 } });

/** A shop whose batches are taken in bulk. */
export const bulkShop = (table: Awaited<ReturnType<typeof lockTable>>, act?: (sent: Sent) => Promise<unknown>) => {
  const { options, ...rest } = shop(table);
  if (act) onTheWire(rest.client, act);
  return { ...rest, options: { ...options, bulk: true } };
};

/** Statements of a request that DynamoDB reports as failed, whether it applied them or not. */
export const reported = async (
  code: string,
  applied: boolean,
  isFailed: (index: number) => boolean,
  { input, send }: Sent,
) => {
  const { Statements = [] } = input;
  const kept = [...Statements];
  if (!applied) input.Statements = Statements.filter((_, index) => !isFailed(index));
  const reply = input.Statements?.length === 0 ? { output: { Responses: [] } } : await send();
  const answers = [...(reply.output.Responses ?? [])];
  reply.output.Responses = kept.map((_, index) => {
    const answer = !applied && isFailed(index) ? undefined : answers.shift();
    return isFailed(index) ? { Error: { Code: code, Message: "as told by the test" } } : (answer ?? {});
  });
  return reply;
};
