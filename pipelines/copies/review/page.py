"""Write the review page: one file that needs nothing else, of at most 60 MB, the same bytes for the same dataset."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dalle.pages.frame import Frame, base64_text, bytes_in, measured, page_json
from dalle.pictures.apart import decode_apart
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.pixels import Pixels
from dalle.pictures.thumbnails import side_decoded_for, side_for, thumbnail, thumbnail_of
from pipelines.copies.comparing import REFERENCES
from pipelines.copies.embedding import read_reference_captions
from pipelines.copies.references import Reference
from pipelines.copies.review.pairs import SetOnPage, choose
from schemas.folder import Folder
from schemas.matches import WITHIN_SET, Decisions
from schemas.pair_shards import read_pictures
from schemas.shards import read_parquet

PAGE = "dedup/report.html"
MOST_PAIRS = 10_000
MOST_BYTES = 60_000_000
"""Of the whole page."""

_MOST_BYTES_OF_FACTS = MOST_BYTES // 2
_MOST_BYTES_OF_A_PICTURE = 16_000
_MOST_CHARACTERS = 200
"""Of a caption."""
_FRAME = Frame("pipelines.copies.review", ("marks.js", "counts.js", "histogram.js", "page.js"))


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """What a run of dedup compared, and how it decided."""

    pairs: Folder
    """The dataset that was cleaned."""
    shards: Sequence[str]
    """Of that dataset."""
    pictures: int
    """That it keeps."""
    references: Mapping[str, Sequence[Reference]]
    """By set; of a reference that is not here the page has no picture."""
    thresholds: Mapping[str, float]
    """By set, in their order; `within` too, if copies inside the dataset were looked for."""
    floors: Mapping[str, float]
    """The least similarity that matches hold, by set."""
    decisions: Decisions
    detector: str
    fingerprint: str
    """Of dataset, detector and references: what a person has marked is kept under it in the browser."""


@dataclass(frozen=True)
class _Shown:
    """The pictures of the page, each once: the keys, then the references. Pairs name them by their position in that."""

    keys: list[str]
    """Of training pictures, sorted."""
    references: list[tuple[str, str]]
    """Set and id, sorted; they come after the keys."""
    captions: list[str]
    facts: Markup
    """Everything but the pictures, as JSON that may stand in HTML."""


def write_page(folder: Folder, reviewed: Reviewed, most_pairs: int = MOST_PAIRS) -> None:
    """Write the page from the tables that dedup left in the folder; one shard's pictures are in memory at a time.

    What does not fit is left out in a fixed order, and the page says so: pairs far from the threshold, then pixels.

    Args:
        folder: dedup's output.
        reviewed: what was compared.
        most_pairs: pairs on the page, 1 or more; fewer if their captions and figures fill more than half of it.
    """
    shown = _shown(folder, reviewed, most_pairs)
    while len(shown.facts) > _MOST_BYTES_OF_FACTS and most_pairs > 1:
        most_pairs //= 2
        shown = _shown(folder, reviewed, most_pairs)
    count = max(1, len(shown.captions))
    rest = MOST_BYTES - len(shown.facts) - _FRAME.size - 8 * count
    most = min(_MOST_BYTES_OF_A_PICTURE, bytes_in(rest // count))
    sizes: list[int] = []
    _FRAME.write(
        folder,
        PAGE,
        pictures=measured(_encoded(reviewed, shown, most), sizes),
        sizes=sizes,  # filled as `pictures`, which stands before it, is written
        facts=shown.facts,
        side=side_for(most),
    )


def _shown(folder: Folder, reviewed: Reviewed, most_pairs: int) -> _Shown:
    sets = choose(folder, reviewed.thresholds, reviewed.floors, reviewed.decisions, most_pairs)
    keys = {pair.key for one in sets for pair in one.pairs}
    keys |= {pair.reference for one in sets for pair in one.pairs if one.name == WITHIN_SET}
    references = {(one.name, pair.reference) for one in sets for pair in one.pairs if one.name != WITHIN_SET}
    return _with_captions(folder, reviewed, sets, sorted(keys), sorted(references))


def _with_captions(
    folder: Folder, reviewed: Reviewed, sets: list[SetOnPage], keys: list[str], references: list[tuple[str, str]]
) -> _Shown:
    texts = {
        name: read_reference_captions(folder.inside(f"{REFERENCES}/{name}"))
        for name in reviewed.thresholds
        if name != WITHIN_SET
    }
    captions = [_short(text) for text in _captions(reviewed, keys)]
    captions += [_short(texts[name].get(reference, "")) for name, reference in references]
    positions: dict[Any, int] = {one: position for position, one in enumerate((*keys, *references))}
    facts = {
        "detector": reviewed.detector,
        "fingerprint": reviewed.fingerprint,
        "pictures": reviewed.pictures,
        "names": [*keys, *(reference for _, reference in references)],
        "captions": captions,
        "decisions": [[*pair, decision] for pair, decision in sorted(reviewed.decisions.pairs.items())],
        "sets": [_set_facts(one, positions, len(texts.get(one.name, ()))) for one in sets],
    }
    return _Shown(keys, references, captions, page_json(facts))


def _set_facts(one: SetOnPage, positions: Mapping[Any, int], references: int) -> dict[str, Any]:
    def position_of(reference: str) -> int:
        return positions[reference if one.name == WITHIN_SET else (one.name, reference)]

    by_picture, by_reference = one.best_not_shown
    return {
        "name": one.name,
        "threshold": one.threshold,
        "references": references,
        "total": one.total,
        "pairs": [
            [positions[pair.key], position_of(pair.reference), pair.similarity, one.decided_by.get(pair, "")]
            for pair in one.pairs
        ],
        "bars": list(one.bars.items()),
        "steps": one.steps,
        "pictures_left_out": one.pictures_left_out,
        "references_left_out": one.references_left_out,
        "best_of_picture": [[positions[key], best] for key, best in sorted(by_picture.items())],
        "best_of_reference": [[position_of(reference), best] for reference, best in sorted(by_reference.items())],
    }


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _captions(reviewed: Reviewed, keys: Sequence[str]) -> Iterator[str]:
    for shard, wanted in _by_shard(reviewed, keys):
        table = read_parquet(reviewed.pairs, f"{shard}.parquet", ["key", "text", "caption"])
        rows = {row["key"]: row["text"] or row["caption"] or "" for row in table.to_pylist()}
        yield from (rows[key] for key in wanted)


def _by_shard(reviewed: Reviewed, keys: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    width = max(map(len, reviewed.shards), default=0)
    for shard, wanted in itertools.groupby(keys, key=lambda key: key[:width]):
        yield shard, list(wanted)


def _encoded(reviewed: Reviewed, shown: _Shown, most: int) -> Iterator[str]:
    """The pictures in base64, in the order of their captions; the empty string where there is none."""
    for shard, wanted in _by_shard(reviewed, shown.keys):
        left = set(wanted)
        for key, _, data in read_pictures(reviewed.pairs, shard):
            if key in left:
                left.remove(key)
                yield base64_text(thumbnail(data, most))
            if not left:
                break
        if left:
            raise ValueError(
                f"{reviewed.pairs.path(shard)}: the picture {min(left)} is not there; make the shard again"
            )
    known = {(name, one.id): one for name, references in reviewed.references.items() for one in references}
    there = ((one, known[one].read()) for one in shown.references if one in known)
    decoded = decode_apart(there, at_least=side_decoded_for(most))  # others' pictures, unlike those above
    for one in shown.references:
        yield base64_text(_of_reference(*next(decoded), most)) if one in known else ""


def _of_reference(one: tuple[str, str], pixels: Pixels | UndecodableImage, most: int) -> bytes:
    if isinstance(pixels, UndecodableImage):
        raise ValueError(f"the reference {one[1]} of {one[0]} cannot be decoded any more ({pixels}); embed it again")
    return thumbnail_of(pixels, most)
