"""One shard on disk: its names, its tar and its Parquet, written so that the same samples give the same bytes.

The tar is what `webdataset.TarWriter` would make with fixed times and owners (USTAR, mtime 0); the standard library
writes it here because importing webdataset loads torch, which no worker that only downloads should pay for.
"""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.folder import Folder, HashingFile

_END = bytes(1024)
"""What a whole tar ends with."""

Sample = tuple[str, dict[str, bytes]]
"""A key and its members' bytes by extension."""


def shard_digits(shards: int, at_least: int = 5) -> int:
    """Digits of a shard's number: img2dataset's five, or as many as the plan needs."""
    return max(at_least, len(str(max(shards - 1, 0))))


def shard_name(index: int, digits: int = 5) -> str:
    """`00042` for shard 42."""
    return f"{index:0{digits}d}"


def index_digits(rows_per_shard: int) -> int:
    """Digits of a sample's index in its shard: ceil(log10 N) as img2dataset has it, at least one."""
    return max(1, math.ceil(math.log10(rows_per_shard)))


def sample_key(shard: str, index: int, digits: int) -> str:
    """Shard number and index in one string without a dot: `000420007`."""
    return f"{shard}{index:0{digits}d}"


def write_tar(file: HashingFile, samples: Iterable[Sample]) -> None:
    """Write the samples' members, adjacent, in the order given. Same samples, same bytes."""
    with tarfile.open(fileobj=cast(Any, file), mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for extension, data in members.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(data)
                member.mode = 0o644
                member.uname = member.gname = "bigdata"  # as webdataset names them
                tar.addfile(member, io.BytesIO(data))


def sample_size(members: Iterable[int]) -> int:
    """Bytes that a sample with members of these sizes takes in a tar: each has a head and is padded to 512."""
    return sum(512 + -(-size // 512) * 512 for size in members)


def read_tar(file: IO[bytes], where: str) -> Iterator[Sample]:
    """The samples of a tar, in order.

    Raises:
        ValueError: if the tar is cut short, or a member has no key and extension.
    """
    key, members = None, dict[str, bytes]()
    watched = _Tail(file)
    try:
        with tarfile.open(fileobj=cast(Any, watched), mode="r|") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                stem, dot, extension = member.name.partition(".")
                if not dot or "/" in stem:
                    raise ValueError(f"{where}: member '{member.name}' is not <key>.<extension>")
                if stem != key:
                    if key is not None:
                        yield key, members
                    key, members = stem, {}
                content = tar.extractfile(member)
                assert content is not None
                members[extension] = content.read()
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{where}: not a whole tar file ({error}); make the shard again") from None
    while watched.read(1 << 16):  # tarfile stops at the first half of the end mark
        pass
    if any(watched.tail) or len(watched.tail) < len(_END):
        raise ValueError(f"{where}: not a whole tar file (no end mark); make the shard again")
    if key is not None:
        yield key, members


class _Tail:
    """Remembers the last bytes read: `tarfile` takes a tar that was cut between two members for a whole one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tail = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.tail = (self.tail + data)[-len(_END) :]
        return data


def write_parquet(file: HashingFile, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the tables, one row group each. Same tables and pyarrow version, same bytes."""
    plain = [f.name for f in schema if not pa.types.is_binary(f.type)]  # no dictionary of encoded pictures
    sink = cast(Any, pa.PythonFile(file, mode="w"))
    with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=plain, write_statistics=plain) as writer:
        for table in tables:
            writer.write_table(table)


def read_parquet(folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    """The table of a shard.

    Raises:
        ValueError: if the file is no whole Parquet file.
    """
    with folder.open(name) as file:
        try:
            return pq.read_table(cast(Any, file), columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{folder.path(name)}: not a whole Parquet file ({error}); make the shard again") from None
