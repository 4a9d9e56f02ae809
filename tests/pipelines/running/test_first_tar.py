"""Hugging Face's `datasets` opens the tars although nothing of the first shards was kept."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from pipelines.audit import main as audit
from pipelines.ingest import main
from pipelines.running.first_tar import without_empty_first_tars
from schemas.folder import Folder
from schemas.manifest import Marker, read_manifest
from schemas.pair_shards import read_pictures
from tests.conftest import hashes, write_jpeg

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("broken", [[0, 1], [0, 1, 2, 3, 6, 7], [2, 3], []])
def test_the_first_tar_has_samples(tmp_path: Path, broken: list[int]) -> None:
    """Shards of two pictures; those before the first that keeps any have no tar, those after it have one."""
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        write_jpeg(tmp_path / f"pictures/{number}.jpg", np.full((300, 300, 3), 20 * number, np.uint8))
        if number in broken:
            (tmp_path / f"pictures/{number}.jpg").write_bytes(b"broken")
        (tmp_path / f"pictures/{number}.txt").write_text("a grey wall in a house")
    out = tmp_path / "pairs"
    flags = ["--dataset", "folder", "--url_list", tmp_path / "pictures", "--output_folder", out]
    flags = [str(flag) for flag in (*flags, "--number_sample_per_shard", 2, "--processes_count", 1)]
    assert 0 == main(flags)
    folder, kept = Folder(out), [sorted({2 * shard, 2 * shard + 1} - {*broken}) for shard in range(4)]
    first = next(shard for shard in range(4) if kept[shard])
    names = [f"{shard:05d}" for shard in range(4)]
    assert [f"{name}.tar" for name in names[first:]] == [path.name for path in sorted(out.glob("*.tar"))]
    assert [len(each) for each in kept] == [len(list(read_pictures(folder, name))) for name in names]
    for shard in read_manifest(folder)["shards"]:
        assert set(shard["files"]) == {file.name for file in Marker.read(folder, shard["name"]).files}
    assert 0 == audit([str(out)])
    before = hashes(out, markers=True)
    if first:
        (out / "00000.tar").touch()  # as a kill between its marker and it leaves it
    without_empty_first_tars(folder, [Marker.read(folder, name) for name in names])
    assert before == hashes(out, markers=True)
    tars = str(out / "*.tar")
    read = datasets.load_dataset("webdataset", data_files=tars, split="train", cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, kept)) == len(read)
