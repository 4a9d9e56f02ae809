"""The judge of drawn scenes: what it sees is counted rightly, and nothing but the right picture is right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from dalle import judge as judging
from dalle.evaluation.study.binomial import interval
from dalle.scene_judge.agreement import agreement
from dalle.scene_judge.drawings import drawn
from dalle.scene_judge.figures import attributes_of, groups_of, shares_of
from dalle.scene_judge.network import PARTS, JudgeConfig, SceneJudge, load, save
from dalle.scene_judge.options import PRESETS
from dalle.scene_judge.run import losses
from dalle.scene_judge.seeing import Seen, SeenThing, see
from dalle.scene_judge.verdicts import JudgedCaption, Originals, judged_originals
from dalle.scenes import draw_flat
from dalle.scenes.dialect import DialectScene, compose_simple, read_caption, write_simple
from dalle.scenes.dialect.words import BACKGROUNDS, COLOURS, KINDS, OPPOSITE
from dalle.train_judge import train_judge
from schemas.manifest import WEIGHTS

torch.set_num_threads(1)
SIDE = 64
SEEDS = range(300)


def seen_of(made: DialectScene) -> Seen:
    """What a judge without any fault sees."""
    things = (SeenThing(thing.shape, thing.colour, thing.size, thing.centre) for thing in made.scene.things)
    return Seen(tuple(things), made.scene.background)


class Perfect(SceneJudge):
    """Says what is in the drawings of some seeds, in the logits that the network is trained to give."""

    def __init__(self, seeds: range) -> None:
        super().__init__(JudgeConfig(side=SIDE, width=32))
        batch, grid = drawn(seeds, SIDE), SIDE // 8
        self.maps = torch.full((len(seeds), sum(PARTS), grid, grid), -9.0)
        middle = (torch.arange(grid) + 0.5) / grid
        for row, things in enumerate(batch["things"]):
            for kind, colour, size, x, y in things[things[:, 0] >= 0].tolist():
                distance = ((middle[None] - x) ** 2 + (middle[:, None] - y) ** 2) * grid**2
                self.maps[row, 0] = torch.maximum(self.maps[row, 0], 9 - 9 * distance)
                for start, index in ((1, kind), (1 + len(KINDS), colour), (1 + len(KINDS) + len(COLOURS), size)):
                    self.maps[row, start + int(index)][distance < 2] = 9.0
        self.backgrounds = torch.nn.functional.one_hot(batch["background"], len(BACKGROUNDS)).float()
        self.done = 0

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        part = slice(self.done, self.done + len(pixels))
        self.done += len(pixels)
        return self.maps[part], self.backgrounds[part]


def test_things_are_read_from_a_map_where_they_are() -> None:
    judge, pictures = Perfect(SEEDS), list(drawn(SEEDS, SIDE)["images"].numpy())
    for seed, seen in zip(SEEDS, see(judge, pictures), strict=True):
        made = compose_simple(seed, 192)
        assert sorted(seen.things)[0][:3] == sorted(seen_of(made).things)[0][:3]
        for caption in write_simple(made, 3):
            assert agreement(seen, read_caption(caption)).all, caption
        for one, thing in zip(sorted(seen.things), sorted(seen_of(made).things), strict=True):
            assert one.centre == pytest.approx(thing.centre, abs=0.06)


def test_the_loss_is_least_where_the_map_is_right() -> None:
    seeds = range(16)
    right, things = Perfect(seeds).maps, drawn(seeds, SIDE)["things"]
    least = losses(right, things)
    assert all(float(part) < 0.1 for part in least[1:])
    for shift in (1, 3):
        assert all(float(a) > float(b) for a, b in zip(losses(right.roll(shift, 0), things), least, strict=True))


def test_captions_of_a_scene_agree_with_it_and_with_no_other_that_differs_in_anything() -> None:
    for seed in SEEDS:
        made = compose_simple(seed, SIDE)
        seen = seen_of(made)
        for caption in write_simple(made, 2):
            said = read_caption(caption)
            assert agreement(seen, said).all, caption
            for other in others(seen):
                assert not agreement(other, said).all, (caption, other)
            if said.relation is not None:
                assert not agreement(seen, replace(said, relation=OPPOSITE[said.relation])).all, caption


def others(seen: Seen) -> Iterator[Seen]:
    """One thing is another kind, another colour, not there, there twice; or the background is another."""
    first, *rest = seen.things
    kind = next(kind for kind in KINDS if kind not in {thing.kind for thing in seen.things})
    colour = next(colour for colour in COLOURS if colour not in {thing.colour for thing in seen.things})
    yield seen._replace(things=(first._replace(kind=kind), *rest))
    yield seen._replace(things=(first._replace(colour=colour), *rest))
    yield seen._replace(things=tuple(rest))
    yield seen._replace(things=(first, first, *rest))
    yield seen._replace(background=next(name for name in BACKGROUNDS if name != seen.background))
    if rest and rest[0].colour != first.colour and rest[0].kind != first.kind:  # colours bound to the other things
        swapped = first._replace(colour=rest[0].colour), rest[0]._replace(colour=first.colour)
        yield seen._replace(things=(*swapped, *rest[1:]))


def judged(verdicts: list[list[bool]], scores: list[list[float]] | None = None) -> list[JudgedCaption]:
    made = compose_simple(1, SIDE, count=2)
    caption = write_simple(made)[0]
    yes, said = agreement(seen_of(made), read_caption(caption)), read_caption(caption)
    return [
        JudgedCaption(
            id=f"unseen-{'one' if row % 2 else 'two'}-{row:03d}",
            caption=caption,
            said=said,
            verdicts=tuple(replace(yes, background=right) for right in rights),
            shown=seen_of(made),
            best=None if scores is None else int(np.argmax(scores[row])),
            files=(),
        )
        for row, rights in enumerate(verdicts)
    ]


def test_shares_count_the_first_the_chosen_and_any() -> None:
    verdicts = [[True, False, False], [False, True, False], [False, False, True], [False, False, False]]
    chosen = judged(verdicts, [[0, 9, 1], [0, 9, 1], [0, 1, 9], [1, 2, 3]])
    yes = chosen[0].verdicts[0]
    shares = shares_of(chosen, Originals(drawings=(yes, yes), reconstructions=(yes, replace(yes, kinds=False))))
    counts = {name: (share.count, share.among) for name, share in shares.items()}
    assert counts == {
        "one sample": (1, 4),
        "best of 3 by the contrastive model": (2, 4),
        "best of 3 by the judge": (3, 4),
        "chance": (4, 4),  # all captions here are alike
        "true drawings": (2, 2),
        "their reconstructions (ceiling)": (1, 2),
    }
    assert "best of 3 by the contrastive model" not in shares_of(judged(verdicts), None)
    assert {name: share.count for name, share in attributes_of(chosen).items()} == {
        "number": 4, "kinds": 4, "colours": 4, "pairs": 4, "relation": 4, "background": 1,
    }  # fmt: skip
    assert {name: group["one sample"].among for name, group in groups_of(chosen).items()} == {
        "unseen-one": 2,
        "unseen-two": 2,
    }
    assert shares["one sample"].to_json()["interval"] == [round(end, 4) for end in interval(1, 4)]


def test_chance_is_of_captions_with_the_pictures_of_others() -> None:
    rows = []
    for seed in range(40):
        made = compose_simple(seed, SIDE)
        said = read_caption(write_simple(made)[0])
        verdict = agreement(seen_of(made), said)
        rows.append(
            JudgedCaption(
                id=str(seed), caption="", said=said, verdicts=(verdict,), shown=seen_of(made), best=None, files=()
            )
        )
    shares = shares_of(rows, None)
    assert (shares["one sample"].count, shares["chance"].count, shares["chance"].among) == (40, 0, 40)


def write_originals(folder: Path, seeds: range) -> None:
    folder.mkdir()
    lines = []
    for number, seed in enumerate(seeds):
        made = compose_simple(seed, 192)
        Image.fromarray(draw_flat(made.scene)).save(folder / f"unseen-{number:03d}.png")
        lines.append({"file": f"unseen-{number:03d}.png", "captions": write_simple(made)})
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_true_drawings_in_a_folder_are_judged_by_their_captions(tmp_path: Path) -> None:
    write_originals(tmp_path / "originals", range(20))
    originals = judged_originals(Perfect(range(20)), tmp_path / "originals", None, SIDE)["unseen"]
    assert all(verdict.all for verdict in originals.drawings)
    assert (len(originals.drawings), originals.reconstructions) == (20, ())


def write_drawn(folder: Path, seeds: range, **columns: list[object]) -> None:
    (folder / "images").mkdir(parents=True)
    rows = []
    for seed in seeds:
        made = compose_simple(seed, 64)
        file = f"images/{seed}.png"
        Image.fromarray(draw_flat(made.scene)).save(folder / file)
        rows.append(
            {"caption": write_simple(made)[0], "caption_id": f"seen-{seed}", "sample": 0, "file": file, "score": 0.5}
        )
    table = pa.Table.from_pylist(rows)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, folder / "samples.parquet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    torch.manual_seed(0)
    save(SceneJudge(JudgeConfig(side=32, width=32)), path)
    return path


def test_the_command_leaves_numbers_and_sheets(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_drawn(tmp_path / "drawn", range(5))
    write_originals(tmp_path / "originals", range(4))
    flags = ["--drawn", f"seen={tmp_path}/drawn", "--judge", str(model), "--originals", f"{tmp_path}/originals"]
    for _ in range(2):  # again over what is there
        assert judging.main([*flags, "--output_folder", f"{tmp_path}/judged"]) == 0
    said = json.loads((tmp_path / "judged/judged.json").read_text())
    assert said["job"] == "judge"
    assert said["shares"]["seen"]["one sample"]["among"] == 5
    assert (tmp_path / "judged/seen.png").read_bytes().startswith(b"\x89PNG")
    assert [json.loads(line)["id"] for line in (tmp_path / "judged/seen.jsonl").open()] == [
        f"seen-{n}" for n in range(5)
    ]
    assert "one sample" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "flags", "sentence"),
    [
        ({"caption": ["a cat"] * 3}, [], "names 0 backgrounds"),
        ({"file": [None] * 3}, [], "the pictures of some samples were not kept"),
        ({}, ["--drawn"], "--drawn is missing"),
        ({}, ["--drawn", "x"], "expected NAME=FOLDER"),
        ({}, ["--drawn", "../x={drawn}"], "expected NAME=FOLDER"),
        ({}, ["--drawn", "a={drawn}", "a={drawn}"], "names a twice"),
        ({}, ["--dvae", "builtin"], "there are no --originals"),
        ({}, ["--judge", "{drawn}"], "--judge"),
        ({}, ["--output_folder", "{drawn}"], "is the input"),
        ({}, ["--drawn", "a={drawn}/nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], columns: dict[str, list[object]], flags: list[str], sentence: str
) -> None:  # fmt: skip
    folder = tmp_path / "drawn"
    write_drawn(folder, range(3), **columns)
    (folder / "manifest.json").write_text('{"job": "generate"}')
    own = [word.format(drawn=folder) for word in flags]
    before = sorted(tmp_path.rglob("*"))
    assert (
        judging.main(
            ["--drawn", f"seen={folder}", "--judge", str(model), "--output_folder", f"{tmp_path}/judged", *own]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_training_is_a_function_of_its_seed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    _, tiny = PRESETS["tiny"]

    def trained(folder: str, steps: int, seed: int = 0) -> bytes:
        loop = replace(tiny.loop, output_folder=tmp_path / folder, steps=steps, batch_size=4, save_every=2, seed=seed)
        assert train_judge(replace(tiny, loop=replace(loop, eval_every=0), eval_drawings=4)) == 0
        return (tmp_path / folder / WEIGHTS).read_bytes()

    whole = trained("whole", 4)
    trained("again", 2)
    assert trained("again", 4) == whole
    assert trained("other", 4, seed=1) != whole
    assert load(tmp_path / "whole" / WEIGHTS).config == tiny.network
