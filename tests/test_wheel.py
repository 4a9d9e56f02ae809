"""The wheel brings the package whole, with a command for each job and training."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from schemas.commands.installed import MODULES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a fresh environment with the wheel in it, and this one's libraries beside."""
    built, home = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("fresh")
    source = tmp_path_factory.mktemp("source") / "project"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, files.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source], check=True)
    venv.create(home, with_pip=False, symlinks=True)
    packages = next(home.glob("lib/python*/site-packages"))
    wheels = list(built.glob("*.whl"))
    subprocess.run([*pip, "--python", home / "bin/python", "install", "--no-deps", *wheels], check=True)
    # libraries of this environment, without the links to this checkout that an editable install leaves there
    beside = packages / "beside"
    beside.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("__editable__", "dalle_pipelines")) and entry.suffix != ".pth":
            (beside / entry.name).symlink_to(entry)
    (packages / "beside.pth").write_text(f"{beside}\n")
    return home / "bin"


def test_a_command_for_each_module() -> None:
    """As pyproject.toml names them; each is a job or a training."""
    assert PROJECT["project"]["scripts"] == dict.fromkeys(MODULES, "schemas.commands.installed:run")
    assert {*MODULES.values()} == {
        f"{package}.{path.stem}"
        for package in ("pipelines", "dalle")
        for path in (ROOT / package).glob("*.py")
        if "begin_guarded(" in path.read_text()
    }


def test_everything_is_in_the_wheel(installed: Path) -> None:
    """Each module, weights and pages too, as they are here."""
    packages = next((installed.parent / "lib").glob("python*/site-packages"))
    files = subprocess.run(
        ["git", "ls-files", "-z", "dalle", "pipelines", "schemas"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, files.stdout.decode().split("\0")):
        assert (packages / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_commands_run(installed: Path, tmp_path: Path) -> None:
    """Away from the project: as `python -m` of their modules does, and by the same name."""
    for name, words in (("dalle-vocab", ["--vocab_siz", "3"]), ("dalle-study", ["aks"])):
        ended = subprocess.run([installed / name, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert 2 == ended.returncode
        assert ended.stderr.startswith(f"{MODULES[name]}: ")
        assert "did you mean" in ended.stderr
    pairs = ["--url_list", "list.csv", "--output_folder", "pairs", "--processes_count", "2"]
    (tmp_path / "list.csv").write_text("url,caption\n" + "ftp://a.example/b.jpg,a red kite above a house\n" * 3)
    ended = subprocess.run(
        [installed / "dalle-ingest", *pairs], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 3 == ended.returncode, ended.stderr
    assert (tmp_path / "pairs" / "manifest.json").is_file()


def test_importing_the_package_takes_no_time(installed: Path, tmp_path: Path) -> None:
    """It imports nothing: neither torch nor anything else that is not Python's own."""
    code = "import sys; before = {*sys.modules}; import dalle; print(sorted({*sys.modules} - before))"
    ended = subprocess.run([installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "['dalle']" == ended.stdout.strip()
