/** A bundle as a function's is built: minified, for Node.js 22, and unless told otherwise without the AWS SDK, which the runtime brings. */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

export interface Bundle {
  readonly code: Uint8Array;
  /** Bytes, by `gzip -9`. */
  readonly gzip: number;
  /** How many files it is made of. */
  readonly modules: number;
}

/** For what is CommonJS in a bundle that is none. */
const REQUIRE = `import{createRequire}from"node:module";const require=createRequire(import.meta.url);`;

/** `resolveDir`: where its imports are looked up. `external`: what the runtime brings. */
export async function bundle(contents: string, resolveDir: string, external = ["@aws-sdk/*"]): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir },
    bundle: true,
    minify: true,
    platform: "node",
    target: "node22",
    format: "esm",
    external,
    mainFields: ["module", "main"], // the SDK's CommonJS would be twice as large
    ...(external.length === 0 && { banner: { js: REQUIRE } }),
    write: false,
    metafile: true,
    logLevel: "error",
  });
  const { contents: code } = outputFiles[0] as { contents: Uint8Array };
  return { code, gzip: gzipSync(code, { level: 9 }).length, modules: Object.keys(metafile.inputs).length - 1 };
}
