"""Where a command is to write: judged before anything is made, for every job and every training in the same words."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from schemas import planning
from schemas.contents import JOBS, SAYS_WHOSE, foreign_in, job_in
from schemas.folder import ROOMS, Folder
from schemas.journal import is_between

Reads = Mapping[str, Sequence[str | os.PathLike[str] | None]]
"""What a command reads, by the flag that names it; None is not given."""

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+")
"""How an address of a store begins, also once it was made a path."""
_MISTAKES = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
)  # fmt: skip
"""What the system says of a place where nothing can be written, ever; a full disk or a lost one may be mended."""
_UNDECIDED = "_replaced"
"""In a model's folder while it is not clear yet which of two models stays."""
_GIVE = "give another --output_folder"


def check_output(
    folder: str | os.PathLike[str],
    job: str,
    reads: Reads = MappingProxyType({}),
    *,
    on_disk: bool = False,
) -> None:
    """Check that a job may write into a folder; writes nothing.

    Args:
        folder: as it was given; it need not be there.
        job: the name that its manifest has for it, such as `ingest`.
        reads: what it reads.
        on_disk: whether it writes on this machine's disk only.

    Raises:
        ValueError: if the folder cannot be made or written to, is or lies in what the job reads, lies in a dataset,
            holds what another job left, or files of somebody's own.
        OSError: if the disk fails.
    """
    url = os.fspath(folder)
    planning.writes_to(url)
    for paths in reads.values():
        planning.reads(*paths)
    if on_disk and (address := _ADDRESS.match(url)):
        raise ValueError(
            f"--output_folder {address[1]}://{url[address.end() :]}: is no local folder, and this command writes to "
            "a disk of this machine; give a path, and copy the folder from there"
        )
    if on_disk and url.startswith("~") and not os.path.lexists(url.partition("/")[0]):
        raise ValueError(
            f"--output_folder {url}: begins with ~, of which only a shell makes your home folder; write "
            f"{os.path.expanduser(url)}"
        )
    output = Folder(url)
    check_can_be_made(output)
    for flag, paths in reads.items():
        for path in paths:
            if path and not (output.is_local and _ADDRESS.match(os.fspath(path))):
                check_apart(Folder(path), output, flag)
    check_outside_of_datasets(output)
    if is_between(output) or (output.is_local and os.path.isdir(output.path(_UNDECIDED))):
        return
    check_whose(output, job)


def check_outside_of_datasets(output: Folder) -> None:
    """Check that a local folder lies in no dataset, whose files are all told by its manifest.

    Raises:
        ValueError: naming the dataset.
    """
    for above in Path(output.root).resolve().parents if output.is_local else ():
        job = job_in(Folder(above))
        if job in JOBS and JOBS[job].table in ("pairs", "examples", "vocabulary"):
            raise ValueError(f"{output}: lies in {above}, which was made by the job {job}; {_GIVE}, outside of it")


def check_whose(output: Folder, job: str) -> None:
    """Check that a folder is empty, or this job's own.

    Raises:
        ValueError: naming the job that left it, or the file that none did.
    """
    left = job_in(output)
    if left and left != job:
        raise ValueError(f"{output}: was made by the job {left}; {_GIVE} for {job}")
    if not left and not _is_damaged(output) and (name := foreign_in(output)) is not None:
        raise ValueError(f"{output}: holds '{name}', which no job of ours made; give an empty --output_folder")


def check_apart(made_from: Folder, output: Folder, flag: str = "--input_folder") -> None:
    """Check that a job does not write into what it reads, however the two are spelled.

    Raises:
        ValueError: if it would.
    """
    if made_from.is_local and output.is_local:
        source, target = Path(made_from.root).resolve(), Path(output.root).resolve()
        same, inside = source == target, target.is_relative_to(source)
        around = any(source.is_relative_to(target / room) for room in ROOMS)
    else:
        alike = made_from.fs == output.fs
        same, around = alike and made_from.root == output.root, False
        inside = alike and output.root.startswith(f"{made_from.root}/")
    if same:
        raise ValueError(f"{output}: is the input, which {flag} names; {_GIVE}")
    if inside:
        raise ValueError(f"{output}: lies in the input, {flag} {made_from}; {_GIVE}, outside of it")
    if around:
        raise ValueError(f"{output}: has the input, {flag} {made_from}, in a room of its own; {_GIVE}")


@contextlib.contextmanager
def made(folder: Folder) -> Iterator[None]:
    """The folder is there, with those above it; which of them were not there before, and are empty at the end, go.

    Raises:
        OSError: if it cannot be made or written to.
    """
    missing = list[str]()
    path = folder.root
    while folder.is_local and path != os.path.dirname(path) and not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        folder.make()
        yield
    finally:
        with contextlib.suppress(OSError):  # something was written to it
            for each in missing:
                os.rmdir(each)


def check_can_be_made(output: Folder, give: str = _GIVE) -> None:
    """Check that a local folder is one that can be written to, or that one can be made there.

    Args:
        output: the folder; of a store nothing is checked.
        give: what to do if it cannot.

    Raises:
        ValueError: saying what is in its way.
        OSError: if the disk fails.
    """
    if not output.is_local:
        return
    path = output.root
    try:
        while not _is_there(path, give):
            path = os.path.dirname(path)
        if not os.path.isdir(path):
            what = "is a file, expected a folder" if path == output.root else f"cannot be made, for {path} is a file"
            raise ValueError(f"{output}: {what}; {give}")
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        if error.errno not in _MISTAKES:
            raise
        what = "it" if path == output.root else path
        raise ValueError(
            f"{output}: cannot be written to ({what}: {error.strerror}); {give}, or have its owner allow it"
        ) from None


def _is_there(path: str, give: str) -> bool:
    """Whether a path is a file or a folder.

    Raises:
        ValueError: if it is a link that leads nowhere.
        OSError: if it cannot be looked at.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise ValueError(
                f"{path}: is a link to {os.readlink(path)}, which is not there; {give}, or make that folder"
            ) from None
        return False
    except NotADirectoryError:
        return False  # what is in its way is found above it
    return True


def _is_damaged(output: Folder) -> bool:
    """Whether a job's file is there that does not say which: whoever reads it says so."""
    return any(output.exists(name) for name in SAYS_WHOSE)
