"""Data sets with several captions a picture: COCO, CUB-200-2011, Flickr8k and Flickr30k; one row a picture.

With `--image_folder` a row's `url` is the picture's path in it, and a picture that is not there fails as `not-found`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import fsspec
import pyarrow as pa

from pipelines.lists.columns import ListColumns
from pipelines.lists.formats import as_text, comma_separated, lines, open_text
from pipelines.lists.local_pictures import PictureFolder
from pipelines.lists.rows import JSON_TEXT, Row, batches


def coco(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """COCO's captions JSON; without local pictures they are fetched from `coco_url`."""
    with open_text(path) as file:
        try:
            value = json.load(file)
            images, annotations = value["images"], value["annotations"]
            captions: dict[Any, list[str]] = {image["id"]: [] for image in images}
            for annotation in annotations:
                captions.setdefault(annotation["image_id"], []).append(as_text(annotation["caption"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not COCO's captions JSON with images and annotations ({error!r})") from None
    extras = [pa.field(name, pa.string(), metadata=JSON_TEXT) for name in columns.save_additional_columns]
    yield from batches(_coco_rows(images, captions, columns, pictures), extras)


def cub(url: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """CUB-200-2011: a folder with Reed's texts (`text_c10`, ten captions a picture), or with `images.txt`, where the
    class name is the caption; or a captions.jsonl (file, captions)."""
    fs, root = fsspec.core.url_to_fs(url)
    if fs.isfile(root):
        captions_by_name: Iterable[tuple[str, list[str]]] = _cub_jsonl(url)
    elif fs.exists(f"{root}/images.txt"):
        captions_by_name = _cub_classes(fs, root)
        pictures = pictures or (PictureFolder(f"{url.rstrip('/')}/images") if fs.isdir(f"{root}/images") else None)
    else:
        captions_by_name = _cub_texts(fs, root, url)
    if pictures is None:
        raise ValueError(f"{url}: CUB has no addresses; say with --image_folder where its pictures lie")
    yield from batches(_local_row(name, captions, pictures) for name, captions in captions_by_name)


def flickr8k(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """Flickr8k: `captions.txt` (image,caption, header or not), or `Flickr8k.token.txt` (image#n, tab, caption)."""
    return _flickr(path, pictures)


def flickr30k(path: str, columns: ListColumns, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    """Flickr30k: `results_20130124.token`, `results.csv` (divided by |), or Karpathy's `dataset_flickr30k.json`."""
    return _flickr(path, pictures)


def _coco_rows(
    images: list[Any], captions: dict[Any, list[str]], columns: ListColumns, pictures: PictureFolder | None
) -> Iterator[Row]:
    known = set()
    for image in images:
        known.add(image["id"])
        name = str(image["file_name"])
        extras = [
            json.dumps(image[column], ensure_ascii=False) if image.get(column) is not None else None
            for column in columns.save_additional_columns
        ]
        if pictures is None:
            yield Row(image.get("coco_url"), captions[image["id"]], extras)
        else:
            local = _local_row(name, captions[image["id"]], pictures)
            yield Row(local.url, local.captions, extras, location=local.location)
    for unknown in sorted(captions.keys() - known, key=str):
        yield Row(None, [], problem=f"captions of image {unknown}, which is not among the images")


def _local_row(name: str, captions: list[str], pictures: PictureFolder) -> Row:
    """A row of a local picture; an empty location says that it is not there."""
    path = pictures.find(name)
    return Row(path or name, captions, location=path or "")


def _cub_classes(fs: Any, root: str) -> Iterator[tuple[str, list[str]]]:
    with fs.open(f"{root}/images.txt", "rb") as file:
        for line in lines(file):
            name = line.strip().partition(" ")[2]
            if name:
                yield name, [_class_name(name.split("/")[0])]


def _class_name(folder: str) -> str:
    """`001.Black_footed_Albatross` is a Black footed Albatross."""
    return folder.partition(".")[2].replace("_", " ") or folder.replace("_", " ")


def _cub_texts(fs: Any, root: str, url: str) -> Iterator[tuple[str, list[str]]]:
    texts = sorted(path for path in fs.find(root) if path.endswith(".txt"))
    if not texts:
        raise ValueError(f"{url}: neither images.txt nor texts (<class>/<picture>.txt) in this folder")
    for path in texts:
        with fs.open(path, "rb") as file:
            captions = [line.strip() for line in lines(file) if line.strip()]
        yield f"{path[len(root) + 1 : -4]}.jpg", captions


def _cub_jsonl(path: str) -> Iterator[tuple[str, list[str]]]:
    with open_text(path) as file:
        for number, line in enumerate(lines(file), 1):
            try:
                value = json.loads(line)
                yield str(value["file"]), [as_text(caption) for caption in value["captions"]]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f'{path}, line {number}: expected {{"file": "...", "captions": ["..."]}}') from None


def _flickr(path: str, pictures: PictureFolder | None) -> Iterator[pa.RecordBatch]:
    if pictures is None:
        raise ValueError(f"{path}: this data set has no addresses; say with --image_folder where its pictures lie")
    with open_text(path) as file:
        captions_by_name = _karpathy(file, path) if path.endswith(".json") else _grouped(_caption_lines(file, path))
        yield from batches(
            Row(None, [], problem=name) if captions is None else _local_row(name, captions, pictures)
            for name, captions in captions_by_name
        )


def _grouped(captions_in_lines: Iterator[tuple[str, str | None]]) -> Iterator[tuple[str, list[str] | None]]:
    """Captions by picture, in the order in which pictures first appear; problems at their end."""
    captions: dict[str, list[str]] = {}
    problems = []
    for name, caption in captions_in_lines:
        if caption is None:
            problems.append(name)
        else:
            captions.setdefault(name, []).append(caption)
    yield from captions.items()
    yield from ((problem, None) for problem in problems)


def _caption_lines(file: IO[bytes], path: str) -> Iterator[tuple[str, str | None]]:
    """Picture and caption of each line, or what is wrong with it and None."""
    name = path.rsplit("/", 1)[-1].lower()
    if "token" in name:
        divided: Iterable[list[str] | str] = (line.rstrip("\r\n").split("\t", 1) for line in lines(file))
    elif name.startswith("results"):
        divided = ([part.strip() for part in line.rstrip("\r\n").split("|", 2)] for line in lines(file))
    else:
        divided = comma_separated(file)
    for number, fields in enumerate(divided, 1):
        if isinstance(fields, str):
            yield fields, None
        elif fields in ([], [""]):
            continue
        elif len(fields) < 2:
            yield f"row {number}: 1 field, expected a picture and its caption", None
        elif number == 1 and fields[0].strip().lower() in ("image", "image_name"):
            continue
        else:
            caption = fields[-1] if len(fields) <= 3 and "results" in name else ",".join(fields[1:])
            yield fields[0].partition("#")[0].strip(), as_text(caption)


def _karpathy(file: IO[bytes], path: str) -> Iterator[tuple[str, list[str] | None]]:
    try:
        for image in json.load(file)["images"]:
            yield str(image["filename"]), [as_text(sentence["raw"]) for sentence in image["sentences"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a list of images with sentences ({error!r})") from None
