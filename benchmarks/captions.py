"""Judging captions: how many are told right, and how many a second on one core.

    python benchmarks/captions.py

takes 2,000 COCO captions (all English) and 2,000 sentences in other languages, states how many of each are kept by the
default filters, with either language model, and times them on LAION-400M's texts by the CPU's clock: the language
alone, and all that is asked of a caption. Writes benchmarks/results/captions.json.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.record import record, spread
from pipelines.captions.language import LanguageModel, identify
from pipelines.stages.filter import FilterOptions, filter_captions

DATA = Path(os.environ.get("DALLE_TEST_DATA", Path(__file__).parent.parent / "../shared/data")).resolve()
REPEATS = 7
MODELS: tuple[LanguageModel, ...] = ("py3langid", "cld3")


def coco() -> list[str]:
    """2,000 of COCO's captions."""
    captions = json.loads((DATA / "text/captions_val2017.json").read_text())["annotations"]
    return random.Random(0).sample([a["caption"].strip() for a in captions], 2000)


def foreign() -> list[str]:
    """2,000 sentences in other languages than English."""
    lines = (line.split("\t", 1) for line in (DATA / "text/language_id/sentences.tsv").read_text().splitlines())
    return random.Random(0).sample([text for code, text in lines if code != "en"], 2000)


def a_second(judge: Callable[[str], Any], captions: list[str]) -> dict[str, Any]:
    """Captions a second of this process's CPU time, several times."""
    rates = []
    for _ in range(REPEATS):
        begun = time.process_time()
        for caption in captions:
            judge(caption)
        rates.append(len(captions) / (time.process_time() - begun))
    return spread(rates, 0)


def main() -> None:
    """Measure."""
    laion = [text for text in pq.read_table(DATA / "text/laion400m_5000.parquet")["TEXT"].to_pylist() if text]
    figures: dict[str, Any] = {}
    for model in MODELS:
        limits = FilterOptions(language_model=model).thresholds()
        kept = {
            name: sum(filter_captions([caption], limits).problem is None for caption in captions) / len(captions)
            for name, captions in (("COCO captions kept", coco()), ("foreign sentences kept", foreign()))
        }
        figures[model] = {
            **kept,
            "language, captions a second": a_second(lambda c, m=model: identify(c, m, "en", 0.4), laion),  # type: ignore[misc]
            "all of it, captions a second": a_second(lambda c, k=limits: filter_captions([c], k), laion),  # type: ignore[misc]
        }
    record("captions", {"LAION texts": len(laion), **figures}, ["py3langid", "cld3-py", "numpy"])


if __name__ == "__main__":
    main()
