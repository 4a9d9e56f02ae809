"""Which address a failure is about: the packages of stores say what failed, and seldom where."""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_UNHEARD = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
"""What the system says where nobody answers; what is below 0 is said of a host's name that nobody knows."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _HasUrl(Protocol):
    url: str


_Owner = TypeVar("_Owner", bound=_HasUrl)


@contextlib.contextmanager
def about(address: str) -> Iterator[None]:
    """Whatever fails in the block is about this address, unless it names a file itself."""
    try:
        yield
    except Exception as error:
        if not getattr(error, "filename", None) and not address_of(error):
            error.address = address  # type: ignore[attr-defined]
        raise


def about_its_url(method: Callable[Concatenate[_Owner, _P], _T]) -> Callable[Concatenate[_Owner, _P], _T]:
    """The same for a method of what has a url: its failures are about that."""

    @functools.wraps(method)
    def within(self: _Owner, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with about(self.url):
            return method(self, *args, **kwargs)

    return within


def address_of(error: BaseException) -> str:
    """What an error is about, if anybody said it; nothing else."""
    return str(getattr(error, "address", ""))


def advice_of(error: BaseException) -> str:
    """What to do if an address that was given does not answer."""
    number = getattr(error, "errno", None) or 0
    if not address_of(error) or not (number < 0 or number in _UNHEARD or isinstance(error, TimeoutError)):
        return ""
    return "; nothing answers there: look whether the address is right, or try again later"
