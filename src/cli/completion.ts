/** Completion scripts, made of the commands as they are declared. */
import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"];

const flagsOf = (command: Command): string[] => command.options.flatMap(({ long }) => (long ? [long] : []));
const named = (command: Command) => command.commands.filter((each) => each.name() !== "help");

const bash = (program: Command): string => {
  const cases = named(program).map((each) => {
    const words = [...named(each).map((sub) => sub.name()), ...flagsOf(each), ...named(each).flatMap(flagsOf)];
    return `    ${each.name()}) words="${[...words, ...flagsOf(program)].join(" ")}" ;;`;
  });
  const names = named(program).map((each) => each.name());
  return `_dynamo_lock() {
  local word words="${[...names, ...flagsOf(program)].join(" ")}" current="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [ "$word" = -- ] && { COMPREPLY=($(compgen -c -- "$current")); return; }
    case "$word" in
${cases.join("\n")}
    esac
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _dynamo_lock dynamo-lock`;
};

/** zsh runs what is written for bash. */
const zsh = (program: Command): string => `autoload -U +X bashcompinit && bashcompinit\n${bash(program)}`;

const fish = (program: Command): string => {
  const text = (words: string) => words.replaceAll("'", "\\'");
  const option = (on: string, { long, description }: { long?: string; description: string }) =>
    long ? [`complete -c dynamo-lock ${on}-l ${long.slice(2)} -d '${text(description)}'`] : [];
  return [
    "complete -c dynamo-lock -f",
    ...program.options.flatMap((each) => option("", each)),
    ...named(program).flatMap((each) => {
      const on = `-n '__fish_seen_subcommand_from ${each.name()}' `;
      return [
        `complete -c dynamo-lock -n __fish_use_subcommand -a ${each.name()} -d '${text(each.description())}'`,
        ...named(each).map((sub) => `complete -c dynamo-lock ${on}-a ${sub.name()} -d '${text(sub.description())}'`),
        ...[each, ...named(each)].flatMap((from) => from.options.flatMap((own) => option(on, own))),
      ];
    }),
  ].join("\n");
};

export const completion = (shell: string, program: Command): string =>
  shell === "bash" ? bash(program) : shell === "zsh" ? zsh(program) : fish(program);
