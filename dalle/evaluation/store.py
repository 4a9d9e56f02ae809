"""Vectors on disk, by the sha256 of what they are of.

    _features/<fingerprint>/<name>.npy    [n, D] float32, of at most 250 pictures
                            <name>.json   whose they are, and the sha256 of the numbers; it comes last

The fingerprint is of all that makes a picture's vector: network, weights, resizing, blur. A piece that was damaged does
not count.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from schemas.folder import Folder
from schemas.json_text import parse_json
from schemas.manifest import fingerprint
from schemas.shapes import TEXT, misfit, text_like

PIECE = 250
"""Pictures of a file of features; what a kill may cost."""
_DIGEST = text_like("[0-9a-f]{64}", "a sha256")
_NOTE = {"pictures": [_DIGEST], "sha256": TEXT}
_OPEN = 256
"""Pieces that are mapped at the same time."""


class Maker(Protocol):
    """What vectors in a store are called by."""

    @property
    def fingerprint(self) -> str:
        """Changes when vectors would."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        ...


class Store:
    """The features of one extractor at one radius.

    Args:
        folder: of all features.
        extractor: makes them; or of texts, with radius 0, what makes vectors of them.
        radius: of the blur before it.
    """

    def __init__(self, folder: Folder, extractor: Maker, radius: float) -> None:
        made_by = fingerprint({"extractor": extractor.fingerprint, "blur": float(radius), "decoder": "pillow"})
        self._folder, self.dimension = folder.inside(made_by[:32]), extractor.dimension
        self._places: dict[bytes, tuple[str, int]] = {}
        self._open = functools.lru_cache(_OPEN)(self._piece)
        for name in self._folder.names():
            if name.endswith(".json"):
                self._take(name.removesuffix(".json"))

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, digests: Sequence[bytes], features: np.ndarray) -> None:
        """Keep the features of some pictures, [n, D]."""
        data = io.BytesIO()
        np.lib.format.write_array(data, np.ascontiguousarray(features, np.float32), allow_pickle=False)
        sha256 = hashlib.sha256(data.getvalue()).hexdigest()
        note = {"pictures": [digest.hex() for digest in digests], "sha256": sha256}
        name = fingerprint(note)[:32]
        self._folder.write(f"{name}.npy", data.getvalue())
        self._folder.write_json(f"{name}.json", note)
        self._places |= {digest: (name, row) for row, digest in enumerate(digests)}

    def rows(self, digests: Sequence[bytes]) -> np.ndarray:
        """[n, D] float32: of pictures that are there."""
        found = np.empty((len(digests), self.dimension), np.float32)
        by_piece: dict[str, list[tuple[int, int]]] = {}
        for number, digest in enumerate(digests):
            name, row = self._places[digest]
            by_piece.setdefault(name, []).append((number, row))
        for name, places in by_piece.items():
            numbers, rows = np.array(places).T
            found[numbers] = self._open(name)[rows]
        return found

    def _take(self, name: str) -> None:
        """Count a piece in, unless it was damaged."""
        try:
            note = parse_json(self._folder.read_bytes(f"{name}.json"))
            if misfit(note, _NOTE) or self._folder.sha256(f"{name}.npy") != note["sha256"]:
                return
            if self._piece(name).shape != (len(note["pictures"]), self.dimension):
                return
        except (ValueError, OSError):
            return
        self._places |= {bytes.fromhex(digest): (name, row) for row, digest in enumerate(note["pictures"])}

    def _piece(self, name: str) -> np.ndarray:
        path = self._folder.path(f"{name}.npy")
        return np.load(path, mmap_mode="r", allow_pickle=False)
