"""What a runner says when it gives up is a text with traces; of it remains the sentence that is the cause."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.running.causes import cause_of

STEP = " [while running 'refuse by caption, fetch, decode, refuse by shape, store']"
TRACE = 'Traceback (most recent call last):\n  File "a.py", line 3, in work\n    open(name)\n'
CHAIN = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("OSError: [Errno 27] File too large" + STEP, "File too large; ulimit -f says how large a file may become"),
        (TRACE + "OSError: [Errno 28] No space left on device: '/a b'" + STEP, "/a b: No space left on device"),
        (TRACE + "OSError: [Errno 5] x" + CHAIN + TRACE + "RuntimeError: OSError: [Errno 5] x" + STEP, "x"),
        (TRACE + "ValueError: /out/00000_stats.json: was damaged" + STEP + "\n", "/out/00000_stats.json: was damaged"),
        (TRACE + 'botocore.exceptions.EndpointConnectionError: no endpoint: "http://x"', 'the store failed: EndpointConnectionError: no endpoint: "http://x"'),
        (TRACE + "MemoryError", "MemoryError"),
        ("a worker process died, as it does when memory runs out: fewer processes need less", "a worker process died, as it does when memory runs out: fewer processes need less"),
        ("--dvae x: is not a dVAE", "--dvae x: is not a dVAE"),
        ("", "RuntimeError"),
    ],
)  # fmt: skip
def test_of_each_kind(said: str, cause: str) -> None:
    """Of the system, of ours, of a store, of Beam; alone, in a trace, in a chain of traces."""
    assert cause == cause_of(RuntimeError(said))


@given(st.text(min_size=1, max_size=300), st.sampled_from([ValueError, OSError, KeyError, RuntimeError, TimeoutError]))
def test_never_a_trace(text: str, kind: type[Exception]) -> None:
    """Whatever an exception says, one line of it is left, and of its trace nothing."""
    try:
        raise kind(text)
    except Exception:  # noqa: BLE001
        cause = cause_of(RuntimeError(traceback.format_exc() + STEP))
    assert 1 == len(cause.splitlines()) or not cause.strip()
    assert "Traceback" not in cause.replace(text, "")
    assert 'File "' not in cause.replace(text, "")
