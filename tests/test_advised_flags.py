"""What a message or a page advises can be typed: flags are flags, commands are commands, values are taken."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from dalle.contrastive.options import TrainContrastiveOptions
from dalle.detectors.options import TrainDetectorOptions
from dalle.drawing.options import GenerateOptions
from dalle.dvae.options import TrainDVAEOptions
from dalle.evaluation.options import EvaluateOptions
from dalle.evaluation.study.asking import AskOptions
from dalle.evaluation.study.counting import CountOptions
from dalle.judge import JudgeOptions
from dalle.prior.options import TrainPriorOptions
from dalle.scene_judge.options import TrainJudgeOptions
from pipelines.audit import AuditOptions
from pipelines.copies.options import DedupOptions
from pipelines.flow import FlowOptions
from pipelines.running.flags import beams_flags
from pipelines.vocab import VocabOptions
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.ingest_options import IngestOptions
from schemas.commands.flag_mistakes import flags_of

ROOT = Path(__file__).parent.parent
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9_-]*[a-z0-9])")
COMMAND = re.compile(r"python -m ([a-z_]+(?:\.[a-z_]+)+)")
CHOICE = re.compile(r"--(incremental_mode|head_start|filters|language) ([a-z]+)\b")
OTHERS = {
    "help", "logdir", "long", "nproc_per_node",  # everybody's, tensorboard's, zstd's and torchrun's
    *(flag.removeprefix("--") for flag in beams_flags()),
}  # fmt: skip

OF_TOOLS = {
    "dask_client_address", "flag", "nnodes", "nthreads", "nworkers", "part", "rows", "service_port", "worker_pool",
}  # fmt: skip
"""Of torchrun, Dask, Beam's pool and benchmarks, as pages start them; `--flag` stands for any."""


@functools.cache
def names_of(options: type[Any]) -> frozenset[str]:
    return frozenset(flag.removeprefix("--") for flag in flags_of(options))


TRAININGS = [TrainDVAEOptions, TrainPriorOptions, TrainContrastiveOptions, TrainDetectorOptions, TrainJudgeOptions]
DRAWS = [GenerateOptions, EvaluateOptions]
JOBS = [IngestOptions, DedupOptions, VocabOptions, EncodeOptions, AuditOptions]
ROOMS: dict[str, list[type[Any]]] = {
    "pipelines/ingest": [IngestOptions], "pipelines/dedup": [DedupOptions], "pipelines/vocab": [VocabOptions],
    "pipelines/flow": [FlowOptions], "pipelines/chain": [FlowOptions, *JOBS],
    "pipelines/encode": [EncodeOptions], "pipelines/audit": [AuditOptions], "pipelines/copies": [DedupOptions],
    "pipelines/auditing": [AuditOptions], "pipelines/fetching": [IngestOptions], "pipelines/forecast": [IngestOptions],
    "pipelines/lists": [IngestOptions, VocabOptions, DedupOptions], "pipelines/captions": [IngestOptions, VocabOptions],
    "pipelines/sample_web": [IngestOptions, DedupOptions], "dalle/drawing": DRAWS, "dalle/generate": DRAWS,
    "dalle/evaluation": [EvaluateOptions, GenerateOptions, AskOptions, CountOptions],
    "dalle/evaluate": [EvaluateOptions, GenerateOptions], "dalle/study": [AskOptions, CountOptions],
    "dalle/training": TRAININGS, "dalle/train_dvae": [TrainDVAEOptions], "dalle/train_prior": [TrainPriorOptions],
    "dalle/train_contrastive": [TrainContrastiveOptions], "dalle/train_detector": [TrainDetectorOptions],
    "dalle/train_judge": [TrainJudgeOptions], "dalle/judge": [JudgeOptions, TrainJudgeOptions],
    "dalle/scene_judge": [TrainJudgeOptions, JudgeOptions, GenerateOptions],
    "dalle/prior": [TrainPriorOptions, *DRAWS], "dalle/contrastive": [TrainContrastiveOptions, *DRAWS],
    "dalle/detectors": [TrainDetectorOptions, DedupOptions, EvaluateOptions],
    "dalle/dvae": [TrainDVAEOptions, EncodeOptions, AuditOptions, *DRAWS],
}  # fmt: skip
"""Whose command line the messages of a room are about; those of the others are about anybody's."""
ANYBODY = [*JOBS, *TRAININGS, *DRAWS, AskOptions, CountOptions, FlowOptions, JudgeOptions]


def said(path: Path) -> Iterator[tuple[int, str]]:
    """Texts of a file that are no docstrings, with their lines."""
    tree = ast.parse(path.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.lineno, node.value


FILES = sorted(path for package in ("pipelines", "dalle", "schemas") for path in (ROOT / package).rglob("*.py"))


def test_every_flag_is_one() -> None:
    """Of a command of that room, however it is spelled; written as help shows it."""
    strangers = []
    for path in FILES:
        room = "/".join(path.relative_to(ROOT).with_suffix("").parts[:2])
        known = OTHERS.union(*map(names_of, ROOMS.get(room, ANYBODY)))
        strangers += [
            f"{path.relative_to(ROOT)}:{line} --{flag}"
            for line, text in said(path)
            for flag in FLAG.findall(text)
            if flag not in known
        ]
    assert [] == strangers


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name)
def test_every_flag_of_a_page_is_one(page: Path) -> None:
    """Of some command of ours, or of a tool that the page starts."""
    assert set() == set(FLAG.findall(page.read_text())) - OTHERS.union(OF_TOOLS, *map(names_of, ANYBODY))


def test_every_command_is_one() -> None:
    """A module that can be run."""
    named = {name for path in FILES for _, text in said(path) for name in COMMAND.findall(text)}
    assert {"pipelines.vocab"} <= named
    assert [] == [name for name in named if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("options", ANYBODY)
def test_every_choice_is_taken(options: type[Any]) -> None:
    """Where a message of a room names a value for a flag of few values, some command of the room takes it."""
    rooms = [room for room, kinds in ROOMS.items() if kinds == [options]]
    for path in FILES:
        if "/".join(path.relative_to(ROOT).with_suffix("").parts[:2]) in rooms:
            for _, text in said(path):
                for flag, value in CHOICE.findall(text):
                    assert value in (choices_of(options, flag) or [value]), f"{path}: --{flag} {value}"


def choices_of(options: type[Any], flag: str) -> list[Any]:
    """The values that a flag takes; none if there are many."""
    for name, kind in get_type_hints(options).items():
        if is_dataclass(kind) and (found := choices_of(kind, flag)):  # type: ignore[arg-type]
            return found
        if name == flag:
            return [each for each in get_args(kind) if isinstance(each, str)]
    return []
