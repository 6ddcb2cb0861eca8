import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";

/** Counts what a client really sends, retries included, and stops it when all is over. */
export interface Meter {
  requests: number;
  writes: number;
  stopped: boolean;
}

export const send = (meter: Meter, isWrite: boolean) => {
  if (meter.stopped) throw new Error("the measurement is over");
  meter.requests++;
  if (isWrite) meter.writes++;
};

/** Notes every attempt of an SDK client of version 3. */
export const metered = <T extends Pick<DynamoDBClient, "middlewareStack">>(client: T, meter: Meter): T => {
  client.middlewareStack.add(
    (next, context) => (args) => {
      send(meter, context.commandName !== "GetItemCommand");
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "meter" },
  );
  return client;
};
