"""All options of `pipelines.encode`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dalle.dvae.convolution import SIDES
from dalle.dvae.image_encoders import EncoderPrecision
from schemas.options import no_change_of_bytes, unless_default
from schemas.pair_shards import OutputFormat
from schemas.planning import SayOptions
from schemas.ranges import MOST_PROCESSES, MOST_SEED, Between, check_ranges

_RANGES = {
    "resolution": SIDES,
    "crops_per_image": Between(1, 1_000),
    "seed": Between(0, MOST_SEED),
    "batch_size": Between(0, 1 << 16),
    "processes_count": Between(0, MOST_PROCESSES),
}
"""The least and the most; beyond these no machine has the memory."""


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
    """builtin or drawings, which come with the package; or what pipelines.vocab left, a folder or its file."""
    dvae: str = "builtin"
    """builtin, drawings: small ones that come with the package; openai: the released one; what dalle.train_dvae left,
    a folder or its file; a folder with encoder.pkl and decoder.pkl; MODULE:FUNCTION: an encoder of your own."""
    precision: EncoderPrecision | Literal["auto"] = "auto"
    """fp32: as released; bf16: several times sooner where the processor has it, and a few codes differ; auto: bf16
    there and on a GPU, fp32 elsewhere. Which it was stands in the manifest."""
    resolution: int = unless_default(default=256)
    """Side of a crop in pixels, a multiple of 8, 8 to 65,536; the paper's is 256."""
    crops_per_image: int = 1
    """Crops drawn of every picture (Listing 2 of the paper), 1 to 1,000; 1 is the centre crop."""
    seed: int = 0
    """Seed of the crops, 0 to 18,446,744,073,709,551,615."""
    batch_size: int = 0
    """Crops in a batch, always so many, 1 to 65,536; 0 is 4 on a processor and 64 on a GPU."""
    with_encoding: bool = False
    """Add the columns caption and encoding, which dalle-mini's loader reads."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What encodes: auto is a GPU where there is one."""
    incremental_mode: Literal["incremental", "renew", "overwrite"] = no_change_of_bytes(default="incremental")
    """incremental: do what is missing; overwrite: start anew; renew: start anew if its input has changed."""
    processes_count: int = no_change_of_bytes(default=0)
    """Worker processes on this machine, 1 to 4,096; 0 is one for each core, or for each GPU."""
    say: SayOptions = field(default_factory=SayOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, _RANGES)
