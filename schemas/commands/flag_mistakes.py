"""What is wrong with a command line, in one sentence that names the nearest flag, preset or choice.

tyro draws a box of up to fifty lines, with every flag of every preset whose name is somewhat like the one that was
typed. Its hook for mistakes (`tyro._errors`, experimental) gives what was found as data; a mistake that is not known
here, as of a later tyro, is answered by tyro itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, get_type_hints


def flags_of(options_type: type[Any]) -> list[str]:
    """The flags that a dataclass of dataclasses of options becomes, each with its two dashes."""
    import tyro  # a command that is asked for nothing wrong has it already

    hints = get_type_hints(options_type, include_extras=True)
    names: list[str] = []
    for field in dataclasses.fields(options_type):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            names += flags_of(kind)  # type: ignore[arg-type]  # annotations name classes, not instances
        elif tyro.conf.Positional not in getattr(kind, "__metadata__", ()):
            names.append(f"--{field.name}")
    return names


def nearest(word: str, known: Iterable[str]) -> str:
    """The one that was meant, as the end of a sentence; nothing if none is near.

    Args:
        word: as it was typed.
        known: what it could have been.
    """
    typed = word.partition("=")[0].replace("-", "_").lower()
    by_spelling = {name.replace("-", "_").lower(): name for name in known}
    near = get_close_matches(typed, by_spelling, n=1, cutoff=0.65)
    return f"; did you mean {by_spelling[near[0]]}?" if near else ""


def takes_a_word(options_type: type[Any]) -> bool:
    """Whether a word that follows no flag is taken, as the folder to audit is."""
    import tyro

    hints = get_type_hints(options_type, include_extras=True).values()
    return any(tyro.conf.Positional in getattr(kind, "__metadata__", ()) for kind in hints)


def unknown_word(words: Sequence[str], known: Iterable[str], help_command: str, *, takes_one: bool = False) -> str:
    """The sentence on the first of some words that belong to no flag.

    Args:
        words: at least one, in the order in which they were typed.
        known: the command's flags.
        help_command: what prints all of them.
        takes_one: whether the command takes one word that follows no flag, and was given it.
    """
    word = words[0]
    if word.startswith("-"):
        flag = word.partition("=")[0]
        return f"unknown flag {flag}{nearest(flag, known) or f'; {help_command} shows all'}"
    if takes_one:
        return f"'{word}' is one word too many; give one at a time, see {help_command}"
    return f"'{word}' follows no flag that takes it; {help_command} shows all"


def check_first_word(words: Sequence[str], known: Collection[str], help_command: str) -> None:
    """Check that a command begins with one of the words that it must begin with, or asks for help.

    Args:
        words: after the command's name.
        known: what the first may be.
        help_command: what prints them.

    Raises:
        ValueError: if it does not.
    """
    first = words[0] if words else ""
    if first in known or first in ("-h", "--help"):
        return
    found = f"found '{first}'" if first else "found nothing"
    advice = nearest(first, known) or f"; {help_command} says what they are"
    raise ValueError(f"expected {any_of(known)} as the first word, {found}{advice}")


def check_no_empty(words: Sequence[str], known: Iterable[str]) -> None:
    """Check that no flag was given an empty word, as of a shell's variable that is not set.

    It would be taken for the folder where the command runs, or for a flag that was not given.

    Args:
        words: after the command's name.
        known: the command's flags.

    Raises:
        ValueError: naming the flag.
    """
    flags = {*known}
    for word, after in zip_longest(words, words[1:]):
        flag, has_value, value = word.partition("=")
        if flag.replace("-", "_").replace("__", "--", 1) in flags and (value if has_value else after) == "":
            raise ValueError(f"{flag} is empty; give it a value, or leave it out")


@contextlib.contextmanager
def in_one_sentence(words: Sequence[str], known: Iterable[str], help_command: str) -> Iterator[None]:
    """What is wrong with empty words, and what tyro finds wrong in here, is raised as one sentence.

    Args:
        words: after the command's name.
        known: the command's flags.
        help_command: what prints all of them.

    Raises:
        ValueError: with the sentence.
    """
    check_no_empty(words, known)
    from tyro import _errors

    def raise_sentence(event: _errors.ParseErrorEvent) -> None:
        if sentence := _sentence(event, known, help_command):
            raise ValueError(sentence)

    with _errors.on_parse_error(raise_sentence):
        yield


def _sentence(event: Any, known: Iterable[str], help_command: str) -> str:
    from tyro import _errors

    match event:
        case _errors.UnrecognizedArgs():
            return unknown_word(event.tokens, known, help_command)
        case _errors.BadValue():
            return f"{_flag(event.argument)}: a value is missing; {help_command} shows what it takes"
        case _errors.InvalidChoice():
            choices = sorted(choice for choice in event.choices if choice != "None")
            return f"{_flag(event.argument)} {event.value}: expected {any_of(choices)}{nearest(event.value, choices)}"
        case _errors.InstantiationFailure():
            return f"{_flag(event.argument)}: {_no_number(event) or event.message}" if event.argument else event.message
        case _errors.MissingArgs():
            missing = ", ".join(_flag(each.arg) for each in event.missing_arguments)
            return f"{missing} is missing; {help_command} shows what it takes"
    return ""


_NUMBERS: Mapping[str, tuple[Callable[[str], float], str]] = {
    "INT": (int, "a whole number"),
    "FLOAT": (float, "a number"),
}
"""By what tyro calls them in a flag's help."""


def _no_number(event: Any) -> str:
    """Of a flag for numbers, of which there may be several or none: the first word that is none; "" of other flags.

    tyro lists what each type that is allowed says of all words together.
    """
    kinds = [_NUMBERS[kind] for kind in _NUMBERS if kind in str(event.argument.lowered.metavar)]
    typed = re.search(r"(?:from|arguments:?) (\[.*?\])(?:\.|$| into)", event.message, re.MULTILINE)
    if not typed or not kinds:
        return ""
    for word in re.findall(r"'([^']*)'", typed[1]):
        of, what = kinds[0]
        try:
            if not math.isfinite(of(word)):
                raise ValueError
        except (ValueError, OverflowError):
            return f"expected {what}, found '{word}'"
    return ""


def any_of(words: Iterable[str]) -> str:
    """Words as the sentence has them: a, b or c."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _flag(argument: Any) -> str:
    if argument.is_positional():
        return str(argument.lowered.metavar)
    return str(next(name for name in argument.lowered.name_or_flags if name.startswith("--")))
