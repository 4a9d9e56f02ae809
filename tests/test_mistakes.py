"""Every command answers every mistake on its command line in one sentence, and writes nothing.

What is wrong with folders and datasets is in `tests/test_mistakes_about_folders.py`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

from dalle.contrastive.options import TrainContrastiveOptions
from dalle.detectors.options import TrainDetectorOptions
from dalle.drawing.options import GenerateOptions
from dalle.dvae.options import TrainDVAEOptions
from dalle.evaluation.options import EvaluateOptions
from dalle.evaluation.study.asking import AskOptions
from dalle.evaluation.study.counting import CountOptions
from dalle.prior.options import TrainPriorOptions
from dalle.scene_judge.options import TrainJudgeOptions
from pipelines.audit import AuditOptions
from pipelines.copies.options import DedupOptions
from pipelines.vocab import VocabOptions
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.ingest_options import IngestOptions
from schemas.commands.flag_mistakes import flags_of, unknown_word


@dataclass(frozen=True)
class Tried:
    """A command, as far as a mistake in its words needs to know it."""

    module: str
    options: type
    first: str = ""
    """The preset, or what else comes first."""
    number: str = "--seed"
    """A flag that takes a whole number."""
    choice: str = "--incremental_mode"
    """A flag that takes one of some words."""
    choices: str = "incremental, overwrite or renew"
    firsts: str = ""
    """What the first word may be, as a sentence has it."""
    takes_words: bool = False
    """Whether a word alone is what it draws, or audits."""

    def help(self) -> str:
        """The command that shows all flags."""
        return " ".join(filter(None, ("python -m", self.module, self.first, "--help")))


_JOB_MODES = "extend, incremental, overwrite, renew or retry"
COMMANDS = [
    Tried("pipelines.ingest", IngestOptions, number="--image_size", choices=_JOB_MODES),
    Tried("pipelines.dedup", DedupOptions, number="--processes_count"),
    Tried("pipelines.vocab", VocabOptions, number="--vocab_size"),
    Tried("pipelines.encode", EncodeOptions, number="--crops_per_image"),
    Tried("pipelines.audit", AuditOptions, number="--sample", choice="", takes_words=True),
    Tried("dalle.train_dvae", TrainDVAEOptions, "tiny", firsts="full, small, drawings or tiny"),
    Tried("dalle.train_prior", TrainPriorOptions, "tiny", firsts="full, large, medium, base, small or tiny"),
    Tried("dalle.train_contrastive", TrainContrastiveOptions, "tiny", firsts="full, base, small or tiny"),
    Tried("dalle.train_detector", TrainDetectorOptions, "tiny", firsts="small or tiny"),
    Tried("dalle.train_judge", TrainJudgeOptions, "tiny", firsts="small or tiny"),
    Tried("dalle.generate", GenerateOptions, takes_words=True),
    Tried("dalle.evaluate", EvaluateOptions, choices="incremental or overwrite"),
    Tried("dalle.study", AskOptions, "ask", choice="", firsts="ask or count"),
    Tried("dalle.study", CountOptions, "count", number="--votes", choice="", firsts="ask or count"),
]
EACH = [pytest.param(each, id=f"{each.module} {each.first}".strip()) for each in COMMANDS]
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Refused:
    """The sentence with which a command refuses some words, having done nothing."""
    monkeypatch.chdir(tmp_path)

    def run(command: Tried, *words: str, first: str | None = None) -> str:
        begins = command.first if first is None else first
        code = import_module(command.module).main([*filter(None, [begins]), *words])
        printed = capsys.readouterr()
        assert 2 == code
        assert "" == printed.out
        assert printed.err.startswith(f"{command.module}: ")
        assert 1 == printed.err.count("\n"), printed.err
        assert not list(tmp_path.iterdir())
        return str(printed.err.removeprefix(f"{command.module}: ").rstrip("\n"))

    return run


@pytest.mark.parametrize("command", EACH)
def test_an_unknown_flag_names_the_nearest(command: Tried, refused: Refused) -> None:
    """Or the command that shows all, if none is near."""
    for flag in (command.number, *filter(None, [command.choice])):
        for typed in (flag[:-2] + flag[-1], flag[:4] + flag[3:], flag.replace("_", "").upper()):
            if typed.lower() != flag:
                assert f"unknown flag {typed}; did you mean {flag}?" == refused(command, typed, "3")
    assert f"unknown flag --xyzzy; {command.help()} shows all" == refused(command, "--xyzzy=plugh")


@pytest.mark.parametrize("command", EACH)
def test_a_word_too_many(command: Tried, refused: Refused) -> None:
    """A word that belongs to no flag is not taken for anything."""
    if command.module == "pipelines.audit":
        sentence = f"'stray' is one word too many; give one at a time, see {command.help()}"
        assert sentence == refused(command, "folder", "stray")
    elif not command.takes_words:
        assert f"'stray' follows no flag that takes it; {command.help()} shows all" == refused(command, "stray")


@pytest.mark.parametrize("command", EACH)
def test_a_value_that_is_none(command: Tried, refused: Refused) -> None:
    """The flag, what was found, what was expected."""
    assert f"{command.number}: expected a whole number, found 'many'" == refused(command, command.number, "many")
    assert f"{command.number}: expected a whole number, found '1.5'" == refused(command, f"{command.number}=1.5")
    sentence = f"{command.number}: a value is missing; {command.help()} shows what it takes"
    assert sentence == refused(command, command.number)
    assert sentence == refused(command, command.number, command.number, "1")
    assert re.match(rf"{command.number} -1\S*: expected ", refused(command, command.number, "-1"))


def types_of(options: type) -> dict[str, str]:
    """Of each kind of number that a command's flags take, several or perhaps none, one flag, by the kind."""
    kinds: dict[str, str] = {}
    for field in dataclasses.fields(options):
        kind = get_type_hints(options)[field.name]
        if dataclasses.is_dataclass(kind):
            kinds |= types_of(kind)  # type: ignore[arg-type]
        elif re.fullmatch(r"(tuple\[)?(<class ')?(int|float)\b[^|]*(\| None)?", str(kind)):
            kinds[str(kind)] = f"--{field.name}"
    return kinds


@pytest.mark.parametrize("command", EACH)
def test_a_number_that_is_none(command: Tried, refused: Refused) -> None:
    """In the same words where several may be given, or none."""
    for kind, flag in types_of(command.options).items():
        what = "a whole number" if "int" in kind else "a number"
        several = kind.replace(", ...", "").count(",") + 1
        for value in ("many", "nan"):
            assert f"{flag}: expected {what}, found '{value}'" == refused(command, flag, *[value] * several)


@pytest.mark.parametrize("command", EACH)
def test_an_empty_value(command: Tried, refused: Refused) -> None:
    """As of a variable that is not set: no flag takes it for the folder it is in, or for none given."""
    for flag in flags_of(command.options):
        for words in ((flag, ""), (f"{flag}=",), (flag.replace("_", "-").replace("---", "--"), "", "--seed", "1")):
            said = refused(command, *words)
            assert f"{words[0].rstrip('=')} is empty; give it a value, or leave it out" == said


@pytest.mark.parametrize("command", [each for each in EACH if each.values[0].choice])
def test_a_choice_that_is_none(command: Tried, refused: Refused) -> None:
    """All choices, in alphabetical order whenever they are asked for, and the nearest."""
    beginning = f"{command.choice} overwite: expected {command.choices}"
    assert f"{beginning}; did you mean overwrite?" == refused(command, command.choice, "overwite")
    assert f"{command.choice} xyzzy: expected {command.choices}" == refused(command, command.choice, "xyzzy")


@pytest.mark.parametrize("command", [each for each in EACH if each.values[0].firsts])
def test_a_first_word_that_is_none(command: Tried, refused: Refused) -> None:
    """A preset that is misspelt, forgotten, or comes after a flag."""
    help_command = f"python -m {command.module} --help"
    beginning = f"expected {command.firsts} as the first word, found"
    typo = command.first[0] + command.first[2:]
    assert f"{beginning} '{typo}'; did you mean {command.first}?" == refused(command, first=typo)
    flag = command.number
    assert f"{beginning} '{flag}'; {help_command} says what they are" == refused(
        command, flag, "3", command.first, first=""
    )


@pytest.mark.parametrize("command", EACH)
def test_whichever_letter_of_whichever_flag(command: Tried) -> None:
    """A letter that is left out, doubled, or swapped with the next: a flag is named, nearly always the one meant."""
    flags = flags_of(command.options)
    meant = tried = 0
    for flag in flags:
        for at in range(3, len(flag) - 1):
            left_out, doubled = flag[:at] + flag[at + 1 :], flag[:at] + flag[at] + flag[at:]
            swapped = flag[:at] + flag[at + 1] + flag[at] + flag[at + 2 :]
            for typed in {left_out, doubled, swapped} - {*flags}:
                sentence = unknown_word([typed], flags, command.help())
                assert "; did you mean --" in sentence
                meant, tried = meant + sentence.endswith(f"; did you mean {flag}?"), tried + 1
    assert meant > 0.99 * tried


@pytest.mark.parametrize("module", ["pipelines.ingest", "dalle.study"])
def test_a_real_command_line(module: str, tmp_path: Path) -> None:
    """As a user has it: exit code 2, one line, whatever is typed; the same line every time."""
    words = ["--dataset", "laoin"] if module == "pipelines.ingest" else ["aks"]
    runs = [
        subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONHASHSEED": seed, "PATH": ""},
        )
        for seed in ("1", "2")
    ]
    assert [2, 2] == [run.returncode for run in runs]
    assert runs[0].stderr == runs[1].stderr
    assert "did you mean laion?" in runs[0].stderr or "did you mean ask?" in runs[0].stderr
    assert 1 == len(runs[0].stderr.splitlines())
    assert not list(tmp_path.iterdir())


def _gone() -> int:
    """The end of a pipe whose other end was closed, as by `| head -1`."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


NOBODY: dict[str, Callable[[], int | None]] = {
    ">&-": lambda: None,
    "| true": _gone,
    "> /dev/full": lambda: os.open("/dev/full", os.O_WRONLY),
}


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[str(each.id) for each in EACH])
def test_nobody_reads_the_help(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Each command in one manner, each manner by several commands: no word of it, and no failure at the end."""
    command, where = COMMANDS[number], [*NOBODY][number % len(NOBODY)]
    descriptor = NOBODY[where]()
    stream = None if descriptor is None else os.fdopen(descriptor, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        import_module(command.module).main([*filter(None, [command.first]), "--help"])
    if stream is not None:
        stream.close()  # as Python does in the end, and fails if it cannot write what is left
    assert (0, "") == (ended.value.code, capsys.readouterr().err)


def test_nobody_reads_a_real_command() -> None:
    """A shell's words for it: the help, and a mistake, which is said although the output is closed."""
    root = Path(__file__).parent.parent
    for words, code, said in ((["ask", "--help"], 0, ""), (["aks"], 2, "dalle.study: expected ask or count")):
        runs = [
            subprocess.Popen(
                ["bash", "-c", f'set -o pipefail; "$@" {where}', "-", sys.executable, "-m", "dalle.study", *words],
                cwd=root, stderr=subprocess.PIPE, text=True,
            )
            for where in NOBODY
        ]  # fmt: skip
        for run in runs:
            err = run.communicate(timeout=120)[1]
            assert (code, bool(said)) == (run.returncode, bool(err)), err
            assert err.startswith(said)
            assert len(err.splitlines()) <= 1
