/** What the examples of docs/lean.md have of the user's own. */
declare function makeReport(): Promise<{ lines: number }>;
declare function assumeRole(
  name: string,
): Promise<{ accessKeyId: string; secretAccessKey: string; sessionToken: string; expiration: Date }>;
