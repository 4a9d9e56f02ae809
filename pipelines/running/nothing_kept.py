"""What a job says last that kept nothing: the commonest fate of its rows, and what it is likely to come from."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from schemas.counts import Counts
from schemas.reasons import REASONS

_NETWORK = "is there a network, and is nothing in between that forbids it?"
_LIKELY: Mapping[str, str] = {
    "bad-row": "are --dataset and --input_format those of this list?",
    "no-url": "is --url_col the column of the links, and --dataset the kind of this list?",
    "bad-url": "is --url_col the column of the links? Files on this machine are read with --dataset folder",
    "no-caption": "is --caption_col the column of the captions? --filters none keeps rows without one",
    "too-short": "is --caption_col the column of the captions? --min_words and --min_characters set the least",
    "boilerplate": "is --caption_col the column of the captions? --filters none keeps them",
    "other-language": "--language says which is wanted, and any takes all",
    **dict.fromkeys(("dns", "refused", "timeout", "reset", "tls", "bad-response"), _NETWORK),
    **dict.fromkeys(("http-403", "http-4xx", "http-5xx"), "does that server, or a proxy, let this machine in?"),
    "not-an-image": "are the links those of pictures? Behind a proxy all may lead to one page",
}
"""Where all is lost for one reason the likely cause is another than where some is."""


def why_nothing(counts: Counts, source: str, of_copies: str = "") -> str:
    """Why no row was kept, in a sentence.

    Args:
        counts: of the dataset.
        source: what was read, as a user calls it.
        of_copies: what it is likely to come from that rows were taken out as copies.

    >>> from collections import Counter
    >>> why_nothing(Counts(Counter(failed_to_download=4), Counter({("fetch", "not-found"): 4})), "a.csv")
    "nothing was kept: 4 of 4 rows are fetch: not-found, the local file is not there; check the pictures' folder"
    """
    if not counts.rows:
        return f"nothing was kept, for there is nothing in {source}; is it the right one?"
    if not counts.reasons:
        return f"nothing was kept of {source}; the ledger says why"
    (stage, reason), rows = min(counts.reasons.items(), key=lambda item: (-item[1], item[0]))
    known = REASONS.get(reason)
    meaning = f", {known.meaning}" if known else ""
    likely = _LIKELY.get(reason) or (known.advice if known else of_copies) or "the ledger's error_message says more"
    return f"nothing was kept: {rows:,} of {counts.rows:,} rows are {stage}: {reason}{meaning}; {likely}"


def say_nothing_kept(command: str, counts: Counts, source: str, of_copies: str = "") -> None:
    """Say it as the last line of a command such as `pipelines.ingest`; arguments are those of `why_nothing`."""
    sys.stdout.flush()
    print(f"{command}: {why_nothing(counts, source, of_copies)}", file=sys.stderr, flush=True)
