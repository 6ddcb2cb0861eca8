/** What template.yaml says of its functions, so that the demo and the tests build and run what it deploys. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";
import { parse, type ScalarTag } from "yaml";

export const root = fileURLToPath(new URL("..", import.meta.url));

export interface SamFunction {
  /** As `sam local invoke` names it: its logical id. */
  name: string;
  source: string;
  timeoutMs: number;
  environment: Record<string, string>;
  build: BuildProperties;
  /** The statements of its role. */
  statements: { Effect: string; Action: string | string[]; Resource: string }[];
}

interface BuildProperties {
  Format: "esm";
  OutExtension: string[];
  Target: string;
  MainFields: string;
  Minify: boolean;
  Sourcemap: boolean;
  External: string[];
}

interface Resource {
  Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: the properties of every type of resource
  Properties: Record<string, any>;
  Metadata?: { BuildProperties: BuildProperties };
}

/** `!Ref Table` becomes "Table" and `!GetAtt Table.Arn` "Table.Arn": what `sam local` makes of a reference, too. */
const references: ScalarTag[] = ["!Ref", "!GetAtt", "!Sub"].map((tag) => ({ tag, resolve: (text: string) => text }));

export const template = parse(readFileSync(join(root, "template.yaml"), "utf8"), { customTags: references }) as {
  Globals: { Function: Resource["Properties"] };
  Resources: Record<string, Resource>;
};

export function samFunction(name: string): SamFunction {
  const { Properties, Metadata } = template.Resources[name] ?? {};
  if (!Properties || !Metadata) throw new Error(`template.yaml has no function ${name} that esbuild builds`);
  const shared = template.Globals.Function;
  return {
    name,
    source: join(root, shared.CodeUri, `${basename(Properties.Handler, ".handler")}.ts`),
    timeoutMs: Properties.Timeout * 1_000,
    environment: { ...shared.Environment.Variables, ...Properties.Environment?.Variables },
    build: Metadata.BuildProperties,
    statements: Properties.Policies.flatMap((policy: { Statement: SamFunction["statements"] }) => policy.Statement),
  };
}

/** Bundles as `sam build` does (https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-using-build-typescript.html). */
export async function bundle(source: string, properties: BuildProperties, outdir: string): Promise<string> {
  const { Format, OutExtension, Target, MainFields, Minify, Sourcemap, External } = properties;
  const options: BuildOptions = {
    entryPoints: [source],
    outdir,
    bundle: true,
    platform: "node",
    format: Format,
    outExtension: Object.fromEntries(OutExtension.map((pair) => pair.split("="))),
    target: Target,
    mainFields: MainFields.split(","),
    minify: Minify,
    sourcemap: Sourcemap,
    external: External,
  };
  await build(options);
  return join(outdir, basename(source, ".ts") + options.outExtension?.[".js"]);
}
