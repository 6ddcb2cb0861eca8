// example: on-event
import { LockClient, type LockEvent } from "middy-dynamo-lock";

/** Tells a person of what no retry cures. */
const onEvent = (event: LockEvent) => {
  if (event.type === "lost") page(`${event.key}: lost (${event.reason}) after ${event.elapsedMs} ms`);
  if (event.type === "failed") page(`${event.key}: ${event.operation} failed: ${event.error}`);
};

export const locks = new LockClient({ onEvent });
