"""Check a dataset: every file, every row, every sum and hash; each fault in one line.

    python -m pipelines.audit pairs

reads the folder and changes nothing. Exits with 0 if all is as the manifest says and with 1 if there are faults. Of
examples, a seeded sample is also made again from its pairs and compared, and a contact sheet is drawn:

    python -m pipelines.audit examples --input_folder clean

Without a folder it takes the sample's examples, or before there are any, its pairs.
"""

from __future__ import annotations

from schemas.commands.guard import begin_guarded, is_guarded
from schemas.commands.printing import counted

if __name__ == "__main__":
    begin_guarded("pipelines.audit")  # before the imports below, which take seconds

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import tyro

from dalle.shipped import names
from pipelines.auditing.audit_examples import audit_examples
from pipelines.auditing.audit_pairs import audit_pairs
from pipelines.auditing.review_options import ReviewOptions, check_sheet
from pipelines.running.command import Command, run
from schemas import sample
from schemas.commands.processes import die_with_parent, ignore_stops, signals_held
from schemas.exit_codes import FAILED, OK
from schemas.folder import RECIPE, Folder
from schemas.manifest import MANIFEST, Counts, marker_name, read_manifest
from schemas.manifest_shape import TO_MAKE_AGAIN
from schemas.opening import open_dataset
from schemas.planning import Plan, Planned, SayOptions, check_is_there, reads
from schemas.ranges import MOST_PROCESSES, Between, check_ranges


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """All options of the job."""

    folder: Annotated[str | None, tyro.conf.Positional] = None
    """The dataset's folder: a path or an fsspec URL."""
    processes_count: int = 0
    """Worker processes, 1 to 4,096; 0 is one for each core."""
    review: ReviewOptions = field(default_factory=ReviewOptions)
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"processes_count": Between(0, MOST_PROCESSES)})


def audit(options: AuditOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if flags:
        what = "flag" if flags[0].startswith("-") else "argument"
        raise ValueError(f"unknown {what} {flags[0]}; one folder is audited at a time, see --help")
    if options.folder is None:
        options = _of_sample(options)
    reads(options.folder, options.review.input_folder if options.review.input_folder else None)
    folder = Folder(options.folder or "")
    manifest = read_manifest(folder, table=tuple(TO_MAKE_AGAIN), options=TO_MAKE_AGAIN, adds_up=False)
    is_reviewed = manifest["table"] == "examples" and bool(options.review.input_folder)
    if is_reviewed:
        check_sheet(folder, options.review)
    if options.say.plan:
        raise Planned(_plan(manifest, options, is_reviewed))
    faults = [*_audit_folder(folder, manifest), *_audit_shards(folder, manifest, options.processes_count)]
    if is_reviewed and not faults:
        from pipelines.auditing.review_examples import review  # whose libraries take seconds to load

        faults += review(folder, manifest, options.review)
    for fault in faults:
        print(" ".join(fault.split()), flush=True)  # one line, whatever a library had to say
    counts = Counts.of_json(manifest["counts"])
    what = f"{counted(len(manifest['shards']), 'shard')}, {counted(counts.rows, 'row')}, {counts.kept:,} kept"
    print(f"{folder}: {what}, {counted(len(faults), 'fault')}")
    return FAILED if faults else OK


def _plan(manifest: Mapping[str, Any], options: AuditOptions, is_reviewed: bool) -> Plan:
    """All there is to check: it is checked each time, and nothing of it is kept."""
    if is_reviewed:
        open_dataset(Folder(options.review.input_folder or ""), table="pairs")
        for name in (options.review.vocabulary, options.review.dvae):
            if name not in ("openai", *names("dvae")) and ":" not in name:
                check_is_there(name)
    counts = Counts.of_json(manifest["counts"])
    figures = {"rows": counts.rows, "bytes": sum(f["size"] for s in manifest["shards"] for f in s["files"].values())}
    why = "it reads and checks every byte, and how fast the disk gives them is not tried"
    return Plan(state="to do", all=len(manifest["shards"]), figures=figures, why_no_hours=why)


def _of_sample(options: AuditOptions) -> AuditOptions:
    """The sample's dataset that was made last; its examples with what they were made from."""
    last = next((f for f in (sample.EXAMPLES, sample.CLEAN) if sample.is_there(f)), sample.PAIRS)
    options = replace(options, folder=sample.sample_folder(last))
    if last == sample.EXAMPLES and options.review.input_folder is None:
        review = replace(options.review, input_folder=sample.CLEAN)
        if review.vocabulary == "builtin" and sample.is_there(sample.VOCABULARY):
            review = replace(review, vocabulary=sample.VOCABULARY)
        options = replace(options, review=review)
        what = f", and encoding {review.sample} of its examples again from {sample.CLEAN}"
    else:
        what = ""
    if not options.say.quiet:
        print(f"no folder given: checking {last}{what}")
    return options


def _audit_folder(folder: Folder, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the folder as a whole: sums, and files that nobody answers for."""
    total = sum((Counts.of_json(shard["counts"]) for shard in manifest["shards"]), Counts())
    if total.to_json() != manifest["counts"]:
        yield f"{folder.path(MANIFEST)}: its counts are not the sum of its shards'"
    known = {MANIFEST} | {marker_name(shard["name"]) for shard in manifest["shards"]}
    known |= {name for shard in manifest["shards"] for name in shard["files"]}
    for name in folder.unfinished():
        yield f"{folder.path(name)}: left unfinished by a killed run; the next run sweeps it away"
    for name in folder.names():
        if name == RECIPE:
            yield f"{folder.path(name)}: a run was interrupted here; run the same command again"
        elif name not in known and name.rsplit(".", 1)[-1] in ("tar", "parquet", "json"):
            yield f"{folder.path(name)}: is not in the manifest"


def _audit_shards(folder: Folder, manifest: Mapping[str, Any], processes: int) -> Iterator[str]:
    tasks = [(folder, manifest["table"], shard, manifest["options"]) for shard in manifest["shards"]]
    workers = min(processes or len(os.sched_getaffinity(0)), max(len(tasks), 1))
    if workers == 1:
        for task in tasks:
            yield from _faults(task)
        return
    spawn = multiprocessing.get_context("spawn")
    pool, whole = ProcessPoolExecutor(workers, spawn, initializer=_begin_worker, initargs=(is_guarded(),)), False
    try:
        with signals_held():  # for the processes that are started here, until they leave them to the command
            found = pool.map(_faults, tasks)
        for faults in found:
            yield from faults
        whole = True
    finally:
        pool.shutdown(wait=whole, cancel_futures=True)  # it would wait for a lock that a dead process holds


def _begin_worker(ends_with_parent: bool) -> None:
    ignore_stops()
    if ends_with_parent:
        die_with_parent()


def _faults(task: tuple[Folder, str, Mapping[str, Any], Mapping[str, Any]]) -> list[str]:
    folder, table, shard, options = task
    if table == "examples":
        return list(audit_examples(folder, shard, options))
    return list(audit_pairs(folder, shard, int(options["number_sample_per_shard"])))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(Command("pipelines.audit", __doc__, AuditOptions, audit, only_prints=lambda _: True), argv)


if __name__ == "__main__":
    sys.exit(main())
