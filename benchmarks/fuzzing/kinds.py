"""The kinds of input that are fuzzed, and how one item of each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fuzzing import answers, lists, pictures, stored, weights
from benchmarks.fuzzing.mutations import mutated
from dalle.sandbox import Limits
from dalle.sandbox.work import Function


@dataclass(frozen=True)
class Kind:
    """One kind of input from outside."""

    seeds: Callable[[], tuple[bytes, ...]]
    done_to: Function | None
    """What the project does to it, in a process of its own; None for pictures, which go through whole jobs."""


KINDS = {
    "pictures": Kind(pictures.seeds, None),
    "lists": Kind(lists.seeds, lists.done_to),
    "headers": Kind(lambda: answers.HEADERS, answers.headers_done_to),
    "robots": Kind(lambda: answers.ROBOTS, answers.robots_done_to),
    "manifests": Kind(stored.seeds_of_manifests, stored.manifests_done_to),
    "vocabularies": Kind(stored.seeds_of_vocabularies, stored.vocabulary_done_to),
    "weights": Kind(weights.seeds, weights.done_to),
}
LIMITS = Limits(memory=900 << 20, seconds=20)
"""Of the process that it is done in; whatever reaches them is a finding."""


def drawn(kind: str, seed: int, number: int) -> bytes:
    """The damaged input of this number: the same for the same seed, wherever and whenever it is drawn."""
    rng = random.Random(f"{kind} {seed} {number}")
    seeds = KINDS[kind].seeds()
    return mutated(rng.choice(seeds), rng, rng.choice(seeds))
