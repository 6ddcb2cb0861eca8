import { describe } from "vitest";
import { runtimeIsBuilt } from "./sandbox.ts";

/** Tests that need Lambda's runtime client. Where it isn't built they don't run, and say so. */
export function describeRuntime(name: string, tests: () => void): void {
  if (!runtimeIsBuilt) {
    console.log(`not run: ${name}: Lambda's runtime client is not built (npm run test:runtime builds it)`);
  }
  describe.runIf(runtimeIsBuilt)(name, tests);
}
