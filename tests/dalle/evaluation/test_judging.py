"""What a scale counts of both sides: whole batches, and for scores of its own what their code counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dalle.evaluation.fid import frechet_distance
from dalle.evaluation.inception_score import LastLayer, inception_score
from dalle.evaluation.judging import Judge, Task
from dalle.evaluation.options import MeasureOptions
from dalle.evaluation.pictures import FolderSource
from dalle.evaluation.scales import BIRDS_BATCH, DMGAN_BATCH, Scale, Score
from dalle.evaluation.statistics import statistics_of
from dalle.pictures.images import decode
from schemas.folder import Folder
from tests.examples import write_image_folder


class Means:
    """Mean colours of the quarters of a picture, in place of a network."""

    name, fingerprint, dimension, batch = "means", "means-4", 12, 7

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        half = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        return half.reshape(2, half.shape[0] // 2, 2, -1, 3).mean((1, 3)).astype(np.float32).ravel() / 255

    def embed(self, prepared: np.ndarray) -> np.ndarray:
        return prepared


@pytest.mark.parametrize("pictures", [100, 130])
def test_dm_gan_drops_what_fills_no_batch(pictures: int, tmp_path: Path) -> None:
    """Of samples and references for the distance, 50s; on birds 64s, after shuffling; nothing for IS on COCO."""
    drawn = write_image_folder(tmp_path / "drawn", pictures)
    val = write_image_folder(tmp_path / "val", 60)
    for path in sorted(val.iterdir())[:5]:
        path.unlink()
    rng, means = np.random.default_rng(0), Means()
    coco = LastLayer(name="coco", weight=rng.standard_normal((9, 12)).astype(np.float32))
    birds = LastLayer(name="birds", weight=coco.weight, shuffle_seed=2020, whole_batches_of=BIRDS_BATCH)
    scale = Scale(
        name="dmgan",
        metric="FID (DM-GAN's scale)",
        extractor=means,
        whole_batches_of=DMGAN_BATCH,
        scores=tuple(Score(extractor=means, layer=layer) for layer in (coco, birds)),
    )
    task = Task(
        samples=FolderSource(name=str(drawn)),
        reference=FolderSource(name=str(val)),
        cache=Folder(tmp_path / "features"),
        measure=MeasureOptions(extrapolate=False, kid_subsets=2),
    )
    found = Judge(task).measure(scale, 0.0)
    sides = [
        np.stack(
            [means.preprocess(decode((folder / name).read_bytes())) for name in FolderSource(name=str(folder)).names]
        )
        for folder in (drawn, val)
    ]
    whole = pictures // 50 * 50
    assert (whole, 50) == (found.samples, found.comparisons[0].references)
    kept = [statistics_of([side[:count]], 12, "side") for side, count in zip(sides, (whole, 50), strict=True)]
    assert frechet_distance(*kept) == pytest.approx(found.comparisons[0].distance, rel=1e-6)
    assert (pictures, pictures // 64 * 64) == tuple(found.scores[name].pictures for name in ("coco", "birds"))
    expected = inception_score(sides[0].__getitem__, pictures, coco)
    assert expected.mean == pytest.approx(found.scores["coco"].mean, rel=1e-6)
