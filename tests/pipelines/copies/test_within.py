"""Copies inside a dataset: cells and groups are what brute force and a naive union give; who is kept is fixed."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalle.detectors import load_detector
from dalle.detectors.phash import PHash
from dalle.pictures.edits import EDITS
from dalle.pictures.images import decode
from dalle.scenes import compose, draw
from pipelines.audit import main as audit
from pipelines.copies.within.cells import centres, nearest_cells, number_of_cells
from pipelines.copies.within.groups import COPY, copies, groups, pairs_of
from pipelines.copies.within.numbering import PICTURE, Numbering
from pipelines.copies.within.runs import Runs, write_run
from pipelines.copies.within.searching import LINK
from pipelines.dedup import main
from pipelines.ingest import main as ingest
from pipelines.stages.embed import embed
from pipelines.stages.link_alike import link_alike
from pipelines.vectors.components import join
from schemas.folder import Folder, Staging
from tests.conftest import Job, SmallDisk, hashes, run_job, write_jpeg
from tests.pipelines.jobs.test_ingest import pool
from tests.pipelines.stages.test_search_exactly import unit_vectors

pytestmark = pytest.mark.slow

__all__ = ["pool"]

NONE = np.zeros((0, 2), np.int64)


def naive_union(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each node the least of its component, by sets."""
    sets = [{node} for node in range(count)]
    for one, other in pairs:
        union = sets[one] | sets[other]
        for node in union:
            sets[node] = union
    return [min(each) for each in sets]


@given(data=st.data(), count=st.integers(1, 40))
def test_components_are_a_naive_union(data: st.DataObject, count: int) -> None:
    """Joined at once or edge after edge."""
    node = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), max_size=60))
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = naive_union(count, pairs)
    assert expected == join(np.arange(count), one, other).tolist()
    labels = np.arange(count)
    for pair in pairs:
        labels = join(labels, np.array(pair[:1]), np.array(pair[1:]))
    assert expected == labels.tolist()


def test_a_long_chain_is_one_component() -> None:
    """100,000 nodes in a random order, and as they stand."""
    for order in (np.arange(100_000), np.random.default_rng(0).permutation(100_000)):
        assert not join(np.arange(100_000), order[:-1], order[1:]).any()


@pytest.mark.parametrize("fast", [True, False])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4), least=st.floats(0.3, 1))
def test_cells_are_searched_as_by_brute_force(fast: bool, seed: int, sizes: list[int], least: float) -> None:
    """All pairs in float64, and a naive union of them, but for those that are to stay apart; in any blocks."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    vectors = unit_vectors(rng, count, 16)
    for row in range(1, count, 2):
        vectors[row] = vectors[rng.integers(row)] + rng.choice([0, 0.1, 0.3]) * vectors[row]
        vectors[row] /= np.linalg.norm(vectors[row])
    vectors = vectors.astype(np.float16).astype(np.float32)
    apart = rng.integers(0, max(count, 1), (6, 2)) if count else NONE
    starts = np.cumsum([0, *sizes])
    found = link_alike(lambda block: vectors[starts[block] : starts[block + 1]], sizes, least, fast=fast, apart=apart)
    forbidden = {tuple(sorted(pair)) for pair in apart.tolist()}
    alike = (vectors.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    pairs = [
        pair for pair in np.argwhere(np.triu(alike >= np.float32(least), 1)).tolist() if tuple(pair) not in forbidden
    ]
    assert naive_union(count, pairs) == found.tolist()


def test_a_cell_of_one_picture_many_times(tmp_path: Path) -> None:
    """20,000 times the same vector, and as many a little off, are one group, without 800 million pairs."""
    rng = np.random.default_rng(0)
    base = unit_vectors(rng, 1, 32)
    near = base + 0.02 * unit_vectors(rng, 4000, 32)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    vectors = np.concatenate([np.repeat(base, 20_000, 0), near])
    labels = link_alike(lambda _: vectors, [len(vectors)], 0.9, fast=False, apart=NONE)
    assert not labels.any()


def test_runs_give_back_what_was_written(tmp_path: Path) -> None:
    """Records of each cell, of all files in their order."""
    rng, folder = np.random.default_rng(1), Folder(tmp_path)
    kind = [*PICTURE, ("vector", "<f2", (3,))]
    written, names = [], []
    with Staging(folder) as staging:
        for number in range(3):
            records = np.zeros(40 * number, kind)
            records["number"], records["vector"] = np.arange(40 * number), rng.random((40 * number, 3))
            cells = rng.integers(0, 7, len(records))
            with staging.file(f"{number}.run") as file:
                write_run(file, records, cells, 7)
            names.append(f"{number}.run")
            written.append((records, cells))
        staging.publish()
    runs = Runs(folder, tuple(names), 7, kind)
    for cell in range(7):
        expected = np.concatenate([records[cells == cell] for records, cells in written])
        assert expected.tobytes() == runs.read(cell).tobytes()
        assert [int((cells == cell).sum()) for _, cells in written] == runs.sizes_of(cell)
    assert sum(len(records) for records, _ in written) == runs.sizes().sum()


def test_keys_and_numbers() -> None:
    """Back and forth, in the same order; a key of no shard is told."""
    numbering = Numbering(("00003", "00007", "00011"), 2)
    keys = ["0000300", "0000399", "0000705", "0001142"]
    numbers = [numbering.number(key) for key in keys]
    assert keys == [numbering.key(number) for number in numbers]
    assert sorted(numbers) == numbers
    assert [0, 0, 1, 2] == numbering.shard_numbers(np.array(numbers)).tolist()
    for wrong in ("0000400", "00003xx", "", "3"):
        with pytest.raises(KeyError):
            numbering.number(wrong)


@pytest.fixture(scope="module")
def real(data: Path) -> np.ndarray:
    """Vectors of 420 real photographs and three edited copies of each of 200 of them."""
    files = [*sorted((data / "coco_val2017").glob("*.jpg"))[:180], *sorted((data / "flickr8k").glob("*.jpg"))[:240]]
    small = [cv2.resize(decode(path.read_bytes()), (160, 120), interpolation=cv2.INTER_AREA) for path in files]
    rng = np.random.default_rng(0)
    for kind, strength in (("jpeg", 30), ("brightness", 1.2), ("text", EDITS["text"].strengths[0])):
        small += [EDITS[kind].apply(pixels, strength, rng) for pixels in small[:200]]
    encoded = ((str(i), cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()) for i, pixels in enumerate(small))
    return embed(load_detector("phash"), encoded)[:, 0].astype(np.float16).astype(np.float32)


def test_most_pairs_of_real_pictures_meet_in_a_cell(real: np.ndarray) -> None:
    """All pairs by brute force against those that share one of two cells of 24; one cell alone finds fewer."""
    alike = real.astype(np.float64) @ real.T.astype(np.float64)
    pairs = np.argwhere(np.triu(alike >= PHash.threshold, 1))
    assert len(pairs) > 500
    cells = nearest_cells(real, centres(real, 24))
    assert 24 == len(np.unique(cells))
    share = [
        np.mean([bool(set(cells[one, :each]) & set(cells[other, :each])) for one, other in pairs]) for each in (1, 2)
    ]
    assert share[0] < share[1]
    assert share[1] > 0.97, share
    assert not nearest_cells(real, centres(real, 1)).any()
    assert 1 == number_of_cells(30_000) < number_of_cells(100_000) < number_of_cells(250_000_000)


def test_cells_are_the_same_again(real: np.ndarray) -> None:
    """K-means has a fixed start and one thread; which cells are nearest does not depend on what is asked together."""
    one, other = centres(real, 24), centres(real, 24)
    assert one.tobytes() == other.tobytes()
    together = nearest_cells(real, one)
    alone = np.concatenate([nearest_cells(real[row : row + 7], one) for row in range(0, len(real), 7)])
    assert together.tolist() == alone.tolist()


def node_links(pairs: list[tuple[int, int]], areas: list[int]) -> np.ndarray:
    links = np.zeros(2 * len(pairs), LINK)
    links["number"] = [node for pair in pairs for node in pair]
    links["least"] = np.repeat([min(pair) for pair in pairs], 2)
    links["area"] = np.array(areas)[links["number"]]
    links["row"] = links["number"]
    return links


def test_who_is_kept() -> None:
    """The largest, then the first; a person's word counts; who was called different does not go."""
    areas = [5, 9, 9, 1, 4, 4]
    nodes = groups([node_links([(0, 1), (1, 2)], areas), node_links([(4, 5), (2, 3)], areas)])
    exact = groups([node_links([(4, 5)], areas)])

    def decided(same: list[tuple[int, int]], apart: list[tuple[int, int]]) -> list[tuple]:
        found = copies(nodes, exact, pairs_of(same), pairs_of(apart))
        assert [name for name, _ in COPY] == list(found.dtype.names)
        return [tuple(row) for row in found.tolist()]

    assert [(0, 1, 1, 0), (2, 1, 1, 0), (3, 1, 1, 0), (5, 4, 4, 1)] == decided([], [])
    assert [(0, 1, 1, 2), (3, 1, 1, 0)] == decided([(1, 0)], [(2, 1), (4, 5)])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 scenes; of three there are copies inside, of one also outside, as a reference."""
    place = tmp_path_factory.mktemp("within")
    pictures = place / "pictures"
    for folder in (pictures, place / "birds"):
        folder.mkdir()
    for number in range(20):
        write_jpeg(pictures / f"b{number:02d}.jpg", draw(compose(number, 300, 300)))
    for name in ("a-same", "c-same"):
        shutil.copy(pictures / "b03.jpg", pictures / f"{name}.jpg")
    for number, kind, strength in ((3, "jpeg", 40), (7, "brightness", 1.2), (11, "border", 0), (11, "text", 0)):
        pixels = EDITS[kind].apply(
            draw(compose(number, 300, 300)), strength or EDITS[kind].strengths[0], np.random.default_rng(0)
        )
        if (number, kind) == (7, "brightness"):
            pixels = cv2.resize(pixels, (400, 400))  # larger, so it is the one that stays
        write_jpeg(pictures / f"c{number:02d}-{kind}.jpg", pixels)
    shutil.copy(pictures / "b11.jpg", place / "birds/11.jpg")
    for path in pictures.glob("*.jpg"):
        path.with_suffix(".txt").write_text(f"a picture of {path.stem}")
    given_ = ["--dataset", "folder", "--url_list", pictures, "--output_folder", place / "pairs"]
    assert 0 == ingest(
        [*map(str, given_), "--number_sample_per_shard", "6", "--processes_count", "1", "--filters", "none"]
    )
    return place


def flags(world: Path, out: Path, *more: object) -> list[str]:
    given_ = ["--input_folder", world / "pairs", "--output_folder", out, "--detector", "phash", "--threshold", "0.999"]
    given_ += [
        "--reference",
        f"birds={world / 'birds'}",
        "--within",
        "--within_cells",
        "4",
        "--within_threshold",
        "0.75",
    ]
    return [str(flag) for flag in (*given_, *more)]


@pytest.fixture(scope="module")
def clean(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "clean"
    assert 0 == main(flags(world, out, "--processes_count", 1))
    return out


def gone(folder: Path) -> dict[str, tuple[str, str]]:
    """Of each picture that went why, and because of which."""
    rows = [row for path in sorted(folder.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]
    names = {row["key"]: Path(row["url"]).stem for row in rows}
    denied = {row["key"]: row for row in pq.read_table(folder / "dedup/denylist.parquet").to_pylist()}
    assert set(denied) == {row["key"] for row in rows if row["status"] == "removed"}
    return {
        names[row["key"]]: (row["reason"], names.get(other := denied[row["key"]]["reference_id"], other))
        for row in rows
        if row["status"] == "removed"
    }


def test_one_of_each_group_stays(world: Path, clean: Path) -> None:
    """The larger one; the first of equals; not what goes as a copy of a reference. Similarity is that to who stays."""
    assert {
        "b03": ("exact-copy", "a-same"),
        "c-same": ("exact-copy", "a-same"),
        "c03-jpeg": ("near-copy", "a-same"),
        "b07": ("near-copy", "c07-brightness"),
        "b11": ("copy-of-birds", "11.jpg"),
        "c11-text": ("near-copy", "c11-border"),
    } == gone(clean)
    denied = pq.read_table(clean / "dedup/denylist.parquet").to_pylist()
    assert {"within", "birds"} == {row["reference_set"] for row in denied}
    vectors = {}
    for path in sorted((clean / "metadata").glob("*.parquet")):
        known = np.load(clean / "img_emb" / path.name.replace("metadata", "img_emb").replace("parquet", "npy"))
        vectors |= dict(zip(pq.read_table(path)["key"].to_pylist(), known.astype(np.float64), strict=True))
    for row in denied:
        if row["reference_set"] == "within":
            assert np.float32(vectors[row["key"]] @ vectors[row["reference_id"]]) == np.float32(row["similarity"])
    exact = pq.read_table(clean / "dedup/exact.parquet").to_pylist()
    assert [2, 1] == [len(exact), len({row["first_key"] for row in exact})]
    assert not (clean / "_within").exists()
    assert 0 == audit([str(clean)])


def test_exact_copies_are_told_but_stay(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Without --within; with it into the same folder no picture is embedded or compared again."""
    out = tmp_path / "out"
    plain = flags(world, out, "--processes_count", 1)
    cut = plain.index("--within")
    assert 0 == main([*plain[:cut], *plain[cut + 5 :]])
    assert "2 pictures have the same bytes as an earlier one; they stay" in " ".join(capsys.readouterr().out.split())
    assert {"b11"} == set(gone(out))
    assert 2 == pq.read_table(out / "dedup/exact.parquet").num_rows
    stamps = {path: path.stat().st_mtime_ns for path in [*out.rglob("img_emb_*.npy"), *out.rglob("matches_*.parquet")]}
    assert 0 == main(plain)
    assert "2 removed as exact-copy, 3 removed as near-copy" in " ".join(capsys.readouterr().out.split())
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert 6 == len(gone(out))


def test_a_person_says_otherwise(world: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pairs inside the dataset: different ones both stay, copies that no score tells go."""
    out = tmp_path / "out"
    shutil.copytree(clean, out)
    rows = [row for path in sorted(out.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]
    keys = {Path(row["url"]).stem: row["key"] for row in rows}
    said = json.loads((out / "dedup/decisions.json").read_text())
    said["pairs"] = [
        {"key": keys[one], "reference_set": "within", "reference_id": keys[other], "decision": decision}
        for one, other, decision in (
            ("b07", "c07-brightness", "different"),
            ("c-same", "a-same", "different"),
            ("b15", "b14", "copy"),
        )
    ]
    (tmp_path / "decisions.json").write_text(json.dumps(said))
    more = ["--processes_count", 1, "--decisions", tmp_path / "decisions.json"]
    assert 0 == main(flags(world, out, *more))
    found = gone(out)
    assert not {"b07", "c07-brightness", "c-same", "a-same", "b14"} & set(found)
    assert ("near-copy", "b14") == found["b15"]
    denied = {row["key"]: row["decided_by"] for row in pq.read_table(out / "dedup/denylist.parquet").to_pylist()}
    assert ("person", "exact") == (denied[keys["b15"]], denied[keys["b03"]])
    said["pairs"][0]["key"] = "0000999"
    (tmp_path / "decisions.json").write_text(json.dumps(said))
    assert 2 == main(flags(world, tmp_path / "other", *more))
    assert "the dataset has no picture '0000999'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures on the way from one to another, each much like the next."""
    place = tmp_path_factory.mktemp("chain")
    (place / "pictures").mkdir()
    ends = [cv2.GaussianBlur(draw(compose(number, 300, 300)), (0, 0), 12) for number in (3, 9)]
    for step in range(24):
        write_jpeg(
            place / f"pictures/{step:02d}.jpg", cv2.addWeighted(ends[0], 1 - step / 23, ends[1], step / 23, 0), 95
        )
    given_ = ["--dataset", "folder", "--url_list", place / "pictures", "--output_folder", place / "pairs"]
    more = ["--number_sample_per_shard", "5", "--processes_count", "1", "--filters", "none"]
    assert 0 == ingest([*map(str, given_), *more])
    return place


@pytest.mark.parametrize("linkage", ["star", "single"])
def test_copies_of_copies(chain: Path, tmp_path: Path, linkage: str) -> None:
    """star, the default: what went is like the one that stayed, and that one stayed; single: all are copies of one."""
    flags_ = ["--input_folder", chain / "pairs", "--output_folder", tmp_path / "out", "--detector", "phash", "--within"]
    flags_ += ["--within_threshold", "0.85", "--processes_count", "1"]
    flags_ += ["--within_linkage", "single"] if linkage == "single" else []
    assert 0 == main([str(flag) for flag in flags_])
    denied = pq.read_table(tmp_path / "out/dedup/denylist.parquet").to_pylist()
    rows = [
        row for path in sorted((tmp_path / "out").glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    stayed = {row["key"] for row in rows if row["status"] == "success"}
    assert {row["reference_id"] for row in denied} <= stayed
    least = min(row["similarity"] for row in denied)
    assert len(denied) == 24 - len(stayed)
    made = json.loads((tmp_path / "out/manifest.json").read_text())["options"]
    assert linkage == made["within_linkage"]
    if linkage == "star":
        assert 2 < len(stayed) < 24
        assert least >= np.float32(0.85)
    else:
        assert least < 0.5, "copies of copies go, however little they are like what stays"


def test_two_workers_give_the_same_bytes(world: Path, clean: Path, tmp_path: Path) -> None:
    done = run_job("pipelines.dedup", "--runner=DirectRunner", *flags(world, tmp_path / "out", "--processes_count", 2))
    assert 0 == done.returncode, done.stderr
    assert hashes(clean) == hashes(tmp_path / "out")


def test_portable_runner_gives_the_same_bytes(world: Path, clean: Path, tmp_path: Path, pool: str) -> None:
    """Beam's portable runner with workers of their own."""
    portable = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"]
    done = run_job(
        "pipelines.dedup", *portable, f"--environment_config={pool}", *flags(world, tmp_path / "out")
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert hashes(clean) == hashes(tmp_path / "out")


def test_killed_in_every_phase_then_resumed(world: Path, clean: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as a phase has left its first marker; the same command then ends with the same bytes."""
    out = tmp_path / "out"
    for phase in ("img_emb", "dedup/shards", "_within/spread", "_within/cells", "."):
        job = Job("pipelines.dedup", *flags(world, out, "--processes_count", 1))
        while not list((out / phase).glob("*_stats.json")) and job.process.poll() is None:
            time.sleep(0.005)
        assert job.process.poll() is None, f"it ended before {phase}"
        job.kill_all()
        assert not (out / "manifest.json").exists()
    (out / "metadata/metadata_00003.parquet.tmp-1-a").touch()  # what one of the kills may have left
    assert 0 == main(flags(world, out, "--processes_count", 1))
    assert hashes(clean) == hashes(out)


def test_full_disk(world: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whenever room runs out: one sentence, nothing half-named; with more room the same command goes on."""
    with SmallDisk(tmp_path / "small", 0.1) as disk:
        failed, made = disk.runs_out_under(
            lambda out: main(flags(world, out, "--processes_count", 1)), lambda: capsys.readouterr().err
        )
    assert hashes(clean) == made
    assert failed >= 4
