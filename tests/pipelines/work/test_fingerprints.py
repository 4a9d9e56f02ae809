"""Whatever decides the bytes of a dataset is in its fingerprint, and nothing else: each option and input changed in turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import Field, asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import open_clip
import pytest
import safetensors.torch
import torch

from dalle.detectors import load_detector
from dalle.detectors.builtin import WEIGHTS, Builtin
from dalle.dvae import files as dvae_files
from dalle.dvae.image_encoders import fastest_precision
from dalle.dvae.network import DVAE, DVAEConfig
from pipelines.captions.caption_streams import ListCaptions
from pipelines.copies.options import DedupOptions, decisions_of, thresholds_of
from pipelines.copies.passes import Passes
from pipelines.copies.reference_sets import find_sets
from pipelines.running.do_units import Engine
from pipelines.running.recipe import Recipe
from pipelines.running.unit import Unit
from pipelines.vocab import VocabOptions
from pipelines.vocab import recipe_of as recipe_of_vocabulary
from pipelines.work.encode_options import EncodeOptions
from pipelines.work.encode_recipe import recipe_of as recipe_of_examples
from pipelines.work.encode_recipe import work_of
from pipelines.work.ingest_options import IngestOptions
from pipelines.work.ingest_recipe import open_list, recipe_of_list
from schemas.folder import Folder
from schemas.manifest import fingerprint

LISTED = "url,caption,link,text,n\nhttp://a/1,a red boat,http://b/1,a blue boat,1\n"
SLOWER = {"fp32": "bf16", "bf16": "fp32"}[fastest_precision("cpu")]
"""What auto is not here."""
OTHERS: dict[str, list[Any]] = {
    "url_list": [], "image_folder": [], "input_folder": [], "lists": [], "reference": [], "decisions": [], "threshold": [],
    "dataset": [], "url_col": ["link"], "caption_col": ["text"], "save_additional_columns": [("n",)],
    "input_format": ["csv"], "encoding": ["cp1252"], "output_folder": ["elsewhere"], "language": ["de", "any"], "language_ratio": [0.7],
    "max_image_area": [1e4], "max_aspect_ratio": [5.0], "min_words": [9], "min_characters": [9], "min_image_size": [9],
    "drop_boilerplate": [False], "timeout": [77.0], "allow_private_hosts": [("10.0.0.0/8",)], "user_agent_token": ["me"],
    "disallowed_header_directives": [("noai",), ()], "proxy": ["http://127.0.0.1:9"], "connect_to": [("a:1:127.0.0.1:2",)],
    "downloader": [], "verify_hash": [("n", "md5")], "compute_hash": ["md5"], "encode_quality": [50], "encode_format": ["webp"],
    "memory_limit": [1 << 32], "incremental_mode": ["overwrite"], "number_sample_per_shard": [7], "precision": [SLOWER], "device": [],
    "vocabulary": [], "dvae": [], "vocab_size": [300], "detector": [], "floor": [0.1], "within_threshold": [0.5], "sample_folder": ["elsewhere"],
    "sample_web": ["dialect"], "json": [], "resolution": [64],
}  # fmt: skip
"""Other values of options; of those that are not named a yes for a no, one more, or the next choice."""


def options_of(options: Any) -> Iterator[tuple[Callable[[Any], Any], Field, Any]]:
    """How each option is given another value, what it is, and its own value; of parts too."""
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            for put, inner, own in options_of(value):
                yield (
                    (lambda other, put=put, name=field.name: replace(options, **{name: put(other)})),
                    inner,
                    own,
                )
        else:
            yield (lambda other, name=field.name: replace(options, **{name: other})), field, value


def other_values(field: Field, own: Any) -> list[Any]:
    if field.name in OTHERS:
        return OTHERS[field.name]
    if isinstance(own, bool):
        return [not own]
    if isinstance(own, int):
        return [own + 1]
    choices = get_args(field.type) if not isinstance(field.type, str) else []
    if not choices:
        import typing

        import dalle.pictures.resize as resizing
        from pipelines.captions.language import LanguageModel
        from pipelines.stages.filter import Filters
        from schemas.matches import Linkage
        from schemas.pair_shards import OutputFormat

        known = {"ResizeMode": resizing.ResizeMode, "EncodeFormat": resizing.EncodeFormat, "Filters": Filters}
        known |= {"LanguageModel": LanguageModel, "OutputFormat": OutputFormat, "Linkage": Linkage}
        choices = typing.get_args(known[str(field.type)])
    return [choice for choice in choices if choice != own]


def says(recipe: Recipe) -> str:
    """What decides whether a unit is done again."""
    (unit,) = recipe.units([Unit(shard="0", rows=1)], ["x"])
    return fingerprint([recipe.identity, unit.fingerprint])


def check(options: Any, recipe_of: Callable[[Any], Recipe], least: int) -> None:
    """Each option in turn: the fingerprint changes exactly if the option is one that changes bytes."""
    own, tried = says(recipe_of(options)), 0
    for put, field, value in options_of(options):
        for other in other_values(field, value):
            changed = says(recipe_of(put(other))) != own
            assert changed == field.metadata.get("changes_bytes", True), f"{field.name} {value} -> {other}"
            tried += 1
    assert tried >= least


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    (tmp_path / "l.csv").write_text(LISTED)
    return tmp_path / "l.csv"


def test_options_of_ingest(listed: Path) -> None:
    """Those of the list, of filters, fetching, pictures and hashes; and every byte of the list."""

    def recipe_of(options: IngestOptions) -> Recipe:
        return recipe_of_list(options, open_list(options))

    options = IngestOptions()
    options = replace(options, source=replace(options.source, url_list=str(listed)))
    check(options, recipe_of, 45)
    none = replace(options, hashes=replace(options.hashes, compute_hash=None))
    assert says(recipe_of(options)) == says(recipe_of(none))  # sha256 is stored in either case
    before = says(recipe_of(options))
    for at in range(0, len(LISTED), 5):
        listed.write_text(LISTED[:at] + "~" + LISTED[at + 1 :])
        with open(listed, "a") as file:
            file.write("url,caption,link,text,n\n")
        assert before != says(recipe_of_list(options, open_list(options)))


def test_options_of_vocab(listed: Path, tmp_path: Path) -> None:
    """A seed counts where there is a sample to draw."""
    captions = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "a boat"}]}
    (tmp_path / "c.json").write_text(json.dumps(captions))
    source = ListCaptions([f"coco:{tmp_path / 'c.json'}"])
    sampled = VocabOptions(lists=("coco:x",), max_captions=5)
    check(sampled, lambda options: recipe_of_vocabulary(options, source), 4)
    whole = replace(sampled, max_captions=0)
    assert says(recipe_of_vocabulary(whole, source)) == says(recipe_of_vocabulary(replace(whole, seed=3), source))
    before = says(recipe_of_vocabulary(whole, source))
    (tmp_path / "c.json").write_text(json.dumps(captions).replace("boat", "goat"))
    assert before != says(recipe_of_vocabulary(whole, ListCaptions([f"coco:{tmp_path / 'c.json'}"])))


PAIRS: dict[str, Any] = {
    "job": "ingest", "lineage": [], "shards": [], "options": dict.fromkeys(
        ("number_sample_per_shard", "oom_shard_count", "encode_format", "output_format"), 3
    ),
}  # fmt: skip


def test_options_of_encode(tmp_path: Path) -> None:
    """Vocabulary and dVAE by what is in them; a seed where crops are drawn."""
    options = EncodeOptions(crops_per_image=2, device="cpu", dvae="tests.own_encoder:Greys")

    def recipe_of(options: EncodeOptions) -> Recipe:
        return recipe_of_examples(PAIRS, work_of(Folder(tmp_path), options))

    check(options, recipe_of, 8)
    one = replace(options, crops_per_image=1)
    assert says(recipe_of(one)) == says(recipe_of(replace(one, seed=5)))
    copied = tmp_path / "another.safetensors"
    copied.write_bytes(Path(dvae_files.BUILTIN).read_bytes())
    builtin = says(recipe_of(replace(options, dvae="builtin")))
    assert builtin == says(recipe_of(replace(options, dvae=str(copied)))) != says(recipe_of(options))
    assert says(recipe_of(options)) != says(
        recipe_of_examples({**PAIRS, "job": "other"}, work_of(Folder(tmp_path), options))
    )


def test_options_of_dedup(tmp_path: Path) -> None:
    """References and decisions by what is in them, in whichever order they come; thresholds by what follows from them."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(name.encode())
    given = (f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}")
    options = DedupOptions(detector="phash", reference=given, within=True)

    def recipe_of(options: DedupOptions) -> Recipe:
        embedder = load_detector(options.detector)
        return Passes(
            options=options, engine=Engine([], 1), folder=Folder(tmp_path / "out"), pairs=Folder(tmp_path), parent=PAIRS,
            embedder=embedder, thresholds=thresholds_of(options, embedder), decisions=decisions_of(options, embedder),
            sets=find_sets(options.reference),
        ).recipe()  # fmt: skip

    changes = {"within_linkage": "single", "within_cells": 3, "within_threshold": 0.5, "floor": 0.1, "within": False}
    own = says(recipe_of(options))
    seen = {own} | {says(recipe_of(replace(options, **{name: value}))) for name, value in changes.items()}
    seen |= {says(recipe_of(replace(options, threshold=value))) for value in (("0.5",), ("a=0.5",), ("b=0.5",))}
    seen |= {
        says(recipe_of(replace(options, reference=given[:1]))),
        says(recipe_of(replace(options, detector="builtin"))),
    }
    decided = {"detector": "phash-64-v1", "pairs": [{"reference_set": "a", "key": "0", "reference_id": "1.jpg"}]}
    for decision in ("copy", "different"):
        decided["pairs"][0]["decision"] = decision
        (tmp_path / "d.json").write_text(json.dumps(decided))
        seen.add(says(recipe_of(replace(options, decisions=str(tmp_path / "d.json")))))
    (tmp_path / "a/1.jpg").write_bytes(b"c")
    seen.add(says(recipe_of(options)))
    (tmp_path / "a/1.jpg").write_bytes(b"a")
    assert 1 + 5 + 3 + 2 + 2 + 1 == len(seen)
    same = [
        replace(options, reference=given[::-1]),
        replace(options, threshold=("0.6875",)),
        replace(options, floor=0.6875 - 0.2),
        replace(options, within_threshold=0.6875),
        replace(options, allow_self_reference=True),
        replace(options, incremental_mode="overwrite", processes_count=3, output_folder="elsewhere", input_folder="x"),
    ]
    assert {own} == {says(recipe_of(each)) for each in same}
    names = {field.name for field in fields(DedupOptions)}
    assert names == {*changes, "threshold", "reference", "detector", "decisions", "incremental_mode", "processes_count",
                     "output_folder", "input_folder", "allow_self_reference", "say"}  # fmt: skip


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the detector's weights are not in this tree")
def test_weights_of_the_detector(tmp_path: Path) -> None:
    """One number of any tensor, one of the sizes; not the file's name."""
    tensors = safetensors.torch.load_file(WEIGHTS)
    with safetensors.safe_open(WEIGHTS, "pt") as file:
        config = json.loads(file.metadata()["config"])
    path = tmp_path / "d.safetensors"

    def fingerprint_of(values: dict, sizes: dict) -> str:
        safetensors.torch.save_file(values, path, {"config": json.dumps(sizes)})
        return Builtin(path).fingerprint

    own = fingerprint_of(tensors, config)
    seen = {own}
    for name in [*list(tensors)[::9], "whitening", "power"]:
        changed = tensors[name].clone()
        changed.view(-1)[0] += 1
        seen.add(fingerprint_of({**tensors, name: changed}, config))
    seen.add(fingerprint_of(tensors, {**config, "side": config["side"] + 4}))
    assert len(seen) == 2 + len({*list(tensors)[::9], "whitening", "power"})
    assert own == fingerprint_of(tensors, config)


def test_weights_and_config_of_open_clip(tmp_path: Path) -> None:
    """Also what no weight shows: heads, activations, how pictures are prepared."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    settings = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}

    def fingerprint_of(settings: dict, change: Callable[[dict], None] = lambda state: None, seed: int = 0) -> str:
        (tmp_path / "fingerprinted.json").write_text(json.dumps(settings))
        open_clip.add_model_config(tmp_path / "fingerprinted.json")
        torch.manual_seed(seed)
        state = open_clip.create_model("fingerprinted").state_dict()
        change(state)
        torch.save(state, tmp_path / "w.pt")
        return load_detector(f"open_clip:fingerprinted/{tmp_path / 'w.pt'}").fingerprint

    own = fingerprint_of(settings)
    assert own == fingerprint_of(settings)
    seen = [own, fingerprint_of(settings, seed=1)]
    tensors = ("visual.class_embedding", "visual.proj", "visual.transformer.resblocks.0.mlp.c_fc.bias")
    seen += [fingerprint_of(settings, lambda state, key=key: state[key].view(-1)[:1].add_(1)) for key in tensors]
    seen.append(fingerprint_of({**settings, "vision_cfg": {**vision, "head_width": 8}}))
    seen.append(fingerprint_of({**settings, "quick_gelu": True}))
    seen.append(fingerprint_of({**settings, "vision_cfg": {**vision, "pool_type": "avg"}}))
    assert len(seen) == len(set(seen))


def test_weights_and_config_of_the_dvae() -> None:
    """One number of any tensor, each of the sizes."""
    config = DVAEConfig(vocab_size=16, encoder_n_hid=8, decoder_n_hid=8, n_init=4, n_blk_per_group=1)
    torch.manual_seed(0)
    dvae = DVAE(config)
    own = dvae.fingerprint()
    state = {name: value.clone() for name, value in dvae.state_dict().items()}
    seen = {own}
    for name, value in state.items():
        changed = value.clone()
        changed.view(-1)[-1] = torch.nextafter(changed.view(-1)[-1], torch.tensor(9.0))
        dvae.load_state_dict({**state, name: changed})
        seen.add(dvae.fingerprint())
    dvae.load_state_dict(state)
    assert own == dvae.fingerprint()
    for name, value in asdict(config).items():
        torch.manual_seed(0)
        seen.add(DVAE(replace(config, **{name: value * 2 or 1})).fingerprint())
    assert len(seen) == 1 + len(state) + len(fields(config))
