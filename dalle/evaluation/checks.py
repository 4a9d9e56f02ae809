"""What of an evaluation would fail after hours, found out before."""

from __future__ import annotations

from dalle.evaluation.pictures import Source
from dalle.evaluation.scales import Scale
from dalle.evaluation.statistics import Statistics
from schemas.commands.printing import counted


def check_enough(name: str, pictures: int, scale: Scale | None = None) -> None:
    """Check that there are pictures to be judged.

    Raises:
        ValueError: if there are fewer than two, or than two that a scale counts.
    """
    if pictures < 2:
        raise ValueError(
            f"{name}: has {counted(pictures, 'picture')} that can be read, expected 2 or more to be judged; give more"
        )
    if scale is not None and scale.counted(pictures) < 2:
        raise ValueError(
            f"{name}: has {counted(pictures, 'picture')}, and the scale {scale.name} counts only whole batches of "
            f"{scale.whole_batches_of}; give more, or --scale tf"
        )


def check_splits(name: str, pictures: int, splits: int) -> None:
    """Check that each split of an Inception Score has a picture.

    Raises:
        ValueError: if there are fewer pictures than splits.
    """
    if pictures < splits:
        raise ValueError(
            f"{name}: has {counted(pictures, 'picture')}, fewer than the {splits:,} splits of an Inception Score; give "
            f"more, or --splits {pictures}"
        )


def check_same(statistics: Statistics, scale: Scale, radius: float) -> None:
    """Check that statistics are of what a scale compares.

    Raises:
        ValueError: saying what they are of.
    """
    if statistics.mu.size != scale.extractor.dimension:
        raise ValueError(
            f"{statistics.name}: is of features of {statistics.mu.size:,} numbers, and {scale.extractor.name} makes "
            f"{scale.extractor.dimension:,}; give statistics of that network, or the pictures"
        )
    wanted = {**scale.choices, "blur": radius}
    for name, value in wanted.items():
        if name in statistics.choices and statistics.choices[name] != value:
            raise ValueError(
                f"{statistics.name}: was made with {name} {statistics.choices[name]}, and {value} is compared with it; "
                "give statistics made so, or the pictures"
            )
    if radius and "blur" not in statistics.choices:
        raise ValueError(
            f"{statistics.name}: holds no pictures that could be blurred with radius {radius:g}; give the pictures, or "
            "--blur 0"
        )


def check_captions(samples: Source) -> None:
    """Check that it is known what pictures are of.

    Raises:
        ValueError: if it is not.
    """
    if not samples.has_captions:
        raise ValueError(
            f"{samples.name}: has pictures without captions, so how well they match cannot be said; give the "
            "samples.parquet that names the caption of each, or leave --reranker out"
        )
