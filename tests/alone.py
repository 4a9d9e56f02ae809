"""Tests of a file that run in processes of their own, which have loaded only what they need: `pytest.mark.alone`.

They fork that process by the hundred, and a fork costs as much as its parent has in memory: beside all others it is a
tenth of a second. The process must have no threads either, and must not have used torch.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

_AT_ONCE = 2
"""Processes for the tests of one file."""
_IS_CHILD = "DALLE_TEST_IS_ALONE"


def is_child() -> bool:
    """Whether this is such a process of its own."""
    return _IS_CHILD in os.environ


def report_of(item: pytest.Item, done: dict[str, pytest.TestReport]) -> pytest.TestReport | None:
    """What became of a test of such a file; all those of its file that were chosen run with the first of them.

    Args:
        item: the test.
        done: by name of test, the reports so far; more are added.

    Returns:
        None if the test is to run here: it is not marked, or this is the process of its own.
    """
    if item.get_closest_marker("alone") is None or is_child():
        return None
    if item.nodeid not in done:
        same = [each for each in item.session.items if each.path == item.path]
        run = functools.partial(_run, full=bool(item.config.getoption("--full")))
        with ThreadPoolExecutor() as pool:
            for some in pool.map(run, (same[first::_AT_ONCE] for first in range(_AT_ONCE))):
                done.update(some)
    return done[item.nodeid]


def _run(items: list[pytest.Item], *, full: bool) -> dict[str, pytest.TestReport]:
    if not items:
        return {}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "results.xml")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--junitxml={path}",
            *["--full", "--timeout=0"] * full,
        ]
        environment = {**os.environ, _IS_CHILD: "1"}
        run = subprocess.run(
            [*command, *(item.nodeid for item in items)],
            cwd=items[0].config.rootpath, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        cases = (
            {str(each.get("name")): each for each in ElementTree.parse(path).iter("testcase")} if path.exists() else {}
        )
    said = run.stdout[-4000:] + run.stderr[-4000:]
    return {item.nodeid: _report(item, cases.get(item.name), said) for item in items}


def _report(item: pytest.Item, case: ElementTree.Element | None, said: str) -> pytest.TestReport:
    fault = said if case is None else next((f"{part.text}" for part in case if part.tag in ("failure", "error")), None)
    skipped = None if case is None else case.find("skipped")
    properties = [] if case is None else [(str(p.get("name")), p.get("value")) for p in case.iter("property")]
    outcome = "failed" if fault is not None else "skipped" if skipped is not None else "passed"
    longrepr = fault if skipped is None else (str(item.path), 0, str(skipped.get("message")))
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=longrepr,
        when="call",
        user_properties=properties,
        duration=float(case.get("time", 0)) if case is not None else 0.0,
    )
