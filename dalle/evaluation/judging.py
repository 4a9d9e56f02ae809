"""The numbers of an evaluation: samples against references on each scale, at each radius, without the overlap too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dalle.contrastive.reranker import Reranker
from dalle.evaluation.caption_match import CaptionMatch, Captions, PictureVectors, caption_match
from dalle.evaluation.checks import check_captions, check_enough, check_same, check_splits
from dalle.evaluation.extrapolation import extrapolate
from dalle.evaluation.features import Extractor, FeatureSet, features_of
from dalle.evaluation.fid import frechet_distance
from dalle.evaluation.inception_score import inception_score
from dalle.evaluation.kid import kernel_distance
from dalle.evaluation.measured import Comparison, Measured
from dalle.evaluation.options import MeasureOptions
from dalle.evaluation.overlap import kept_rows
from dalle.evaluation.pictures import Source
from dalle.evaluation.scales import Scale
from dalle.evaluation.statistics import Statistics, statistics_of
from dalle.evaluation.store import Store
from schemas.commands.ending import CommandFailed
from schemas.folder import Folder

_AT_ONCE = 512
_NAMED = 3
"""Unreadable pictures that a sentence names."""

Tell = Callable[[str, int, int], None]
"""Is told what is looked at, how many pictures there have been, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Pictures of one side as a scale counts them."""

    features: FeatureSet
    rows: np.ndarray
    """[n] numbers of those that count."""
    name: str

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """[n, D] features of pictures by their places among those that count."""
        return self.features.rows(self.rows[numbers])

    @functools.cached_property
    def whole(self) -> Statistics:
        """Of all that count."""
        return self.statistics(np.arange(len(self.rows)))

    def statistics(self, numbers: np.ndarray) -> Statistics:
        """Of pictures by their places among those that count."""
        chosen = self.rows[numbers]
        pieces = (self.features.rows(chosen[first : first + _AT_ONCE]) for first in range(0, len(chosen), _AT_ONCE))
        return statistics_of(pieces, self.features.store.dimension, self.name)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be judged."""

    samples: Source
    reference: Source | Statistics | None
    overlap: frozenset[str] = frozenset()
    overlap_path: Path = Path()
    cache: Folder
    """Where features are kept."""
    reranker: Reranker | None = None
    """Says how well pictures match their captions; None if nobody asks."""
    measure: MeasureOptions
    seed: int = 0
    skip_unreadable: bool = False
    tell: Tell = lambda *_: None


class Judge:
    """Measures; features are computed when they are needed first.

    Args:
        task: what is to be judged.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.inputs: dict[str, FeatureSet] = {}
        """What was seen of each side, by `samples` and `reference`."""
        self._seen: dict[tuple[str, str, float], FeatureSet] = {}

    def check(self, scales: Sequence[Scale], radii: Sequence[float]) -> None:
        """Find out before anything is computed what would fail after hours.

        Raises:
            ValueError: if there are too few pictures, no captions to be matched, or statistics or a list of overlap do
                not fit.
        """
        task = self.task
        check_enough(f"samples {task.samples.name}", len(task.samples))
        if task.reranker is not None:
            check_captions(task.samples)
        for scale in scales:
            check_enough(f"samples {task.samples.name}", len(task.samples), scale)
            if scale.scores:
                check_splits(f"samples {task.samples.name}", len(task.samples), task.measure.splits)
            for radius in radii if isinstance(task.reference, Statistics) else ():
                assert isinstance(task.reference, Statistics)
                check_same(task.reference, scale, radius)
            if task.reference is not None and not isinstance(task.reference, Statistics):
                check_enough(f"reference {task.reference.name}", len(task.reference), scale)
        if task.overlap and task.reference is not None and not isinstance(task.reference, Statistics):
            kept_rows(task.reference.ids(), task.overlap, task.overlap_path)

    def measure(self, scale: Scale, radius: float) -> Measured:
        """On one scale at one radius.

        Raises:
            ValueError: if there are too few pictures, or a list of overlap does not fit.
            CommandFailed: if pictures cannot be read and are not to be skipped.
        """
        samples = self._side("samples", self.task.samples, scale.extractor, radius, scale)
        comparisons, statistics = [], {}
        for reference, without in self._references(scale, radius):
            comparisons.append(self._compare(samples, reference, without, radius))
            statistics["reference-without-overlap" if without else "reference"] = _statistics(reference)
            statistics["samples"] = samples.whole
        scores = {}
        for score in scale.scores:
            side = self._side("samples", self.task.samples, score.extractor, radius)
            scores[score.layer.name] = inception_score(side.take, len(side.rows), score.layer, self.task.measure.splits)
        return Measured(
            scale=scale,
            radius=radius,
            samples=len(samples.rows),
            comparisons=comparisons,
            scores=scores,
            statistics=statistics,
        )

    def of_samples(self, samples: Source) -> Judge:
        """Of other samples against the same references, of which nothing is gone through again."""
        other = Judge(replace(self.task, samples=samples))
        other._seen = {key: seen for key, seen in self._seen.items() if key[0] != "samples"}
        return other

    def matches(self) -> list[CaptionMatch]:
        """How well pictures match their captions: samples, and references that have some, which no model will exceed.

        Raises:
            ValueError: if there are too few pictures, or a caption has no tokens.
            CommandFailed: if pictures cannot be read and are not to be skipped.
        """
        task = self.task
        if task.reranker is None:
            return []
        sides = [("samples", task.samples)]
        if task.reference is not None and not isinstance(task.reference, Statistics) and task.reference.has_captions:
            sides.append(("reference", task.reference))
        extractor, captions, found = PictureVectors(task.reranker), Captions(task.reranker, task.cache), []
        for name, source in sides:
            side = self._side(name, source, extractor, 0.0)
            texts = source.captions_of(side.features.ids)
            found.append(caption_match(side.take, texts, captions, side=name, seed=task.seed))
        return found

    def _references(self, scale: Scale, radius: float) -> list[tuple[Side | Statistics, bool]]:
        reference = self.task.reference
        if reference is None:
            return []
        if isinstance(reference, Statistics):
            check_same(reference, scale, radius)
            return [(reference, False)]
        whole = self._side("reference", reference, scale.extractor, radius, scale)
        if not self.task.overlap:
            return [(whole, False)]
        kept = kept_rows(whole.features.ids, self.task.overlap, self.task.overlap_path)
        return [(whole, False), (self._counted(whole.features, kept, scale, "reference without the overlap"), True)]

    def _compare(self, samples: Side, reference: Side | Statistics, without: bool, radius: float) -> Comparison:
        measure, ours = self.task.measure, _statistics(reference)
        kernel = extrapolation = None
        if isinstance(reference, Side):
            sides = (samples.take, len(samples.rows)), (reference.take, len(reference.rows))
            kernel = kernel_distance(*sides, subsets=measure.kid_subsets, size=measure.kid_subset_size)
        if measure.extrapolate and radius == 0:

            def of_share(share: float, rng: np.random.Generator) -> float:
                drawn = _drawn(samples, share, rng)
                other = _drawn(reference, share, rng) if isinstance(reference, Side) else ours
                return frechet_distance(drawn, other)

            extrapolation = extrapolate(of_share, len(samples.rows), self.task.seed)
        return Comparison(
            without_overlap=without,
            references=ours.count,
            distance=frechet_distance(samples.whole, ours),
            kernel=kernel,
            extrapolation=extrapolation,
        )

    def _side(self, name: str, source: Source, extractor: Extractor, radius: float, scale: Scale | None = None) -> Side:
        features = self._features(name, source, extractor, radius)
        if features.unreadable and not self.task.skip_unreadable:
            raise CommandFailed(
                f"{source.name}: {_unreadable(features)}; --unreadable skip judges the other {len(features):,}, "
                "of which nothing is computed again"
            )
        return self._counted(features, np.arange(len(features)), scale, f"{name} {source.name}")

    def _features(self, name: str, source: Source, extractor: Extractor, radius: float) -> FeatureSet:
        """Gone through once, for all that needs them."""
        key = name, extractor.fingerprint, radius
        if key not in self._seen:
            what = f"{name}, {extractor.name}, radius {radius:g}"
            self._seen[key] = features_of(
                source,
                extractor,
                Store(self.task.cache, extractor, radius),
                radius,
                lambda seen: self.task.tell(what, seen, len(source)),
            )
        features = self._seen[key]
        if self.inputs.setdefault(name, features).fingerprint != features.fingerprint:
            raise CommandFailed(f"{source.name}: was changed while it was judged; run the command again")
        return features

    def _counted(self, features: FeatureSet, rows: np.ndarray, scale: Scale | None, name: str) -> Side:
        check_enough(name, len(rows), scale)
        return Side(features=features, rows=rows if scale is None else rows[: scale.counted(len(rows))], name=name)


def _statistics(reference: Side | Statistics) -> Statistics:
    return reference if isinstance(reference, Statistics) else reference.whole


def _drawn(side: Side, share: float, rng: np.random.Generator) -> Statistics:
    count = len(side.rows)
    return side.statistics(rng.choice(count, max(2, int(share * count)), replace=False))


def _unreadable(features: FeatureSet) -> str:
    named = "; ".join(f"{one}: {why}" for one, why in features.unreadable[:_NAMED])
    more = ", …" if len(features.unreadable) > _NAMED else ""
    count = len(features.unreadable)
    return f"{count:,} picture{'s' if count > 1 else ''} cannot be read ({named}{more})"
