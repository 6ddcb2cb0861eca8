/** Plays a scene: starts the sandboxes, has them invoked, stops them, and asks what became of the promises. */
import { join } from "node:path";
import { clientConfig } from "../engine.ts";
import { bundle, root, type SamFunction } from "../sam-template.ts";
import { type Fate, fateOf, type Run, Sandbox } from "./sandbox.ts";

export interface Scene {
  title: string;
  /** As stored. */
  key: string;
  sandboxes: readonly Sandbox[];
  promises: { text: string; kept: boolean }[];
}

export interface Script<Labels extends readonly string[]> {
  title: string;
  function: SamFunction;
  /** As stored: with the namespace of the function's handler. */
  key: string;
  /** Each in a sandbox of its own. */
  invocations: readonly [...Labels];
  play(sandboxes: Cast<Labels>): Promise<void>;
  /** What must have happened, besides that every work was completed once, and that none ran twice at a time. */
  promises(sandboxes: Cast<Labels>): Record<string, boolean>;
}

type Cast<Labels> = { readonly [Index in keyof Labels]: Sandbox };

/** How long the handlers work. */
const WORK_MS = 700;

export class Stage {
  readonly #environment: Record<string, string>;
  readonly #sandboxes: Sandbox[] = [];
  /** Tells of a scene what is happening in it, as it happens. */
  readonly tell: (title: string, words: string) => void;

  constructor({ endpoint, tableName, tell }: { endpoint: string; tableName: string; tell: Stage["tell"] }) {
    this.tell = tell;
    const { region, credentials } = clientConfig(endpoint);
    this.#environment = {
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_ENDPOINT_URL_DYNAMODB: endpoint,
      DYNAMO_LOCK_TABLE: tableName,
      WORK_MS: `${WORK_MS}`,
    };
  }

  async perform<const Labels extends readonly string[]>(script: Script<Labels>): Promise<Scene> {
    const { title, function: fn, key, invocations } = script;
    this.tell(title, `bundling its function, and starting ${invocations.length} processes`);
    // In the project, so that the bundle finds the AWS SDK, which it leaves to Lambda's runtime.
    const file = await bundle(fn.source, fn.build, join(root, ".cache", "demo", fn.name));
    const environment = { ...fn.environment, ...this.#environment };
    const starting = invocations.map((label) => Sandbox.start(label, fn, file, environment));
    for (const outcome of await Promise.allSettled(starting)) {
      if (outcome.status === "fulfilled") this.#sandboxes.push(outcome.value);
    }
    const cast = (await Promise.all(starting)) as Cast<Labels> & readonly Sandbox[];
    this.tell(title, "the processes are ready");
    for (const sandbox of cast) sandbox.onEnded = (words) => this.tell(title, `"${sandbox.label}" ${words}`);
    await script.play(cast);
    await Promise.all(cast.map((sandbox) => sandbox.stop()));
    const promises = {
      "done once": doneOnce(cast),
      "never two at a time": !overlap(cast),
      ...script.promises(cast),
    };
    return {
      title,
      key,
      sandboxes: cast,
      promises: Object.entries(promises).map(([text, kept]) => ({ text, kept })),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#sandboxes.map((sandbox) => sandbox.stop()));
  }
}

export const became = (sandboxes: readonly Sandbox[], ...fates: Fate[]): boolean =>
  sandboxes.map(fateOf).join() === fates.join();

const byWork = (sandboxes: readonly Sandbox[]): Run[][] => [
  ...Map.groupBy(
    sandboxes.flatMap(({ runs }) => runs),
    ({ work }) => work,
  ).values(),
];

const doneOnce = (sandboxes: readonly Sandbox[]): boolean => {
  const works = byWork(sandboxes);
  return works.length > 0 && works.every((runs) => runs.filter(({ done }) => done).length === 1);
};

const overlap = (sandboxes: readonly Sandbox[]): boolean =>
  byWork(sandboxes).some((runs) =>
    runs.sort((a, b) => a.from - b.from).some((run, index) => run.from < (runs[index - 1]?.to ?? 0)),
  );
