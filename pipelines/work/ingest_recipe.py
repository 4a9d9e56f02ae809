"""From the options of `pipelines.ingest` to its list, to what decides the bytes of its dataset, and to the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipelines.lists import open_source
from pipelines.lists.source import Source
from pipelines.running.recipe import Recipe
from pipelines.work.collect import Collect, CollectAgain
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.journey import Journey
from schemas.folder import Folder
from schemas.manifest import fingerprint, versions
from schemas.options import left_out, options_json
from schemas.pairs import ledger_schema

_MAKE_THE_BYTES = ("numpy", "opencv-python-headless", "pillow", "pillow-heif", "py3langid", "pyarrow", "simplejpeg")


def open_list(options: IngestOptions) -> Source:
    """The list, when it is known that its columns fit into a ledger.

    Raises:
        ValueError: if a saved column has a name of the ledger's own, or the list is not what the flags say.
        OSError: if it is not there.
    """
    source = open_source(options.columns_read)
    ledger_schema(pa.schema([(name, pa.null()) for name in options.source.save_additional_columns]))
    return source


def recipe_of_list(options: IngestOptions, source: Source) -> Recipe:
    """What decides the bytes of the dataset of a list."""
    cut = {"number_sample_per_shard": options.rows_per_shard, "oom_shard_count": options.oom_shard_count}
    recipe = recipe_of(options, source.inputs(), {**options_json(options.source), **cut})
    return replace(recipe, left_out=left_out(options.source))


def identity_of(options: IngestOptions, recipe: Recipe) -> str:
    """Of the list, how it is read and how it is cut: units of the same one hold the same rows."""
    return recipe.identity if options.not_saved is None else fingerprint([recipe.identity, options.not_saved])


def recipe_of(options: IngestOptions, inputs: Sequence[Mapping[str, Any]], cut: Mapping[str, Any]) -> Recipe:
    """What decides the bytes of a dataset of these inputs, read and cut in this way."""
    parts = (options.filtering.thresholds(), options.pictures, options.fetching, options.hashes)
    work = {name: value for part in parts for name, value in options_json(part).items()}
    work["compute_hash"] = options.hashes.compute_hash or "sha256"  # which is there in either case
    return Recipe(
        job="ingest",
        table="pairs",
        inputs=inputs,
        cut=cut,
        options={**work, "output_format": options.output_format},
        versions=versions(*_MAKE_THE_BYTES),
    )


def work_of(folder: Folder, options: IngestOptions, source: Source, types: dict[str, str]) -> Collect:
    """What is done to a unit of the list, given the types that its plan found."""
    return Collect(
        folder=folder,
        journey=Journey.of_options(options, source.local_folder),
        output_format=options.output_format,
        types=types,
        not_saved=options.not_saved,
    )


def work_again(folder: Folder, options: IngestOptions) -> CollectAgain:
    """What is done to a shard of which something is fetched again."""
    return CollectAgain(folder=folder, journey=Journey.of_options(options), output_format=options.output_format)
