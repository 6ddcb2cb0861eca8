import { expect, it } from "vitest";
import { createSigner, toAmzDate, type Unsigned } from "../../src/lean/sign.ts";
import { sdkRequest } from "../support/sdk-requests.ts";

/** Of AWS's test suite for Signature Version 4 (https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4). */
const SUITE = {
  scope: { region: "us-east-1", service: "service" },
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" },
  at: Date.parse("2015-08-30T12:36:00Z"),
} as const;
const HOST = ["host", "example.amazonaws.com"] as const;
const DATE = ["x-amz-date", "20150830T123600Z"] as const;
const FORM = ["content-type", "application/x-www-form-urlencoded"] as const;

const vectors: Record<string, [request: Partial<Unsigned>, signature: string]> = {
  "get-vanilla": [{ method: "GET" }, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"],
  "post-vanilla": [{}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"],
  "post-x-www-form-urlencoded": [
    { headers: [FORM, HOST, DATE], body: "Param1=value1" },
    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
  ],
  "post-header-key-sort": [
    { headers: [HOST, ["my-header1", "value1"], DATE] },
    "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
  ],
};

it.each(Object.entries(vectors))("AWS's own vector %s", (_name, [given, signature]) => {
  const request = { method: "POST", path: "/", headers: [HOST, DATE], body: "", ...given };
  const names = request.headers.map(([name]) => name).join(";");
  expect(createSigner(SUITE.scope)(request, SUITE.credentials, toAmzDate(SUITE.at))).toBe(
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, " +
      `SignedHeaders=${names}, Signature=${signature}`,
  );
});

it.each(["http://localhost:8000", "http://proxy:1234/dynamo db/v1.0~/a=b", "https://dynamodb.eu-west-1.amazonaws.com"])(
  "signs what goes to %s as the AWS SDK does",
  async (endpoint) => {
    const credentials = { accessKeyId: "AKID", secretAccessKey: "secret", sessionToken: "to/ken==" };
    const { path, headers, body } = await sdkRequest({ region: "eu-west-1", endpoint, credentials });
    const { authorization = "", "x-amz-date": date = "" } = headers;
    const names = /SignedHeaders=([^,]*)/.exec(authorization)?.[1]?.split(";") ?? [];
    const signed = names.map((name) => [name, headers[name] as string] as const);
    const sign = createSigner({ region: "eu-west-1", service: "dynamodb" });
    expect(sign({ method: "POST", path, headers: signed, body }, credentials, date)).toBe(authorization);
  },
);

it("uses another key for each day, region and secret", () => {
  const request = { method: "POST", path: "/", headers: [HOST, DATE], body: "" };
  const { scope, credentials } = SUITE;
  const sign = createSigner(scope);
  const first = sign(request, credentials, "20150830T123600Z");
  const others = [
    sign(request, credentials, "20150831T123600Z"),
    sign(request, { ...credentials, secretAccessKey: "other" }, "20150830T123600Z"),
    createSigner({ ...scope, region: "eu-west-1" })(request, credentials, "20150830T123600Z"),
  ];
  expect(new Set([first, ...others].map((header) => header.slice(-64))).size).toBe(4);
  expect(sign(request, credentials, "20150830T123600Z")).toBe(first);
});
