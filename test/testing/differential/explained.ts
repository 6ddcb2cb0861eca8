/** Where an engine answers otherwise than AWS documents, and the engine in memory follows AWS. */
import type { EngineName } from "../../../scripts/engine.ts";
import { type Answer, isSame } from "./compare.ts";
import type { Request } from "./requests.ts";

interface Difference {
  readonly request: Request;
  readonly ours: Answer;
  readonly theirs: Answer;
}

export interface Explanation {
  readonly engine: EngineName;
  readonly what: string;
  readonly address: string;
  readonly fits: (difference: Difference) => boolean;
}

const GUIDE = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide";
const API = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference";

const trimmed = ({ content, ...rest }: Answer): Answer => {
  const text = JSON.stringify(content)
    .replaceAll('"N":"1e2"', '"N":"100"')
    .replaceAll(/"N":"(-?\d+(?:\.\d*[1-9])?)\.?0*"/g, (number, digits: string) =>
      number.includes(".") ? `"N":"${digits}"` : number,
    );
  return { ...rest, content: JSON.parse(text) as unknown };
};
const shows = (answer: Answer, text: string): boolean => JSON.stringify(answer.content).includes(text);

/** Every engine has a way of its own, and AWS says no more than "only the updated attributes". */
const showsMoreOfAnUpdate = ({ request, ours, theirs }: Difference): boolean => {
  const { ReturnValues = "", UpdateExpression = "" } = request.input as Record<string, string>;
  return ReturnValues.startsWith("UPDATED") && /[.[]/.test(UpdateExpression) && !ours.error && !theirs.error;
};

export const EXPLANATIONS: readonly Explanation[] = [
  ...(["dynamodb-local", "dynoxide"] as const).map((engine) => ({
    engine,
    what: "shows other parts of an attribute that an update has changed within",
    address: `${API}/API_UpdateItem.html`,
    fits: showsMoreOfAnUpdate,
  })),
  {
    engine: "dynamodb-local",
    what: "leaves zeros at the end of numbers within lists and maps, and of sums",
    address: `${GUIDE}/HowItWorks.NamingRulesDataTypes.html`,
    fits: ({ ours, theirs }) => isSame(trimmed(ours), trimmed(theirs)),
  },
  {
    engine: "dynamodb-local",
    what: "answers an update that can't be applied, in a transaction, with ValidationException and no reasons",
    address: `${API}/API_TransactWriteItems.html`,
    fits: ({ ours, theirs }) =>
      ours.error === "TransactionCanceledException" &&
      shows(ours, "ValidationError") &&
      theirs.error === "ValidationException",
  },
  {
    engine: "dynoxide",
    what: "finds what is wrong with an expression only where it evaluates it, or not at all",
    address: `${GUIDE}/Expressions.OperatorsAndFunctions.html`,
    fits: ({ ours }) => ours.error === "ValidationException" && /^Invalid \w+Expression/.test(ours.message ?? ""),
  },
  {
    engine: "dynoxide",
    what: "lets an update remove a part of what is no list or map",
    address: `${GUIDE}/Expressions.UpdateExpressions.html`,
    fits: ({ request, ours }) =>
      JSON.stringify(request.input).includes("REMOVE") &&
      (/The document path .+ is invalid for update/.test(ours.message ?? "") || shows(ours, "ValidationError")),
  },
  {
    engine: "dynoxide",
    what: "shows the key as the old item where there was none",
    address: `${API}/API_UpdateItem.html`,
    fits: ({ request, ours, theirs }) =>
      request.operation === "UpdateItem" && !shows(ours, "Attributes") && shows(theirs, "Attributes") && !theirs.error,
  },
  {
    engine: "dynoxide",
    what: "fills a list with NULL where an element is set beyond its end",
    address: `${GUIDE}/Expressions.UpdateExpressions.html`,
    fits: ({ ours, theirs }) => shows(theirs, '{"NULL":true}') && !shows(ours, '{"NULL":true},{"NULL":true}'),
  },
];
