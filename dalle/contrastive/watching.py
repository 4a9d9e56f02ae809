"""How often a held-out picture finds its caption among a hundred, and a caption its picture (recall@1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from dalle.contrastive.pairs import GROUP, as_judged
from dalle.reading.batches import Batches
from dalle.reading.captioned_pairs import CaptionedPairs

_AT_ONCE = 50
"""Pairs that go through the network together."""

Embed = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""[B, 3, S, S] uint8 and [B, T] to the vectors of both, [B, D] of unit length."""


@dataclass(frozen=True)
class Recall:
    """Shares of those whose partner is the nearest of a group."""

    image_to_text: float
    text_to_image: float
    among: int
    """Pairs of a group, no two of which have one caption or one picture."""
    groups: int

    def figures(self) -> Mapping[str, float]:
        """For the log."""
        return {"recall_image_to_text": self.image_to_text, "recall_text_to_image": self.text_to_image}

    def __str__(self) -> str:
        times = f"{self.groups} times " if self.groups > 1 else ""
        return (
            f"recall@1 among {times}{self.among} held-out pairs: image->text {100 * self.image_to_text:.1f} %, "
            f"text->image {100 * self.text_to_image:.1f} % (by chance {100 / self.among:.1f} %)"
        )


def recall(images: Tensor, texts: Tensor, groups: list[np.ndarray]) -> Recall:
    """Of vectors whose partners stand in the same row.

    Args:
        images, texts: [N, D] of unit length.
        groups: one or more, the numbers of the pairs of each.
    """
    found = torch.zeros(2, dtype=torch.float64)
    for group in groups:
        cosines = images[group] @ texts[group].T
        own = torch.arange(len(group))
        found += torch.stack([(cosines.argmax(axis) == own).double().mean() for axis in (1, 0)])
    image_to_text, text_to_image = (found / len(groups)).tolist()
    return Recall(image_to_text, text_to_image, len(groups[0]), len(groups))


def grouped(keys: Sequence[tuple[bytes, ...]], size: int) -> list[np.ndarray]:
    """Numbers of pairs in groups of a size, in order; in no group has a key's part its like.

    Pairs that fill no group are left out, unless there is no other: then it is smaller, or, of fewer than two, none.

    >>> [group.tolist() for group in grouped([(b"a",), (b"a",), (b"b",), (b"c",), (b"d",)], 2)]
    [[0, 2], [1, 3]]
    >>> [group.tolist() for group in grouped([(b"a",), (b"a",), (b"b",)], 5)]
    [[0, 2]]
    """
    groups, left = list[np.ndarray](), list(range(len(keys)))
    while True:
        group, others = list[int](), list[int]()
        seen: list[set[bytes]] = [set() for _ in keys[0]] if keys else []
        for number in left:
            parts = list(zip(keys[number], seen, strict=True))
            if len(group) == size or any(part in known for part, known in parts):
                others.append(number)
                continue
            group.append(number)
            for part, known in parts:
                known.add(part)
        if len(group) < size and (groups or len(group) < 2):
            return groups
        groups.append(np.array(group))
        if len(group) < size:
            return groups
        left = others


class HeldOut:
    """The pairs that are held out, each seen as the model will see pictures.

    Args:
        pairs: all that are held out.
        most: how many are looked at, at most.
        side: of the network's pictures.
    """

    def __init__(self, pairs: CaptionedPairs, most: int, side: int) -> None:
        self._pairs = pairs.seen_through(partial(as_judged, side=side))
        self._count = min(most, sum(pairs.counts))

    @cached_property
    def _stored(self) -> tuple[Tensor, Tensor, list[np.ndarray]]:
        """Pictures, tokens, and the groups; in memory, for each evaluation looks at the same."""
        images, tokens = list[Tensor](), list[Tensor]()
        for batch in Batches(self._pairs, batch_size=1, announced=False):
            if len(images) == self._count:
                break
            images.append(batch["images"][0])
            tokens.append(batch["text_tokens"][0])
        keys = [(text.numpy().tobytes(), image.numpy().tobytes()) for text, image in zip(tokens, images, strict=True)]
        return torch.stack(images), torch.stack(tokens), grouped(keys, GROUP)

    def recall(self, embed: Embed) -> Recall | None:
        """Of a network; None if there are not two pairs that can be told apart."""
        images, tokens, groups = self._stored
        if not groups:
            return None
        found = [embed(*some) for some in zip(images.split(_AT_ONCE), tokens.split(_AT_ONCE), strict=True)]
        of_images, of_texts = (torch.cat(some).float().cpu() for some in zip(*found, strict=True))
        return recall(of_images, of_texts, groups)
