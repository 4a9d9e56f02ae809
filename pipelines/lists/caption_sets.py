"""Data sets with several captions a picture: COCO, CUB-200-2011, Flickr8k and Flickr30k; one row a picture.

With `--image_folder` a row's `url` is the picture's path in it, and a picture that is not there fails as `not-found`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO, Any

import pyarrow as pa

from dalle.pictures.file_names import is_of_a_mac
from pipelines.lists.columns import ListColumns, header_again
from pipelines.lists.csv_records import PICTURE_NAME, csv_records
from pipelines.lists.expected import expected, none_of
from pipelines.lists.files import files_below
from pipelines.lists.folder import captions_by_file
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.rows import JSON_TEXT, Row, batches
from pipelines.lists.text import decoded, lines, open_text
from pipelines.lists.values import SeenNames, as_text, captions_of, extras_of, members_of, text_of
from schemas.json_text import parse_json
from schemas.stores import store_of


def coco(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """COCO's captions JSON; without local pictures they are fetched from `coco_url`."""
    with open_text(path, columns.encoding) as file:
        try:
            images, annotations = members_of(parse_json(file.read()), "images", "annotations")
            captions, problems = _captions_by_image(annotations)
            images = list(expected(images, _has_id, lambda count: f"of {count:,} images none has an id"))
        except ValueError as error:
            raise ValueError(f"{path}: not COCO's captions JSON with images and annotations ({error})") from None
    extras = [pa.field(name, pa.string(), metadata=JSON_TEXT) for name in columns.save_additional_columns]
    seen = SeenNames(path, columns, columns.save_additional_columns)
    rows = _coco_rows(list(seen.watch(iter(images))), captions, columns, pictures)
    yield from batches(itertools.chain(rows, (Row(None, [], problem=problem) for problem in problems)), extras)


def _has_id(image: Any) -> bool:
    return isinstance(image, dict) and "id" in image


def _captions_by_image(annotations: list[Any]) -> tuple[dict[Any, list[Any]], list[str]]:
    """The captions of each image by its id, and what is wrong with annotations that have none.

    Raises:
        ValueError: of the first, if it is so of all.
    """
    captions: dict[Any, list[Any]] = {}
    problems = list[str]()
    for number, annotation in enumerate(annotations, 1):
        try:
            image, caption = annotation["image_id"], annotation["caption"]
            if image is None:
                raise ValueError("its image_id is null")
            captions.setdefault(image, []).append(caption)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"annotation {number}: {_said(error)}"[:200])
    if problems and not captions:
        raise ValueError(problems[0])
    return captions, problems


def _shared_ids(images: list[Any]) -> set[Any]:
    """Ids of several images that are not the same picture, so that it is not known whose their captions are."""
    pictures: dict[Any, set[str]] = {}
    for image in images:
        with contextlib.suppress(KeyError, TypeError):
            pictures.setdefault(image["id"], set()).add(repr((image.get("file_name"), image.get("coco_url"))))
    return {name for name, several in pictures.items() if len(several) > 1}


def cub(url: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """CUB-200-2011: a folder with Reed's texts (`text_c10`, ten captions a picture), or with `images.txt`, where the
    class name is the caption; or a captions.jsonl (file, captions)."""
    fs, root = store_of(url)
    if fs.isfile(root):
        captions_by_name: Iterable[tuple[str, list[str]] | str] = captions_by_file(url, columns)
    elif fs.exists(f"{root}/images.txt"):
        captions_by_name = _cub_classes(f"{url.rstrip('/')}/images.txt", columns.encoding)
        pictures = pictures or (PictureFolder(f"{url.rstrip('/')}/images") if fs.isdir(f"{root}/images") else None)
    else:
        captions_by_name = _cub_texts(fs, root, url, columns.encoding)
    if pictures is None:
        raise ValueError(f"{url}: CUB has no addresses; say with --image_folder where its pictures lie")
    yield from batches(_row(each, pictures) for each in captions_by_name)


def flickr8k(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """Flickr8k: `captions.txt` (image,caption, header or not), or `Flickr8k.token.txt` (image#n, tab, caption)."""
    return _flickr(path, columns, pictures)


def flickr30k(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """Flickr30k: `results_20130124.token`, `results.csv` (divided by |), or Karpathy's `dataset_flickr30k.json`."""
    return _flickr(path, columns, pictures)


def _coco_rows(
    images: list[Any], captions: dict[Any, list[Any]], columns: ListColumns, pictures: PictureFolder | None
) -> Iterator[Row]:
    known, shared = set(), _shared_ids(images)
    for number, image in enumerate(images, 1):
        name = f"number {number}"
        try:
            name = image["id"]
            if name is None:
                raise ValueError("its id is null")
            known.add(name)
            if name in shared:
                raise ValueError("another image has the same id, so whose its captions are is not known")
            yield _coco_row(image, captions.get(name, []), columns, pictures)
        except (ValueError, KeyError, TypeError) as error:
            yield Row(None, [], problem=f"image {name}: {_said(error)}"[:200])
    for unknown in sorted(captions.keys() - known, key=str):
        yield Row(None, [], problem=f"captions of image {unknown}, which is not among the images"[:200])


def _coco_row(image: dict[str, Any], values: list[Any], columns: ListColumns, pictures: PictureFolder | None) -> Row:
    texts, extras = [text for value in values for text in captions_of(value)], extras_of(image, columns)
    if pictures is None:
        return Row(text_of(image.get("coco_url"), "coco_url"), texts, extras)
    return replace(_local_row(text_of(image["file_name"], "file_name") or "", texts, pictures), extras=extras)


def _said(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "is no object of an image's"
    return f"has no {error}" if isinstance(error, KeyError) else str(error)


def _row(each: tuple[str, list[str]] | str, pictures: PictureFolder) -> Row:
    """A row of a picture's name and captions, or of what is wrong with it."""
    return Row(None, [], problem=each) if isinstance(each, str) else _local_row(*each, pictures)


def _local_row(name: str, captions: list[str], pictures: PictureFolder) -> Row:
    """A row of a local picture; an empty location says that it is not there."""
    path = pictures.find(name)
    return Row(path or name, captions, location=path or "")


def _cub_classes(path: str, encoding: str | None) -> Iterator[tuple[str, list[str]]]:
    with open_text(path, encoding) as file:
        for line in lines(file):
            name = line.strip().partition(" ")[2]
            if name:
                yield name, [_class_name(name.split("/")[0])]


def _class_name(folder: str) -> str:
    """`001.Black_footed_Albatross` is a Black footed Albatross."""
    return folder.partition(".")[2].replace("_", " ") or folder.replace("_", " ")


def _cub_texts(fs: Any, root: str, url: str, encoding: str | None) -> Iterator[tuple[str, list[str]]]:
    texts = [path for path in files_below(url) if path.lower().endswith(".txt") and not is_of_a_mac(path)]
    if not texts:
        raise ValueError(f"{url}: neither images.txt nor texts (<class>/<picture>.txt) in this folder")
    for path in texts:
        with fs.open(f"{root}/{path}", "rb") as file:
            captions = [line.strip() for line in decoded(file.read(), encoding).split("\n") if line.strip()]
        yield f"{path[:-4]}.jpg", captions


def _flickr(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    if pictures is None:
        raise ValueError(f"{path}: this data set has no addresses; say with --image_folder where its pictures lie")
    with open_text(path, columns.encoding) as file:
        if ".json" in path.rsplit("/", 1)[-1].lower():
            captions_by_name = _karpathy(file, path)
        else:
            captions_by_name = _grouped(
                expected(
                    _caption_lines(file, path),
                    lambda line: line[1] is not None,
                    lambda count: (
                        f"{path}: {none_of(count, 'a picture and its caption')}; it is not {columns.dataset}'s"
                    ),
                )
            )
        yield from batches(_row(each, pictures) for each in captions_by_name)


_NUMBER = re.compile(r"^[0-9]+\s+")
"""Of a caption among those of its picture."""


def _grouped(captions_in_lines: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, list[str]] | str]:
    """Captions by picture, in the order in which pictures first appear; problems at their end."""
    captions: dict[str, list[str]] = {}
    problems = []
    for name, caption in captions_in_lines:
        if caption is None:
            problems.append(name)
        else:
            captions.setdefault(name, []).append(caption)
    yield from captions.items()
    yield from problems


def _caption_lines(file: IO[bytes], path: str) -> Iterator[tuple[str, str | None]]:
    """Picture and caption of each line, or what is wrong with it and None."""
    name = path.rsplit("/", 1)[-1].lower()
    if "token" in name:
        divided: Iterable[list[str] | str] = (line.rstrip("\r\n").split("\t", 1) for line in lines(file))
    elif name.startswith("results"):
        divided = ([part.strip() for part in line.rstrip("\r\n").split("|", 2)] for line in lines(file))
    else:
        divided = csv_records(lines(file, newline=""), has_header=False, like=PICTURE_NAME)
    for number, fields in enumerate(divided, 1):
        if isinstance(fields, str):
            yield fields, None
        elif fields in ([], [""]):
            continue
        elif len(fields) < 2:
            yield f"row {number}: 1 field, expected a picture and its caption", None
        elif fields[0].strip().lower() in ("image", "image_name"):
            if number > 1:
                yield header_again(fields, fields, path, number), None
        else:
            caption = fields[-1] if len(fields) <= 3 and "results" in name else ",".join(fields[1:])
            if len(fields) == 2 and name.startswith("results"):  # the published file has a line without its second |
                caption = _NUMBER.sub("", caption)
            yield fields[0].partition("#")[0].strip(), as_text(caption)


def _karpathy(file: IO[bytes], path: str) -> Iterator[tuple[str, list[str]] | str]:
    try:
        (images,) = members_of(parse_json(file.read()), "images")
    except ValueError as error:
        raise ValueError(f"{path}: not a list of images with sentences ({error})") from None
    yield from expected(
        (_karpathys(image, number) for number, image in enumerate(images, 1)),
        lambda image: not isinstance(image, str),
        lambda count: f"{path}: not a list of images with sentences (of {count:,} images none has them)",
    )


def _karpathys(image: Any, number: int) -> tuple[str, list[str]] | str:
    try:
        name = text_of(image["filename"], "filename") or ""
        return name, [text for sentence in image["sentences"] for text in captions_of(sentence["raw"])]
    except (ValueError, KeyError, TypeError) as error:
        return f"image {number}: {_said(error)}"[:200]
