"""Whatever address of a store a user names, and nothing answers there: one sentence that begins with the address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fsspec
import pytest
from s3fs import S3FileSystem

from dalle import train_dvae
from pipelines import audit, dedup, encode, ingest, vocab
from schemas.exit_codes import FAILED, USAGE
from tests.folders import write_all

WORDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "ingest --url_list": (ingest.main, "--url_list {at}/list.csv --output_folder {out}"),
    "ingest --dataset folder": (ingest.main, "--dataset folder --url_list {at}/list.csv --output_folder {out}"),
    "ingest --output_folder": (ingest.main, "--dataset folder --url_list {place}/pictures --output_folder {at}/list.csv"),
    "dedup --input_folder": (dedup.main, "--input_folder {at}/list.csv --reference r={place}/references --output_folder {out}"),
    "dedup --reference": (dedup.main, "--input_folder {place}/pairs --reference r={at}/list.csv --output_folder {out}"),
    "dedup --output_folder": (dedup.main, "--input_folder {place}/pairs --reference r={place}/references --output_folder {at}/list.csv"),
    "vocab --input_folder": (vocab.main, "--input_folder {at}/list.csv --output_folder {out}"),
    "encode --input_folder": (encode.main, "--input_folder {at}/list.csv --dvae {place}/dvae --vocabulary {place}/vocab --output_folder {out}"),
    "audit": (audit.main, "{at}/list.csv"),
    "train_dvae --input_folder": (train_dvae.main, "tiny --input_folder {at}/list.csv --output_folder {out}"),
}  # fmt: skip
"""How a command is told an address, {at}, and one of its files, as `list.csv`."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place")
    write_all(path)
    return path


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is logged in at a store, nor was, in this process: fsspec keeps its file systems."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "FSSPEC_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(fsspec.config, "conf", {})
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("words", WORDS)
def test_a_store_that_cannot_be_asked(words: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It has no package here, nobody listens, nobody knows its name, or it wants credentials that are not there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}"
        for at, code, says in (
            ("gs://bucket", USAGE, "Please install gcsfs"),
            ("s3://bucket", FAILED, "the store wants credentials, and none were found"),
            *(
                # a folder of pictures is looked for, and of one that cannot be asked fsspec says that it is not there
                [] if "folder" in words and "input" not in words
                else [(closed, FAILED, "nothing answers there: look whether the address is right")]
            ),
        ):  # fmt: skip
            main, form = WORDS[words]
            assert code == main(form.format(at=at, place=place, out=tmp_path / "out").split()), at
            out, err = capsys.readouterr()
            assert 1 == len(err.splitlines()), err
            assert f"{at}/list.csv" in err
            assert says in err
            assert "" == out
            assert not (tmp_path / "out").exists()
