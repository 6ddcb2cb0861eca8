import { encodeData } from "../common/json.ts";
import { type StorableResult, toFailure, toStorable } from "../common/result.ts";
import type { Ending } from "../protocol/writes.ts";
import type { FinishOptions } from "./settle-options.ts";

/**
 * How a finish is to end the lock. The response is not in `ending` yet: where it goes depends on
 * its size.
 */
export interface Finish {
  readonly ending: Ending;
  readonly response: StorableResult | undefined;
  /** Why the response can't be stored, if so. */
  readonly notStored?: string | undefined;
}

export const toFinish = (options: FinishOptions, defaultRememberMs: number): Finish => {
  const { rememberMs = defaultRememberMs, status: finalStatus, error } = options;
  const failure = "error" in options ? JSON.stringify(toFailure(error)) : undefined;
  const ending = { status: "FINISHED", rememberMs, finalStatus, failure, data: encodeData(options.data) } as const;
  const response = "result" in options && !failure ? toStorable(options.result) : undefined;
  return response && "reason" in response
    ? { ending, response: undefined, notStored: response.reason }
    : { ending, response };
};
