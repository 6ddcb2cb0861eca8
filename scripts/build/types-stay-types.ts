import type { Plugin } from "rollup";

/**
 * Exports as types what is exported as nothing else: `export type { Lock }` of a class comes out of the roll-up as if there were
 * a class to import, and `instanceof Lock` would compile.
 */
export const typesStayTypes = (values: ReadonlySet<string>): Plugin => ({
  name: "types-stay-types",
  renderChunk: (code) => ({
    code: code.replace(/^export \{ (.+) \};$/gm, (_statement, list: string) => {
      const names = list.split(", ").map((name) => (values.has(exportedAs(name)) ? name : `type ${name}`));
      return `export { ${names.join(", ")} };`;
    }),
    map: null,
  }),
});

/** `b` of `a as b`. */
const exportedAs = (name: string) => name.replace(/^.* as /, "");
