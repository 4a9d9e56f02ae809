"""Flags from options: a job's dataclasses become its command line, what is left is Beam's or an error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeVar

import tyro
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from dalle.flags import paragraphs, registry
from schemas.commands.flag_mistakes import flags_of, in_one_sentence, takes_a_word, unknown_word

T = TypeVar("T")


def parse(prog: str, manual: str, kind: type[T], argv: Sequence[str] | None) -> tuple[T, list[str]]:
    """A job's options from its flags, and the flags that are Beam's.

    Args:
        prog: how the job is called, such as `pipelines.ingest`.
        manual: its docstring, shown by --help.
        kind: its options, a dataclass of dataclasses.
        argv: the flags, or None for the process's own.

    Raises:
        ValueError: if a value is bad, or neither the job nor Beam knows a flag.
        SystemExit: after --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    known, help_command = flags_of(kind), f"python -m {prog} --help"
    with in_one_sentence(words, known, help_command):
        options, rest = tyro.cli(
            kind,
            prog=f"python -m {prog}",
            description=paragraphs(manual),
            args=words,
            return_unknown_args=True,
            use_underscores=True,
            registry=registry(),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
        )
    _check_beam_knows(rest, known, help_command, takes_one=takes_a_word(kind))
    return options, rest


class _BeamParser(_BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"Beam: {message}")


def _check_beam_knows(flags: list[str], known: list[str], help_command: str, *, takes_one: bool) -> None:
    _load_runner(flags)
    parser = _beams_parser()
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        beams = _flags_of(parser)
        raise ValueError(unknown_word(unknown, [*known, *beams], help_command, takes_one=takes_one))


def beams_flags() -> list[str]:
    """Beam's own flags, each with its two dashes."""
    return _flags_of(_beams_parser())


def _beams_parser() -> _BeamParser:
    parser = _BeamParser(add_help=False, allow_abbrev=False)
    for kind in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in kind.__dict__:
            kind._add_argparse_args(parser)
    return parser


def _flags_of(parser: _BeamParser) -> list[str]:
    return [name for name in parser._option_string_actions if name.startswith("--")]


def _load_runner(flags: list[str]) -> None:
    """Import a runner that is given by its full name, as Dask's has to be: flags of its own come with its module.

    Raises:
        ImportError: if it or what it needs is not installed.
    """
    parser = _BeamParser(add_help=False, allow_abbrev=False)
    StandardOptions._add_argparse_args(parser)
    known, _ = parser.parse_known_args(flags)
    module = (known.runner or "").rpartition(".")[0]
    if module:
        try:
            importlib.import_module(module)
        except AttributeError:  # Beam's module for Dask fails so where Dask is not installed
            raise ImportError(f"--runner {known.runner}: what it needs is missing, such as apache-beam[dask]") from None
