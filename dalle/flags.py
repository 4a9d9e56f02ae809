"""Flags of the training and sampling jobs: dataclasses of options become a command line; nothing of Beam's is here."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from schemas.commands.flag_mistakes import check_first_word, flags_of, in_one_sentence

T = TypeVar("T")

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parse(prog: str, manual: str, sizes: Mapping[str, tuple[str, T]], argv: Sequence[str] | None) -> T:
    """A job's options: the first word names a size, whose figures are the defaults of the flags after it.

    Args:
        prog: how the job is called, such as `dalle.train_dvae`.
        manual: its docstring, shown by --help.
        sizes: by name, one sentence and the options, a dataclass of dataclasses.
        argv: the words after the job's name, or None for the process's own.

    Raises:
        ValueError: if a word, a flag or its value is unknown, or the options contradict themselves.
        SystemExit: after --help.
    """
    words = _paths(sys.argv[1:] if argv is None else argv)
    help_command = f"python -m {prog} --help"
    check_first_word(words, sizes, help_command)
    chosen = sizes.get(words[0])
    known = flags_of(type(chosen[1])) if chosen else []
    with in_one_sentence(words, known, f"python -m {prog} {words[0]} --help"):
        return tyro.extras.overridable_config_cli(
            sizes,
            prog=f"python -m {prog}",
            description=paragraphs(manual),
            args=words,
            use_underscores=True,
            registry=registry(),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
        )


def parse_options(prog: str, manual: str, options_type: type[T], argv: Sequence[str] | None) -> T:
    """The options of a job that has no sizes to choose from.

    Args:
        prog: how the job is called, such as `dalle.evaluate`.
        manual: its docstring, shown by --help.
        options_type: a dataclass of dataclasses.
        argv: the words after the job's name, or None for the process's own.

    Raises:
        ValueError: if a word, a flag or its value is unknown, or the options contradict themselves.
        SystemExit: after --help.
    """
    words = _paths(sys.argv[1:] if argv is None else argv)
    with in_one_sentence(words, flags_of(options_type), f"python -m {prog} --help"):
        return tyro.cli(
            options_type,
            prog=f"python -m {prog}",
            description=paragraphs(manual),
            args=words,
            use_underscores=True,
            registry=registry(),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
        )


def _paths(words: Sequence[str]) -> list[str]:
    """The words, with a path for every `file://` address: these jobs read and write on a disk of this machine.

    >>> _paths(["--models", "ours=file:///drawn", "--prior=file:///prior", "s3://bucket/x"])
    ['--models', 'ours=/drawn', '--prior=/prior', 's3://bucket/x']
    """
    return [re.sub(r"^([\w-]+=)?file://(?=/)", r"\1", word) for word in words]


def paragraphs(manual: str) -> str:
    """A docstring for --help, each of its paragraphs in one line; tyro joins only lines that begin with a letter."""
    parts = inspect.cleandoc(manual).split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split()) for part in parts)


def registry() -> ConstructorRegistry:
    """Booleans take `--flag` and `--flag True|False`; numbers say what they expected."""
    rules = ConstructorRegistry()

    @rules.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if info.type is bool:
            return PrimitiveConstructorSpec(
                nargs="*",
                metavar="[True|False]",
                instance_from_str=_truth,
                is_instance=lambda value: isinstance(value, bool),
                str_from_instance=lambda value: [str(value)],
            )
        if info.type in (int, float):
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar="INT" if info.type is int else "FLOAT",
                instance_from_str=_number(info.type),
                is_instance=lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
                str_from_instance=lambda value: [str(value)],
            )
        return None

    return rules


def _truth(words: list[str]) -> bool:
    if len(words) > 1 or (words and words[0].lower() not in _TRUTH):
        raise ValueError(f"expected True or False, found '{' '.join(words)}'")
    return _TRUTH[words[0].lower()] if words else True


def _number(kind: Callable[[str], Any]) -> Callable[[list[str]], Any]:
    def read(words: list[str]) -> Any:
        if not words:
            raise ValueError("expected a number, found nothing")
        try:
            number = kind(words[0])
            if not math.isfinite(number):
                raise ValueError
            return number
        except (ValueError, OverflowError):
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"expected {what}, found '{words[0]}'") from None

    return read
