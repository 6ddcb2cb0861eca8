import { createHash } from "node:crypto";
import type { DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import { type Clock, LockClient, type LockClientOptions, type LockEvent } from "../../src/index.ts";
import { newClient } from "./client.ts";
import { type ManualClock, manualClock } from "./clock.ts";
import { followRequests, localConfig } from "./dynamodb.ts";

/** What the SDK sees of a reply that is lost. */
export const lost = () => Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET" });
export const turn = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));

/** Between the SDK and DynamoDB: `n` counts the requests, retries included. */
export type Wire = (call: { n: number; name: string; send: () => Promise<unknown> }) => Promise<unknown>;

/**
 * A process of its own, on a wire that the test owns. Unless told otherwise a request is one attempt, and what settles a
 * lock is tried once.
 */
export const aProcess = <TClock extends Clock = ManualClock>(
  tableName: string,
  options: Omit<LockClientOptions, "clock"> & { config?: DynamoDBClientConfig; clock?: TClock } = {},
) => {
  const { config, ...rest } = options;
  const clock = options.clock ?? (manualClock() as Clock as TClock);
  const client = newClient({ ...localConfig(), maxAttempts: 1, ...config });
  if ("isIdle" in clock) followRequests(clock as Clock as ManualClock, client);
  const state = { wire: (async ({ send }) => send()) as Wire, sent: [] as string[] };
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const name = String(context.commandName).replace("Command", "");
      state.sent.push(name);
      const output = await state.wire({ n: state.sent.length, name, send: () => next(args) });
      return output as Awaited<ReturnType<typeof next>>;
    },
    { step: "finalizeRequest", priority: "low", name: "wire" },
  );
  const events: LockEvent[] = [];
  const locks = new LockClient({
    client,
    tableName,
    leaseMs: 10_000,
    clockSkewMs: 1_000,
    heartbeatMs: false,
    settleMs: 0,
    onEvent: (event) => events.push(event),
    ...rest,
    clock,
  });
  return { locks, clock, client, state, events, types: () => events.map(({ type }) => type) };
};

/** Loses the reply of the nth request. */
export const losing =
  (...which: number[]): Wire =>
  async ({ n, send }) => {
    const reply = await send();
    if (which.includes(n)) throw lost();
    return reply;
  };

/** Text in which there is hardly anything to compress: about as many characters, different for each seed. */
export const noise = (length: number, seed: string): string => {
  let text = "";
  for (let n = 0; text.length < length; n++) text += createHash("sha512").update(`${seed} ${n}`).digest("base64");
  return text.slice(0, length);
};
