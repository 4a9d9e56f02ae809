"""Learn a vocabulary from captions: byte-level BPE of at most 16,384 entries on lower-cased text.

    python -m pipelines.vocab --input_folder clean --output_folder vocab

leaves `vocab/vocabulary.json`, which `pipelines.encode --vocabulary vocab` and the Hugging Face `tokenizers` library
read, and `manifest.json`, which says what it was learnt from. Captions are streamed from the shards. With
--lists in place of --input_folder they come from lists of pairs (`coco:captions_val2017.json`), without pictures; the
vocabulary that comes with the package was made so (dalle/weights/vocabulary.md). Without either it learns from the
sample's clean pairs.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    begin_guarded("pipelines.vocab")  # before the imports below, which take seconds

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dalle.text import tokenizer
from pipelines.captions.caption_streams import CaptionSource, DatasetCaptions, ListCaptions
from pipelines.captions.caption_streams import sample as draw
from pipelines.running.command import Command, run
from pipelines.running.dataset import Steps, exit_code, make_dataset, output_folder
from pipelines.running.output import Decision
from pipelines.running.planning import standing
from pipelines.running.recipe import Recipe
from schemas import sample
from schemas.examples import TEXT_VOCABULARY
from schemas.folder import Folder
from schemas.manifest import versions
from schemas.options import no_change_of_bytes, options_json
from schemas.output_place import check_output
from schemas.planning import Plan, Planned, SayOptions, with_hours, writes_to
from schemas.ranges import MOST_SEED, Between, check_ranges

_TRIED = 10_000
"""Captions that a plan learns from: more words are learnt from more captions in less than so many times the time."""
_RANGES = {
    "vocab_size": Between(256, TEXT_VOCABULARY),
    "max_captions": Between(0, MOST_SEED),
    "seed": Between(0, MOST_SEED),
}


@dataclass(frozen=True, kw_only=True)
class VocabOptions:
    """All options of the job."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """A dataset of pairs: a path or an fsspec URL."""
    lists: tuple[str, ...] = no_change_of_bytes(default=())
    """Lists of pairs instead, PRESET:PATH each; the presets are those of pipelines.ingest --dataset."""
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the vocabulary goes; vocab by default."""
    vocab_size: int = TEXT_VOCABULARY
    """Entries at most, 256 to 16,384; the 256 bytes are among them."""
    max_captions: int = 0
    """Learn from a seeded sample of so many captions, 1 or more; 0 is all."""
    seed: int = 0
    """Seed of the sample, 0 to 18,446,744,073,709,551,615."""
    incremental_mode: Literal["incremental", "renew", "overwrite"] = no_change_of_bytes(default="incremental")
    """overwrite: start anew in a folder that holds a vocabulary made from something else; renew: only in such a one."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)


def vocab(options: VocabOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.input_folder is None and options.output_folder is None and not options.lists:
        return _vocab_of_sample(options, flags)
    if (options.input_folder is None) == (not options.lists):
        raise ValueError("expected either --input_folder, a dataset of pairs, or --lists")
    output = options.output_folder or "vocab"
    lists = [name.partition(":")[2] for name in options.lists]
    check_output(output, "vocab", {"--input_folder": [options.input_folder], "--lists": lists})
    captions: CaptionSource = ListCaptions(options.lists)
    if options.input_folder:
        captions = DatasetCaptions(Folder(options.input_folder))
    if not any(captions.portions()):
        source = options.input_folder or ", ".join(options.lists)
        raise ValueError(f"{source}: has no captions to learn from; give pairs that have some")
    recipe = recipe_of(options, captions)
    if options.say.plan:
        raise Planned(_plan(options, captions, recipe, output))
    with output_folder(output) as folder:

        def prepare(output: Folder, _: Decision) -> Steps:
            return Steps(do=lambda: _learn(output, captions, options))

        made = make_dataset(folder, recipe, options.incremental_mode, prepare)
        code = exit_code(folder, made)
    if not made.already:
        entries = f", {tokenizer.load(output).vocab_size:,} entries" if options.say.quiet else ""
        print(f"  vocabulary: {folder.path(tokenizer.FILE)}{entries}")
    return code


def recipe_of(options: VocabOptions, captions: CaptionSource) -> Recipe:
    """What decides the bytes of a vocabulary."""
    return Recipe(
        job="vocab",
        table="vocabulary",
        inputs=captions.inputs(),
        cut={},
        options=options_json(options if options.max_captions else replace(options, seed=0)),  # all are no sample
        versions=versions("tokenizers", "numpy"),
        lineage=captions.lineage(),
        files=(tokenizer.FILE,),
    )


def _vocab_of_sample(options: VocabOptions, flags: list[str]) -> int:
    writes_to(sample.VOCABULARY)
    pairs = sample.sample_folder(sample.CLEAN)
    if not options.say.quiet:
        print(f"no --input_folder given: learning from the captions of {pairs}, into {sample.VOCABULARY}")
    options = replace(options, input_folder=pairs, output_folder=sample.VOCABULARY)
    if options.incremental_mode == "incremental":
        options = replace(options, incremental_mode="renew")
    return vocab(options, flags)


def _plan(options: VocabOptions, captions: CaptionSource, recipe: Recipe, output: str) -> Plan:
    """Whether it is done, and the time for all captions at the rate of the first thousands."""
    plan = replace(standing(output, recipe, options.incremental_mode, lambda _: ()).plan, all=None)
    if plan.state == "done":
        return plan
    begun, total, tried = time.monotonic(), 0, list[str]()
    for portion in captions.portions():
        total += len(portion)
        tried += portion[: max(0, _TRIED - len(tried))]
    reading, begun = time.monotonic() - begun, time.monotonic()
    tokenizer.train(tried, options.vocab_size)
    wanted = min(options.max_captions, total) if options.max_captions else total
    seconds = 2 * reading + (time.monotonic() - begun) * wanted / len(tried)
    return with_hours(replace(plan, figures={"captions": wanted}), seconds, "for a few captions were learnt from here")


def _learn(folder: Folder, captions: CaptionSource, options: VocabOptions) -> dict[str, Any]:
    """Leave the vocabulary in the folder; gives what the manifest says of it."""
    seen = [0, 0]

    def on_progress(taken: int, total: int) -> None:
        seen[:] = taken, total

    begun = time.monotonic()
    drawn = draw(captions.portions, options.max_captions, options.seed, on_progress)
    learnt = tokenizer.train(drawn, options.vocab_size)
    seconds = time.monotonic() - begun
    if not options.say.quiet:
        print(f"vocab\n\n  captions: {seen[0]:,} of {seen[1]:,}, {seconds:,.1f} s")
    short = options.vocab_size - learnt.vocab_size
    why = f", {short:,} fewer than asked for: no more pairs occur twice in these captions" if short else ""
    if not options.say.quiet:
        print(f"  entries: {learnt.vocab_size:,}{why}")
    folder.write(tokenizer.FILE, learnt.content)
    return {"entries": learnt.vocab_size, "vocabulary": learnt.fingerprint}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(Command("pipelines.vocab", __doc__, VocabOptions, vocab), argv)


if __name__ == "__main__":
    sys.exit(main())
