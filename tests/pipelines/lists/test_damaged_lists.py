"""Lists of any bytes whatever: rows, problems, or one sentence that names the file; no other end."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.lists import ListOptions, open_source
from pipelines.lists.slices import make_plan, read_slice
from schemas.folder import Folder

ROUNDS = 40


def seeds() -> dict[str, tuple[bytes, dict]]:
    """A small whole list in each format, and how it is read."""
    pairs = [(f"http://a/{n}.jpg", f'caption, "{n}"\nof it é') for n in range(6)]
    objects = [
        {"url": url, "caption": caption, "n": [1, 2.5, "x", None][n % 4]} for n, (url, caption) in enumerate(pairs)
    ]
    csv = "url,caption,n\n" + "".join(
        '{},"{}",{}\n'.format(u, c.replace('"', '""'), n) for n, (u, c) in enumerate(pairs)
    )
    parquet, tar = io.BytesIO(), io.BytesIO()
    columns = {
        "url": [u for u, _ in pairs],
        "caption": [[c, None] for _, c in pairs],
        "n": [{"a": [c]} for _, c in pairs],
    }
    pq.write_table(pa.table(columns), parquet)
    with tarfile.open(fileobj=tar, mode="w") as file:
        for n, each in enumerate(objects):
            for extension, data in (("jpg", b"picture"), ("json", json.dumps(each).encode())):
                member = tarfile.TarInfo(f"{n}.{extension}")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    coco = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "coco_url": u, "n": n} for n, (u, _) in enumerate(pairs)],
        "annotations": [{"image_id": n, "caption": c} for n, (_, c) in enumerate(pairs)],
    }
    extra = {"save_additional_columns": ("n",)}
    return {
        "l.csv": (csv.encode(), extra),
        "l.tsv": (csv.replace(",", "\t").encode(), extra),
        "l.txt": ("\n".join(u for u, _ in pairs).encode(), {}),
        "l.json": (json.dumps(objects).encode(), extra),
        "l.jsonl": ("\n".join(map(json.dumps, objects)).encode(), extra),
        "l.parquet": (parquet.getvalue(), extra),
        "0.tar": (tar.getvalue(), {"dataset": "webdataset", **extra}),
        "coco.json": (json.dumps(coco).encode(), {"dataset": "coco", **extra}),
        "cats_2018.json": (json.dumps({"annotations": objects}).encode(), {"dataset": "redcaps", **extra}),
        "flickr.csv": (csv.replace("http://a/", "").encode(), {"dataset": "flickr30k"}),
        "captions.jsonl": (
            "\n".join(json.dumps({"file": u, "captions": [c]}) for u, c in pairs).encode(), {"dataset": "folder"},
        ),
    }  # fmt: skip


SEEDS = seeds()
TOKENS = [
    b'"',
    b"{",
    b"[",
    b"]",
    b"null",
    b"NaN",
    b"-1e999",
    b"\0",
    b"\n",
    b",",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b"9" * 400,
    b"&#" + b"9" * 5000,
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to four bytes, pieces or tokens are changed, put in, taken out, or moved."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + rng.choice(TOKENS) + data[at:]
        elif kind == 2:
            data = data[:at] + data[min(end, at + rng.randint(0, 30)) :]
        elif kind == 3:
            data = data[:at] + data[at:end] + data[at:]
        elif rng.random() < 0.2:
            data = data[:at]
    return data


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_any_bytes(tmp_path: Path, name: str) -> None:
    """As far as a worker takes them: cut into units, hashed, and read again, row by row."""
    data, options = SEEDS[name]
    rng, read, refused = random.Random(name), 0, 0
    (tmp_path / "images").mkdir()
    for round_ in range(ROUNDS):
        folder = tmp_path / str(round_)
        folder.mkdir()
        (folder / name).write_bytes(mutated(data, rng) if round_ else data)
        of = folder if name == "captions.jsonl" else folder / name
        pictures = {"image_folder": str(tmp_path / "images")} if name.startswith("flickr") else {}
        out = Folder(folder / "out")
        try:
            source = open_source(ListOptions(url_list=str(of), **options, **pictures))
            assert source.inputs()
            plan = make_plan(source.rows(), out, "one", 100)
            rows = [row for unit in plan.units for row in read_slice(out, unit, plan.types).to_pylist()]
            assert plan.rows == len(rows)
            assert all(isinstance(c, str) for row in rows for c in row["captions"])
            read += 1
        except ValueError as error:
            assert name in str(error) or "has no rows" in str(error), repr(error)
            assert type(error) in (ValueError,), repr(error)
            assert round_
            refused += 1
    assert read > 2
