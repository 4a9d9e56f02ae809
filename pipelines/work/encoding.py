"""What happens to one shard of pairs on its way to examples: captions to tokens, pictures to codes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dalle.dvae.image_encoders import EncoderPrecision, ImageEncoder, load_encoder
from dalle.pictures.images import decode
from dalle.text.tokenizer import Tokenizer
from dalle.training.one_thread import one_thread
from pipelines.running.do_unit import Done, Note
from pipelines.running.unit import Unit
from pipelines.stages.encode_images import Crops, crops_of, encode_views
from schemas.examples import examples_schema, write_examples
from schemas.folder import Folder, Staging
from schemas.manifest import Counts
from schemas.opening import check_unchanged
from schemas.pair_shards import OutputFormat, read_ledger, read_pictures
from schemas.pairs import SUCCESS


@dataclass(frozen=True, kw_only=True)
class Encode:
    """The work of `pipelines.encode` on a shard of pairs."""

    pairs: Folder
    tokenizer: Tokenizer
    dvae: str
    precision: EncoderPrecision
    device: str
    batch_size: int
    crops_per_image: int
    seed: int
    resolution: int
    """Side of a crop, pixels."""
    codes: int
    """How many codes stand for a crop."""
    image_vocab_size: int
    """Codes are below it."""
    with_encoding: bool
    output_format: OutputFormat
    fingerprint: str = field(default="")
    """Of the encoder that the driver saw; a worker that finds another one stops."""

    def prepare(self) -> None:
        """Load the encoder."""
        with one_thread():
            self._encoder()

    def __call__(self, unit: Unit, staging: Staging, note: Note) -> Done:
        """Make the unit's files ready."""
        ledger = read_ledger(self.pairs, unit.source)
        counts = Counts.of_ledger(ledger)
        kept = [row for row in ledger.to_pylist() if row["status"] == SUCCESS]
        captions = [row["captions"] or ([row["text"]] if row["text"] else []) for row in kept]
        tokens, cut = self.tokenizer.encode_captions([each for some in captions for each in some])
        boxes: list[list[tuple[float, ...]]] = []
        grids = []
        so_far = Counts(counts.statuses.copy())
        with one_thread():
            for grid in encode_views(self._views(unit, kept, boxes), self._encoder(), self.batch_size):
                grids.append(grid)
                so_far.statuses[SUCCESS] = len(grids) // self.crops_per_image
                note(so_far)
        columns = {
            "key": pa.array([row["key"] for row in kept], pa.string()),
            "uid": pa.array([row["uid"] for row in kept], pa.string()),
            "captions": pa.array(captions, pa.list_(pa.string())),
            "text_tokens": _nested(tokens, [len(each) for each in captions]),
            "image_codes": self._grids(grids),
            "crop_boxes": pa.array(boxes, pa.list_(pa.list_(pa.float32(), 4))),
        }
        self._write(staging, unit.shard, columns, grids)
        check_unchanged(self.pairs, unit.source, unit.reads)
        return Done(counts, {"captions": len(tokens), "captions_cut": cut, "crops": len(grids)})

    def _write(self, staging: Staging, shard: str, columns: dict[str, pa.Array], grids: list[np.ndarray]) -> None:
        if self.with_encoding:
            first = [texts[0] if texts else "" for texts in columns["captions"].to_pylist()]
            columns |= {
                "caption": pa.array(first, pa.string()),
                "encoding": pa.array(grids[:: self.crops_per_image], pa.list_(pa.int32())),
            }
        schema = examples_schema(self.codes, with_encoding=self.with_encoding)
        write_examples(staging, shard, pa.table(columns, schema=schema), self.output_format)

    def _encoder(self) -> ImageEncoder:
        return _loaded(self.dvae, self.precision, self.device, self.fingerprint)

    def _views(self, unit: Unit, kept: list[dict], boxes: list) -> Iterator[np.ndarray]:
        where = self.pairs.path(unit.source)
        pictures = read_pictures(self.pairs, unit.source)
        for row, (key, _, data) in zip(kept, pictures, strict=True):
            if key != row["key"] or hashlib.sha256(data).hexdigest() != row["stored_sha256"]:
                raise ValueError(
                    f"{where}, sample {key}: is not the picture that the ledger has for {row['key']}; "
                    "run python -m pipelines.audit on the input folder"
                )
            crops: Crops = crops_of(decode(data), key, self.crops_per_image, self.seed, self.resolution)
            boxes.append(crops.boxes)
            yield from crops.views

    def _grids(self, grids: list[np.ndarray]) -> pa.Array:
        flat = np.concatenate(grids) if grids else np.zeros(0, np.uint16)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(flat), self.codes)
        starts = np.arange(0, len(grids) + 1, self.crops_per_image, dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(starts), lists)


@functools.lru_cache(maxsize=1)
def _loaded(name: str, precision: EncoderPrecision, device: str, fingerprint: str) -> ImageEncoder:
    """Kept from unit to unit of a worker, as long as it is the one that the driver saw."""
    encoder = load_encoder(name, precision, device)
    if encoder.fingerprint() != fingerprint:
        raise ValueError(f"--dvae {name}: is another one here than where the job was started")
    return encoder


def _nested(tokens: list[list[int]], counts: list[int]) -> pa.Array:
    inner = pa.array(tokens, pa.list_(pa.uint16()))
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *counts]), pa.int32()), inner)
