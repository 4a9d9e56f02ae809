"""A process that asks commands for their plans one after the other: what takes them seconds to import, it imports once.

Commands come on standard input as JSON, `[["pipelines.encode", ["--input_folder", "clean"]], …]`; on standard output
goes a line of JSON for each, as soon as it has answered: its exit code, what it printed, what it said was wrong.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from dalle.training.machine import prepare
from schemas.exit_codes import FAILED, USAGE

FLAGS = ("--plan", "--json")


def ask(command: str, words: Sequence[str]) -> dict[str, Any]:
    """What a command says of itself: its exit code, standard output and standard error."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = int(importlib.import_module(command).main([*words, *FLAGS]))
        except SystemExit as ended:  # after a flag whose value cannot be read
            code = ended.code if isinstance(ended.code, int) else USAGE
        except Exception as error:  # noqa: BLE001  a fault of ours, as the command itself would tell it
            traceback.print_exception(error)
            code = FAILED
    return {"code": code, "out": out.getvalue(), "errors": errors.getvalue()}


def main() -> None:
    """Answer for all."""
    prepare()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints past Python is no answer
    for command, words in json.load(sys.stdin):
        print(json.dumps(ask(command, words)), file=answers, flush=True)


if __name__ == "__main__":
    main()
