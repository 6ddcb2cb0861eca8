/** Random requests: what is in range of each other often enough that conditions hold, fail and are wrong. */
import fc from "fast-check";

export interface Request {
  readonly operation: string;
  readonly input: object;
}

/** An expression with the names and values that it mentions. */
interface Built {
  readonly text: string;
  readonly names: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, object>>;
}

const plain = (text: string): Built => ({ text, names: {}, values: {} });
const joined = (parts: readonly (Built | string)[]): Built => {
  const built = parts.map((part) => (typeof part === "string" ? plain(part) : part));
  return {
    text: built.map(({ text }) => text).join(""),
    names: Object.assign({}, ...built.map(({ names }) => names)),
    values: Object.assign({}, ...built.map(({ values }) => values)),
  };
};

const number = fc
  .constantFrom("0", "1", "2", "2.0", "-1", "0.5", "10", "1e2", "12345678901234567890.5")
  .map((N) => ({ N }));
const text = fc.constantFrom("a", "b", "ab", "", "é").map((S) => ({ S }));
const scalar = fc.oneof(
  { weight: 3, arbitrary: number },
  { weight: 3, arbitrary: text },
  fc.constantFrom({ BOOL: true }, { BOOL: false }, { NULL: true }, { B: "AAE=" }, { B: "AA==" }),
);
const set = fc.oneof(
  fc.subarray(["a", "b", "c"], { minLength: 1 }).map((SS) => ({ SS })),
  fc.subarray(["1", "2", "0.5"], { minLength: 1 }).map((NS) => ({ NS })),
);
const list = fc.array(scalar, { maxLength: 3 }).map((L) => ({ L }));
const map = fc.dictionary(fc.constantFrom("x", "y"), fc.oneof(scalar, list), { maxKeys: 2 }).map((M) => ({ M }));
const value = fc.oneof({ weight: 5, arbitrary: scalar }, set, list, map);

const item = fc.record(
  {
    a: value,
    n: fc.oneof(number, value),
    m: fc.oneof(map, value),
    l: fc.oneof(list, value),
    s: fc.oneof(set, value),
    status: scalar,
  },
  { requiredKeys: [] },
);

const path: fc.Arbitrary<Built> = fc
  .constantFrom("a", "n", "m", "l", "s", "m.x", "m.y[0]", "l[0]", "l[2]", "#st", "#m.x")
  .map((written) => ({
    text: written,
    names: { ...(written === "#st" && { "#st": "status" }), ...(written.startsWith("#m") && { "#m": "m" }) },
    values: {},
  }));
let last = 0;
const given = (of: fc.Arbitrary<object>): fc.Arbitrary<Built> =>
  of.map((value) => {
    const name = `:v${last++ % 1_000}`;
    return { text: name, names: {}, values: { [name]: value } };
  });
const operand = fc.oneof(
  { weight: 3, arbitrary: path },
  { weight: 3, arbitrary: given(value) },
  path.map((measured) => joined(["size(", measured, ")"])),
);

const test: fc.Arbitrary<Built> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(operand, fc.constantFrom("=", "<>", "<", "<=", ">", ">="), operand)
      .map(([a, op, b]) => joined([a, ` ${op} `, b])),
  },
  fc.tuple(operand, given(scalar), given(scalar)).map(([a, low, high]) => joined([a, " BETWEEN ", low, " AND ", high])),
  fc.tuple(operand, operand, operand).map(([a, b, c]) => joined([a, " IN (", b, ", ", c, ")"])),
  fc
    .tuple(fc.constantFrom("attribute_exists", "attribute_not_exists"), path)
    .map(([name, a]) => joined([name, "(", a, ")"])),
  fc
    .tuple(fc.constantFrom("contains", "begins_with"), path, operand)
    .map(([name, a, b]) => joined([name, "(", a, ", ", b, ")"])),
  fc
    .tuple(path, given(fc.constantFrom("S", "N", "L", "M", "SS", "X").map((S) => ({ S }))))
    .map(([a, b]) => joined(["attribute_type(", a, ", ", b, ")"])),
);
const condition: fc.Arbitrary<Built> = fc.letrec<{ any: Built }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    { weight: 3, arbitrary: test },
    fc.tuple(tie("any"), fc.constantFrom(" AND ", " OR "), tie("any")).map(joined),
    tie("any").map((inner) => joined(["NOT ", inner])),
    fc.tuple(tie("any"), fc.constantFrom(" AND ", " OR "), test).map(([a, op, b]) => joined(["(", a, ")", op, b])),
  ),
})).any;

const term = fc.oneof(
  { weight: 3, arbitrary: path },
  { weight: 4, arbitrary: given(value) },
  fc.tuple(path, given(value)).map(([a, b]) => joined(["if_not_exists(", a, ", ", b, ")"])),
  fc
    .tuple(fc.oneof(path, given(list)), fc.oneof(path, given(list)))
    .map(([a, b]) => joined(["list_append(", a, ", ", b, ")"])),
);
const assignment = fc
  .tuple(path, term, fc.option(fc.tuple(fc.constantFrom(" + ", " - "), fc.oneof(path, given(number))), { freq: 3 }))
  .map(([target, a, more]) => joined([target, " = ", a, ...(more ?? [])]));
const clause = (keyword: string, of: fc.Arbitrary<Built>) =>
  fc
    .array(of, { minLength: 1, maxLength: 2 })
    .map((parts) => joined([`${keyword} `, ...parts.flatMap((part, i) => (i ? [", ", part] : [part]))]));
const update = fc
  .tuple(
    fc.option(clause("SET", assignment), { freq: 4 }),
    fc.option(clause("REMOVE", path), { freq: 2 }),
    fc.option(
      clause(
        "ADD",
        fc.tuple(path, given(fc.oneof(number, set, value))).map(([a, b]) => joined([a, " ", b])),
      ),
      { freq: 1 },
    ),
    fc.option(
      clause(
        "DELETE",
        fc.tuple(path, given(fc.oneof(set, value))).map(([a, b]) => joined([a, " ", b])),
      ),
      { freq: 1 },
    ),
  )
  .filter((clauses) => clauses.some((each) => each !== null))
  .map((clauses) => joined(clauses.flatMap((each) => (each ? [each, " "] : []))));

const expressions = (parts: Readonly<Record<string, Built | null>>): object => {
  const given = Object.entries(parts).filter((part): part is [string, Built] => part[1] !== null);
  const { names, values } = joined(given.map(([, built]) => built));
  return {
    ...Object.fromEntries(given.map(([name, { text }]) => [name, text])),
    ...(Object.keys(names).length > 0 && { ExpressionAttributeNames: names }),
    ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: values }),
  };
};

/** A transaction has each item once. */
const keyOf = (part: object): string => {
  const { Key, Item } = Object.values(part)[0] as { Key?: { id: { S: string } }; Item?: { id: { S: string } } };
  return (Key ?? Item)?.id.S ?? "";
};

/** Requests to a table, about a few keys that begin with a prefix. */
export const requests = (TableName: string, prefix: string): fc.Arbitrary<Request> => {
  const key = fc.constantFrom("1", "2", "3").map((end) => ({ id: { S: `${prefix}-${end}` } }));
  const maybe = fc.option(condition, { freq: 3 });
  const shows = fc.constantFrom({}, { ReturnValuesOnConditionCheckFailure: "ALL_OLD" });
  const put = fc.tuple(key, item, maybe, shows).map(([Key, own, when, more]) => ({
    TableName,
    Item: { ...own, ...Key },
    ...expressions({ ConditionExpression: when }),
    ...more,
  }));
  const updateOf = fc.tuple(key, update, maybe, shows).map(([Key, changes, when, more]) => ({
    TableName,
    Key,
    ...expressions({ UpdateExpression: changes, ConditionExpression: when }),
    ...more,
  }));
  const remove = fc
    .tuple(key, maybe, shows)
    .map(([Key, when, more]) => ({ TableName, Key, ...expressions({ ConditionExpression: when }), ...more }));
  const check = fc
    .tuple(key, condition, shows)
    .map(([Key, when, more]) => ({ TableName, Key, ...expressions({ ConditionExpression: when }), ...more }));
  const part = fc.oneof(
    put.map((Put) => ({ Put })),
    updateOf.map((Update) => ({ Update })),
    remove.map((Delete) => ({ Delete })),
    check.map((ConditionCheck) => ({ ConditionCheck })),
  );
  const named = (operation: string) => (input: object) => ({ operation, input });
  const returned = (inputs: fc.Arbitrary<object>, ...kinds: string[]) =>
    fc.tuple(inputs, fc.constantFrom(...kinds)).map(([input, ReturnValues]) => ({ ...input, ReturnValues }));
  const statement = fc.tuple(key, scalar, scalar, fc.boolean()).map(([Key, set, old, isNew]) =>
    isNew
      ? { id: Key.id.S, Statement: `INSERT INTO "${TableName}" VALUE {'id': ?, 'a': ?}`, Parameters: [Key.id, set] }
      : {
          id: Key.id.S,
          Statement: `UPDATE "${TableName}" SET "a"=?, "t"=1 WHERE "id"=? AND "n"=?`,
          Parameters: [set, Key.id, old],
        },
  );
  const projected = fc.tuple(key, fc.array(path, { minLength: 1, maxLength: 3 })).map(([Key, paths]) => ({
    TableName,
    Key,
    ...expressions({ ProjectionExpression: joined(paths.flatMap((each, i) => (i ? [", ", each] : [each]))) }),
  }));
  const query = fc.tuple(key, condition).map(([{ id }, when]) => {
    const { ExpressionAttributeValues, ...own } = expressions({ FilterExpression: when }) as {
      ExpressionAttributeValues?: object;
    };
    const values = { ...ExpressionAttributeValues, ":id": id };
    return { TableName, KeyConditionExpression: "id = :id", ExpressionAttributeValues: values, ...own };
  });
  const batch = fc
    .uniqueArray(
      fc.tuple(key, item, fc.boolean()).map(([Key, own, isPut]) => ({
        id: Key.id.S,
        write: isPut ? { PutRequest: { Item: { ...own, ...Key } } } : { DeleteRequest: { Key } },
      })),
      { minLength: 1, maxLength: 3, selector: ({ id }) => id },
    )
    .map((writes) => writes.map(({ write }) => write));
  return fc.oneof(
    { weight: 3, arbitrary: returned(put, "NONE", "ALL_OLD").map(named("PutItem")) },
    {
      weight: 6,
      arbitrary: returned(updateOf, "NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW").map(
        named("UpdateItem"),
      ),
    },
    { weight: 1, arbitrary: returned(remove, "NONE", "ALL_OLD").map(named("DeleteItem")) },
    { weight: 2, arbitrary: key.map((Key) => ({ TableName, Key, ConsistentRead: true })).map(named("GetItem")) },
    { weight: 1, arbitrary: projected.map(named("GetItem")) },
    {
      weight: 1,
      arbitrary: batch.map((writes) => ({ RequestItems: { [TableName]: writes } })).map(named("BatchWriteItem")),
    },
    { weight: 1, arbitrary: query.map(named("Query")) },
    {
      weight: 2,
      arbitrary: fc
        .uniqueArray(part, { minLength: 1, maxLength: 3, selector: keyOf })
        .map((TransactItems) => ({ TransactItems }))
        .map(named("TransactWriteItems")),
    },
    {
      weight: 1,
      arbitrary: fc
        .subarray(["1", "2", "3"], { minLength: 1 })
        .map((ends) => ({
          RequestItems: {
            [TableName]: { Keys: ends.map((end) => ({ id: { S: `${prefix}-${end}` } })), ConsistentRead: true },
          },
        }))
        .map(named("BatchGetItem")),
    },
    {
      weight: 1,
      arbitrary: condition
        .map((when) => ({
          TableName,
          ...expressions({ FilterExpression: joined(["begins_with(id, :prefix) AND (", when, ")"]) }),
        }))
        .map((input) => ({
          ...input,
          ExpressionAttributeValues: {
            ...(input as { ExpressionAttributeValues?: object }).ExpressionAttributeValues,
            ":prefix": { S: prefix },
          },
        }))
        .map(named("Scan")),
    },
    {
      weight: 1,
      arbitrary: fc
        .uniqueArray(statement, { minLength: 1, maxLength: 2, selector: ({ id }) => id })
        .map((statements) => ({ Statements: statements.map(({ id: _, ...own }) => own) }))
        .map(named("BatchExecuteStatement")),
    },
  );
};
