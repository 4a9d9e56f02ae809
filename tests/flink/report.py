"""What was run on which Flink, by its own job ids, for a program to read and for a person."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass
class Report:
    """Kept up to date on disk after every step, so that a run that is stopped has said what it did."""

    folder: Path
    job_server: str
    flink: str
    runs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, job_server: str, flink: str) -> Report:
        """What an earlier call with the same Flink wrote there is kept, until it is run again."""
        report = cls(folder, job_server, flink)
        if (folder / "report.json").exists():
            said = json.loads((folder / "report.json").read_text())
            if (said["beam_job_server"], said["flink"]) == (job_server, flink):
                report.runs = said["runs"]
        return report

    def add(self, **run: Any) -> None:
        """One more run."""
        same = ("source", "job", "cluster", "parallelism")
        self.runs = [old for old in self.runs if any(old[name] != run[name] for name in same)] + [run]
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "beam_for_python": version("apache-beam"),
            "beam_job_server": self.job_server,
            "flink": self.flink,
            "python": platform.python_version(),
            "runs": self.runs,
        }
        (self.folder / "report.json").write_text(json.dumps(said, indent=1) + "\n")
        (self.folder / "report.md").write_text(self._readable())

    def _readable(self) -> str:
        head = f"Flink {self.flink}, job server {self.job_server}, Beam {version('apache-beam')} for Python\n\n"
        rows = [
            "| source | job | cluster | parallelism | Flink's job ids | files compared | same as local |",
            "|" + "---|" * 7,
        ]
        for run in self.runs:
            ids = ", ".join(
                f"`{name}` {'' if said is None else said['state']}"
                + (f", restarts {said['restarts']}" if said and said["restarts"] else "")
                for name, said in run["jobs"].items()
            )
            compared, same = run["files"], "yes" if run["same"] else "NO"
            rows.append(
                f"| {run['source']} | {run['job']} | {run['cluster']} | {run['parallelism']} | {ids} | {compared} | {same} |"
            )
        notes = [f"\n{run['source']}, {run['job']}: {run['note']}" for run in self.runs if run.get("note")]
        return head + "\n".join([*rows, *notes]) + "\n"
