"""Flags as img2dataset's users type them; what nobody knows is an error."""

from __future__ import annotations

import re

import pytest

from pipelines.running.flags import parse
from pipelines.work.ingest_options import IngestOptions
from schemas.options import options_json


def parsed(*flags: str) -> tuple[IngestOptions, list[str]]:
    return parse("pipelines.ingest", "manual", IngestOptions, flags)


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], False),
        (["--skip_reencode"], True),
        (["--skip_reencode", "True"], True),
        (["--skip_reencode=true"], True),
        (["--skip_reencode", "False"], False),
        (["--skip_reencode=0"], False),
    ],
)
def test_booleans(flags: list[str], value: bool) -> None:
    """`--flag` and `--flag True|False`."""
    assert value == parsed(*flags)[0].pictures.skip_reencode


def test_dashes_and_underscores_are_the_same() -> None:
    """--image-size is --image_size."""
    assert 64 == parsed("--image-size", "64")[0].pictures.image_size == parsed("--image_size=64")[0].pictures.image_size


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], None),
        (["--allow_private_hosts"], ()),
        (["--allow_private_hosts", "10.0.0.0/8", "8080"], ("10.0.0.0/8", "8080")),
    ],
)
def test_private_hosts(flags: list[str], value: tuple[str, ...] | None) -> None:
    """Absent: none; bare: all; with values: only those."""
    assert value == parsed(*flags)[0].fetching.allow_private_hosts


def test_the_rest_is_beams() -> None:
    """Flags that Beam knows are handed to it, in its own spelling."""
    options, rest = parsed("--runner=FlinkRunner", "--image_size", "64", "--flink_master", "[local]", "--parallelism=2")
    assert 64 == options.pictures.image_size
    assert ["--runner=FlinkRunner", "--flink_master", "[local]", "--parallelism=2"] == rest


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--imagesize", "3"], "unknown flag --imagesize; did you mean --image_size?"),
        (["--xyzzy"], "unknown flag --xyzzy; python -m pipelines.ingest --help shows all"),
        (["--plugh-it=7"], "unknown flag --plugh-it; python -m pipelines.ingest --help shows all"),
        (["stray"], "'stray' follows no flag that takes it; python -m pipelines.ingest --help shows all"),
        (["--runner=DirectRunner", "--paralelism=1"], "unknown flag --paralelism; did you mean --parallelism?"),
    ],
)
def test_unknown_flags_are_an_error(flags: list[str], message: str) -> None:
    """Also beside flags that are known; the job's and Beam's are looked through for the one that was meant."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(*flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output_folder", ""], "--output_folder is empty"),
        (["--language", "xx"], "--language xx: py3langid knows"),
        (["--proxy", "gopher://x"], "expected a URL such as"),
        (["--oom_shard_count", "500"], "expected 1 to 12"),
        (["--max_aspect_ratio", "nan"], "expected a number, found 'nan'"),
        (["--timeout", "inf"], "expected a number, found 'inf'"),
    ],
)
def test_bad_values_fail_first(flags: list[str], message: str) -> None:
    """Before anything starts, with what was expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(*flags)


def test_only_what_changes_bytes_is_fingerprinted() -> None:
    """How fast, from where and where to is not in the manifest; what a picture looks like is."""
    quick, _ = parsed(
        "--processes_count", "7", "--timeout", "1", "--output_folder", "x", "--url_list", "/home/me/l.csv"
    )
    assert options_json(IngestOptions()) == options_json(quick)
    small, _ = parsed("--image_size", "64")
    assert options_json(IngestOptions()) != options_json(small)
    assert not any("/" in str(value) for value in options_json(quick).values())
