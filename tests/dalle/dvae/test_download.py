"""Downloads from a real server that behaves, and from some that do not."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dalle.dvae import image_encoders, load_released
from dalle.dvae.download import DownloadLimits, download, download_bytes
from tests.conftest import SmallDisk
from tests.server import Web

QUICK = DownloadLimits(silence_s=0.3, start_s=0.6, tries=1, pause_s=0.0)


def test_a_file_comes_whole(web: Web, tmp_path: Path) -> None:
    """Byte for byte, on disk and in memory, through a redirect too, and in place of what was there before."""
    data = hashlib.sha256(b"seed").digest() * 30_000
    (web.folder / "weights").write_bytes(data)
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    download(web.url("weights"), path, QUICK)
    assert data == path.read_bytes()
    assert data == download_bytes(web.url("to/" + web.url("weights")), QUICK)
    assert ["weights", "www"] == sorted(p.name for p in tmp_path.iterdir())


def test_an_empty_file_is_a_file(web: Web) -> None:
    (web.folder / "empty").write_bytes(b"")
    assert b"" == download_bytes(web.url("empty"), QUICK)


@pytest.mark.parametrize(
    ("manner", "fault"),
    [
        ("silent", r"no byte came for 0\.3 s, after 0 bytes"),
        ("stall/20000", r"no byte came for 0\.3 s, after 20,000 bytes"),
        ("drip", r"only \d+ bytes came in \d\.\d s, expected 262,144 a second"),
        ("cut/20000", r"[^;]*20000[^;]*"),
        ("none", "the server answered 404"),
        ("status/503", "the server answered 503"),
        ("to/file:///etc/hostname", '[^;]*rotocol "file"[^;]*'),
        ("to/ftp://127.0.0.1/x", '[^;]*rotocol "ftp"[^;]*'),
    ],
)
def test_what_cannot_be_had_is_one_sentence(web: Web, tmp_path: Path, manner: str, fault: str) -> None:
    """It says the address, what happened and what to do; it comes soon, and what was there before stays."""
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"^{web.url(manner)}: {fault}; try again later, or fetch the file [^\n]*$"):
        download(web.url(manner), path, QUICK)
    assert time.monotonic() - start < 10
    assert b"old" == path.read_bytes()
    assert ["weights", "www"] == sorted(p.name for p in tmp_path.iterdir())


def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^http://127\.0\.0\.1:9/x: [^;]+; try again later"):
        download_bytes("http://127.0.0.1:9/x", QUICK)


@pytest.mark.parametrize("manner", ["weights", "drip"], ids=["announced", "unannounced"])
def test_a_file_that_is_too_large_is_refused(web: Web, manner: str) -> None:
    """By the length that the server says, or once there is too much of it."""
    (web.folder / "weights").write_bytes(bytes(100_000))
    with pytest.raises(ValueError, match=rf"{manner}: the file has more than 3 bytes"):
        download_bytes(web.url(manner), replace(QUICK, max_bytes=3))


def test_another_attempt_begins_anew(web: Web) -> None:
    """After an answer that may pass; what a server has not got, it will not have a second later."""
    (web.folder / "weights").write_bytes(b"weights")
    limits = replace(QUICK, tries=2)
    assert b"weights" == download_bytes(web.url("twice/503/weights"), limits)
    with pytest.raises(ValueError, match="answered 404"):
        download_bytes(web.url("twice/404/weights"), limits)
    assert b"weights" == download_bytes(web.url("twice/404/weights"), limits), "it was asked once"


def test_a_full_disk_is_no_fault_of_the_server(web: Web, tmp_path: Path) -> None:
    """It is not tried again, nothing half-written is left, and there is room once more."""
    (web.folder / "weights").write_bytes(bytes(1_000_000))
    with SmallDisk(tmp_path / "small", 0.1):
        with pytest.raises(OSError, match="No space left"):
            download(web.url("weights"), tmp_path / "small" / "weights", QUICK)
        assert [] == list((tmp_path / "small").iterdir())


def test_networks_as_released_are_downloaded_so(web: Web) -> None:
    with pytest.raises(ValueError, match=r"none\.pkl: the server answered 404; try again later"):
        load_released(web.url("none.pkl"))


def test_the_released_dvae_is_downloaded_once(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--dvae openai`: into the user's cache; what fails says which flag it is about."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (web.folder / "encoder.pkl").write_bytes(b"weights")
    path = image_encoders.downloaded(web.url("encoder.pkl"))
    assert tmp_path / "cache" / "dalle-pipelines" / "encoder.pkl" == path
    (web.folder / "encoder.pkl").unlink()
    assert path == image_encoders.downloaded(web.url("encoder.pkl"))
    assert b"weights" == path.read_bytes()
    with pytest.raises(
        ValueError, match=r"^--dvae openai: http://[^ ]+decoder\.pkl: the server answered 404; .* a folder"
    ):
        image_encoders.downloaded(web.url("decoder.pkl"))
