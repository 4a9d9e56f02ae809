"""Commands as an installed package brings them: `dalle-ingest` is `python -m pipelines.ingest`, and so on.

Each is run as its module, so that what a module does before its imports (`schemas.commands.guard`) is done here too,
and processes that it starts find the same `__main__`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import PurePath

MODULES = {
    "dalle-ingest": "pipelines.ingest",
    "dalle-dedup": "pipelines.dedup",
    "dalle-vocab": "pipelines.vocab",
    "dalle-encode": "pipelines.encode",
    "dalle-audit": "pipelines.audit",
    "dalle-flow": "pipelines.flow",
    "dalle-train-dvae": "dalle.train_dvae",
    "dalle-train-prior": "dalle.train_prior",
    "dalle-train-contrastive": "dalle.train_contrastive",
    "dalle-train-detector": "dalle.train_detector",
    "dalle-train-judge": "dalle.train_judge",
    "dalle-generate": "dalle.generate",
    "dalle-evaluate": "dalle.evaluate",
    "dalle-judge": "dalle.judge",
    "dalle-study": "dalle.study",
}
"""By the name of a command the module that it runs; pyproject.toml has the same names."""


def run() -> None:
    """Run the command that this process was started as."""
    runpy.run_module(MODULES[PurePath(sys.argv[0]).stem], run_name="__main__", alter_sys=True)
