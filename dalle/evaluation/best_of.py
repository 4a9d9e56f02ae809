"""How good pictures are by the number of samples of which each was chosen (Ramesh et al. 2021, Figure 9c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dalle.evaluation.judging import Judge
from dalle.evaluation.measured import Measured
from dalle.evaluation.samples import GeneratedSource, SampleSource
from dalle.evaluation.scales import Scale


def check_best_of(judge: Judge, sizes: Sequence[int]) -> None:
    """Find out before anything is computed whether the best of the first N samples can be told.

    Args:
        judge: of the samples.
        sizes: N.

    Raises:
        ValueError: if the samples are a folder of pictures, or a picture was not kept.
    """
    samples = judge.task.samples
    if not sizes or isinstance(samples, GeneratedSource):
        return
    if not isinstance(samples, SampleSource):
        raise ValueError(
            f"--best_of: {samples.name} does not say which picture is which sample of its caption; give the "
            "samples.parquet that dalle.generate left"
        )
    for n in sizes:
        samples.best_of(n)


def measure_best_of(judge: Judge, scales: Sequence[Scale], sizes: Sequence[int]) -> list[Measured]:
    """The numbers without blur of the best of the first N samples of each caption, on each scale for each N.

    Args:
        judge: of the samples; references are not gone through again.
        scales: on which it measures.
        sizes: N.
    """
    samples, found = judge.task.samples, list[Measured]()
    for n in sorted(sizes):
        assert isinstance(samples, (GeneratedSource, SampleSource))  # `check_best_of`
        of_best = judge.of_samples(samples.best_of(n))
        found += [replace(of_best.measure(scale, 0.0), best_of=n) for scale in scales]
    return found
