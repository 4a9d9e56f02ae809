"""References without those that the training data hold a copy of: the dashed lines of the paper's Figure 9.

The list is `dedup/overlap-NAME.txt` of `pipelines.dedup`, one id a line, as that job calls its references: a name
relative to their folder, or key.extension of a dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.commands.printing import printable
from schemas.regular_file import check_regular

_SHOWN = 120


def read_overlap(path: Path) -> frozenset[str]:
    """The ids of a list.

    Raises:
        ValueError: if it is no list, or an empty one.
        OSError: if it is not there.
    """
    check_regular(path)
    try:
        ids = frozenset(line for line in path.read_text("utf-8-sig").split("\n") if line)
    except UnicodeDecodeError:
        raise ValueError(f"--without {path}: is no text; expected the overlap-NAME.txt of pipelines.dedup") from None
    if not ids:
        raise ValueError(
            f"--without {path}: is empty, so no reference has a copy; leave --without out: both numbers would be one"
        )
    return ids


def kept_rows(ids: Sequence[str], overlap: frozenset[str], path: Path) -> np.ndarray:
    """Numbers of the references that are on no list, [n] int64.

    Raises:
        ValueError: if the list names a reference that is not there, or leaves fewer than two.
    """
    names = [printable(one) for one in ids]
    if unknown := sorted(overlap - set(names)):
        raise ValueError(
            f"--without {path}: {len(unknown):,} of its {len(overlap):,} references are not among those given, the "
            f"first is '{unknown[0][:_SHOWN]}'; give the references that pipelines.dedup compared, such as "
            f"'{names[0][:_SHOWN]}'"
        )
    kept = np.flatnonzero([name not in overlap for name in names])
    if len(kept) < 2:
        raise ValueError(f"--without {path}: leaves {len(kept)} of {len(ids):,} references, expected 2 or more")
    return kept
