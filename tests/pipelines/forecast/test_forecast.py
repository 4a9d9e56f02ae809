"""`--plan`: a few rows, drawn at random, tell what the whole list will give; nothing is written."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import ingest
from pipelines.fetching.options import FetchOptions
from pipelines.forecast import Machine, draw, forecast, planning
from pipelines.forecast.estimate import Forecast
from pipelines.forecast.intervals import Estimate, _student, mean, resampled, share
from pipelines.forecast.probing import DrawnRows, Probed
from pipelines.lists.rows import ROWS, Row, batches
from pipelines.stages.filter import FilteredCaptions
from pipelines.work.record import Record
from schemas.folder import Folder
from schemas.manifest import Counts, read_manifest
from schemas.pair_shards import read_ledger
from tests.conftest import jsonl, run_job
from tests.server import Web


def rows(count: int, size: int = 1000) -> Iterator[pa.RecordBatch]:
    """A list whose links are their numbers, in batches of this size."""
    table = pa.Table.from_batches(batches(Row(str(n), ["a caption"]) for n in range(count)))
    yield from table.to_batches(max_chunksize=size)


@pytest.mark.parametrize(
    ("count", "drawn"), [(1, 1), (199, 199), (200, 200), (201, 200), (40_001, 201), (100_000, 500)]
)
def test_half_a_percent_is_drawn(count: int, drawn: int) -> None:
    """At least 200, all of fewer; each row at most once, in the order of the list, each with its own number."""
    drawn_rows = draw(rows(count))
    assert (count, drawn) == (drawn_rows.rows, len(drawn_rows.numbers))
    assert list(map(str, drawn_rows.numbers)) == drawn_rows.table["url"].to_pylist()
    assert (np.diff(drawn_rows.numbers) > 0).all()


def test_which_rows_are_drawn_does_not_depend_on_batches() -> None:
    """The seed and the rows' numbers decide; another seed draws others; no part of the list is preferred."""
    drawn = draw(rows(44_000, 777))
    assert drawn.numbers.tolist() == draw(rows(44_000, 8192)).numbers.tolist()
    assert drawn.numbers.tolist() != draw(rows(44_000), seed=1).numbers.tolist()
    tenths = sum(np.bincount(draw(rows(1000), seed=seed).numbers // 100, minlength=10) for seed in range(20))
    assert 4000 == sum(tenths)
    assert max(abs(tenths - 400)) < 4 * (400 * 0.9 * 0.8) ** 0.5


def test_a_long_list_takes_no_memory() -> None:
    """3 million rows: 5,000 are drawn, and never more than a few batches are held."""
    size, count, most = 10_000, 300, 0
    batch = pa.RecordBatch.from_pydict(
        {
            "url": pa.array([f"http://host.example/{n}/{'x' * 60}" for n in range(size)]),
            "captions": pa.array([["a caption"]] * size),
            "place": pa.nulls(size, pa.string()),
            "problem": pa.nulls(size, pa.string()),
        },
        schema=ROWS,
    )

    def many() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for _ in range(count):
            most = max(most, pa.total_allocated_bytes())
            yield batch

    before = pa.total_allocated_bytes()
    drawn = draw(many())
    assert (3_000_000, 5_000) == (drawn.rows, len(drawn.numbers))
    assert most - before < 8 * batch.nbytes


def test_list_without_rows() -> None:
    """One sentence."""
    with pytest.raises(ValueError, match="the list has no rows; expected at least one"):
        draw(iter(()))


@pytest.mark.parametrize(("so", "of", "seen"), [(600, 2000, 200), (40, 2000, 200), (600, 900, 300), (9, 100_000, 500)])
def test_an_interval_holds_the_truth(so: int, of: int, seen: int) -> None:
    """Of a thousand draws without replacement, the intervals of 930 or more hold the share of the whole."""
    rng = np.random.default_rng(0)
    counts = rng.hypergeometric(so, of - so, seen, 1000)
    intervals = [share(int(count), seen, seen / of) for count in counts]
    assert sum(i.low <= so / of <= i.high for i in intervals) >= 930
    assert all(0 <= i.low <= i.value <= i.high <= 1 for i in intervals)


def test_wilson_as_published() -> None:
    """Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611."""
    for (hits, among), low, high in (((81, 263), 0.2553, 0.3662), ((0, 20), 0.0, 0.1611)):
        interval = share(hits, among, 1e-12)
        assert (low, high) == (round(interval.low, 4), round(interval.high, 4))


def test_means_have_students_interval() -> None:
    """Quantiles as tables have them; nothing is uncertain of a list that was seen whole, nor known from one row."""
    for freedom, quantile in ((4, 2.776), (9, 2.262), (30, 2.042), (199, 1.972)):
        assert quantile == pytest.approx(_student(freedom), rel=0.01)
    rng = np.random.default_rng(0)
    whole = rng.exponential(size=2000)
    hits = 0
    for _ in range(500):
        estimate = mean(rng.choice(whole, 200, replace=False), 0.1)
        hits += estimate.low <= whole.mean() <= estimate.high
    assert hits >= 460
    assert Estimate(2.0, 2.0, 2.0) == mean(np.array([1.0, 3.0]), 1)
    assert Estimate(2.0, -np.inf, np.inf) == mean(np.array([2.0]), 0.5)


def test_resampling_is_seeded() -> None:
    """The same rows give the same interval, near Student's where the figure is a mean."""
    values = np.random.default_rng(0).exponential(size=300)
    estimate = resampled(300, lambda chosen: float(values[chosen].mean()), 0)
    assert estimate == resampled(300, lambda chosen: float(values[chosen].mean()), 0)
    expected = mean(values, 1e-9)
    assert expected.value == estimate.value
    assert (expected.low, expected.high) == pytest.approx((estimate.low, estimate.high), rel=0.05)


def made_up(hosts: list[str], busy: float, in_flight: list[float], rows: int) -> Probed:
    """Rows that were all kept and took so long."""
    records = []
    for index, host in enumerate(hosts):
        row = {"url": f"http://{host}/{index}", "captions": ["a"], "place": None, "problem": None}
        records.append(Record.begin(index, f"{index:05d}", row, FilteredCaptions(("a",))))
        records[-1].columns["status"] = "success"
    n = len(records)
    return Probed(
        drawn=DrawnRows(pa.table({}), np.arange(n), rows, 2.0),
        records=records,
        fetched=np.full(n, 1e5),
        in_flight=np.array(in_flight),
        busy=np.full(n, busy),
        stored=np.full(n, 3e4),
        in_tar=np.full(n, 32e3),
        local=False,
        extra=pa.schema([]),
        seconds=1.0,
    )


def machine(processes: int = 2, cores: int = 2, **fetching: int) -> Machine:
    return Machine(
        processes=processes,
        cores=cores,
        rows_per_shard=10_000,
        output_format="webdataset",
        fetching=FetchOptions(**fetching),
    )


@pytest.mark.parametrize(
    ("busy", "in_flight", "hosts", "settings", "seconds", "by"),
    [
        (0.005, 0.1, 200, {}, 1_000_000 * 0.005 / 2, "the processor"),
        (0.005, 0.1, 200, {"processes": 4}, 1_000_000 * 0.005 / 2, "the processor"),
        (0.005, 0.1, 200, {"processes": 1}, 1_000_000 * 0.005, "the processor"),
        (0.005, 2.56, 200, {}, 1_000_000 * 0.01 / 2, "links in flight (--thread_count 256)"),
        (0.005, 2.56, 200, {"thread_count": 512}, 1_000_000 * 0.005 / 2, "the processor"),
        (0.005, 0.64, 1, {}, 1_000_000 * 0.01 / 2, "the host a0.example (--max_connections_per_host 64)"),
    ],
)
def test_time_is_what_the_scarcest_takes(
    busy: float, in_flight: float, hosts: int, settings: dict[str, int], seconds: float, by: str
) -> None:
    """Processor, links in flight, or one host: 100 units, each ending with its last links."""
    named = [f"a{n % hosts}.example" for n in range(200)]
    predicted = forecast(made_up(named, busy, [in_flight] * 200, 1_000_000), machine(**settings))
    processes = settings.get("processes", 2)
    assert seconds + 2 + in_flight * 100 / processes == pytest.approx(3600 * predicted.hours.value, rel=0.002)
    assert by == predicted.held_up_by


def test_slow_links_hold_up_the_end_of_each_unit() -> None:
    """One link in forty takes 30 s: a unit waits for nearly that at its end; the interval knows that it is chance."""
    slow = forecast(made_up(["a.example"] * 200, 0.01, [0.1] * 195 + [30.0] * 5, 1_000_000), machine())
    work = 1_000_000 * (195 * 0.1 + 5 * 30.0) / 200 / 64 / 2
    assert 100 / 2 * 25 < 3600 * slow.hours.value - 2 - work < 100 / 2 * 30
    assert slow.hours.low < 0.8 * slow.hours.value < 1.2 * slow.hours.value < slow.hours.high


@pytest.fixture(scope="module")
def planted(data: Path, coco_web: Web, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """600 links of which some are dead, refused, no pictures, or have captions that are; and how many of each."""
    captions = [json.loads(line) for line in (data / "coco_val2017/captions.jsonl").open()]
    manners: dict[str, Callable[[str], str]] = {
        "http-404": lambda file: f"gone/{file}",
        "http-403": lambda file: f"status/403/{file}",
        "http-5xx": lambda file: f"status/503/{file}",
        "not-an-image": lambda file: "captions.jsonl",
    }
    counts = Counter({"http-404": 60, "http-403": 25, "http-5xx": 12, "not-an-image": 20, "too-short": 70})
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    kinds += ["good"] * (600 - len(kinds))
    random.Random(1).shuffle(kinds)  # of twenty intervals one misses on average; in this order none does
    lines = []
    for number, kind in enumerate(kinds):
        picture = captions[number % 150]
        path = manners.get(kind, str)(picture["file"])
        caption = "short" if kind == "too-short" else picture["captions"][0]
        lines.append({"url": coco_web.url(f"{path}?{number}"), "caption": caption, "n": number})
    return jsonl(tmp_path_factory.mktemp("planted") / "list.jsonl", lines), counts


def options(planted: Path, web: Web) -> list[str]:
    flags = ["--url_list", planted, "--allow_private_hosts", web.address, "--retries", 0, "--max_aspect_ratio", 1.45]
    more = ["--number_sample_per_shard", 100, "--processes_count", 1, "--save_additional_columns", "n"]
    return [str(flag) for flag in (*flags, *more)]


def test_the_plan_holds_what_the_run_finds(
    planted: tuple[Path, Counter[str]], coco_web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Every interval of the plan holds what a whole run then has; and the plan wrote nothing."""
    predictions: list[Forecast] = []
    with monkeypatch.context() as watch:
        watch.setattr(planning, "print_forecast", lambda predicted, what: predictions.append(predicted))
        watch.chdir(tmp_path)
        assert 0 == ingest.main(["--plan", *options(planted[0], coco_web), "--output_folder", "out"])
        assert [] == list(tmp_path.iterdir())
    predicted, out = predictions[0], tmp_path / "out"
    assert 0 == ingest.main([*options(planted[0], coco_web), "--output_folder", str(out)])
    counts = Counts.of_json(read_manifest(Folder(out))["counts"])
    assert (600, 200) == (predicted.rows, predicted.probed)
    assert predicted.kept[1].low <= counts.kept / 600 <= predicted.kept[1].high
    left = 600
    for stage, (_, estimate) in predicted.left.items():
        left -= sum(count for (where, _), count in counts.reasons.items() if where == stage)
        assert estimate.low <= left / 600 <= estimate.high, stage
    planned = {loss.reason: loss.share for loss in predicted.losses}
    assert {*planted[1], "aspect-ratio"} == set(planned)
    for (_, reason), count in counts.reasons.items():
        assert planned[reason].low <= count / 600 <= planned[reason].high, reason
    links = 600 - planted[1]["too-short"]
    assert ["http-404", "http-403", "http-5xx"] == [reason for reason, _, _ in predicted.rot]
    for reason, _, estimate in predicted.rot:
        assert estimate.low <= planted[1][reason] / links <= estimate.high
    tars, ledgers = (sum(path.stat().st_size for path in out.glob(f"*.{kind}")) for kind in ("tar", "parquet"))
    assert predicted.tars.low <= tars <= predicted.tars.high
    assert predicted.disk.low <= tars + ledgers <= predicted.disk.high
    assert ledgers == pytest.approx(
        predicted.ledgers.value, rel=0.05
    )  # this list's pictures repeat, unlike a real one's
    fetched = sum(json.loads(path.read_text())["bytes_fetched"] for path in out.glob("*_stats.json"))
    assert predicted.network.low <= fetched <= predicted.network.high
    assert 0 < predicted.hours.low <= predicted.hours.value <= predicted.hours.high
    assert ({"n": pa.int64()}, 6, 1) == (
        {f.name: f.type for f in read_ledger(Folder(out), "00000").schema if f.name == "n"},
        predicted.shards,
        predicted.processes,
    )


def test_a_plan_as_it_is_printed(
    planted: tuple[Path, Counter[str]], coco_web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No --output_folder is needed; the same rows are drawn again; exit code 0 and nothing in the folder."""
    done = run_job("pipelines.ingest", "--plan", *options(planted[0], coco_web), cwd=tmp_path)
    assert (0, "probing 200 of 600 rows\n") == (done.returncode, done.stderr)
    assert 0 == ingest.main(["--plan", *options(planted[0], coco_web)])
    # the next table's title is centred, and how wide that table is depends on the time it was measured to take
    tables = [said.partition("what it takes")[0].rstrip() for said in (done.stdout, capsys.readouterr().out)]
    assert tables[0] == tables[1]
    for words in ("200 of 600 rows probed", "http-404", "the server no longer has it", "caption: too-short"):
        assert words in tables[0]
    for words in ("disk in all", "time at the measured rate", "nothing was written", "6 shards, 1 worker process,"):
        assert words in done.stdout
    assert [] == list(tmp_path.iterdir())


def test_a_short_list_is_probed_whole(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a folder of 20 pictures nothing is uncertain but the time; disk is what the run then takes."""
    flags = ["--dataset", "flickr8k", "--url_list", str(tmp_path / "captions.txt"), "--image_folder"]
    flags += [str(data / "coco_val2017"), "--processes_count", "1"]
    pictures = [json.loads(line) for line in (data / "coco_val2017/captions.jsonl").open()][:20]
    lines = [f"{picture['file']},{picture['captions'][0]}\n" for picture in pictures]
    (tmp_path / "captions.txt").write_text("".join(["image,caption\n", *lines, "gone.jpg,a picture that is gone\n"]))
    assert 0 == ingest.main(["--plan", *flags])
    said = capsys.readouterr().out
    assert "all 21 rows, fewer than 200 and so probed whole: rows and bytes are counts, not estimates" in said
    assert "not-found" in said
    assert "to fetch" not in said
    assert 0 == ingest.main([*flags, "--output_folder", str(tmp_path / "out")])
    sizes = {path.suffix: path.stat().st_size for path in (tmp_path / "out").iterdir() if path.name[:1] == "0"}
    for name, size in (("tars", sizes[".tar"]), ("ledgers", sizes[".parquet"])):
        value, unit = re.search(rf"{name} +([\d.]+) (kB|MB)", said).groups()
        assert size == pytest.approx(float(value) * {"kB": 1e3, "MB": 1e6}[unit], abs=10240, rel=0.02)


def test_a_plan_has_nothing_to_retry(capsys: pytest.CaptureFixture[str]) -> None:
    """The two flags together make no sense, and that is said before anything starts."""
    assert 2 == ingest.main(["--plan", "--url_list", "x.csv", "--incremental_mode", "retry"])
    assert "--plan: probes a list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--url_list", "nowhere.csv"], "nowhere.csv: No such file or directory"),
        (["--url_list", "list.jsonl", "--caption_col", "text", "--input_format", "csv"], "has no column 'url'"),
        (["--url_list", "list.jsonl", "--save_additional_columns", "status"], "status"),
        (["--url_list", "list.jsonl", "--planing"], "unknown flag --planing"),
    ],
)
def test_mistakes_are_one_sentence(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a run: exit code and one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.jsonl").write_text('{"address": "x"}\n')
    assert ingest.main(["--plan", *flags]) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert message in said
    assert 1 == len(said.splitlines())
