/** Accounts and a ledger in DynamoDB. A transfer is all or nothing, and knows nothing of a transfer before it: sent twice, it moves the money twice. */
import { randomUUID } from "node:crypto";
import {
  BatchWriteItemCommand,
  CreateTableCommand,
  type DynamoDBClient,
  paginateScan,
  QueryCommand,
  type TransactWriteItem,
} from "@aws-sdk/client-dynamodb";

export interface Bank {
  readonly accounts: string;
  readonly ledger: string;
}

/** What a message asks for. */
export interface Transfer {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

export const ACCOUNTS = ["alice", "bob", "carol", "dave"] as const;
const OPENING_BALANCE = 1_000_000;

export const openBank = async (client: DynamoDBClient): Promise<Bank> => {
  const bank = { accounts: `accounts-${randomUUID()}`, ledger: `ledger-${randomUUID()}` };
  await client.send(
    new CreateTableCommand({
      TableName: bank.accounts,
      KeySchema: [{ AttributeName: "account", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "account", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  await client.send(
    new CreateTableCommand({
      TableName: bank.ledger,
      KeySchema: [
        { AttributeName: "transfer", KeyType: "HASH" },
        { AttributeName: "entry", KeyType: "RANGE" },
      ],
      AttributeDefinitions: [
        { AttributeName: "transfer", AttributeType: "S" },
        { AttributeName: "entry", AttributeType: "S" },
      ],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  const puts = ACCOUNTS.map((account) => ({
    PutRequest: { Item: { account: { S: account }, balance: { N: String(OPENING_BALANCE) } } },
  }));
  await client.send(new BatchWriteItemCommand({ RequestItems: { [bank.accounts]: puts } }));
  return bank;
};

/** The effect: debit, credit and an entry in the ledger. */
export const movesOf = (bank: Bank, { id, from, to, amount }: Transfer): TransactWriteItem[] => {
  const add = (account: string, delta: number) => ({
    TableName: bank.accounts,
    Key: { account: { S: account } },
    UpdateExpression: "ADD balance :delta",
    ExpressionAttributeValues: { ":delta": { N: String(delta) } },
  });
  const debit = add(from, -amount);
  const covered = { ConditionExpression: "balance >= :amount" };
  const values = { ...debit.ExpressionAttributeValues, ":amount": { N: String(amount) } };
  const entry = { transfer: { S: id }, entry: { S: randomUUID() }, amount: { N: String(amount) } };
  return [
    { Update: { ...debit, ...covered, ExpressionAttributeValues: values } },
    { Update: add(to, amount) },
    { Put: { TableName: bank.ledger, Item: entry } },
  ];
};

export const isBooked = async (client: DynamoDBClient, bank: Bank, { id }: Transfer): Promise<boolean> => {
  const { Count = 0 } = await client.send(
    new QueryCommand({
      TableName: bank.ledger,
      KeyConditionExpression: "transfer = :id",
      ExpressionAttributeValues: { ":id": { S: id } },
      ConsistentRead: true,
    }),
  );
  return Count > 0;
};

export interface Audit {
  /** How many entries each transfer has in the ledger. */
  readonly entries: ReadonlyMap<string, number>;
  /** Entries of transfers that nobody asked for. */
  readonly unknown: number;
  /** What all accounts have together, beyond what they had. */
  readonly sumOffBy: number;
  /** What was moved beyond what was asked for, or is missing of it: the accounts' differences, added up. */
  readonly movedOffBy: number;
}

export const audit = async (client: DynamoDBClient, bank: Bank, transfers: readonly Transfer[]): Promise<Audit> => {
  const scan = async (TableName: string) => {
    const items = [];
    for await (const { Items = [] } of paginateScan({ client }, { TableName, ConsistentRead: true })) {
      items.push(...Items);
    }
    return items;
  };
  const entries = new Map(transfers.map(({ id }) => [id, 0]));
  let unknown = 0;
  for (const { transfer } of await scan(bank.ledger)) {
    const count = entries.get(transfer?.S ?? "");
    if (count === undefined) unknown++;
    else entries.set(transfer?.S as string, count + 1);
  }
  const expected = new Map<string, number>(ACCOUNTS.map((account) => [account, OPENING_BALANCE]));
  for (const { from, to, amount } of transfers) {
    expected.set(from, (expected.get(from) as number) - amount);
    expected.set(to, (expected.get(to) as number) + amount);
  }
  const differences = (await scan(bank.accounts)).map(
    ({ account, balance }) => Number(balance?.N) - (expected.get(account?.S ?? "") ?? Number.NaN),
  );
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  return { entries, unknown, sumOffBy: sum(differences), movedOffBy: sum(differences.map(Math.abs)) / 2 };
};
