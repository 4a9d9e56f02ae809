"""Let people judge two models, as the paper does (Ramesh et al. 2021, §3.1): pages for workers, their votes counted.

    python -m dalle.study ask --models dalle=drawn df-gan=other --captions 1000 --seed 830116594 --output_folder study
    python -m dalle.study count --study study --answers answers

`ask` draws captions that both models have pictures of and writes `pages/`, offline pages of 50 captions each: two
pictures side by side, which is more realistic, and which matches the caption better, or neither. Each worker is given a
page, and five workers the same one; a page saves a file of answers, which comes back to you. Which picture is whose is
in `key.json`, which nobody is given; some pairs check the worker, for their answer is known. Give a long --seed of your
own: who guesses it knows the key.

`count` leaves out workers who fail checks or answer in no time, takes five votes of each caption and its majority,
prints how often each model wins, and leaves it as `tally.json` beside the key.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.study")  # before the imports below, which take seconds

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dalle.evaluation.study import KEY, StudyOptions, tally, write_study
from dalle.evaluation.study.answers import read_key
from dalle.evaluation.study.asked import pages
from dalle.evaluation.study.asking import AskOptions, is_written, study_of
from dalle.evaluation.study.counting import TALLY, CountOptions, answer_files, notes, tally_json, tally_table
from dalle.evaluation.study.page import PAGES
from dalle.flags import parse
from schemas.commands.ending import CommandFailed, CommandWords, conclude
from schemas.commands.printing import coloured, counted, trusted
from schemas.exit_codes import OK
from schemas.folder import RECIPE, Folder
from schemas.lock import only_run
from schemas.output_place import check_output, made

SUBCOMMANDS: dict[str, tuple[str, AskOptions | CountOptions]] = {
    "ask": ("write the pages of a study", AskOptions()),
    "count": ("count what workers sent back", CountOptions()),
}


def ask(options: AskOptions) -> int:
    """Write a study; gives the exit code."""
    models = [word.partition("=")[2] for word in options.models]
    check_output(options.output_folder, "study", {"--models": models})
    study, folder = study_of(options), Folder(options.output_folder)
    pages(study, options.pages)  # refuses what cannot be asked before anything is written
    with made(folder), only_run(folder) as held:
        if is_written(held, study, options):
            print(f"study\n\n  {folder}: is finished already, nothing to do")
            return OK
        held.remove_tree(PAGES)
        try:
            names = write_study(held, study, options.pages)
        except ValueError as error:
            raise CommandFailed(str(error)) from None
        held.remove(RECIPE)
    print(f"study\n\n  captions: {len(study.captions):,} on {counted(len(names), 'page')}")
    print(f"  hand out: {folder}/{PAGES}, a page to each of five workers or more\n  keep: {folder}/{KEY}")
    if options.pages.seed == StudyOptions().seed:
        print(
            f"  note: --seed {options.pages.seed} is easily guessed, and with it the key; give a long one of your own"
        )
    return OK


def count(options: CountOptions) -> int:
    """Count a study; gives the exit code."""
    folder = Folder(options.study)
    key = Path(folder.path(KEY))
    if not key.is_file():
        raise ValueError(f"--study {options.study}: has no {KEY}; give the folder that dalle.study ask left")
    found = tally(key, answer_files(options.answers), options.counting)
    with only_run(folder) as held:
        held.write_json(TALLY, tally_json(found, read_key(key).study, options))
    print("study\n")
    Console(file=trusted(sys.stdout), highlight=False, markup=False, emoji=False).print(tally_table(found))
    print()
    for note in notes(found):
        print(f"  {note}")
    print(f"  numbers: {folder}/{TALLY}")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    words = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        with coloured(words):
            options = parse("dalle.study", __doc__ or "", SUBCOMMANDS, words)
        return ask(options) if isinstance(options, AskOptions) else count(options)

    return conclude(CommandWords(name="dalle.study"), work)


if __name__ == "__main__":
    sys.exit(main())
