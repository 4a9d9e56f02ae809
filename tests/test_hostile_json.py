"""Whoever reads JSON from a file: another value in any place, or one that is nested too deep, is one sentence.

Datasets' own manifests, markers and recipes are in `tests/schemas/test_tampered.py`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.detectors.phash import PHash
from dalle.evaluation.study.answers import read_answers, read_key
from dalle.reading.example_files import ExampleFiles
from dalle.training import checkpoint
from dalle.training.logs import Log, read_log
from dalle.training.model_file import ModelKind, load_network
from pipelines.auditing.audit_examples import _audit_tar
from pipelines.copies.references import ReferenceArgument, find_references
from pipelines.copies.stored_vectors import find_stored_vectors
from pipelines.lists import ListOptions, open_source
from pipelines.lists.rows import Row, batches
from pipelines.lists.slices import make_plan
from schemas.folder import Folder
from schemas.json_text import DEEPEST, parse_json
from schemas.matches import read_decisions
from schemas.shards import write_tar
from tests.tampering import places, tampered

CODES = np.array([[1, 2], [3, 4]], np.uint16)
HERE = "@here@"


def listed(**options: Any) -> Callable[[Path], object]:
    """Reads all rows of a list."""
    return lambda path: list(open_source(ListOptions(url_list=str(path), **options)).rows())


def of_checkpoint(path: Path) -> object:
    tree = path.read_text(errors="replace")
    path.write_bytes(safetensors.torch.save({"w": torch.zeros(2)}, {"tree": tree}))
    return checkpoint.outline(path), checkpoint.load(path), checkpoint.loads(path.read_bytes(), str(path))


@dataclass(frozen=True)
class Sizes:
    """Of a network."""

    width: int
    sides: tuple[int, ...]


def of_model(path: Path) -> object:
    kind = ModelKind("a layer", Sizes, lambda sizes: torch.nn.Linear(sizes.width, 1), lambda _: 1)
    config = path.read_text(errors="replace")
    path.write_bytes(safetensors.torch.save(torch.nn.Linear(3, 1).state_dict(), {"config": config}))
    return load_network(path, kind)


def of_log(path: Path) -> object:
    (path.parent / "log.jsonl").write_bytes(path.read_bytes())
    lines = read_log(path.parent)
    Log(path.parent, 3).__exit__(None, None, None)
    return [line["step"] for line in lines if "step" in line]


def of_vectors(path: Path) -> object:
    np.save(path.parent / "img_emb_00000.npy", np.eye(2, PHash.dimension, dtype=np.float16)[:, None])
    pq.write_table(pa.table({"id": ["a", "b"]}), path.parent / "references.parquet")
    stored = find_stored_vectors(str(path.parent))
    assert stored is not None
    return stored.load(PHash())


def of_coco_references(path: Path) -> object:
    (path.parent / "pictures").mkdir(exist_ok=True)
    (path.parent / "pictures/a.jpg").touch()
    return find_references(ReferenceArgument("coco", f"{path},{path.parent}/pictures"))


def of_folder_references(path: Path) -> object:
    (path.parent / "a.jpg").touch()
    return find_references(ReferenceArgument("val", str(path.parent)))


def of_plan(path: Path) -> object:
    (path.parent / "_plan").mkdir(exist_ok=True)
    (path.parent / "_plan/plan.json").write_bytes(path.read_bytes())
    rows = batches([Row("u", ["c"])] * 3)
    return make_plan(rows, Folder(path.parent), "one", 2)


def of_tar(path: Path) -> tuple[Folder, pa.Table]:
    codes = io.BytesIO()
    np.save(codes, CODES)
    content = path.read_bytes()
    with path.open("wb") as file:
        write_tar(file, [("000000000", {"txt": b"a", "json": content, "image_codes.npy": codes.getvalue()})])
    row = {"key": "000000000", "captions": ["a"], "text_tokens": [[1]], "image_codes": CODES.tolist()}
    return Folder(path.parent), pa.Table.from_pylist([row])


def of_example_tar(path: Path) -> object:
    files = ExampleFiles(of_tar(path)[0], vocab_size=16, image_vocab_size=16, codes=2, kind="tar", with_texts=True)
    return files.read(path.stem, 0, 1)


def of_audited_tar(path: Path) -> object:
    folder, table = of_tar(path)
    for fault in _audit_tar(folder, path.name, table):
        raise ValueError(fault)
    return ()


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "coco_url": "http://a.example/"}],
    "annotations": [{"image_id": 1, "caption": "a"}],
}
STUDY_KEY = {
    "format_version": 1,
    "study": "s",
    "models": ["a", "b"],
    "captions": {"0": "a kite"},
    "pages": [
        [{"id": "0" * 16, "caption": "0", "left": 0, "right": 1}, {"id": "1" * 16, "caption": "0", "check": "left"}]
    ],
}
STUDY_ANSWERS = {
    "format_version": 1,
    "study": "s",
    "page": 0,
    "worker": "w",
    "answers": [{"id": "0" * 16, "realistic": "left", "matches": "neither", "seconds": 5.5}],
}


def of_answers(path: Path) -> object:
    key = path.with_name("key.json")
    key.write_text(json.dumps(STUDY_KEY))
    return read_answers(path, read_key(key))


READERS: dict[str, tuple[str, Any, Callable[[Path], object]]] = {
    "coco": ("l.json", COCO, listed(dataset="coco", save_additional_columns=("id",))),
    "redcaps": ("x_2020.json", {"annotations": [{"image_id": "q", "url": "u", "caption": "c"}]}, listed(dataset="redcaps")),
    "sbu": ("l.json", {"image_urls": ["u"], "captions": ["c"]}, listed(dataset="sbu")),
    "flickr30k": (
        "l.json", {"images": [{"filename": "a.jpg", "sentences": [{"raw": "a"}]}]},
        lambda path: listed(dataset="flickr30k", image_folder=str(path.parent))(path),
    ),
    "json list": ("l.json", [{"url": "u", "caption": ["c"], "n": [1]}], listed(save_additional_columns=("n",))),
    "jsonl list": ("l.jsonl", {"url": "u", "caption": ["c"], "n": [1]}, listed(save_additional_columns=("n",))),
    "COCO's references": ("l.json", COCO, of_coco_references),
    "captions of references": ("captions.jsonl", {"file": "a.jpg", "captions": ["a"]}, of_folder_references),
    "detector of vectors": ("detector.json", {"detector": PHash.fingerprint}, of_vectors),
    "decisions": (
        "d.json",
        {"detector": "x", "pairs": [{"key": "0", "reference_set": "a", "reference_id": "b", "decision": "copy"}]},
        lambda path: read_decisions(Folder(path.parent), path.name, "x"),
    ),
    "plan": ("plan.json", {"identity": "one", "rows": [2, 1], "hashes": ["a", "b"], "types": {"n": "int64"}}, of_plan),
    "checkpoint": ("00000001.safetensors", {"dict": [["step", 1], ["w", {"tensor": "w"}], ["more", [1]]]}, of_checkpoint),
    "model": ("m.safetensors", {"width": 3, "sides": [1, 2]}, of_model),
    "log": ("l.jsonl", {"step": 2, "loss": 0.5}, of_log),
    "tar of examples": ("00000.tar", {"captions": ["a"], "text_tokens": [[1]]}, of_example_tar),
    "key of a study": ("key.json", STUDY_KEY, read_key),
    "answers to a study": ("answers-000-w.json", STUDY_ANSWERS, of_answers),
    "audit of examples": ("00000.tar", {"captions": ["a"], "text_tokens": [[1]]}, of_audited_tar),
}  # fmt: skip


def deep(value: Any) -> Iterator[tuple[str, bytes]]:
    """The value with something nested in each of its places, as JSON, at depths about which Python's functions end."""
    for path in places(value):
        text = json.dumps(_put(value, path))
        for depth in (DEEPEST, 800, 950, 985, 990, 995, 100_000):
            for begin, end in (("[", "]"), ('{"a":', "}")):
                nested = begin * depth + "1" + end * depth
                yield f"{begin} {depth} deep at {path}", text.replace(f'"{HERE}"', nested).encode()


def _put(value: Any, path: tuple[Any, ...]) -> Any:
    """The value with a mark in one of its places."""
    if not path:
        return HERE
    name, *inner = path
    copied = value.copy()
    copied[name] = _put(value[name], tuple(inner))
    return copied


@pytest.mark.parametrize("reader", READERS)
def test_other_values_are_one_sentence(reader: str, tmp_path: Path) -> None:
    """That names the file; or nothing is wrong with it, or with one row of it."""
    name, value, read = READERS[reader]
    path = tmp_path / name
    path.write_text(json.dumps(value))
    read(path)
    contents = [(what, json.dumps(each).encode()) for what, each in tampered(value)]
    refused = 0
    for what, content in [*contents, *deep(value), ("cut", b"{"), ("no text", b"\xff\xfe\xfd"), ("nothing", b"")]:
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            refused += 1
            said = str(error)
            assert path.name in said or str(tmp_path) in said, (what, said)
            assert 1 == len(said.splitlines()), (what, said)
            assert len(said) < 1000, (what, said)
    assert refused


@given(st.integers(0, 300), st.sampled_from(["[", '{"[":']), st.sampled_from([str, str.encode]))
def test_the_depth_is_counted(depth: int, begin: str, encoded: Callable[[str], Any]) -> None:
    """Whatever is inside, and brackets in strings are none."""
    end = "]" if begin == "[" else "}"
    text = f'{begin * depth}["{"[{" * 200}"]{end * depth}'
    if depth + 1 <= DEEPEST:
        assert json.loads(text) == parse_json(encoded(text))
    else:
        with pytest.raises(ValueError, match="too deep"):
            parse_json(encoded(text))
