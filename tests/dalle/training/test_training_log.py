"""A run's log, and means between two of its lines."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.training.logs import Log, Means, read_log
from dalle.training.ranks import Ranks

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))


def test_the_log_forgets_what_will_happen_again(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        for step in (2, 4, 6):
            log.figures(step, {"loss": 1 / step})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed here
    Log(tmp_path, 4).__exit__(None, None, None)
    assert [2, 4] == [line["step"] for line in read_log(tmp_path)]
    assert [] == read_log(tmp_path / "nowhere")


@given(st.lists(st.tuples(st.floats(-10, 10), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=20))
def test_means_are_weighted_means_and_begin_anew(values: list[tuple[float, float]]) -> None:
    """Also if they were kept and given to another in between."""
    means = Means(["loss"])
    for value, weight in values:
        again = Means(["loss"])
        older = {name: kept for name, kept in means.state_dict().items() if name != "missing"}  # as it was once kept
        again.load_state_dict(older)
        means = again
        means.add(torch.tensor([value], dtype=torch.float64), weight)
    expected = sum(v * w for v, w in values) / sum(w for _, w in values)
    assert expected == pytest.approx(means.take(ALONE)["loss"], abs=1e-9)
    means.add(torch.tensor([7.0]))
    assert {"loss": 7.0} == means.take(ALONE)


@given(st.lists(st.floats(-10, 10) | st.sampled_from([math.inf, -math.inf, math.nan]), max_size=12), st.booleans())
def test_what_is_not_finite_is_left_out_or_said(values: list[float], forgiving: bool) -> None:
    """And never in a state, which no checkpoint could hold; the share of it is known."""
    means = Means(["loss", "steady"], forgiving=forgiving)
    for value in values:
        again = Means(["loss", "steady"], forgiving=forgiving)
        again.load_state_dict(means.copy())
        means = again
        means.add(torch.tensor([value, 2.0], dtype=torch.float64))
        assert all(torch.as_tensor(kept).isfinite().all() for kept in means.state_dict().values())
    finite = [value for value in values if math.isfinite(value)]
    said = bool(finite or not values) if forgiving else len(finite) == len(values)
    expected = sum(finite) / max(1, len(finite)) if said else math.nan
    assert (len(values) - len(finite)) / max(1, len(values)) == pytest.approx(means.missing())
    steady = 2.0 if values else 0.0
    assert {"loss": expected, "steady": steady} == pytest.approx(means.take(ALONE), abs=1e-9, nan_ok=True)
    assert 0 == means.missing()
