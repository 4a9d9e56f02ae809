"""Checkpoints in parts: any part of any tensor from any number of them, and what is damaged is one sentence."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dalle.training import checkpoint, sharded_checkpoint
from dalle.training.checked_parts import check_parts
from dalle.training.cuts import Cut, Piece, marked, read
from dalle.training.ranks import Ranks
from dalle.training.stored_checkpoint import KEEP, described, drop_old, names, opened
from dalle.training.tensor_file import DTYPES, write_tensors
from dalle.training.tensor_reader import read_header, read_rows
from dalle.training.trees import split
from schemas.folder import Folder, Staging

ALONE = Ranks(rank=0, count=1, device=torch.device("cpu"))
WORDS = {dtype: word for word, dtype in DTYPES.items()}


def write(folder: Folder, name: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    with Staging(folder) as staging:
        with staging.file(name) as file:
            write_tensors(file, tensors, metadata)
        record = staging.publish()[0]
    return {"name": name, **record.to_json()}


def write_parts(folder: Folder, step: int, tree: dict[str, Any], dims: dict[str, int], count: int) -> str:
    """A checkpoint of a tree of weights as so many processes write it, each tensor cut along a dimension or whole."""
    parts = []
    for index in range(count):
        own = {f"/weights/{n}": Cut.of(tuple(v.shape), dims[n], index, count)(v) for n, v in tree["weights"].items() if n in dims}  # fmt: skip
        parts.append(write(folder, f"{step:08d}-a-{index + 1}-of-{count}.safetensors", own, {}))
    tensors: dict[str, Tensor | Piece] = {}
    rest = json.dumps(split(tree, "", tensors))
    cut = {f"/weights/{name}": dim for name, dim in dims.items()}
    whole = {path: value for path, value in tensors.items() if isinstance(value, Tensor) and path not in cut}
    pieces = {
        path: {"dtype": WORDS[value.dtype], "shape": list(value.shape), "dim": cut[path]}
        for path, value in tensors.items()
        if isinstance(value, Tensor) and path in cut
    }
    write(folder, f"{step:08d}.safetensors", whole, {"tree": rest, **described(parts, pieces)})
    return f"{step:08d}.safetensors"


@st.composite
def cut_tensors(draw: st.DrawFn) -> tuple[Tensor, int, int, int, int]:
    """A tensor, along which dimension it was cut into how many parts, and is to be now."""
    shape = draw(st.lists(st.integers(0, 7), min_size=1, max_size=3))
    dtype = draw(st.sampled_from([torch.float32, torch.int16, torch.bfloat16, torch.float64]))
    value = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
    dims = st.integers(0, len(shape) - 1)
    return value, draw(dims), draw(st.integers(1, 5)), draw(dims), draw(st.integers(1, 5))


@settings(max_examples=80, deadline=None)
@given(cut_tensors())
def test_any_part_is_read_from_any_parts(drawn: tuple[Tensor, int, int, int, int]) -> None:
    """Also along another dimension, of tensors that have fewer rows than there are processes, and all of it."""
    value, dim, parts, other, count = drawn
    tree = {"step": 3, "weights": {"w": value, "b": torch.ones(2)}}
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(place)
        name = write_parts(folder, 3, tree, {"w": dim}, parts)
        with opened(folder, name, read_header(folder, name).content) as stored:
            assert 3 == stored["step"]
            for index in range(count):
                cut = Cut.of(tuple(value.shape), other, index, count)
                found = read(stored, {"w": cut})["weights"]
                assert torch.equal(cut(value), found["w"])
                assert found["w"].dtype == value.dtype
                assert torch.equal(torch.ones(2), found["b"])
            assert torch.equal(value, read(stored, {})["weights"]["w"])


@given(st.integers(0, 40), st.integers(1, 9))
def test_parts_are_those_of_torch(length: int, count: int) -> None:
    """Without gaps, and empty where torch has none."""
    chunks = [len(each) for each in torch.arange(length).chunk(count)] if length else []
    cuts = [Cut.of((length, 3), 0, index, count) for index in range(count)]
    assert chunks + [0] * (count - len(chunks)) == [cut.end - cut.first for cut in cuts]
    assert list(range(length)) == [row for cut in cuts for row in range(cut.first, cut.end)]


def test_a_whole_one_is_read_in_parts_and_one_in_parts_wholly(tmp_path: Path) -> None:
    """By their paths alone: `load`, `outline` and `dumps` take both, and older ones go with their parts."""
    folder = Folder(tmp_path)
    tree = {"step": 1, "weights": {"w": torch.randn(5, 4), "b": torch.randn(3)}, "sums": torch.zeros(2)}
    plain = checkpoint.save(tmp_path, 1, tree)
    parts = tmp_path / write_parts(folder, 2, {**tree, "step": 2}, {"w": 1, "b": 0}, 2)
    for path in (plain, parts):
        for again in (checkpoint.load(path), checkpoint.loads(checkpoint.dumps(path), "sent")):
            assert torch.equal(tree["weights"]["w"], again["weights"]["w"])
            assert torch.equal(tree["weights"]["b"], again["weights"]["b"])
        outline = checkpoint.outline(path)
        assert ({"w": None, "b": None}, int(path.stem)) == (outline["weights"], outline["step"])
    with opened(folder, plain.name, read_header(folder, plain.name).content) as stored:
        cut = Cut.of((5, 4), 1, 1, 2)
        assert torch.equal(tree["weights"]["w"][:, 2:], read(stored, {"w": cut})["weights"]["w"])
    assert parts == checkpoint.latest(tmp_path)
    for step in (3, 4):
        checkpoint.save(tmp_path, step, {**tree, "step": step})
    assert ["00000003.safetensors", "00000004.safetensors"] == folder.names()


def test_what_no_checkpoint_names_goes(tmp_path: Path) -> None:
    """Such as the parts that a killed process left; what stands stays, and so does what is somebody else's."""
    folder, tree = Folder(tmp_path), {"weights": {"w": torch.randn(4)}}
    for step in range(1, KEEP + 2):
        write_parts(folder, step, tree, {"w": 0}, 2)
    for name in ("00000009-a-1-of-2.safetensors", "00000003-b-1-of-2.safetensors", "best.safetensors"):
        folder.write(name, b"left")
    drop_old(folder)
    assert ["00000002.safetensors", "00000003.safetensors"] == names(folder)
    parts = [f"{step:08d}-a-{part}-of-2.safetensors" for step in (2, 3) for part in (1, 2)]
    assert sorted([*parts, *names(folder), "best.safetensors"]) == folder.names()


def _cut_off(folder: Path, part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-1])


def _gone(folder: Path, part: Path) -> None:
    part.unlink()


def _of_another(folder: Path, part: Path) -> None:
    write(Folder(folder), part.name, {"/weights/w": torch.zeros(9, 2)}, {})


def _changed(folder: Path, part: Path) -> None:
    path = folder / "00000003.safetensors"
    path.write_bytes(path.read_bytes().replace(b'\\"dim\\": 0', b'\\"dim\\":-1'))


def _empty(folder: Path, part: Path) -> None:
    part.write_bytes(b"")


def _of_another_step(folder: Path, part: Path) -> None:
    part.write_bytes((folder / part.name.replace("00000003", "00000002")).read_bytes())


def _of_another_process(folder: Path, part: Path) -> None:
    part.write_bytes((folder / part.name.replace("a-2-of", "a-1-of")).read_bytes())


def _flipped(folder: Path, part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)


_DAMAGES = [_cut_off, _gone, _of_another, _changed, _empty, _of_another_step, _of_another_process, _flipped]


@pytest.mark.parametrize("damage", _DAMAGES)
def test_damage_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    """Parts that are cut, missing, changed, or of another checkpoint, and a description that was changed."""
    for step in (2, 3):
        name = write_parts(Folder(tmp_path), step, {"weights": {"w": torch.randn(4, 2)}}, {"w": 0}, 2)
    damage(tmp_path, tmp_path / "00000003-a-2-of-2.safetensors")
    for reads in (checkpoint.load, checkpoint.dumps):
        with pytest.raises(
            ValueError, match=r"00000003.safetensors: is no checkpoint of ours \(.*delete it to"
        ) as said:
            reads(tmp_path / name)
        assert 1 == str(said.value).count("is no checkpoint of ours")
        assert "Error" not in str(said.value) or damage is _changed


def test_each_checks_its_share_of_the_parts(tmp_path: Path) -> None:
    """So that all of them are read once: by one process alone, or by as many as there are."""
    folder, tree = Folder(tmp_path), {"weights": {"w": torch.randn(8, 2)}}
    for step in (2, 3):
        name = write_parts(folder, step, tree, {"w": 0}, 4)
    check_parts(folder, name)
    _flipped(tmp_path, tmp_path / "00000003-a-3-of-4.safetensors")
    for count in (1, 2, 3, 4, 5):
        found = list[int]()
        for index in range(count):
            try:
                check_parts(folder, name, index, count)
            except ValueError as error:
                assert "00000003-a-3-of-4.safetensors has the sha256" in str(error)
                found.append(index)
        assert [2 % count] == found


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    name = write_parts(folder, 3, {"weights": {"w": torch.tensor([1.0, torch.inf])}}, {"w": 0}, 2)
    with (
        pytest.raises(ValueError, match="/weights/w holds NaN or infinity"),
        opened(folder, name, read_header(folder, name).content) as tree,
    ):
        read(tree, {})


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    """From a file on any file system, here one in memory."""
    value = torch.randn(6, 3)
    content = io.BytesIO()
    write_tensors(content, {"w": value, "x": torch.tensor(2.5)}, {"a": "b"})
    folder = Folder("memory://rows")
    folder.write("one.safetensors", content.getvalue())
    header = read_header(folder, "one.safetensors")
    with folder.open("one.safetensors") as file:
        assert torch.equal(value[2:5], read_rows(file, header.entries["w"], 2, 5))
        assert 2.5 == read_rows(file, header.entries["x"], 0, 0)
    assert {"a": "b"} == header.metadata


def test_only_what_is_cut_is_marked() -> None:
    """By the name or the number above it, and its shape: how many steps were taken is no part of anything."""
    cut = Cut.of((5, 2), 0, 1, 2)
    state = {0: {"exp_avg": torch.zeros(2, 2), "step": torch.tensor(3.0)}, 1: {"exp_avg": torch.zeros(2, 2)}}
    found = marked({"state": state, "groups": [{"lr": 1.0}]}, {0: cut})
    assert isinstance(found["state"][0]["exp_avg"], Piece)
    assert cut == found["state"][0]["exp_avg"].cut
    assert 3.0 == found["state"][0]["step"]
    assert isinstance(found["state"][1]["exp_avg"], Tensor)
    assert [{"lr": 1.0}] == found["groups"]


def test_one_process_writes_what_many_do(tmp_path: Path) -> None:
    """A checkpoint that replaces one of the same step leaves that whole until it stands itself: other parts' names."""
    folder, cut = Folder(tmp_path), Cut((4,), 0, 0, 4)
    for value, letter in ((1.0, "a"), (2.0, "b"), (3.0, "a")):
        tree = {"step": 7, "weights": {"w": Piece(torch.full((4,), value), cut)}}
        sharded_checkpoint.save(folder, 7, tree, ALONE)
        assert [f"00000007-{letter}-1-of-1.safetensors", "00000007.safetensors"] == folder.names()
        assert torch.equal(torch.full((4,), value), checkpoint.load(tmp_path / "00000007.safetensors")["weights"]["w"])
