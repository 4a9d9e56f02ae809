"""Run commands one after the other, as a file says: from a list of links to pictures that a model draws.

    python -m pipelines.flow flows/your_list.toml --dry_run
    python -m pipelines.flow flows/your_list.toml

The file is TOML. Its sections are named as the jobs, in their order: [ingest], [dedup], [vocab], [train_dvae],
[encode], [audit], [train_prior], [train_contrastive], [train_detector], [generate], [evaluate]; one that runs more
than once has names, [generate.unseen]. Below them stand the flags of the command, without their dashes: numbers and
texts as they are, lists for several words, true or false; `preset = "small"` is the first word of a training,
`arguments = [...]` are words that follow no flag. Paths mean what they mean on the command line, seen from where the
flow is run.

First each command is asked what it would do (its --plan --json), and the plan is printed: what is done, what goes on,
what there is to do, and for about how long, an estimate; what a command cannot tell before another has run is not
guessed. If one of them refuses, nothing is run. Then what is missing is run, each as the ordinary command, up to the
first that fails; its words and its exit code are the flow's. Killed or stopped, the same command goes on where it was.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    begin_guarded("pipelines.flow")

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from dalle.flags import parse_options
from pipelines.chain.sections import read_flow, until
from pipelines.chain.standing import standings, table
from pipelines.chain.turns import run
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.printing import coloured, counted
from schemas.exit_codes import OK


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """All options of the command."""

    file: Annotated[str | None, tyro.conf.Positional] = None
    """The flow, a file in TOML."""
    until: str | None = None
    """The last section that is run, such as encode or generate.unseen; all of them if not given."""
    dry_run: bool = False
    """Only print the plan."""


def flow(options: FlowOptions) -> int:
    """Print the plan and run what is missing; gives the exit code."""
    if options.file is None:
        raise ValueError("a file is missing; name the flow, such as python -m pipelines.flow flows/your_list.toml")
    sections = until(read_flow(options.file), options.until)
    print(f"{options.file}: asking {counted(len(sections), 'command')} what there is to do", flush=True)
    standing = standings(sections)
    for line in table(standing):
        print(line)
    for one in standing:
        if not one.said:
            print(f"{one.section.command}: {one.sentence}", file=sys.stderr)
            return one.code
    left = [one.section for one in standing if not one.is_done]
    if options.dry_run:
        return OK
    for place, section in enumerate(left, 1):
        print(f"{place} of {len(left)}: {section.name}", flush=True)
        if code := run(section):
            return code
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""

    def work() -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        with coloured(words):
            options = parse_options("pipelines.flow", __doc__ or "", FlowOptions, words)
        return flow(options)

    return conclude(CommandWords(name="pipelines.flow"), work)


if __name__ == "__main__":
    sys.exit(main())
