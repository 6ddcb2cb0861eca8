import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { resolveEndpoint } from "../../src/lean/endpoint.ts";
import type { LeanClientConfig } from "../../src/lean/options.ts";
import { sdkRequest } from "../support/sdk-requests.ts";

/** The settings that are read, so that the machine's own don't meddle. */
const NAMES = [
  "AWS_REGION",
  "AWS_DEFAULT_REGION",
  "AWS_ENDPOINT_URL",
  "AWS_ENDPOINT_URL_DYNAMODB",
  "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
  "AWS_USE_FIPS_ENDPOINT",
  "AWS_USE_DUALSTACK_ENDPOINT",
  "AWS_SAM_LOCAL",
];
beforeEach(() => {
  for (const name of NAMES) vi.stubEnv(name, undefined);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true"); // the SDK's last resort for a region
  vi.stubEnv("AWS_CONFIG_FILE", "/nowhere");
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const credentials = { accessKeyId: "local", secretAccessKey: "local" };

/** Origin, path and region of signatures; what went wrong in place of that. */
const theSdks = async (config: LeanClientConfig): Promise<string> => {
  const { protocol, hostname, port, path, headers } = await sdkRequest({ ...config, credentials } as never);
  const url = new URL(`${protocol}//${hostname}${port ? `:${port}` : ""}${path}`);
  return `${url.href} ${/Credential=[^/]+\/\d+\/([^/]+)/.exec(headers.authorization ?? "")?.[1]}`;
};
const ours = async (config: LeanClientConfig): Promise<string> => {
  const { url, region } = await resolveEndpoint(config, process.env);
  return `${url.href} ${region}`;
};
const outcome = (resolved: Promise<string>) => resolved.catch(() => "refused");

const REGIONS = [
  ...["us-east-1", "eu-west-1", "ap-southeast-7", "mx-central-1", "cn-north-1", "cn-northwest-1"],
  ...["us-gov-west-1", "us-gov-east-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1"],
  ...["us-isof-south-1", "xx-future-1", "local", "fips-us-east-1", "us-west-2-fips", "not a region", "-a", ""],
];
const STACKS: readonly LeanClientConfig[] = [true, false, undefined].flatMap((useFipsEndpoint) =>
  [true, undefined].map((useDualstackEndpoint) => ({ useFipsEndpoint, useDualstackEndpoint })),
);

describe("Like the AWS SDK's client, the transport", () => {
  it.each(REGIONS)("goes to the host of region %j, with FIPS, with dual stack", async (region) => {
    for (const stack of STACKS) {
      const config = { region, ...stack };
      expect([config, await outcome(ours(config))]).toEqual([config, await outcome(theSdks(config))]);
    }
  });

  const dynamodb = "http://dynamodb:8000";
  const all = "https://all.example/aws/";
  const ignore = { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" };
  it.each<[settings: Record<string, string>, config?: LeanClientConfig]>([
    [{ AWS_REGION: "eu-north-1" }],
    [{ AWS_REGION: "eu-north-1" }, { region: "eu-west-2" }],
    [{ AWS_REGION: "eu-north-1" }, { region: async () => "eu-west-2" }],
    [{}],
    [{ AWS_ENDPOINT_URL: all }, { region: "eu-west-1" }],
    [{ AWS_ENDPOINT_URL: all, AWS_ENDPOINT_URL_DYNAMODB: dynamodb }, { region: "eu-west-1" }],
    [{ AWS_ENDPOINT_URL: all, ...ignore }, { region: "eu-west-1" }],
    [{ AWS_ENDPOINT_URL_DYNAMODB: dynamodb, ...ignore }, { region: "eu-west-1" }],
    [{ AWS_ENDPOINT_URL: all, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "false" }, { region: "eu-west-1" }],
    [{ AWS_ENDPOINT_URL: all }, { region: "eu-west-1", endpoint: "http://[::1]:8000" }],
    [{ AWS_ENDPOINT_URL: all }, { region: "eu-west-1", endpoint: async () => "http://localhost:8000/x" }],
    [{ AWS_USE_FIPS_ENDPOINT: "true" }, { region: "eu-west-1" }],
    [{ AWS_USE_FIPS_ENDPOINT: "true" }, { region: "eu-west-1", useFipsEndpoint: false }],
    [{ AWS_USE_FIPS_ENDPOINT: "true" }, { region: "us-gov-west-1" }],
    [{ AWS_USE_FIPS_ENDPOINT: "true", AWS_ENDPOINT_URL: all }, { region: "eu-west-1" }],
    [{ AWS_USE_FIPS_ENDPOINT: "true", AWS_USE_DUALSTACK_ENDPOINT: "true" }, { region: "us-gov-west-1" }],
    [{ AWS_USE_DUALSTACK_ENDPOINT: "true" }, { region: "cn-north-1" }],
    [{ AWS_USE_DUALSTACK_ENDPOINT: "false" }, { region: "cn-north-1" }],
  ])("follows the environment %j and the configuration %j", async (settings, config = {}) => {
    for (const [name, value] of Object.entries(settings)) vi.stubEnv(name, value);
    expect(await outcome(ours(config))).toBe(await outcome(theSdks(config)));
  });
});

describe("Beyond the SDK, it", () => {
  it("takes AWS_DEFAULT_REGION where there is no AWS_REGION", async () => {
    vi.stubEnv("AWS_DEFAULT_REGION", "sa-east-1");
    expect(await ours({})).toBe("https://dynamodb.sa-east-1.amazonaws.com/ sa-east-1");
    vi.stubEnv("AWS_REGION", "eu-west-1");
    expect(await ours({})).toBe("https://dynamodb.eu-west-1.amazonaws.com/ eu-west-1");
  });

  it("finds DynamoDB Local on the Docker host under sam local, as the main entry point does", async () => {
    vi.stubEnv("AWS_SAM_LOCAL", "true");
    expect(await ours({ region: "eu-west-1" })).toBe("http://host.docker.internal:8000/ eu-west-1");
    vi.stubEnv("AWS_ENDPOINT_URL", "http://mine:8000");
    expect(await ours({ region: "eu-west-1" })).toBe("http://mine:8000/ eu-west-1");
  });

  it("refuses a word that the SDK takes for false: who writes it wants the opposite", async () => {
    vi.stubEnv("AWS_USE_FIPS_ENDPOINT", "yes");
    await expect(ours({ region: "eu-west-1" })).rejects.toThrow(
      `The environment variable AWS_USE_FIPS_ENDPOINT must be 'true' or 'false', got "yes"`,
    );
  });

  it.each([
    [{}, "Region is missing: set AWS_REGION, or region in clientConfig"],
    [{ region: "a.evil.example/" }, `clientConfig: region "a.evil.example/" can't be a part of a host's name`],
    [{ region: "eu-west-1", endpoint: "nowhere" }, `clientConfig: the endpoint "nowhere" is no URL`],
    [{ region: "eu-west-1", endpoint: "localhost:8000" }, `clientConfig: the endpoint "localhost:8000" is no URL`],
    [
      { region: "eu-west-1", endpoint: "http://a", useFipsEndpoint: true },
      "clientConfig: FIPS and the endpoint http://a contradict each other",
    ],
    [
      { region: "local", useDualstackEndpoint: true },
      "clientConfig: dual stack and the endpoint of region 'local' contradict each other",
    ],
  ])("says what is wrong with %j", async (config: LeanClientConfig, message) => {
    await expect(ours(config)).rejects.toThrow(message);
  });
});
