"""Zip and tar archives of lists: each member that ends as a list does is a file of its own, in the archive's order.

A member's address is `lists.zip::/a/b.csv`: the archive's, and its own name.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

from dalle.pictures.file_names import ending_of, is_of_a_mac, passed_over
from pipelines.lists.compression import COMPRESSIONS, HEAD, Content, compression_of, no_list
from pipelines.lists.tar_files import tar_files
from schemas.picture_endings import ENDINGS
from schemas.stores import open_bytes

_INSIDE = "::/"
_TARS = (*(f".tar{compression}" for compression in COMPRESSIONS), ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")


def is_archive(path: str) -> bool:
    """Whether a file's name ends as that of a zip or a tar does, of one that is compressed as well."""
    return path.lower().endswith((".zip", *_TARS))


def ends_as_list(name: str, extensions: Sequence[str]) -> bool:
    """Whether a file's name ends with one of these, and may be with that of a compression, or of a zip of one list."""
    return any(name.lower().endswith(f".{each}{end}") for each in extensions for end in (*COMPRESSIONS, ".zip"))


def lists_in(path: str, extensions: Sequence[str]) -> tuple[list[str], str]:
    """Addresses of the lists in an archive, and what to say of its other members, or nothing.

    Args:
        path: of the archive.
        extensions: what a list's name ends with, without the dot.

    Raises:
        ValueError: if it is damaged, holds no list, or pictures.
    """
    names = _names_in(path)
    files = [name for name in names if not is_of_a_mac(name)]
    if any(ending_of(name) in ENDINGS for name in files):
        raise ValueError(
            f"{path}: holds pictures, so it is no archive of lists; give --dataset webdataset if it is a tar, or "
            "unpack it and give --dataset folder"
        )
    lists = [name for name in files if ends_as_list(name, extensions) and not is_archive(name)]
    if not lists:
        wanted = ", ".join(f".{e}" for e in extensions)
        raise ValueError(f"{path}: no file in this archive ends with {wanted}; unpack it and name the list's files")
    there = Counter(lists)
    if twice := next((name for name, count in there.items() if count > 1), None):
        raise ValueError(f"{path}: holds '{twice}' more than once; unpack it and name the list's files")
    others = [name for name in names if name not in there]
    return [f"{path}{_INSIDE}{name}" for name in lists], passed_over(others, "list") if others else ""


@contextlib.contextmanager
def open_file(address: str) -> Iterator[IO[bytes]]:
    """A file's bytes as they lie there, by its path or fsspec URL, or by its address in an archive.

    A member of a compressed tar can only be read from its beginning to its end.

    Raises:
        ValueError: if the archive is damaged.
        OSError: if the file cannot be read.
    """
    path, inside, name = address.partition(_INSIDE)
    if not (inside and is_archive(path)):
        with open_bytes(address) as file:
            yield file
    elif path.lower().endswith(".zip"):
        with _zip(path) as zipped, _opened(zipped, name, path) as packed:
            yield cast("IO[bytes]", io.BufferedReader(cast(Any, _Told(packed, address))))
    else:
        with _tar(path) as archive:
            target = None
            for given, member in tar_files(archive, path):
                if given == name and member and member.name == name:
                    yield cast("IO[bytes]", archive.extractfile(member))
                    return
                if given == name and member:
                    target = member.name
                    break
        if target is not None:  # from the beginning, as a compressed tar is read forward only
            with open_file(f"{path}{_INSIDE}{target}") as file:
                yield file
            return
        raise ValueError(f"{path}: holds no '{name}' any more; it was changed, run the job again")


def _names_in(path: str) -> list[str]:
    if path.lower().endswith(".zip"):
        with _zip(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    with _tar(path) as archive:
        files = dict(found := list(tar_files(archive, path)))
    if dead := next((name for name, file in files.items() if file is None and not is_of_a_mac(name)), None):
        raise ValueError(
            f"{path}: holds '{dead}', a link to what is no file in it; unpack it and name the list's files"
        )
    return [name for name, _ in found]


@contextlib.contextmanager
def _zip(path: str) -> Iterator[zipfile.ZipFile]:
    with open_bytes(path) as file:
        head = file.read(HEAD)
        if (what := no_list(head)) and not head.startswith(b"PK"):
            raise ValueError(f"{path}: is no zip file, it {what}")
        with _told(path):
            archive = zipfile.ZipFile(cast(Any, file))
            _check_whole(archive, cast(Any, file), path)
        with archive:
            yield archive


def _opened(archive: zipfile.ZipFile, name: str, path: str) -> IO[bytes]:
    with _told(path):
        return archive.open(name)


def _check_whole(archive: zipfile.ZipFile, file: IO[bytes], path: str) -> None:
    """Of zips that were joined Python's reader sees the last; it also takes what follows the end for a comment."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    after = len(tail) - tail.rfind(b"PK\x05\x06") - 22 - len(archive.comment)
    first = min((info.header_offset for info in archive.infolist()), default=0)
    if after or first:
        what = f"{first or after:,} bytes that are not of it stand {'before' if first else 'behind'} it"
        raise ValueError(f"{path}: not one whole zip file ({what}); get it anew, or unpack it")


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """What zipfile raises, in one kind of error with the path."""
    damaged = "cannot be read as a zip file ({}); get it anew, or unpack it"
    try:
        yield
    except RuntimeError as error:  # of which NotImplementedError is one
        how = "encrypted" if "encrypt" in str(error) else f"packed in a way that is not read ({error})"
        raise ValueError(f"{path}: a file in it is {how}; unpack it and name the list's files") from None
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: {damaged.format(error)}") from None
    except OSError as error:
        if type(error) is not OSError or error.errno:  # the disk's or the store's own, and not bzip2's
            raise
        raise ValueError(f"{path}: {damaged.format(error)}") from None


class _Told(io.RawIOBase):
    """A member of a zip, whose reader raises what `_told` tells."""

    def __init__(self, member: IO[bytes], address: str) -> None:
        self._member, self._address = member, address

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _told(self._address):
            return self._member.seek(offset, whence)

    def tell(self) -> int:
        return self._member.tell()

    def readinto(self, buffer: Any) -> int:
        with _told(self._address):
            data = self._member.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def _tar(path: str) -> Iterator[tarfile.TarFile]:
    with open_bytes(path) as file:
        head = file.read(HEAD)
        file.seek(0)
        given = _Forward(io.BufferedReader(Content(file, path), 1 << 16)) if compression_of(head) else file
        with _begun(given, file, path) as archive:
            yield archive


def _begun(given: Any, file: IO[bytes], path: str) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=given, mode="r:")
    except tarfile.TarError as error:
        file.seek(0)
        raise ValueError(f"{path}: {_no_tar(Content(file, path), error)}") from None


def _no_tar(content: Content, error: tarfile.TarError) -> str:
    """What a file is that does not begin as a tar does, and what to do."""
    head = content.read_fully(HEAD)
    if not head or head.startswith(b"ustar", 257):
        return f"not a whole tar file ({error}); get it anew"
    within = f"what its {content.compression} holds " if content.compression else ""
    what = no_list(head) or "is no tar, or damaged; if it is a list, name it after what it is, such as .csv.gz"
    return within + what


class _Forward:
    """What is decompressed, as tarfile reads it: it skips what it does not want, and goes back by a block at most."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._position, self._end, self._kept = file, 0, 0, b""

    def seekable(self) -> bool:
        """As far as tarfile needs it."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go forward, or back to what was read last."""
        if whence != os.SEEK_SET or offset < self._end - len(self._kept):
            raise io.UnsupportedOperation("it lies in a compressed tar, which is read forward only; unpack that")
        self._position = min(offset, self._end)
        while self._position < offset and self.read(min(offset - self._position, 1 << 16)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Up to so many bytes, fewer at the end only."""
        behind = self._end - self._position
        again = self._kept[len(self._kept) - behind :][:size]
        new = self._file.read(size - len(again))
        self._end += len(new)
        self._kept = (self._kept + new)[-HEAD:]
        self._position += len(again) + len(new)
        return again + new
