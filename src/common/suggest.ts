/** How other libraries call an option, in small letters, and how it is called here: the first of these that a function has. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  // Powertools' idempotency: its options, and those of its DynamoDB persistence layer.
  expiresafter: "rememberMs",
  eventkeyjmespath: "key",
  dataindexargument: "key",
  payloadvalidationjmespath: "fingerprint",
  persistencestore: "tableName client",
  persistencelayer: "tableName client",
  awssdkv3client: "client",
  keyattr: "keyAttribute",
  expiryattr: "ttlAttribute",
  uselocalcache: "cacheSize",
  maxlocalcachesize: "cacheSize",
  throwonnoidempotencykey: "onMissingKey",
  raiseonnoidempotencykey: "onMissingKey",
  responsehook: "duplicateResponse",
  keyprefix: "namespace",
  idempotencykey: "key",
  // The lock clients for Java, Go and Python.
  additionaltimetowaitforlock: "waitMs",
  retrytimeout: "waitMs",
  timeout: "waitMs timeoutMs",
  refreshperiod: "backoff",
  retryperiod: "backoff",
  retryinterval: "backoff",
  partitionkeyname: "keyAttribute",
  partitionkey: "keyAttribute",
  lockttl: "leaseMs",
  ttl: "rememberMs ttlAttribute",
  expiryperiod: "retentionMs",
  holder: "owner",
  concurrency: "permits",
  dynamodb: "client",
  // The AWS SDK.
  region: "clientConfig",
  endpoint: "clientConfig",
  credentials: "clientConfig",
};

/** Options of Powertools that have no counterpart. */
const NEEDLESS: Readonly<Record<string, string>> = {
  lambdacontext: "the handler's context is used",
  hashfunction: "keys are stored as they are",
  jmespathoptions: "key and fingerprint are functions",
};

/** Without what only tells the unit or the style: `lease_seconds`, `withLease` and `leaseMs` are one. */
const plain = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]/g, "")
    .replace(/^with(?=.)/, "")
    .replace(/(?<=.)(in)?(ms|millis|milliseconds|secs?|seconds|minutes|hours|days)$/, "");

/** "; did you mean leaseMs?", for an option that a function doesn't have, or nothing. */
export const suggest = (unknown: string, options: readonly string[]): string => {
  const name = plain(unknown);
  if (Object.hasOwn(NEEDLESS, name)) return `; ${unknown} is not needed: ${NEEDLESS[name]}`;
  const elsewhere = Object.hasOwn(ELSEWHERE, name) ? (ELSEWHERE[name] as string).split(" ") : [];
  const near = options
    .map((option) => ({ option, edits: editsBetween(name, plain(option)), known: plain(option) }))
    .filter(
      ({ edits, known }) => edits <= Math.max(1, known.length / 3) || isStart(known, name) || isStart(name, known),
    )
    .sort((one, other) => one.edits - other.edits);
  const same = near.filter(({ edits }) => edits === 0).map(({ option }) => option);
  const found = [
    same,
    elsewhere.filter((option) => options.includes(option)),
    near.slice(0, 1).map(({ option }) => option),
  ].find(({ length }) => length > 0);
  if (!found) return "";
  const unit = found.every((option) => option.endsWith("Ms")) && !/ms$/i.test(unknown) ? ", in milliseconds" : "";
  return `; did you mean ${found.join(" or ")}${unit}?`;
};

const isStart = (start: string, of: string) => start.length > 3 && of.startsWith(start);

/** How many letters have to be added, removed or replaced to make one word of the other (Levenshtein). */
const editsBetween = (one: string, other: string): number => {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (const [j, otherLetter] of [...other].entries()) {
      const replaced = (row[j] as number) + (letter === otherLetter ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    row = next;
  }
  return row[other.length] as number;
};
