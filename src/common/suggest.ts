/**
 * How other libraries call an option, in small letters and without the unit: Powertools'
 * idempotency with its DynamoDB layer, the lock clients for Java, Go and Python, and the AWS SDK.
 */
const ELSEWHERE: Readonly<Record<string, RegExp>> = {
  key: /keyjmes|dataindex|^idempotencykey/,
  tableName: /^persist/,
  client: /^persist|sdk|^dynamodb/,
  clientConfig: /region|endpoint|credential/,
  namespace: /prefix/,
  owner: /holder/,
  rememberMs: /^expires|^ttl$/,
  leaseMs: /lockttl/,
  waitMs: /towait|timeout$/,
  backoff: /^re.+(period|interval)/,
  permits: /concurrency/,
  fingerprint: /validation/,
  cacheSize: /cache/,
  onMissingKey: /noidempotency/,
  duplicateResponse: /hook/,
  keyAttribute: /partition/,
  ttlAttribute: /expiryattr|^ttl$/,
  retentionMs: /expiryperiod/,
};

/** Options of Powertools that have no counterpart. */
const NEEDLESS = /lambdacontext|hashfunction|jmespathoptions/;

/**
 * A name without what only tells the unit or the style: `lease_seconds`, `withLease` and `leaseMs`
 * are one.
 */
const plain = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]|^with(?=.)|(?<=.)(in_?)?(ms|millis|(milli)?sec(ond)?s?|minutes|hours|days)$/g, "");

/** "; did you mean leaseMs?" for an option that a function doesn't have, or nothing. */
export const suggest = (unknown: string, options: readonly string[]): string => {
  const name = plain(unknown);
  if (NEEDLESS.test(name)) return `; ${unknown} is not needed: leave it out`;
  // The same name goes before one from elsewhere, and that before most that are only alike.
  const likeness = (option: string) =>
    Math.max(commonPairs(plain(option), name), ELSEWHERE[option]?.test(name) ? 0.9 : 0);
  const best = Math.max(0.5, ...options.map(likeness));
  const found =
    options.filter((option) => likeness(option) === best).join(" or ") ||
    (/^permits$|concurrency/.test(name) && "permits of semaphore, dynamoSemaphore or withSemaphore");
  return found
    ? `; did you mean ${found}${/Ms$/.test(found) && !/ms$/i.test(unknown) ? ", in milliseconds" : ""}?`
    : "";
};

/**
 * How many of their pairs of neighbouring letters two words share, from 0 to 1 (Dice's
 * coefficient).
 */
const commonPairs = (one: string, other: string): number => {
  const pairs = (word: string) => [...word].slice(1).map((letter, i) => word[i] + letter);
  const shared = pairs(one).filter((pair) => pairs(other).includes(pair)).length;
  return (2 * shared) / (pairs(one).length + pairs(other).length);
};
