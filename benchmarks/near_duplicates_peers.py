"""Vectors by fastdup and imagehash's dhash; run by near_duplicates.py in an environment that has both.

    python near_duplicates_peers.py FOLDER OUTPUT

Reads FOLDER/references and FOLDER/queries, writes OUTPUT/{fastdup,dhash}-{references,queries}.npy, [N, D] float32
of unit length in the order of the file names.
"""

import sys
from pathlib import Path

import fastdup
import imagehash
import numpy as np
from PIL import Image


def fastdup_vectors(folder: Path, work: Path) -> np.ndarray:
    fastdup.run(input_dir=str(folder), work_dir=str(work), run_mode=1, num_threads=2)
    files, vectors = fastdup.load_binary_feature(str(work / "atrain_features.dat"), 576)
    by_name = {Path(file).name: vector for file, vector in zip(files, np.asarray(vectors), strict=True)}
    ordered = np.stack([by_name[file.name] for file in sorted(folder.iterdir())]).astype(np.float32)
    return ordered / np.linalg.norm(ordered, axis=1, keepdims=True)


def dhash_vectors(folder: Path) -> np.ndarray:
    bits = np.stack([imagehash.dhash(Image.open(file)).hash.ravel() for file in sorted(folder.iterdir())])
    return np.where(bits, 1, -1).astype(np.float32) / np.float32(np.sqrt(bits.shape[1]))


if __name__ == "__main__":
    pictures, output = Path(sys.argv[1]), Path(sys.argv[2])
    for part in ("references", "queries"):
        np.save(output / f"dhash-{part}.npy", dhash_vectors(pictures / part))
        np.save(output / f"fastdup-{part}.npy", fastdup_vectors(pictures / part, output / f"fastdup-{part}"))
