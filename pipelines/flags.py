"""Flags from options: a job's dataclasses become its command line, what is left is Beam's or an error."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import tyro
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

T = TypeVar("T")

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parse(prog: str, manual: str, kind: type[T], argv: Sequence[str] | None) -> tuple[T, list[str]]:
    """A job's options from its flags, and the flags that are Beam's.

    Args:
        prog: how the job is called, such as `pipelines.ingest`.
        manual: its docstring, shown by --help.
        kind: its options, a dataclass of dataclasses.
        argv: the flags, or None for the process's own.

    Raises:
        ValueError: if a value is bad, or neither the job nor Beam knows a flag.
        SystemExit: after --help, or with 2 if a flag's value cannot be read.
    """
    options, rest = tyro.cli(
        kind,
        prog=f"python -m {prog}",
        description=manual,
        args=list(sys.argv[1:] if argv is None else argv),
        return_unknown_args=True,
        use_underscores=True,
        registry=_registry(),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
    )
    _check_beam_knows(rest, prog)
    return options, rest


class _BeamParser(_BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"Beam: {message}")


def _check_beam_knows(flags: list[str], prog: str) -> None:
    parser = _BeamParser(add_help=False, allow_abbrev=False)
    for kind in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in kind.__dict__:
            kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        raise ValueError(f"unknown flag {unknown[0]}: neither this job nor Beam knows it; see python -m {prog} --help")


def _registry() -> ConstructorRegistry:
    """Booleans take `--flag` and `--flag True|False`; numbers say what they expected."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
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

    return registry


def _truth(words: list[str]) -> bool:
    if len(words) > 1 or (words and words[0].lower() not in _TRUTH):
        raise ValueError(f"expected True or False, found '{' '.join(words)}'")
    return _TRUTH[words[0].lower()] if words else True


def _number(kind: Callable[[str], Any]) -> Callable[[list[str]], Any]:
    def read(words: list[str]) -> Any:
        try:
            number = kind(words[0])
            if not math.isfinite(number):
                raise ValueError
            return number
        except (ValueError, OverflowError):
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"expected {what}, found '{words[0]}'") from None

    return read
