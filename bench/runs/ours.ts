import { withLock } from "../../src/index.ts";
import { clientConfig, invocation, type OneRun, work } from "./run.ts";

export const prepare: OneRun = (endpoint) =>
  invocation(
    withLock(work, {
      key: ({ date }) => date, // report#2026-11-21
      tableName: "locks",
      clientConfig: clientConfig(endpoint),
    }),
  );
