"""What a real Flink is made of, fetched by name and kept: a Java, Beam's job server, Flink's own libraries.

    python -m tests.flink.parts

fetches what is missing into the cache and says what it has, or in one sentence what is not to be had. The job server is
Beam's (`org.apache.beam:beam-runners-flink-…-job-server`), of the version that is installed for Python. Where a
repository does not serve that file, the same server is put together from its parts, `beam-runners-flink-…` and what it
depends on, of the newest version that is served whole; what ran is named in every report.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dalle-pipelines/flink"

FLINK = {"1.19": "1.19.3", "1.20": "1.20.5"}
"""The release that is started, by the version that Beam's runner names."""

_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_PACKAGES = {"java": "openjdk-17-jre-headless", "mvn": "maven"}
_PATIENCE = 900.0


class Missing(RuntimeError):
    """Something that cannot be had here; what it says is for the user."""


@dataclass(frozen=True)
class JobServer:
    """Beam's program that turns a pipeline into a Flink job."""

    jar: str
    flink: str
    """The version of Flink it speaks to, such as 1.20."""
    what: str
    """Its Maven coordinates."""


def job_server() -> JobServer:
    """The job server, fetched if it is not there yet.

    Raises:
        Missing: naming what cannot be had.
    """
    _command("java")
    if given := os.environ.get("FLINK_JOB_SERVER_JAR"):
        return JobServer(given, os.environ.get("FLINK_VERSION", "1.20"), given)
    kept = CACHE / "job_server.json"
    if kept.exists() and Path((found := JobServer(**json.loads(kept.read_text()))).jar).exists():
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    whole = f"org.apache.beam:beam-runners-flink-1.20-job-server:{version('apache-beam')}"
    parts = ("org.apache.beam:beam-runners-flink-1.19:2.62.0", "org.slf4j:slf4j-simple:1.7.30")
    said = []
    for flink, coordinates in (("1.20", (whole,)), ("1.19", parts)):
        try:
            jars = _fetch(coordinates, CACHE / coordinates[0].replace(":", "-"), alone=coordinates == (whole,))
        except Missing as error:
            said.append(str(error))
            continue
        jar = jars[0] if len(jars) == 1 else _in_one(jars, CACHE / f"job-server-{flink}.jar")
        made = JobServer(str(jar), flink, coordinates[0])
        kept.write_text(json.dumps(asdict(made)))
        return made
    raise Missing("Beam's Flink job server is not to be had: " + "; ".join(said) + "; FLINK_JOB_SERVER_JAR names a jar")


def flink_libraries(flink: str) -> Path:
    """The folder of Flink's jars, out of PyPI's apache-flink-libraries, fetched if it is not there yet.

    Raises:
        Missing: if the package cannot be had.
    """
    if given := os.environ.get("FLINK_LIBRARIES"):
        return Path(given)
    package = f"apache-flink-libraries=={FLINK[flink]}"
    folder = CACHE / f"flink-{FLINK[flink]}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--dest", place, package], f"the package {package}")
        unpacked = Path(place) / "jars"
        unpacked.mkdir()
        for name, data in _jars_of(next(Path(place).glob("apache*flink*"))):
            (unpacked / name).write_bytes(data)
        unpacked.rename(folder)
    return folder


def _jars_of(package: Path) -> list[tuple[str, bytes]]:
    """What a cluster needs of the package: Flink itself, its logging, and the tool that works out memory."""
    wanted = re.compile(r"(?:^|/)(?:lib/(?:flink-dist|log4j)-[^/]*|bin/bash-java-utils)\.jar$")
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return [(Path(n).name, wheel.read(n)) for n in wheel.namelist() if wanted.search(n)]
    with tarfile.open(package) as sdist:
        members = [member for member in sdist if member.isfile() and wanted.search(member.name)]
        return [(Path(m.name).name, file.read()) for m in members if (file := sdist.extractfile(m)) is not None]


def _fetch(coordinates: Sequence[str], folder: Path, *, alone: bool) -> list[Path]:
    """The jars of some artifacts, and of all they depend on unless they stand alone."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            (Path(place) / "pom.xml").write_text(_pom(coordinates))
            maven = [_command("mvn"), "--batch-mode", "--quiet", "--file", f"{place}/pom.xml"]
            more = ["-DexcludeTransitive=true"] if alone else ["-DincludeScope=runtime"]
            goal = [f"{_DEPENDENCY}:copy-dependencies", f"-DoutputDirectory={place}/jars"]
            _run([*maven, *goal, *more], f"the Maven artifact {coordinates[0]}")
            (Path(place) / "jars").rename(folder)
    return sorted(folder.glob("*.jar"))


def _pom(coordinates: Sequence[str]) -> str:
    parts = [dict(zip(("groupId", "artifactId", "version"), each.split(":"), strict=True)) for each in coordinates]
    inner = [
        "<dependency>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in part.items()) + "</dependency>"
        for part in parts
    ]
    head = "<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>"
    return f"<project>{head}<dependencies>{''.join(inner)}</dependencies></project>"


def _in_one(jars: Sequence[Path], jar: Path) -> Path:
    """A jar that names the others, since Beam starts its job server with `java -jar`."""
    line = ("Class-Path: " + " ".join(each.as_uri() for each in jars)).encode()
    folded = [line[:70], *(b" " + line[at : at + 69] for at in range(70, len(line), 69))]
    manifest = b"Manifest-Version: 1.0\nMain-Class: " + _MAIN.encode() + b"\n" + b"\n".join(folded) + b"\n\n"
    with zipfile.ZipFile(jar, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", manifest)
    return jar


def _command(name: str) -> str:
    """A program's path; Debian's package of it is installed if it is missing and we may."""
    if (found := shutil.which(name)) is not None:
        return found
    package = _PACKAGES[name]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Missing(f"{name} is missing and cannot be installed from here; install it (on Debian: {package})")
    _run(["apt-get", "update", "--quiet"], f"the list of Debian's packages, to install {package},")
    _run(["apt-get", "install", "--yes", "--no-install-recommends", package], f"Debian's package {package}")
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is missing though {package} was installed; put it on the PATH")
    return found


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what} did not arrive within {_PATIENCE:.0f} s; try again") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line or "error" in line]
        why = (lines or ["no reason given"])[0].replace("[ERROR] ", "")
        why = re.sub(r"https?://\S+", "…", re.sub(r" -> \[Help 1\]$", "", why))
        raise Missing(f"{what} cannot be had here ({why[-300:]})")


def main() -> int:
    """Fetch all, say what there is."""
    try:
        server = job_server()
        print(f"job server: {server.what}")
        if "--only-job-server" not in sys.argv:
            print(f"Flink: {FLINK[server.flink]} in {flink_libraries(server.flink)}")
    except Missing as error:
        print(f"no Flink here: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
