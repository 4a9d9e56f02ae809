"""Pictures and captions as vectors of one space, and how well pictures match a caption: the cosine of their vectors.

Both come through in small batches that always have the same size (the last is filled up), each wholly on one thread: so
a vector depends neither on what else is looked at nor on how many threads there are, and no thread waits for another
after each product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dalle.pictures.pixels import Pixels
from dalle.training.one_thread import one_thread
from dalle.training.parallel import for_each
from dalle.training.precision import computes_in_bfloat16, has_fast_bfloat16
from schemas.embeddings import check_vectors

if TYPE_CHECKING:
    from open_clip.transform import PreprocessCfg

Precision = Literal["auto", "float32", "bfloat16"]
PICTURES, CAPTIONS = 16, 16
"""Of a batch: enough that products are at their best, few enough that little is computed in vain for few samples."""
_AT_ONCE = 64
"""Batches that are held in memory together."""

T = TypeVar("T")


@dataclass(frozen=True)
class ContrastiveModel:
    """A network of open_clip's, and how captions and pictures are prepared for it."""

    name: str
    """As `dalle.contrastive.load` takes it."""
    fingerprint: str
    """Of weights, layers and preparation; without the precision."""
    network: nn.Module
    """`encode_image` and `encode_text`, in single precision and in evaluation mode; it may be changed."""
    preparation: PreprocessCfg
    tokens: Callable[[list[str]], Tensor]
    """[captions, T] int64."""


def same_model(first: str, second: str) -> bool:
    """Whether two fingerprints of `Reranker` are of one model, in whatever precision."""
    return first.rpartition("-")[0] == second.rpartition("-")[0]


def number_format(precision: Precision, device: torch.device) -> torch.dtype:
    """What a network computes in: by default bfloat16 where that is fast."""
    if precision == "auto":
        precision = "bfloat16" if computes_in_bfloat16(device.type) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


class Reranker:
    """A contrastive model that scores pictures by a caption.

    Args:
        model: the network; changed, and for this object alone from now on.
        precision: of the network's layers; auto: bfloat16 where that is fast.
        device: where it computes.
    """

    def __init__(self, model: ContrastiveModel, precision: Precision = "auto", device: str = "cpu") -> None:
        # open_clip takes seconds to import, and who only compares fingerprints needs none of it
        from open_clip.transform import image_transform_v2

        from dalle.contrastive.packed import pack

        self.name, self._device = model.name, torch.device(device)
        self._dtype = number_format(precision, self._device)
        self.fingerprint = f"{model.fingerprint}-{str(self._dtype).removeprefix('torch.')}"
        self._network: Any = model.network.to(self._device).requires_grad_(False)
        self._tokens, self._no_tokens = model.tokens, model.tokens([""])
        self._transform = image_transform_v2(model.preparation, is_train=False)
        self._autocast = self._dtype == torch.bfloat16
        if self._autocast and self._device.type == "cpu" and has_fast_bfloat16():
            self._autocast = not pack(self._network, PICTURES * _positions(self._network))
        self.dimension = self.embed_captions(["a"]).shape[1]

    def scores(self, caption: str, pictures: Iterable[Pixels]) -> np.ndarray:
        """How well each picture matches the caption: the cosine of their vectors.

        Args:
            caption: one.
            pictures: N of [H, W, 3] uint8, of any sizes.

        Returns:
            [N] float32 in [-1, 1].

        Raises:
            ValueError: if the caption has no tokens, or one of the pictures is none.
        """
        return _cosines(self.embed_pictures(pictures), self.embed_captions([caption])[0])

    def scores_of_each(self, captions: Sequence[str], pictures: Sequence[Sequence[Pixels]]) -> list[np.ndarray]:
        """The same numbers as of one caption after the other, sooner: pictures of several make full batches.

        Args:
            captions: some.
            pictures: of each caption its own.
        """
        vectors = self.embed_pictures(itertools.chain.from_iterable(pictures))
        ends = itertools.accumulate(map(len, pictures))
        own = [vectors[end - len(some) : end] for end, some in zip(ends, pictures, strict=True)]
        return [_cosines(some, vector) for some, vector in zip(own, self.embed_captions(captions), strict=True)]

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """[captions, dimension] float32 of unit length.

        Raises:
            ValueError: naming a caption that has no tokens.
        """
        if not len(captions):
            return np.zeros((0, self.dimension), np.float32)
        tokens = self._tokens(list(captions))
        empty = (tokens == self._no_tokens).all(1)
        for number, caption in enumerate(captions):
            if empty[number] or not caption.strip():
                raise ValueError(
                    f"caption {number} of {len(captions)}: {caption!r} has no tokens, expected words; leave it out"
                )
        return self._embed(tokens, CAPTIONS, self._caption_vectors, "caption")

    def embed_pictures(self, pictures: Iterable[Pixels]) -> np.ndarray:
        """[pictures, dimension] float32 of unit length, in their order; few are in memory at a time.

        Raises:
            ValueError: naming the first that is not [H, W, 3] uint8.
        """
        return self._embed(map(_checked, itertools.count(), pictures), PICTURES, self._picture_vectors, "picture")

    def embed_prepared(self, prepared: Iterable[Tensor]) -> np.ndarray:
        """[pictures, dimension] float32 of unit length: of pictures that `prepare` gave, the same as of themselves."""
        return self._embed(prepared, PICTURES, self._prepared_vectors, "picture")

    def prepare(self, pixels: Pixels) -> Tensor:
        """[3, S, S] float32: a picture as open_clip prepares it for this model."""
        return self._transform(Image.fromarray(pixels))

    def _picture_vectors(self, pictures: list[Pixels]) -> Tensor:
        return self._prepared_vectors([self.prepare(each) for each in pictures])

    def _prepared_vectors(self, prepared: list[Tensor]) -> Tensor:
        return self._network.encode_image(torch.stack(prepared).to(self._device))

    def _caption_vectors(self, tokens: list[Tensor]) -> Tensor:
        return self._network.encode_text(torch.stack(tokens).to(self._device))

    def _embed(self, items: Iterable[T], size: int, vectors_of: Callable[[list[T]], Tensor], what: str) -> np.ndarray:
        """Batch after batch, each on one thread."""
        found: list[np.ndarray] = []

        def work(place: tuple[int, list[T]]) -> None:
            number, batch = place
            full = batch + batch[:1] * (size - len(batch))
            autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast)
            with one_thread(), autocast:  # one that is alone, too: two threads might add up in another order
                vectors = vectors_of(full)
            found[number] = F.normalize(vectors.float(), dim=-1)[: len(batch)].cpu().numpy()

        with torch.inference_mode():
            batches = enumerate(_chunks(items, size))
            while some := list(itertools.islice(batches, _AT_ONCE)):
                found.extend(np.empty(0) for _ in some)
                for_each(work, some, self._device)
        if not found:
            return np.zeros((0, self.dimension), np.float32)
        vectors = np.concatenate(found)
        check_vectors(vectors, lambda number: f"{what} {number}", f"look at the weights of {self.name}")
        return vectors


def _cosines(of_pictures: np.ndarray, of_caption: np.ndarray) -> np.ndarray:
    cosines = (of_pictures * of_caption).sum(1)  # a product's sums depend on where a row stands
    return np.clip(cosines, -1, 1)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _checked(number: int, pixels: Pixels) -> Pixels:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found = f"{pixels.dtype} of {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise ValueError(f"picture {number}: is {found}, expected uint8 of [height, width, 3]")
    if not pixels.size:
        raise ValueError(f"picture {number}: is {pixels.shape[1]} x {pixels.shape[0]}, expected one or more pixels")
    return pixels


def _positions(network: Any) -> int:
    """Positions of a picture in its tower."""
    grid = getattr(network.visual, "grid_size", (7, 7))
    return int(grid[0] * grid[1] + 1)
