import { LockClient, type LockClientInterface, type LockInterface } from "middy-dynamo-lock";
import { expect, test } from "vitest";

class Importer {
  readonly #locks: Pick<LockClientInterface, "run">;

  constructor(locks: Pick<LockClientInterface, "run"> = new LockClient()) {
    this.#locks = locks;
  }

  import = (file: string) => this.#locks.run(file, async (lock) => `${file}, by ${lock.fencingToken}`);
}

test("a file is imported under its fencing token", async () => {
  const lock = { fencingToken: 7 } as LockInterface;
  const importer = new Importer({ run: async (_key, work) => work(lock) });
  expect(await importer.import("a.csv")).toBe("a.csv, by 7");
});
