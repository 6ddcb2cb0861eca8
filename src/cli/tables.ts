/** `table`: creates the table of locks, or prints its definition. */
import { createLockTable } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { EXIT } from "./exit.ts";

export const createCommand = async (
  call: CommandCall,
  { deletionProtection }: { readonly deletionProtection?: boolean },
): Promise<number> => {
  const { keyAttribute, ttlAttribute, json } = call.options;
  call.say(`${call.tableName}: waiting until it can be used`);
  const description = await createLockTable(call.client, {
    tableName: call.tableName,
    keyAttribute,
    ttlAttribute,
    deletionProtection,
    waitForTtl: false,
  });
  const { TableName, TableArn, TableStatus } = description;
  call.data(json ? JSON.stringify(description) : `${TableName} is ${TableStatus}: ${TableArn}`);
  return EXIT.done;
};

interface Names {
  readonly table: string;
  readonly key: string;
  readonly ttl: string;
}

const cloudformation = ({ table, key, ttl }: Names) => `Resources:
  LockTable:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: ${table}
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - AttributeName: ${key}
          AttributeType: S
      KeySchema:
        - AttributeName: ${key}
          KeyType: HASH
      TimeToLiveSpecification:
        AttributeName: ${ttl}
        Enabled: true`;

const cdk = ({ table, key, ttl }: Names) => `import { RemovalPolicy } from "aws-cdk-lib";
import { AttributeType, Billing, TableV2 } from "aws-cdk-lib/aws-dynamodb";

const lockTable = new TableV2(this, "LockTable", {
  tableName: "${table}",
  partitionKey: { name: "${key}", type: AttributeType.STRING },
  billing: Billing.onDemand(),
  timeToLiveAttribute: "${ttl}",
  removalPolicy: RemovalPolicy.RETAIN,
});
lockTable.grant(handler, "dynamodb:UpdateItem", "dynamodb:GetItem");`;

const terraform = ({ table, key, ttl }: Names) => `resource "aws_dynamodb_table" "locks" {
  name         = "${table}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "${key}"

  attribute {
    name = "${key}"
    type = "S"
  }

  ttl {
    attribute_name = "${ttl}"
    enabled        = true
  }
}`;

const WRITERS: Readonly<Record<string, (names: Names) => string>> = { cloudformation, cdk, terraform };
export const FORMATS = Object.keys(WRITERS);

export const printTable = (call: CommandCall, format: string): number => {
  const { keyAttribute: key = "lock_id", ttlAttribute: ttl = "ttl" } = call.options;
  call.data((WRITERS[format] as (names: Names) => string)({ table: call.tableName, key, ttl }));
  return EXIT.done;
};
