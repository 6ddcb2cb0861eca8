import { callSafely } from "../common/print.ts";

/**
 * A middleware that answers early keeps Middy from running any `after`. Powertools' middlewares
 * that ran before it leave a function each for this case, which prints the metrics, closes the
 * segment of a trace, resets the logger: its `cleanupMiddlewares` calls them in this order
 * (https://docs.powertools.aws.dev/lambda/typescript/2.0.1/api/functions/_aws_lambda_powertools_commons.cleanupMiddlewares.html).
 */
const CLEAN_UPS = ["tracer", "metrics", "logger", "idempotency"].map((name) => `powertools-for-aws.${name}`);

/**
 * Does what the middlewares before this one would have done in their `after`. If one fails, the
 * answer is given even so.
 */
export const cleanUpMiddlewares = async (request: { readonly internal: object }): Promise<void> => {
  for (const name of CLEAN_UPS) {
    const cleanUp = (request.internal as Record<string, unknown>)[name];
    if (typeof cleanUp === "function") await callSafely(name, () => cleanUp(request));
  }
};
