import { afterEach, beforeEach, expect } from "vitest";
import { turn } from "./process.ts";

/** Fails a test of this file that leaves a rejection unhandled: in a Lambda that ends the process. */
export const expectAllHandled = () => {
  let unhandled: unknown[] = [];
  let others: NodeJS.UnhandledRejectionListener[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  beforeEach(() => {
    unhandled = [];
    others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", note);
  });
  afterEach(async () => {
    await turn();
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
    expect(unhandled).toEqual([]);
  });
};
