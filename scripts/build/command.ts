/**
 * Builds the command `dynamo-lock` into `bin/` of the package: commander is bundled into it, so that nobody who installs
 * the package for a handler installs a parser. The library is not: the command loads the package's own module.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Imports of the library, which stands one directory above the command's files. */
const libraryStaysOutside: Plugin = {
  name: "library-stays-outside",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/index\.ts$/ }, () => ({ path: "../index.js", external: true }));
  },
};

/** Its licence asks for its text wherever the code goes. */
const licence = () => `/*! commander\n${readFileSync(join(root, "node_modules/commander/LICENSE"), "utf8").trim()}\n*/`;

/** Writes `dynamo-lock.js`, and the file that it loads. */
export async function buildCommand(directory: string): Promise<void> {
  await build({
    entryPoints: [{ in: join(root, "src/cli/bin.ts"), out: "dynamo-lock" }],
    outdir: directory,
    bundle: true,
    splitting: true,
    chunkNames: "[name]",
    platform: "node",
    target: "node22",
    format: "esm",
    charset: "utf8",
    external: ["@aws-sdk/*"],
    footer: { js: licence() },
    plugins: [libraryStaysOutside],
    logLevel: "error",
  });
}
