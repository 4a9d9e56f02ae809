"""`dalle.evaluate` as a person calls it, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

from dalle import evaluate


def run(*flags: object) -> int:
    """Its exit code."""
    return evaluate.main([str(flag) for flag in flags])


def said(out: Path) -> dict:
    """All of evaluation.json."""
    return json.loads((out / "evaluation.json").read_text())
