import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { Clock } from "../common/clock.ts";
import type { Reporter } from "../common/report.ts";
import type { Store } from "../dynamodb/store.ts";

/** What the functions beside a `LockClient` work with. */
export interface LockInternals {
  readonly client: DynamoDBClient;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly report: Reporter;
  readonly namespace: string | undefined;
  readonly clockSkewMs: number;
  readonly heartbeatMs: number | false | undefined;
  readonly expiry: "clock" | "observed" | undefined;
  /** Of a finished record that is not as it was. */
  readonly forget: (key: string) => void;
}
