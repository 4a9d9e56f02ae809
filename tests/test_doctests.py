"""The sessions in docstrings show what the code does today."""

from __future__ import annotations

import doctest
import importlib
import logging

import pytest

DOCTESTED = [
    "dalle.contrastive.best_of",
    "dalle.contrastive.flops",
    "dalle.contrastive.watching",
    "dalle.detectors",
    "dalle.drawing.best_of",
    "dalle.dvae",
    "dalle.dvae.files",
    "dalle.evaluation.study.binomial",
    "dalle.pages.texts",
    "dalle.prior",
    "dalle.prior.masks",
    "dalle.reading.batches",
    "dalle.reading.epoch_order",
    "dalle.text.ended",
    "dalle.text.padding",
    "dalle.text.tokenizer",
    "dalle.training.bandwidth",
    "dalle.training.low_rank",
    "dalle.training.words",
]


@pytest.mark.parametrize("module", DOCTESTED)
def test_sessions_in_docstrings_run(module: str) -> None:
    """Each has at least one, and every line of it prints what stands there."""
    logging.disable()  # an earlier test may have sent the log to standard output
    try:
        failed, attempted = doctest.testmod(importlib.import_module(module))
    finally:
        logging.disable(logging.NOTSET)
    assert (0, True) == (failed, attempted > 0), "see the session in the captured output"
