"""All options of `dalle.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dalle.evaluation.captions import ALL, is_count
from dalle.evaluation.resizing import ResizeName
from dalle.prior.choosing import ChoosingOptions
from dalle.prior.sampling import PrecisionOrAuto
from schemas.options import no_change_of_bytes
from schemas.planning import SayOptions
from schemas.ranges import MOST_EXAMPLES, MOST_SEED, Between, check_ranges

ScaleName = Literal["tf", "dmgan"]
IncrementalMode = Literal["incremental", "overwrite"]
_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """By what pictures are judged."""

    scale: tuple[ScaleName, ...] = ("tf",)
    """`tf`: everybody's FID, by inception-2015-12-05; `dmgan`: the paper's, by DM-GAN's code; or both."""
    resize: ResizeName = "pytorch-fid"
    """How pictures come to 299 x 299 on the scale `tf`: as this tool does it."""
    weights: tuple[str, ...] = ()
    """Files or addresses of Inception's weights, one for each network that is needed (1,008 classes for `tf` and for
    IS, 1,000 for `dmgan`, 51 for IS on birds)."""
    weights_sha256: tuple[str, ...] = ()
    """sha256 of weights that are taken although they are not those that everybody uses."""
    features: str = "inception"
    """Or a detector, such as `builtin`, which needs no weights and gives a distance that is no FID."""
    batch_size: int = 50
    """Pictures in a batch, 1 to 16,777,216; always so many."""
    device: str = no_change_of_bytes(default="auto")
    """`auto` is a GPU if there is one."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"batch_size": Between(1, MOST_EXAMPLES)})
        if not self.scale or len(set(self.scale)) < len(self.scale):
            raise ValueError(f"--scale {' '.join(self.scale) or '(nothing)'}: expected tf, dmgan, or both, each once")


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured."""

    blur: tuple[float, ...] | None = None
    """Radii of a Gaussian, in pixels of a picture of 256; 0 1 2 4 8 if not given, and 0 against statistics."""
    splits: int = 10
    """Of the Inception Score, 1 to 1,000."""
    kid_subsets: int = 100
    """Of the kernel distance, 1 to 10,000."""
    kid_subset_size: int = 1000
    """Pictures of each side in one, 2 to 16,777,216; as many as there are, if there are fewer."""
    best_of: tuple[int, ...] = ()
    """Numbers also of the best of the first N samples of each caption for these N, without blur, as in the paper's
    Figure 9c; of --samples that were drawn with the same --best_of."""
    extrapolate: bool = True
    """Continue the distance without blur to infinitely many pictures, which says how much of it is for want of them."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        ranges = {"splits": Between(1, 1000), "kid_subsets": Between(1, 10_000)}
        ranges |= {"kid_subset_size": Between(2, MOST_EXAMPLES), "blur": Between(0, 1000)}
        ranges |= {"best_of": Between(1, MOST_EXAMPLES)}
        check_ranges(self, ranges)
        if self.blur is not None and (not self.blur or len(set(self.blur)) < len(self.blur)):
            raise ValueError(f"--blur {' '.join(map(str, self.blur))}: expected radii, each once, such as 0 1 2 4 8")
        if len(set(self.best_of)) < len(self.best_of):
            raise ValueError(f"--best_of {' '.join(map(str, self.best_of))}: expected each once, such as 1 8 64 512")


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """The captions that a model is judged on."""

    captions: str | None = None
    """How many are drawn, such as 30000, or `all`: each text once."""
    captions_from: str | None = None
    """COCO's captions JSON, a dataset of pairs, or a file with a caption in each line (.txt, or .jsonl with `caption`
    and `id`)."""
    seed: int = 0
    """Of all that is drawn, 0 to 18,446,744,073,709,551,615."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(self, {"seed": Between(0, MOST_SEED)})
        if (self.captions is None) != (self.captions_from is None):
            raise ValueError("--captions says how many and --captions_from where they are drawn from; give both")
        if self.captions not in (None, ALL) and not is_count(self.captions):
            raise ValueError(f"--captions {self.captions[:_SHOWN]}: expected a number such as 30000, or all")


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """By which contrastive model pictures are chosen, and judged by how well they match their captions."""

    reranker: str | None = None
    """open_clip:MODEL//FILE, or what dalle.train_contrastive left, as dalle.generate takes it: says how well pictures
    match their captions; of what --prior draws it also chooses the best of each caption."""
    match_by: str | None = None
    """Another one that says how well they match, for a model favours the pictures it chose."""


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions:
    """A generator that is judged in place of pictures: what draws, as dalle.generate has it."""

    prior: str | None = None
    """What dalle.train_prior left, a folder or its file; draws the --captions into `drawn` of the output folder."""
    vocabulary: str | None = no_change_of_bytes(default=None)
    """Vocabulary that the prior was trained for; looked for in the package and beside the prior if not given."""
    dvae: str | None = no_change_of_bytes(default=None)
    """DVAE that the prior was trained for; looked for likewise."""
    samples_per_caption: int | None = None
    """Of which --reranker chooses the best; the paper draws 512; 16 if not given, and 1 without a --reranker."""
    choosing: ChoosingOptions = field(default_factory=ChoosingOptions)
    samples_at_once: int = 32
    """Samples that are drawn at a time (--batch_size of dalle.generate): another number draws other pictures."""
    precision: PrecisionOrAuto = "auto"
    """Number format of the products of prior and dVAE; auto: bfloat16 where the processor has it."""

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        check_ranges(
            self, {"samples_per_caption": Between(1, MOST_EXAMPLES), "samples_at_once": Between(1, MOST_EXAMPLES)}
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """All options of the job."""

    samples: str | None = None
    """What is judged: a folder of pictures, or a samples.parquet, or its folder; or give --prior."""
    reference: str | None = None
    """What it is compared with: a dataset of pairs, a folder of pictures, or statistics (.npz)."""
    without: str | None = None
    """overlap-NAME.txt of pipelines.dedup: numbers are also given without these references."""
    output_folder: str | None = no_change_of_bytes(default=None)
    """For evaluation.json, the plot, captions, and the features, which a later run uses again."""
    save_statistics: bool = no_change_of_bytes(default=False)
    """Leave mean and covariance of both sides as .npz, which pytorch-fid reads too."""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """What to do about pictures that cannot be decoded: fail after all are seen, or judge the others."""
    incremental_mode: IncrementalMode = no_change_of_bytes(default="incremental")
    """`overwrite` replaces an evaluation of something else in the output folder."""
    say: SayOptions = field(default_factory=SayOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    match: MatchOptions = field(default_factory=MatchOptions)
    drawn: CaptionOptions = field(default_factory=CaptionOptions)
    generator: GeneratorOptions = field(default_factory=GeneratorOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if not self.output_folder:
            raise ValueError("--output_folder is missing; say where the numbers go")
        samples, prior, captions = self.samples, self.generator.prior, self.drawn.captions
        if samples is not None and prior is not None:
            raise ValueError(f"--samples {samples} and --prior {prior}: are two things to judge; give one of them")
        if prior is not None and captions is None:
            raise ValueError(f"--prior {prior}: draws pictures of --captions, and none are given; say how many, or all")
        if samples is None and prior is None:
            self._check_only_captions()
        if self.without is not None and self.reference is None:
            raise ValueError("--without is a list of references, and --reference is missing")
        if prior is None and self.generator != GeneratorOptions():
            raise ValueError("--prior is missing, and another flag says how it is to draw; give both, or neither")
        if prior is None and self.match.reranker is not None and self.match.match_by is not None:
            raise ValueError("--reranker chooses of what --prior draws, and there is none; give it or --match_by alone")
        if self.measure.best_of and self.only_match:
            raise ValueError("--best_of: there is nothing to measure; give --reference or --weights")
        several = self.generator.samples_per_caption
        if several is not None and several > 1 and self.match.reranker is None:
            raise ValueError(
                f"--samples_per_caption {several}: nothing chooses the best of them; give a --reranker, or draw 1"
            )

    def _check_only_captions(self) -> None:
        if self.drawn.captions is None:
            raise ValueError("--samples is missing; say which pictures to judge, or with --captions what to draw")
        if self.reference is not None:
            raise ValueError("--samples is missing; say which pictures to compare with the reference, or give --prior")
        if self.match != MatchOptions():
            raise ValueError("--samples is missing; say which pictures are to match their captions, or give --prior")

    @property
    def only_match(self) -> bool:
        """Whether nothing is asked for but how well pictures match their captions."""
        by_inception = bool(self.network.weights) or self.network.features != "inception"
        return self.judged_by is not None and self.reference is None and not by_inception

    @property
    def judged_by(self) -> str | None:
        """The contrastive model that says how well pictures match their captions."""
        return self.match.match_by or self.match.reranker
