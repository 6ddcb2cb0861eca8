/** Gives TypeScript 6 to tools that call the compiler: version 7 has no such interface yet. To be imported before them. */
import { registerHooks } from "node:module";

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier === "@typescript/typescript6" ? "typescript-6" : specifier, context),
});
