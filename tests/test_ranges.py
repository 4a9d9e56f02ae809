"""No number that an option can be given is taken without a bound: it is refused before anything starts."""

from __future__ import annotations

import dataclasses
import inspect
import math
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import dalle
import pipelines

BEYOND = (math.nan, math.inf, -math.inf, 1e300, -1e300, 10**40, -(10**40))


def options_classes() -> Iterator[type[Any]]:
    """All dataclasses of options and of networks' sizes, those of the built-in presets' types too."""
    for package in (pipelines, dalle):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.ispkg or module.name.rpartition(".")[2].startswith("__"):
                continue
            for _, found in inspect.getmembers(import_module(module.name), inspect.isclass):
                if (
                    found.__module__ == module.name
                    and dataclasses.is_dataclass(found)
                    and found.__name__.endswith(("Options", "Config"))
                ):
                    yield found


def numbers_of(options: type[Any]) -> Iterator[tuple[str, bool]]:
    """Fields that hold a number, and whether they hold several."""
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        kinds = {hints[field.name], *get_args(hints[field.name])}
        if field.init and kinds & {int, float} and bool not in kinds:
            yield field.name, get_origin(hints[field.name]) is tuple


CASES = [
    pytest.param(options, name, several, id=f"{options.__name__}.{name}")
    for options in options_classes()
    for name, several in numbers_of(options)
]


@pytest.mark.parametrize(("options", "name", "several"), CASES)
def test_no_number_is_taken_without_a_bound(options: type[Any], name: str, several: bool) -> None:
    """Not a number, infinity and what no machine could do are a sentence that names the option."""
    default = next(field.default for field in dataclasses.fields(options) if field.name == name)
    for number in BEYOND:
        with pytest.raises(ValueError, match=name):
            options(**{name: (number,) * max(1, len(default)) if several else number})


def test_all_options_are_seen() -> None:
    """The law is over something: every command's."""
    names = {options.__name__ for options in options_classes()}
    assert {"IngestOptions", "FetchOptions", "DedupOptions", "EncodeOptions", "LoopOptions", "DVAEConfig"} <= names
    assert len(CASES) > 60
