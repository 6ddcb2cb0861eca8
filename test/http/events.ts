/** One request as each service hands it on. */
import { lambdaContext } from "../support/lambda.ts";

export interface Sent {
  readonly method?: string;
  readonly path?: string;
  /** As the caller wrote them; a list: the header is there several times. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly query?: readonly (readonly [string, string])[];
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
  readonly user?: string;
}

const lists = (all: Sent["headers"] = {}): Record<string, string[]> =>
  Object.fromEntries(Object.entries(all).map(([name, values]) => [name, [values].flat() as string[]]));
const lasts = (all: Sent["headers"] = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(lists(all)).map(([name, values]) => [name, values.at(-1) as string]));
const grouped = (query: Sent["query"] = []): Record<string, string[]> => {
  const all: Record<string, string[]> = {};
  for (const [name, value] of query) all[name] = [...(all[name] ?? []), value];
  return all;
};

const restApi = ({ method = "POST", path = "/payments", headers, query, user = "ann", ...rest }: Sent) => ({
  resource: "/{proxy+}",
  httpMethod: method,
  path,
  headers: lasts(headers),
  multiValueHeaders: lists(headers),
  queryStringParameters: lasts(grouped(query)),
  multiValueQueryStringParameters: grouped(query),
  requestContext: { path: `/prod${path}`, httpMethod: method, authorizer: { user } },
  body: null,
  isBase64Encoded: false,
  ...rest,
});

const httpApi = ({ method = "POST", path = "/payments", headers, query = [], user = "ann", ...rest }: Sent) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: `${new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]))}`,
  headers: Object.fromEntries(
    Object.entries(lists(headers)).map(([name, values]) => [name.toLowerCase(), values.join(",")]),
  ),
  requestContext: { http: { method, path }, authorizer: { user } },
  isBase64Encoded: false,
  ...rest,
});

const loadBalancer = ({ method = "POST", path = "/payments", headers, query, user = "ann", ...rest }: Sent) => ({
  requestContext: { elb: {}, authorizer: { user } },
  httpMethod: method,
  path,
  headers: lasts(headers),
  queryStringParameters: lasts(grouped(query)),
  body: "",
  isBase64Encoded: false,
  ...rest,
});

const multiValueLoadBalancer = ({ headers, query, ...sent }: Sent) => {
  const { headers: _headers, queryStringParameters: _query, ...event } = loadBalancer(sent);
  return { ...event, multiValueHeaders: lists(headers), multiValueQueryStringParameters: grouped(query) };
};

/** A function URL's event is an HTTP API's. */
export const services = [
  { service: "a REST API", eventOf: restApi },
  { service: "an HTTP API or a function URL", eventOf: httpApi },
  { service: "a load balancer", eventOf: loadBalancer },
  { service: "a load balancer with multi-value headers", eventOf: multiValueLoadBalancer },
] as const satisfies readonly { service: string; eventOf: (sent: Sent) => unknown }[];

// biome-ignore lint/suspicious/noExplicitAny: the four events have nothing in common but this
export const userOf = (event: any): string => event.requestContext.authorizer.user;

export const context = lambdaContext();
