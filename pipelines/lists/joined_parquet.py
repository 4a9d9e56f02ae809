"""Whether other bytes lie before a Parquet file's own, as where `cat` joined some: its footer counts from its own
beginning, so that what is read where it says is another file's.

Where the data end, by the footer, and where the footer begins are that far apart, or a little more where indexes lie
between. pyarrow ends the process where a damaged footer is asked for a column's place, but not where it is read: so the
last column of the last group is asked for, of a file that gives nothing and keeps where something was wanted.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MAGIC = b"PAR1"
"""What a Parquet file begins and ends with."""

_PADDING = 128
"""Bytes by which pyarrow reads on, at most 100, behind what parquet-mr once wrote."""
_MOST = 1 << 26
"""Bytes of indexes between data and footer, beyond which no file's beginning is looked for."""
_AT_ONCE = 1 << 20


def has_bytes_before(file: Any, table: pq.ParquetFile) -> bool:
    """Whether a Parquet file does not begin where the file does that it lies in."""
    size = file.seek(0, os.SEEK_END)
    footer = size - 8 - footer_size(file)
    latest = max(0, footer - _end_of_data(table, size))
    file.seek(0)
    if file.read(4) != MAGIC:
        return True
    start = latest + _PADDING
    while start > max(0, latest - _MOST):
        end, start = min(footer, start + 7), max(0, start - _AT_ONCE)
        file.seek(start)
        data = file.read(end - start)
        at = data.rfind(MAGIC + MAGIC)
        while at >= 0:
            if _ends_a_file(file, start + at + 4):
                return True
            at = data.rfind(MAGIC + MAGIC, 0, at + 7)
    return False


def footer_size(file: Any) -> int:
    """Bytes of a Parquet file's footer, without the last eight."""
    file.seek(-8, os.SEEK_END)
    return int.from_bytes(file.read(4), "little")


def _ends_a_file(file: Any, at: int) -> bool:
    """Whether what lies before is a footer; a text may hold its mark by chance."""
    file.seek(max(0, at - 8))
    size = int.from_bytes(file.read(4), "little")
    if size > at - 12:
        return False
    file.seek(at - 8 - size)
    with contextlib.suppress(pa.ArrowException, OSError):
        pq.read_metadata(pa.BufferReader(MAGIC + file.read(size + 8)))
        return True
    return False


def _end_of_data(table: pq.ParquetFile, size: int) -> int:
    """Where the last column of the last group ends, by the footer; 0 if it does not say."""
    metadata = table.metadata
    if not metadata.num_row_groups:
        return len(MAGIC)
    nothing = _Nothing(size)
    with contextlib.suppress(pa.ArrowException, OSError):
        last = table.schema.column(metadata.num_columns - 1).path
        asked = pq.ParquetFile(nothing, metadata=metadata)
        asked.read_row_group(metadata.num_row_groups - 1, columns=[last], use_threads=False)
    return nothing.wanted


class _Nothing(io.RawIOBase):
    """A file of so many bytes of which none can be read."""

    def __init__(self, size: int) -> None:
        self._size, self._at, self.wanted = size, 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Raises, and keeps up to where was to be read."""
        self.wanted = max(self.wanted, self._at + size)
        raise OSError("there is nothing to read")
