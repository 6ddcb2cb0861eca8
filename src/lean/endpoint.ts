/**
 * Where DynamoDB answers, by the same settings and rules as the AWS SDK's client finds it
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html,
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html,
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html).
 */
import { LockOptionsError } from "../common/errors.ts";
import type { LeanClientConfig } from "./options.ts";

export interface Endpoint {
  /** Its path ends with a slash. */
  readonly url: URL;
  /** For which region requests are signed. */
  readonly region: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The names of each partition of AWS, by the beginning of its regions' names: of its hosts, and of
 * those that answer over IPv6, too.
 */
const PARTITIONS: readonly (readonly [regions: RegExp, suffix: string, dualStack: string])[] = [
  [/^us-gov-/, "amazonaws.com", "api.aws"],
  [/^cn-/, "amazonaws.com.cn", "api.amazonwebservices.com.cn"],
  [/^eusc-/, "amazonaws.eu", "api.amazonwebservices.eu"],
  [/^us-iso-/, "c2s.ic.gov", "api.aws.ic.gov"],
  [/^us-isob-/, "sc2s.sgov.gov", "api.aws.scloud"],
  [/^eu-isoe-/, "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
  [/^us-isof-/, "csp.hci.ic.gov", "api.aws.hci.ic.gov"],
  [/^/, "amazonaws.com", "api.aws"],
];

/**
 * DynamoDB Local on the Docker host, for a function that `sam local invoke` runs in a container.
 */
const SAM_LOCAL_ENDPOINT = "http://host.docker.internal:8000";

/** @throws LockOptionsError for settings that contradict each other, or that make no URL. */
export const resolveEndpoint = async (config: LeanClientConfig, env: Environment): Promise<Endpoint> => {
  const { region: given, endpoint } = config;
  const named = (typeof given === "function" ? await given() : given) || env.AWS_REGION || env.AWS_DEFAULT_REGION;
  if (!named) throw new Error("Region is missing: set AWS_REGION, or region in clientConfig");
  // Such names come from older SDKs: "fips-us-east-1", "us-east-1-fips".
  const region = named.replace(/^fips-|-fips$/g, "");
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(region)) {
    throw new LockOptionsError(`clientConfig: region ${JSON.stringify(region)} can't be a part of a host's name`);
  }
  const fips = region !== named || (config.useFipsEndpoint ?? isOn(env, "AWS_USE_FIPS_ENDPOINT"));
  const dualStack = config.useDualstackEndpoint ?? isOn(env, "AWS_USE_DUALSTACK_ENDPOINT");
  const custom = (typeof endpoint === "function" ? await endpoint() : endpoint) ?? configured(env);
  if (custom === undefined && region !== "local") return { url: regional(region, fips, dualStack), region };
  if (fips || dualStack) {
    throw new LockOptionsError(
      `clientConfig: ${fips ? "FIPS" : "dual stack"} and the endpoint ${custom ?? "of region 'local'"} contradict each other`,
    );
  }
  if (custom === undefined) return { url: new URL("http://localhost:8000"), region: "us-east-1" };
  const url = URL.canParse(`${custom}`) ? new URL(custom) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new LockOptionsError(`clientConfig: the endpoint ${JSON.stringify(custom)} is no URL of http or https`);
  }
  url.pathname = url.pathname.replace(/\/?$/, "/");
  return { url, region };
};

const configured = (env: Environment): string | undefined => {
  const url = env.AWS_ENDPOINT_URL_DYNAMODB || env.AWS_ENDPOINT_URL;
  if (!url) return env.AWS_SAM_LOCAL ? SAM_LOCAL_ENDPOINT : undefined;
  return isOn(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") ? undefined : url;
};

const regional = (region: string, fips: boolean, dualStack: boolean): URL => {
  const [, suffix, dualStackSuffix] = PARTITIONS.find(([regions]) => regions.test(region)) as (typeof PARTITIONS)[0];
  // All hosts of GovCloud are validated: those of one stack have no other name.
  const isOther = fips && (dualStack || !region.startsWith("us-gov-"));
  return new URL(`https://dynamodb${isOther ? "-fips" : ""}.${region}.${dualStack ? dualStackSuffix : suffix}`);
};

/** The SDK takes these two words, and no others. */
const isOn = (env: Environment, name: string): boolean => {
  const value = env[name];
  if (value === undefined || value === "true" || value === "false") return value === "true";
  throw new LockOptionsError(
    `The environment variable ${name} must be 'true' or 'false', got ${JSON.stringify(value)}`,
  );
};
