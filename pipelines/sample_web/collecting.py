"""`python -m pipelines.ingest` without a list: the sample web is drawn, served while it is collected, and tallied."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from pipelines import sample_web
from pipelines.lists import ListOptions
from pipelines.work.ingest_options import IngestOptions
from schemas.folder import Folder
from schemas.planning import Plan, Planned, also_writes_to, writes_to
from schemas.sample import DIALECT_PAIRS, DIALECT_WEB, PAIRS, SAMPLE

_ROWS_PER_SHARD = 100


@contextlib.contextmanager
def served_list(options: IngestOptions) -> Iterator[IngestOptions]:
    """The options with the sample's list in place of the one that is missing; its links work while the block runs.

    Raises:
        ValueError: if there are flags about a list.
    """
    if options.source != ListOptions():
        raise ValueError("--url_list is missing; say which list the other flags are about")
    if options.sample.sample_web == "dialect":
        with _served_dialect(options) as served:
            yield served
        return
    output_folder = options.output_folder or PAIRS
    todo, into = ("probing", "") if options.say.plan else ("collecting", f", into {output_folder}")
    if not options.say.quiet:
        print(f"no --url_list given: {todo} the sample web, drawn and served by this command{into}")
    if options.say.json and not sample_web.is_drawn(SAMPLE):
        writes_to(output_folder)
        raise Planned(Plan(state="to do", why_no_hours="the sample web is drawn first"))
    with _web_folder(options) as folder, sample_web.serve(web := sample_web.build(folder)) as hosts:
        yield replace(
            options,
            source=ListOptions(url_list=(str(web.links),)),
            output_folder=output_folder,
            number_sample_per_shard=options.number_sample_per_shard or _ROWS_PER_SHARD,
            fetching=replace(options.fetching, connect_to=(*options.fetching.connect_to, *hosts)),
        )
    if not options.say.plan:
        sample_web.print_tally(web, Folder(output_folder), quiet=options.say.quiet)


@contextlib.contextmanager
def _served_dialect(options: IngestOptions) -> Iterator[IngestOptions]:
    """The same of the larger web, which has no troubles to tally."""
    folder = options.sample.sample_folder or DIALECT_WEB
    output_folder = options.output_folder or DIALECT_PAIRS
    rows = options.sample.sample_rows
    if not options.say.quiet:
        print(
            f"no --url_list given: {rows:,} scenes of the dialect are drawn, into {folder}, and served by this command"
        )
    if options.say.plan and not sample_web.is_dialect_drawn(folder, rows):
        writes_to(output_folder)
        also_writes_to(folder)
        raise Planned(Plan(state="to do", why_no_hours="its pictures are drawn first"))
    with sample_web.serve(web := sample_web.build_dialect(folder, rows)) as hosts:
        yield replace(
            options,
            source=ListOptions(url_list=(str(web.links),)),
            output_folder=output_folder,
            fetching=replace(options.fetching, connect_to=(*options.fetching.connect_to, *hosts)),
        )


@contextlib.contextmanager
def _web_folder(options: IngestOptions) -> Iterator[str]:
    """Where the sample web is drawn: a plan leaves nothing behind."""
    if options.say.plan and not sample_web.is_drawn(SAMPLE):
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    else:
        yield SAMPLE
