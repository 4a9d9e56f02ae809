"""Whether what models were trained on has anything of what is held out, asked of the ledger of its dataset."""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dalle.scenes.dialect.held_out import pattern

_QUERY = """\
    import glob, pyarrow.compute as pc, pyarrow.dataset as ds
    rows = ds.dataset(sorted(glob.glob({files}))).to_table(columns=["captions"])
    held_out = r"{pattern}"
    print(pc.sum(pc.match_substring_regex(pc.list_flatten(rows["captions"]), held_out, ignore_case=True)))
"""


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """What a ledger says."""

    captions: int
    """Of all rows, kept or not."""
    held_out: int
    """Of them with a held-out pair or the held-out relation."""
    query: str
    """Python that counts them, for whoever would rather ask himself."""


def held_out_rows(pairs: Path) -> HeldOutRows:
    """Ask the ledger of a dataset of pairs.

    Args:
        pairs: what `pipelines.ingest` or `pipelines.dedup` left, on this machine.

    Raises:
        ValueError: if it has no ledger, or one without captions.
    """
    ledgers = sorted(pairs.glob("*.parquet"))
    if not ledgers:
        raise ValueError(f"{pairs}: has no *.parquet, expected a dataset that pipelines.ingest or pipelines.dedup left")
    held_out, found, captions = pattern(), 0, 0
    for ledger in ledgers:
        try:
            texts = pc.list_flatten(pq.read_table(ledger, columns=["captions"])["captions"])
        except (pa.ArrowException, KeyError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{ledger}: no captions can be read of it ({reason}); give the folder of pairs") from None
        matches = pc.match_substring_regex(texts, held_out, ignore_case=True)
        captions, found = captions + len(texts), found + int(pc.sum(matches).as_py() or 0)
    query = _QUERY.format(files=json.dumps(f"{glob.escape(str(pairs))}/*.parquet"), pattern=held_out)
    return HeldOutRows(captions=captions, held_out=found, query=query)
