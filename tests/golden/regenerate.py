"""Make the golden files anew: `python -m tests.golden.regenerate`.

Only after a change of the format that is meant; such a change has an entry in CHANGELOG.md.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

from schemas.folder import FileRecord, HashingFile, canonical_json
from schemas.manifest import Counts, Marker, manifest
from schemas.pair_shards import sample_json
from schemas.pairs import LEDGER, uid
from schemas.shards import write_tar

HERE = Path(__file__).parent
ROW = dict.fromkeys(LEDGER.names) | {
    "key": "000000002",
    "url": "http://example.test/boat.jpg",
    "caption": " a  red boat ",
    "text": "a red boat",
    "captions": ["a red boat"],
    "status": "success",
    "width": 256,
    "height": 256,
    "original_width": 640,
    "original_height": 480,
    "exif": "{}",
    "sha256": "ab" * 32,
    "stored_sha256": "cd" * 32,
    "uid": uid("http://example.test/boat.jpg", " a  red boat "),
    "similarity": float("nan"),
    "NSFW": None,
}


def golden() -> dict[str, bytes]:
    """The golden files' names and contents, as today's code makes them."""
    tar = io.BytesIO()
    picture, text = b"\xff\xd8 not really a picture", b"a red boat"
    write_tar(HashingFile(tar), [("000000002", {"jpg": picture, "txt": text, "json": sample_json(ROW)})])
    counts = Counts(Counter({"success": 1, "refused": 2}), Counter({("caption", "too-short"): 2}))
    files = (FileRecord("00000.tar", "12" * 32, 10240), FileRecord("00000.parquet", "34" * 32, 7000))
    made = manifest(
        job="ingest",
        table="pairs",
        options={"image_size": 256, "save_additional_columns": ["similarity", "NSFW"]},
        inputs=[{"name": "list.csv", "sha256": "56" * 32}],
        library_versions={"pyarrow": "1.2.3"},
        markers=[Marker(shard="00000", fingerprint="78" * 32, counts=counts, files=files)],
    )
    return {"shard.tar": tar.getvalue(), "manifest.json": canonical_json(made, indent=1)}


if __name__ == "__main__":
    for name, content in golden().items():
        (HERE / name).write_bytes(content)
