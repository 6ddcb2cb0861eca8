/**
 * Gives processes the share of a core that a Lambda function of some memory has, where cgroups (version 1) are there and
 * this process may use them: 1,769 MB are one core (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
 */
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const MB_PER_CORE = 1_769;
/** The kernel's own default. */
const PERIOD_US = 100_000;

export const shareOf = (memoryMb: number) => {
  const group = join("/sys/fs/cgroup/cpu", `bench-${process.pid}`);
  const set = (file: string, value: number) => writeFileSync(join(group, file), String(value));
  mkdirSync(group);
  set("cpu.cfs_period_us", PERIOD_US);
  set("cpu.cfs_quota_us", Math.round((PERIOD_US * memoryMb) / MB_PER_CORE));
  return {
    part: memoryMb / MB_PER_CORE,
    /** The process, with its threads, has it from now on. */
    join: (pid: number) => set("cgroup.procs", pid),
    /** When no process has it any more. */
    close: () => rmdirSync(group),
  };
};
