"""`make zero-shot` in small: the sections of its flow as they stand, with fewer pictures, captions and steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from dalle.scenes.dialect import read_caption
from dalle.scenes.dialect.held_out import PAIRS
from pipelines import flow
from tests.conftest import ROOT

FLOW = ROOT / "flows" / "zero_shot.toml"
LITTLE: dict[str, dict[str, Any]] = {
    "ingest": {"sample_rows": 120},
    "train_dvae": {
        "vocab_size": 64, "encoder_n_hid": 32, "decoder_n_hid": 32, "n_init": 24, "n_blk_per_group": 1, "steps": 6,
        "batch_size": 8, "workers": 0, "eval_every": 0,
    },
    "encode": {"batch_size": 8},
    "train_prior": {
        "preset": "tiny", "heads": 2, "layers": 2, "batch_size": 8, "micro_batch_size": 8, "steps": 6, "workers": 0,
        "validation_share": 0.0, "eval_every": 0,
    },
    "train_contrastive": {"steps": 4, "batch_size": 8, "eval_every": 0, "workers": 0},
    "train_judge": {"preset": "tiny", "steps": 4},
    "generate.unseen": {"captions_file": "unseen.jsonl", "samples": 2},
    "judge": {"drawn": ["unseen=data/zero_shot/unseen"]},
}  # fmt: skip
"""What is other than in the flow; all else is what `make zero-shot` does."""
LEFT_OUT = ("generate.seen",)
"""Is like another, for want of time: the starts of the commands are most of it."""


def in_little(sections: dict[str, Any]) -> str:
    """The flow with those values, as TOML: JSON's texts, numbers and lists are TOML's."""
    lines = []
    for job, section in sections.items():
        named = {f"{job}.{name}": part for name, part in section.items() if isinstance(part, dict)} or {job: section}
        for name, flags in named.items():
            if name not in LEFT_OUT:
                little = flags | LITTLE.get(name, {})
                lines += [f"[{name}]", *(f"{flag} = {json.dumps(value)}" for flag, value in little.items())]
    return "\n".join(lines)


def test_the_flow_is_one_that_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flag of it, and each section reads what one before it makes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert 0 == flow.main([str(FLOW), "--dry_run"])
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_the_whole_flow_in_little(tmp_path: Path) -> None:
    """From links to what the judge says, with the ordinary commands; what is held out is in nothing that is trained on."""
    sections = tomllib.loads(FLOW.read_text())
    assert {*LITTLE} <= {*sections, "generate.unseen"}
    (tmp_path / "flow.toml").write_text(in_little(sections))
    caption = "a green crown to the left of a white house in the snow"
    (tmp_path / "unseen.jsonl").write_text(json.dumps({"id": "unseen-000", "caption": caption}) + "\n")
    command = [sys.executable, "-m", "pipelines.flow", "flow.toml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=580, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    made = tmp_path / "data" / "zero_shot"
    judged = json.loads((made / "judged" / "judged.json").read_text())
    assert {"unseen"} == {*judged["shares"]}
    assert judged["ledger"]["held_out"] == 0 < judged["ledger"]["captions"]
    assert "pc.match_substring_regex" in done.stdout  # the query that says so
    assert len(list((made / "unseen").rglob("*.png"))) >= 2
    ledger = ds.dataset(sorted((made / "pairs").glob("*.parquet"))).to_table(columns=["status", "captions"]).to_pylist()
    assert 120 == len(ledger) == sum(row["status"] == "success" for row in ledger)
    for row in ledger:
        for caption in row["captions"]:
            things = read_caption(caption).things
            assert not {*things} & {*PAIRS}
