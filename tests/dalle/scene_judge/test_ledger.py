"""What is held out is counted in a ledger, by a query that anyone can run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dalle.scene_judge.ledger import held_out_rows

CAPTIONS = [
    ["a red ball on sand", "a tiny Blue Square in snow"],  # one of the twelve pairs
    ["a red boat is placed beneath a green ring and a blue fish at night"],  # the relation, from the other side
    ["a blue fish below a red boat on grass", "a square to the left of a blue ring on sand"],  # neither
    [],
]


@pytest.mark.parametrize("name", ["pairs", 'of [a] "friend\'s" {list}'])
def test_the_count_is_that_of_the_query_that_is_printed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for shard, captions in enumerate((CAPTIONS[:2], CAPTIONS[2:])):
        table = pa.table({"captions": pa.array(captions, pa.list_(pa.string())), "key": ["k"] * len(captions)})
        pq.write_table(table, folder / f"{shard:05d}.parquet")
    found = held_out_rows(folder)
    assert (found.captions, found.held_out) == (5, 2)
    code = "\n".join(line.strip() for line in found.query.splitlines())
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "2"


def test_a_folder_without_a_ledger_of_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no \*\.parquet, expected a dataset"):
        held_out_rows(tmp_path)
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "00000.parquet")
    with pytest.raises(ValueError, match=r"00000\.parquet: no captions can be read"):
        held_out_rows(tmp_path)
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"00000\.parquet: no captions can be read"):
        held_out_rows(tmp_path)
