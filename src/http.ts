export { httpFingerprint } from "./http/fingerprint.ts";
export { type HttpIdempotency, type HttpIdempotencyOptions, httpIdempotency } from "./http/http-idempotency.ts";
export { type IdempotencyKeyOptions, idempotencyKey } from "./http/idempotency-key.ts";
export {
  type HttpProblemsMiddleware,
  httpProblems,
  type ProblemOptions,
  type ProblemResponse,
  toProblem,
} from "./http/problems.ts";
