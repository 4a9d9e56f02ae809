"""Judge drawn pictures of the dialect: does each show what its caption says?

    python -m dalle.judge --drawn unseen=drawn_unseen seen=drawn_seen --judge judge
    python -m dalle.judge --drawn unseen=drawn_unseen --judge judge --originals web/evaluation --dvae dvae \\
        --ledger pairs

A judge (`dalle.train_judge`) tells of every sample that `dalle.generate` left which things it shows, in which colours,
where, and on what background. Printed is how many captions were drawn rightly in all of it: with one sample, with the
best by the contrastive model that scored them, with the judge's own choice among them, which nobody can have and which
is the most that choosing could give; beside chance, and beside what the judge says of true drawings of the captions
(--originals) and of their reconstructions by the dVAE, which no prior can draw better than. Intervals are those of
Clopper and Pearson, 95 %. With --ledger it is counted how many captions that were trained on have what is held out
(`dalle.scenes.dialect.held_out`), and the query that says so is printed. In the output folder are then `judged.json`,
`NAME.jsonl` with what is right in each sample, and `NAME.png`, a contact sheet.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.judge")  # before the imports below, which take seconds

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from dalle import flags
from dalle.dvae.image_encoders import DVAEEncoder, load_encoder
from dalle.evaluation.samples import SAMPLES
from dalle.scene_judge.figures import attributes_of, group_table, groups_of, shares_of, tables, to_json
from dalle.scene_judge.ledger import held_out_rows
from dalle.scene_judge.network import load
from dalle.scene_judge.sheet import contact_sheet
from dalle.scene_judge.verdicts import as_json, judged_captions, judged_originals, side_of
from dalle.training.model_file import weights_of
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.printing import coloured, trusted
from schemas.exit_codes import OK
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.options import no_change_of_bytes, options_json
from schemas.output_place import Reads, check_output, made
from schemas.planning import Plan, Planned, SayOptions, check_is_there, planned

JOB, JUDGED = "judge", "judged.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What is judged, by what."""

    drawn: tuple[str, ...] = ()
    """NAME=FOLDER of each set of pictures: what dalle.generate left, with the pictures of all samples."""
    judge: str = "judge"
    """What dalle.train_judge left, a folder or its file."""
    originals: Path | None = no_change_of_bytes(default=None)
    """Folder of true drawings with captions.jsonl (file, captions); names begin with the NAME of their set."""
    dvae: str | None = None
    """DVAE whose reconstructions of --originals are judged, as pipelines.encode takes it."""
    ledger: Path | None = no_change_of_bytes(default=None)
    """Dataset of pairs that the models were trained on: how many of its captions have what is held out is counted."""
    output_folder: Path = no_change_of_bytes(default=Path("judged"))
    """Folder for numbers and contact sheets; made if need be."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        names = [name for name, _ in self.sets]
        for word, (name, folder) in zip(self.drawn, self.sets, strict=True):
            if not name or not folder or "/" in name or name.startswith("."):
                raise ValueError(f"--drawn {word}: expected NAME=FOLDER, with a name that a file can have")
        if len(set(names)) < len(names):
            raise ValueError(f"--drawn: names {max(names, key=names.count)} twice; give each set a name of its own")
        if self.dvae is not None and self.originals is None:
            raise ValueError("--dvae: there are no --originals to reconstruct; give a folder of true drawings")

    @property
    def sets(self) -> list[tuple[str, str]]:
        """Name and folder of each."""
        return [(name, folder) for name, _, folder in (word.partition("=") for word in self.drawn)]


def judge(options: JudgeOptions) -> int:
    """Judge all there is; gives the exit code."""
    if not options.drawn:
        raise ValueError("--drawn is missing; name what dalle.generate left, as NAME=FOLDER")
    reads: Reads = {
        "--drawn": [folder for _, folder in options.sets],
        "--originals": [options.originals],
        "--ledger": [options.ledger],
    }
    check_output(options.output_folder, JOB, reads, on_disk=True)
    network = load(weights_of(options.judge, "train_judge", "--judge"))
    encoder = None if options.dvae is None else load_encoder(options.dvae)
    if encoder is not None and not isinstance(encoder, DVAEEncoder):
        raise ValueError(f"--dvae {options.dvae}: has no method decode, so no picture can be made of its codes")
    if options.say.plan:
        for _, drawn in options.sets:
            check_is_there(str(Path(drawn) / SAMPLES))
        raise Planned(Plan(state="to do", why_no_hours="pictures are judged each time, in a few minutes"))
    rows = None if options.ledger is None else held_out_rows(options.ledger)
    sets = {name: judged_captions(network, Path(folder)) for name, folder in options.sets}
    originals = (
        {} if options.originals is None else judged_originals(network, options.originals, encoder, side_of(sets))
    )
    shares = {name: shares_of(captions, originals.get(name)) for name, captions in sets.items()}
    attributes = {name: attributes_of(captions) for name, captions in sets.items()}
    groups = {name: groups_of(captions) for name, captions in sets.items()}
    folder = Folder(options.output_folder)
    with made(folder), only_run(folder) as held:
        for name, captions in sets.items():
            held.write(f"{name}.jsonl", as_json(captions))
            held.write(f"{name}.png", contact_sheet(captions))
        said = {"format_version": FORMAT_VERSION, "job": JOB, "options": options_json(options)}
        numbers = {"shares": to_json(shares), "attributes": to_json(attributes), "groups": to_json(groups)}
        if rows is not None:
            numbers["ledger"] = {"captions": rows.captions, "held_out": rows.held_out}
        held.write_json(JUDGED, {**said, **numbers})
    print("judge\n")
    console = Console(file=trusted(sys.stdout), highlight=False, markup=False, emoji=False)
    for table in list(tables(list(sets), shares, attributes))[: 1 if options.say.quiet else None]:
        console.print(table)
    if not options.say.quiet:
        console.print(group_table({group: one for some in groups.values() for group, one in some.items()}))
    if rows is not None:
        print(f"  {options.ledger}: of {rows.captions:,} captions {rows.held_out:,} have what is held out, by")
        print(rows.query)
    for name in sets:
        print(f"  look at: {folder}/{name}.png")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    words, saying = list(sys.argv[1:] if argv is None else argv), list[SayOptions]()

    def work() -> int:
        with coloured(words):
            options = flags.parse_options("dalle.judge", __doc__ or "", JudgeOptions, words)
        saying.append(options.say)
        return planned(JOB, options.say, lambda: judge(options))

    return conclude(CommandWords(name="dalle.judge"), work, lambda: any(say.plan for say in saying))


if __name__ == "__main__":
    sys.exit(main())
