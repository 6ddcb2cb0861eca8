import { DynamoDBClient, type DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import { LockClient, type LockClientOptions, type LockEvent } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { localConfig } from "../support/dynamodb.ts";

export const lost = () => Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET" });
export const turn = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));
export const deferred = <T = void>() => Promise.withResolvers<T>();

export type Wire = (call: { n: number; name: string; send: () => Promise<unknown>; input: any }) => Promise<unknown>;

/** A process: client (1 attempt unless told), manual clock, events, and a wire that the test owns. */
export const aProcess = (
  tableName: string,
  options: LockClientOptions & { config?: DynamoDBClientConfig; clock?: any } = {},
) => {
  const { config, ...rest } = options;
  const client = new DynamoDBClient({ ...localConfig(), maxAttempts: 1, ...config });
  const state = { wire: (async ({ send }) => send()) as Wire, sent: [] as string[] };
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const name = String(context.commandName).replace("Command", "");
      state.sent.push(name);
      return (await state.wire({ n: state.sent.length, name, send: () => next(args), input: (args as any).input })) as any;
    },
    { step: "finalizeRequest", priority: "low", name: "wire" },
  );
  const clock = rest.clock ?? manualClock();
  const events: LockEvent[] = [];
  const locks = new LockClient({
    client,
    tableName,
    leaseMs: 10_000,
    clockSkewMs: 1_000,
    heartbeatMs: false,
    onEvent: (event) => events.push(event),
    ...rest,
    clock,
  });
  return { locks, clock: clock as ReturnType<typeof manualClock>, client, state, events, types: () => events.map(({ type }) => type) };
};
/** Loses the reply of the nth request. */
export const losing = (...which: number[]): Wire => async ({ n, send }) => {
  const reply = await send();
  if (which.includes(n)) throw lost();
  return reply;
};
