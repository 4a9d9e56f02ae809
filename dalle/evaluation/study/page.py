"""Write a study: pages that are handed to workers, and the key that is not.

    study/pages/000.html    one file each, offline, with its pictures; answers come back as JSON files
          key.json          whose picture was where, and what the right answers to checks are

Pages hold neither names of models nor the seed; who hands out `pages/` alone gives nothing away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dalle.evaluation.study.asked import Asked, Shown, Study, StudyOptions, all_pictures, fingerprint_of, pages
from dalle.pages.frame import Frame, base64_text, measured, page_json
from dalle.pages.texts import shown
from dalle.pictures.apart import decode_apart
from dalle.pictures.faults import UndecodableImage
from dalle.pictures.resize import encode, resize
from schemas.folder import Folder

KEY = "key.json"
PAGES = "pages"
FORMAT_VERSION = 1
SIDE = 256
"""Pixels of the longer side of every picture, the paper's; all are brought to it and encoded alike, so that neither
size nor format tells whose it is."""

_QUALITY = 95
_MOST_CHARACTERS = 3_000
_FRAME = Frame("dalle.evaluation.study", ("answers.js", "page.js"))


def write_study(folder: Folder, study: Study, options: StudyOptions | None = None) -> list[str]:
    """Write the pages and their key.

    Args:
        folder: an empty one.
        study: what is to be judged.
        options: how many on a page, checks, seed.

    Returns:
        the names of the pages.

    Raises:
        ValueError: if the folder has a study, a picture cannot be decoded, or no check can be made of the captions.
    """
    options = options or StudyOptions()
    if folder.exists(KEY):
        raise ValueError(f"{folder.path(KEY)}: is the key of a study, which may be running; give another folder")
    found = pages(study, options)
    name = fingerprint_of(study, options)
    names = [f"{PAGES}/{number:03d}.html" for number in range(len(found))]
    for number, asked in enumerate(found):
        _write_page(folder, names[number], study, asked, {"study": name, "page": number, "pages": len(found)})
    key = {
        "format_version": FORMAT_VERSION,
        "study": name,
        "models": [model.name for model in study.models],
        "captions": dict(study.captions),
        "pages": [[one.to_json() for one in asked] for asked in found],
    }
    folder.write_json(KEY, key)
    return names


def _write_page(folder: Folder, name: str, study: Study, asked: Sequence[Asked], where: dict[str, Any]) -> None:
    pairs = [[one.id, shown(study.captions[one.caption], _MOST_CHARACTERS)] for one in asked]
    sizes: list[int] = []
    _FRAME.write(
        folder,
        name,
        pictures=measured(_encoded(study, all_pictures(asked)), sizes),
        sizes=sizes,  # filled as `pictures`, which stands before it, is written
        facts=page_json({**where, "pairs": pairs}),
    )


def _encoded(study: Study, pictures: Sequence[Shown]) -> Iterator[str]:
    sources: list[Callable[[str], bytes]] = [model.picture for model in study.models]
    sources += [study.known] if study.known is not None else []
    names = [*(model.name for model in study.models), "the known ones"]
    for one, pixels in decode_apart(((one, sources[one.model](one.caption)) for one in pictures), at_least=2 * SIDE):
        if isinstance(pixels, UndecodableImage):
            whose = f"the picture of caption {one.caption} of {names[one.model]}"
            raise ValueError(f"{whose}: cannot be decoded ({pixels}); give another")
        yield base64_text(encode(resize(pixels, SIDE, "keep_ratio_largest"), "webp", _QUALITY))
