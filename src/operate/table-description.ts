interface KeyPart {
  AttributeName: string | undefined;
  KeyType: "HASH" | "RANGE" | undefined;
}

/** What DynamoDB tells of a table: the SDK's `TableDescription`, as far as it is about a table of locks. */
export interface LockTableDescription {
  TableName?: string | undefined;
  TableArn?: string | undefined;
  TableId?: string | undefined;
  TableStatus?: string | undefined;
  CreationDateTime?: Date | undefined;
  KeySchema?: KeyPart[] | undefined;
  AttributeDefinitions?: { AttributeName: string | undefined; AttributeType: string | undefined }[] | undefined;
  BillingModeSummary?: { BillingMode?: string | undefined } | undefined;
  ProvisionedThroughput?: Throughput<"ReadCapacityUnits" | "WriteCapacityUnits">;
  OnDemandThroughput?: Throughput<"MaxReadRequestUnits" | "MaxWriteRequestUnits">;
  WarmThroughput?: Throughput<"ReadUnitsPerSecond" | "WriteUnitsPerSecond">;
  TableClassSummary?: { TableClass?: string | undefined } | undefined;
  DeletionProtectionEnabled?: boolean | undefined;
  StreamSpecification?: { StreamEnabled: boolean | undefined; StreamViewType?: string | undefined } | undefined;
  LatestStreamArn?: string | undefined;
  SSEDescription?:
    | { Status?: string | undefined; SSEType?: string | undefined; KMSMasterKeyArn?: string | undefined }
    | undefined;
}

type Throughput<Units extends string> = { [Name in Units]?: number | undefined } | undefined;
