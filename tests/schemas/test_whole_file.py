"""What was there before stays until all of what comes after is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.whole_file import whole_file


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with whole_file(path) as unfinished:
        unfinished.write_text("first")
        assert not path.exists()
    with pytest.raises(OSError, match="no room"), whole_file(path) as unfinished:
        unfinished.write_text("sec")
        raise OSError("no room")
    assert "first" == path.read_text()
    with whole_file(path) as unfinished:
        unfinished.write_text("third")
    assert ("third", [path]) == (path.read_text(), list(tmp_path.iterdir()))
