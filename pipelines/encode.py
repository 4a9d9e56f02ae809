"""Turn clean pairs into examples: captions become text tokens, pictures become codes, for a training to read.

    python -m pipelines.encode --input_folder clean --output_folder examples

leaves in `examples/`, for every shard of the input, `00000.parquet` (key, uid, captions, text_tokens, image_codes,
crop_boxes; one row for every kept pair) and `00000_stats.json`, with --output_format webdataset also `00000.tar`, and
at last `manifest.json`, which names vocabulary, dVAE, precision and crops. The same command goes on where it was
interrupted. `dalle.reading.batches` reads the folder; `python -m pipelines.audit examples --input_folder clean` encodes
a sample of it again and draws a contact sheet. Without --input_folder and --output_folder it takes the sample's clean
pairs, and the vocabulary learnt from them if there is one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import apache_beam as beam
import torch

from dalle.dvae.image_encoders import EncoderPrecision, ImageEncoder, device_found, load_encoder
from dalle.text import tokenizer
from pipelines.lists.slices import Unit
from pipelines.running import command, output
from pipelines.running.options import no_change_of_bytes
from pipelines.running.output import Recipe
from pipelines.running.progress import progress
from pipelines.running.report import human_bytes, print_report
from pipelines.running.units import DoUnits, undone
from pipelines.stages.encode_images import CROP_POLICY, RESOLUTION
from pipelines.work.encoding import Encode, one_thread
from schemas import sample
from schemas.folder import Folder
from schemas.lock import only_run
from schemas.manifest import Counts, Marker, ancestor, fingerprint, is_deduplicated, read_manifest, versions
from schemas.pair_shards import OutputFormat

_MAKE_THE_BYTES = ("numpy", "opencv-python-headless", "pillow", "pyarrow", "simplejpeg", "tokenizers", "torch")
_AT_ONCE = {"cpu": 4, "cuda": 64}


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """All options of the job."""

    input_folder: str | None = no_change_of_bytes(default=None)
    """A dataset of pairs, best one that dedup left: a path or an fsspec URL."""
    output_folder: str | None = no_change_of_bytes(default=None)
    """Where the examples go: a path or an fsspec URL; examples by default."""
    output_format: OutputFormat = "parquet"
    """parquet: one Parquet file a shard; webdataset: a tar beside it."""
    vocabulary: str = "builtin"
    """What pipelines.vocab left, a folder or its file; or builtin, the one that comes with the package."""
    dvae: str = "builtin"
    """builtin: the small dVAE that comes with the package; openai: the released one; a file that dalle.train_dvae
    left; a folder with encoder.pkl and decoder.pkl; MODULE:FUNCTION: an encoder of your own."""
    precision: EncoderPrecision = "bf16"
    """fp32: as released; bf16: several times sooner on processors that have it, a few codes differ."""
    crops_per_image: int = 1
    """Crops drawn of every picture (Listing 2 of the paper); 1 is the centre crop."""
    seed: int = 0
    """Of the crops."""
    batch_size: int = 0
    """Crops in a batch, always so many; 0 is 4 on a processor and 64 on a GPU."""
    with_encoding: bool = False
    """Add the columns caption and encoding, which dalle-mini's loader reads."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    incremental_mode: Literal["incremental", "overwrite"] = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine; 0 is one for each core, or for each GPU."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        for name, least in (("crops_per_image", 1), ("seed", 0), ("batch_size", 0), ("processes_count", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)}: expected {least} or more")


def encode(options: EncodeOptions, flags: list[str]) -> int:
    """Do the job; gives the exit code."""
    if options.input_folder is None:
        if options.output_folder is None:
            return _encode_sample(options, flags)
        raise ValueError("--input_folder is missing; say which pairs become the examples in --output_folder")
    pairs = Folder(options.input_folder)
    parent = read_manifest(pairs, table="pairs")
    if not is_deduplicated(parent):
        print(f"{pairs}: was never deduplicated; a training will refuse the examples", file=sys.stderr)
    work = _work(pairs, options)
    folder = Folder(options.output_folder or "examples")
    folder.make()
    begun = time.monotonic()
    with only_run(folder):
        folder.sweep()
        recipe = _recipe(parent, work)
        start = output.start(folder, recipe, options.incremental_mode)
        if start.notice:
            print(start.notice, file=sys.stderr)
        if start.finished:
            print(f"{folder}: is finished already, nothing to do", file=sys.stderr)
            output.tidy(folder)
            return command.OK
        output.begin(folder, recipe, start)
        units = recipe.units(*_units(parent))
        _run(folder, undone(folder, units), DoUnits(work, folder), options, flags)
        counts, markers = output.finish(folder, recipe, units)
    _report(folder, counts, markers, time.monotonic() - begun)
    return command.OK


def _encode_sample(options: EncodeOptions, flags: list[str]) -> int:
    pairs, vocabulary = sample.sample_folder(sample.CLEAN), options.vocabulary
    if vocabulary == "builtin" and sample.is_there(sample.VOCABULARY):
        vocabulary = sample.VOCABULARY
    print(
        f"no --input_folder given: encoding {pairs} with the vocabulary {vocabulary} and the dVAE {options.dvae}, into "
        f"{sample.EXAMPLES}"
    )
    mode = "overwrite" if sample.is_stale(sample.EXAMPLES, pairs) else options.incremental_mode
    found = replace(options, input_folder=pairs, output_folder=sample.EXAMPLES, vocabulary=vocabulary)
    return encode(replace(found, incremental_mode=mode), flags)


def _work(pairs: Folder, options: EncodeOptions) -> Encode:
    words = tokenizer.load(tokenizer.BUILTIN if options.vocabulary == "builtin" else options.vocabulary)
    device = device_found() if options.device == "auto" else options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here; use --device cpu")
    encoder = load_encoder(options.dvae, options.precision, device)
    return Encode(
        pairs=pairs,
        tokenizer=words,
        dvae=options.dvae,
        precision=options.precision,
        device=device,
        batch_size=options.batch_size or _AT_ONCE[device],
        crops_per_image=options.crops_per_image,
        seed=options.seed,
        codes=_codes_of(encoder),
        with_encoding=options.with_encoding,
        output_format=options.output_format,
        image_vocab_size=int(getattr(encoder, "vocab_size", 1 << 16)),
        fingerprint=encoder.fingerprint(),
    )


def _codes_of(encoder: ImageEncoder) -> int:
    with one_thread():
        return encoder.encode(torch.zeros(1, 3, RESOLUTION, RESOLUTION, dtype=torch.uint8)).numel()


def _recipe(parent: Mapping[str, Any], work: Encode) -> Recipe:
    return Recipe(
        job="encode",
        table="examples",
        inputs=[{"name": "manifest.json", "sha256": fingerprint(parent)}],
        cut={},
        options={
            "vocabulary": work.tokenizer.fingerprint,
            "vocab_size": work.tokenizer.vocab_size,
            "dvae": work.fingerprint,
            "codes": work.codes,
            "image_vocab_size": work.image_vocab_size,
            "precision": work.precision,
            "device": work.device,
            "batch_size": work.batch_size,
            "crop_policy": CROP_POLICY,
            "crops_per_image": work.crops_per_image,
            "seed": work.seed,
            "with_encoding": work.with_encoding,
            "output_format": work.output_format,
        },
        versions=versions(*_MAKE_THE_BYTES),
        lineage=[*parent["lineage"], ancestor(parent)],
    )


def _units(parent: Mapping[str, Any]) -> tuple[list[Unit], list[str]]:
    """One for each shard of the input, which keeps its number; and what its files are."""
    units = [Unit(shard=s["name"], rows=Counts.of_json(s["counts"]).rows, source=s["name"]) for s in parent["shards"]]
    return units, [fingerprint(shard["files"]) for shard in parent["shards"]]


def _run(folder: Folder, todo: list[Unit], do_units: DoUnits, options: EncodeOptions, flags: list[str]) -> None:
    if not todo:
        return
    cores = torch.cuda.device_count() if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    processes = options.processes_count or cores
    with progress(folder, todo, "encode"), command.pipeline(flags, min(processes, len(todo))) as p:
        (
            p
            | "shards of pairs" >> beam.Create(todo)
            | "spread them" >> beam.Reshuffle()
            | "captions to tokens, crops to codes, store" >> beam.ParDo(do_units)
        )


def _report(folder: Folder, counts: Counts, markers: list[Marker], seconds: float) -> None:
    captions, cut, crops = (sum(m.run.get(name, 0) for m in markers) for name in ("captions", "captions_cut", "crops"))
    stored = sum(file.size for marker in markers for file in marker.files)
    facts = {
        "dataset": folder,
        "captions": f"{captions:,}, {cut:,} of them cut to 256 tokens",
        "crops": f"{crops:,}, {crops / seconds:,.1f} a second, {seconds:,.1f} s in all",
        "bytes": f"{human_bytes(stored)} stored in {len(markers)} shards",
    }
    print_report("encode", counts, facts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return command.main("pipelines.encode", __doc__ or "", EncodeOptions, encode, argv)


if __name__ == "__main__":
    sys.exit(main())
