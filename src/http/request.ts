/** What an HTTP event says, whichever service made it. */

/** The parts of a request that its idempotency depends on. */
export interface HttpRequest {
  /** In upper case. */
  readonly method: string;
  /** The concrete path, not the route's pattern. */
  readonly path: string;
  /** All values of the header of that name, in whatever case it was sent. */
  header(name: string): readonly string[];
  /** Names and values, ordered by name; the values of one name are in the order of the request. */
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

type Values = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The events of all services in one. */
interface HttpEvent {
  /** REST APIs and load balancers. */
  readonly httpMethod?: string;
  readonly path?: string;
  readonly multiValueHeaders?: Values | null;
  readonly queryStringParameters?: Values | null;
  readonly multiValueQueryStringParameters?: Values | null;
  /** HTTP APIs and function URLs. */
  readonly requestContext?: { readonly http?: { readonly method?: string; readonly path?: string } };
  readonly rawPath?: string;
  readonly rawQueryString?: string;
  /** All of them. */
  readonly headers?: Values | null;
  readonly body?: string | object | null;
  readonly isBase64Encoded?: boolean;
}

/**
 * Reads a request of API Gateway (payload format 1.0 and 2.0), a function URL, or an Application
 * Load Balancer. `undefined`: the event is none of them.
 *
 * Sources: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html,
 * https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html,
 * https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
 */
export const readRequest = (event: unknown): HttpRequest | undefined => {
  const given = Object(event) as HttpEvent;
  const method = given.requestContext?.http?.method ?? given.httpMethod;
  const path = given.rawPath ?? given.path ?? given.requestContext?.http?.path;
  if (typeof method !== "string" || typeof path !== "string") return undefined;
  return {
    method: method.toUpperCase(),
    path,
    header(name) {
      const several = valuesOf(given.multiValueHeaders, name);
      return several.length > 0 ? several : valuesOf(given.headers, name);
    },
    query: queryOf(given),
    get body() {
      return bodyOf(given);
    },
  };
};

/** A middleware in front may have parsed it: then it is the JSON of what that made. */
const bodyOf = ({ body = "", isBase64Encoded }: HttpEvent): Buffer =>
  typeof body === "string"
    ? Buffer.from(body, isBase64Encoded ? "base64" : "utf8")
    : Buffer.from(body === null ? "" : JSON.stringify(body));

const valuesOf = (headers: Values | null | undefined, name: string): string[] =>
  Object.entries(headers ?? {})
    .filter(([each]) => each.toLowerCase() === name.toLowerCase())
    .flatMap(([, values]) => values ?? []);

const queryOf = ({ rawQueryString, ...event }: HttpEvent): [string, string][] => {
  const all = event.multiValueQueryStringParameters ?? event.queryStringParameters ?? {};
  const pairs =
    rawQueryString === undefined
      ? Object.entries(all).flatMap(([name, values]) =>
          [values ?? []].flat().map((value): [string, string] => [name, value]),
        )
      : [...new URLSearchParams(rawQueryString)];
  return pairs.sort(([one], [other]) => (one < other ? -1 : Number(one > other)));
};
