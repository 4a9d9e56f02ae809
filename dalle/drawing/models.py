"""The models that a picture is drawn with: a prior, and the vocabulary and the dVAE that it was trained for.

A prior's file names both by their fingerprints; no other will do. Where none are given, those are taken that come with
the package, that lie beside the prior (`vocab`, `dvae`), if one of them is it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from dalle.dvae.image_encoders import DVAEEncoder, EncoderPrecision, load_encoder
from dalle.prior.files import load, made_for
from dalle.prior.network import Prior
from dalle.shipped import names
from dalle.text import tokenizer
from dalle.training.model_file import weights_of
from schemas.folder import Folder
from schemas.manifest import MANIFEST, WEIGHTS, lineage_from, read_manifest

ModelT = TypeVar("ModelT")


@dataclass(frozen=True, kw_only=True)
class Models:
    """What draws, and what it is called in a manifest."""

    prior: Prior
    tokenizer: tokenizer.Tokenizer
    dvae: DVAEEncoder
    fingerprints: Mapping[str, str]
    """By name: prior, vocabulary, dvae."""
    lineage: list[Mapping[str, Any]] = field(default_factory=list)
    """The manifests behind the prior."""

    @property
    def side(self) -> int:
        """Codes of a row."""
        return round(self.prior.config.codes**0.5)


def load_models(
    prior: str, *, vocabulary: str | None = None, dvae: str | None = None, precision: EncoderPrecision = "bf16"
) -> Models:
    """A prior and what it was trained for.

    Args:
        prior: what `dalle.train_prior` left, a folder or its file.
        vocabulary: a folder or file; looked for if it is not given.
        dvae: a name as `pipelines.encode --dvae` takes it; looked for if it is not given.
        precision: of the dVAE.

    Raises:
        ValueError: if one of them is not what it should be, or not what the prior was trained for.
    """
    path = weights_of(prior, "train_prior", "--prior")
    network, wanted = load(path), made_for(path)
    beside = path.absolute().parent.parent
    vocabularies: list[str | Path] = [vocabulary] if vocabulary else [*names("vocabulary"), beside / "vocab"]
    dvaes: list[str | Path] = [dvae] if dvae else [*names("dvae"), beside / "dvae"]
    of_vocabulary = _matching("vocabulary", vocabularies, _vocabulary, wanted.get("vocabulary"), prior)
    of_dvae = _matching("dvae", dvaes, lambda name: _dvae(name, precision), wanted.get("dvae"), prior)
    if of_dvae.vocab_size != network.config.image_vocab_size or of_vocabulary.vocab_size != network.config.vocab_size:
        raise ValueError(f"--prior {prior}: its network is of other vocabularies than it says; it was damaged")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Models(
        prior=network,
        tokenizer=of_vocabulary,
        dvae=of_dvae,
        fingerprints={"prior": sha256, "vocabulary": wanted["vocabulary"], "dvae": wanted["dvae"]},
        lineage=_lineage(path),
    )


def _matching(
    what: str,
    names: Sequence[str | Path],
    load_one: Callable[[str], tuple[ModelT, str]],
    wanted: object,
    prior: str,
) -> ModelT:
    """The first of some models that is the wanted one; of those that nobody named, some may not be there."""
    tried = []
    for name in names:
        if isinstance(name, Path) and not name.exists():
            continue
        model, fingerprint = load_one(str(name))
        if fingerprint == wanted:
            return model
        tried.append(f"{name} ({fingerprint[:12]})")
    raise ValueError(
        f"--prior {prior}: was trained for the {what} {str(wanted)[:12]}, not for {' or '.join(tried)}; give the one "
        f"that its examples were made with as --{what}"
    )


def _vocabulary(name: str) -> tuple[tokenizer.Tokenizer, str]:
    vocabulary = tokenizer.load(name)
    return vocabulary, vocabulary.fingerprint


def _dvae(name: str, precision: EncoderPrecision) -> tuple[DVAEEncoder, str]:
    encoder = load_encoder(name, precision)
    if not callable(getattr(encoder, "decode", None)):
        raise ValueError(f"--dvae {name}: has no method decode, so no picture can be made of its codes")
    return cast(DVAEEncoder, encoder), encoder.fingerprint()


def _lineage(path: Path) -> list[Mapping[str, Any]]:
    """Of the folder that a training left; nothing of a file alone."""
    folder = Folder(path.parent)
    if path.name != WEIGHTS or not folder.exists(MANIFEST):
        return []
    return list(lineage_from(read_manifest(folder, table="model")))
