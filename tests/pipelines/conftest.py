"""Where commands of the pipelines are stopped at their steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stopping import Place, place_of_its_own, units_are_done_here


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Where folders are; units are done here, one after the other."""
    units_are_done_here(monkeypatch)
    with place_of_its_own(request.param, tmp_path, monkeypatch) as made:
        yield made
