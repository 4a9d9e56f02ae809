"""The job as a user runs it: a list goes in, checked shards come out, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.ingest import main
from schemas.folder import Folder
from schemas.pair_shards import read_pictures
from tests.conftest import ROOT, Job, SmallDisk, hashes, jsonl, run_job, until
from tests.server import Web

pytestmark = pytest.mark.slow

EVERY = ("--number_sample_per_shard", "7")


@pytest.fixture(scope="module")
def links(data: Path, coco_web: Web, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 links: real pictures, the last of which the server can hold, dead links and captions that are too short."""
    captions = [json.loads(line) for line in (data / "coco_val2017/captions.jsonl").open()]
    rows = []
    for number, picture in enumerate(captions[:96]):
        rows.append({"url": coco_web.url(picture["file"]), "caption": picture["captions"][0], "n": number})
        if number % 8 == 0:
            rows.append({"url": coco_web.url(f"gone-{number}.jpg"), "caption": "a picture that is gone", "n": None})
        if number % 8 == 4:
            rows.append({"url": coco_web.url(picture["file"]), "caption": "short", "n": -number})
    rows[-1]["url"] = coco_web.url(f"held/{picture['file']}")
    return jsonl(tmp_path_factory.mktemp("list") / "list.jsonl", rows)


def flags(links: Path, web: Web, out: Path, *more: object) -> list[str]:
    given = ["--url_list", links, "--output_folder", out, *EVERY, "--save_additional_columns", "n"]
    return [str(flag) for flag in (*given, "--allow_private_hosts", web.address, *more)]


@pytest.fixture(scope="module")
def whole(links: Path, coco_web: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of an uninterrupted run in one process."""
    out = tmp_path_factory.mktemp("whole") / "pairs"
    assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
    return hashes(out)


def test_two_workers_give_the_same_bytes(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """Worker processes of Beam's local runner."""
    done = run_job(
        "pipelines.ingest", "--runner=DirectRunner", *flags(links, coco_web, tmp_path / "out", "--processes_count", 2)
    )
    assert 0 == done.returncode, done.stderr
    assert whole == hashes(tmp_path / "out")


@pytest.fixture
def pool() -> Iterator[str]:
    """A pool of workers outside the job, as a cluster has them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PATH": path}, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("Started worker pool" in line for line in process.stderr)
    yield f"localhost:{port}"
    process.kill()
    process.communicate()


def test_portable_runner_gives_the_same_bytes(
    links: Path, coco_web: Web, whole: dict, tmp_path: Path, pool: str
) -> None:
    """Beam's portable runner with an external worker pool, with the same flags."""
    portable = [
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
    ]
    done = run_job("pipelines.ingest", *portable, *flags(links, coco_web, tmp_path / "out"))
    assert 0 == done.returncode, done.stderr
    assert whole == hashes(tmp_path / "out")


def test_killed_at_random_moments_then_resumed(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """kill -9 of the command, or of it and its workers, again and again: the end is that of an uninterrupted run."""
    out, chance, kills = tmp_path / "out", random.Random(3), 0
    for attempt in range(30):
        job = Job("pipelines.ingest", *flags(links, coco_web, out, "--processes_count", 1 + attempt % 2))
        done_before = len(list(out.glob("*_stats.json")))
        patience = time.monotonic() + chance.uniform(2.0, 5.0) * (1 + attempt / 5)  # a busy machine begins late
        more = chance.randint(1, 3)
        while job.process.poll() is None and time.monotonic() < patience:
            if len(list(out.glob("*_stats.json"))) >= done_before + more:
                time.sleep(chance.uniform(0, 0.05))  # somewhere in the next unit
                break
            time.sleep(0.005)
        if job.process.poll() is None:
            if attempt % 3 == 0:
                job.process.kill()  # the command alone: its workers have to notice
                job.process.communicate()
            else:
                job.kill_all()
            kills += 1
            assert not (out / "manifest.json").exists() or hashes(out)["manifest.json"] == whole["manifest.json"]
        else:
            done = job.ended()
            assert 0 == done.returncode, done.stderr
            break
    assert kills >= 4
    assert whole == hashes(out)


def test_stopped_by_terminate(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """SIGTERM ends command and workers at once, in one sentence; the same command goes on."""
    out = tmp_path / "out"
    with coco_web.holding():
        job = Job("pipelines.ingest", *flags(links, coco_web, out, "--processes_count", 2, "--timeout", 60))
        job.until_a_unit_is_done(out)
        job.process.terminate()
        ended = job.ended(timeout=20)
    assert 143 == ended.returncode
    assert "stopped; what is finished is safe" in ended.stderr
    assert "Traceback" not in ended.stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(job.process.pid, 0)
    assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
    assert whole == hashes(out)


def test_second_run_changes_nothing(links: Path, coco_web: Web, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A finished dataset is left as it is, markers included, and nothing is fetched."""
    out = tmp_path / "out"
    arguments = flags(links, coco_web, out, "--processes_count", 1)
    assert 0 == main(arguments)
    before = hashes(out, markers=True)
    (out / "_plan").mkdir()
    (out / "_plan/0.arrow").write_bytes(b"left by a run that was killed while it tidied up")
    assert 0 == main(arguments)
    assert "is finished already, nothing to do" in capsys.readouterr().err
    assert before == hashes(out, markers=True)


def test_the_ledger_answers_for_every_row(links: Path, coco_web: Web, tmp_path: Path) -> None:
    """Rows of the list in order, each with its fate; the additional column has its type; sums are those of the list."""
    out = tmp_path / "out"
    assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
    given = [json.loads(line) for line in links.open()]
    found = [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [(row["url"], row["caption"], row["n"]) for row in given] == [
        (r["url"], r["caption"], r["n"]) for r in found
    ]
    for row in found:
        if row["caption"] == "short":
            assert ("refused", "caption", "too-short") == (row["status"], row["stage"], row["reason"])
        elif "gone" in row["url"]:
            assert ("failed_to_download", "fetch", "http-404") == (row["status"], row["stage"], row["reason"])
        else:
            assert row["status"] == "success" or (row["stage"], row["reason"]) == ("image", "aspect-ratio")
    kept = [row["key"] for row in found if row["status"] == "success"]
    shards = sorted({path.name[:5] for path in out.glob("*.parquet")})
    assert kept == [key for shard in shards for key, _, _ in read_pictures(Folder(out), shard)]


def test_a_unit_that_raises(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """The others finish, there is no manifest, the exit code says so and the unit is named; a rerun completes it."""
    out = tmp_path / "out"
    arguments = flags(links, coco_web, out, "--processes_count", 1)
    with coco_web.holding():
        job = Job("pipelines.ingest", *arguments)
        until(lambda: (out / "_recipe.json").exists() or job.process.poll() is not None)
        (out / "00003.tar").mkdir()  # in the way of the unit's tar
    ended = job.ended()
    told = ended.stderr
    assert 1 == ended.returncode
    assert "unit 00003 of 18 failed" in told
    assert "Is a directory" in told
    assert "Traceback" not in told
    assert not (out / "manifest.json").exists()
    assert 17 == len(list(out.glob("*_stats.json")))
    (out / "00003.tar").rmdir()
    assert 0 == main(arguments)
    assert whole == hashes(out)


def test_full_disk(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """No room: one sentence, nothing half-named; with room the same command completes it."""
    out = tmp_path / "small/out"
    with SmallDisk(tmp_path / "small", 2) as disk:
        done = run_job("pipelines.ingest", *flags(links, coco_web, out, "--processes_count", 2))
        assert 1 == done.returncode
        assert "o space left on" in done.stderr
        assert "Traceback" not in done.stderr
        assert not [name for name in hashes(out) if ".tmp-" in name]
        disk.grow(64)
        assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
        assert whole == hashes(out)


def test_changed_options_are_made_anew(
    links: Path, coco_web: Web, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A rerun does what has another fingerprint; the end is that of a fresh run, also from tars to Parquet."""
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
    changed = ("--processes_count", 1, "--image_size", 64, "--output_format", "parquet")
    assert 0 == main(flags(links, coco_web, out, *changed))
    assert "was made with another image_size (256), output_format (webdataset)" in capsys.readouterr().err
    assert 0 == main(flags(links, coco_web, fresh, *changed))
    assert hashes(fresh) == hashes(out)
    assert not list(out.glob("*.tar"))


@pytest.fixture
def other(coco_web: Web, data: Path, tmp_path: Path) -> Path:
    """Another list, of 10 links."""
    captions = [json.loads(line) for line in (data / "coco_val2017/captions.jsonl").open()]
    rows = [{"url": coco_web.url(p["file"]), "caption": p["captions"][1], "n": 5} for p in captions[100:110]]
    return jsonl(tmp_path / "other.jsonl", rows)


def test_other_inputs_are_refused_extended_or_overwritten(
    links: Path, other: Path, coco_web: Web, whole: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Another list in the same folder is an error unless the mode says what is meant."""
    out = tmp_path / "out"
    one, two = (flags(each, coco_web, out, "--processes_count", 1) for each in (links, other))
    assert 0 == main(one)
    assert 2 == main(two)
    assert "use --incremental_mode extend to add it, overwrite to start anew" in capsys.readouterr().err
    assert 2 == main([*two, "--incremental_mode", "retry"])
    assert "of which nothing could be fetched again; give its own list" in capsys.readouterr().err
    assert whole == hashes(out)
    assert 0 == main([*two, "--incremental_mode", "extend"])
    extended = hashes(out)
    assert {name: h for name, h in whole.items() if name != "manifest.json"}.items() <= extended.items()
    manifest = json.loads((out / "manifest.json").read_text())
    assert ["list.jsonl", "other.jsonl"] == [given["name"] for given in manifest["inputs"]]
    assert 20 == len(manifest["shards"])
    assert 0 == main([*two, "--incremental_mode", "extend"])
    assert extended == hashes(out)
    assert 0 == run_job("pipelines.audit", out).returncode
    assert 0 == main([*two, "--incremental_mode", "overwrite"])
    assert ["other.jsonl"] == [i["name"] for i in json.loads((out / "manifest.json").read_text())["inputs"]]
    assert 2 == len(list(out.glob("*.tar")))


def test_bad_list_destroys_nothing(links: Path, coco_web: Web, whole: dict, tmp_path: Path) -> None:
    """A list that cannot be read leaves a finished dataset as it was, also when it was to be overwritten."""
    out, bad = tmp_path / "out", tmp_path / "bad.csv"
    assert 0 == main(flags(links, coco_web, out, "--processes_count", 1))
    bad.write_text("a,b\n1,2\n")
    assert 2 == main([*flags(bad, coco_web, out), "--incremental_mode", "overwrite"])
    bad.write_text("url,caption,n\n")
    assert 2 == main([*flags(bad, coco_web, out), "--incremental_mode", "overwrite"])
    shutil.rmtree(out / "_plan", ignore_errors=True)
    shutil.rmtree(out / "_locks", ignore_errors=True)
    assert whole == hashes(out)


def test_retry_fetches_only_what_may_pass(web: Web, data: Path, tmp_path: Path) -> None:
    """A server that was down is asked again; dead links and what is there are not; the end is that of a good day."""
    pictures = [p.name for p in sorted((data / "coco_val2017").glob("*.jpg"))[:12]]
    for name in pictures:
        shutil.copy(data / "coco_val2017" / name, web.folder / name)
    urls = [web.url(f"twice/503/{name}" if i % 3 == 0 else name) for i, name in enumerate(pictures)] + [
        web.url("dead.jpg")
    ]
    links = jsonl(
        tmp_path / "l.jsonl", [{"url": url, "caption": f"{i} boats on the water", "n": i} for i, url in enumerate(urls)]
    )
    out, good_day = tmp_path / "out", tmp_path / "good"
    arguments = flags(links, web, out, "--processes_count", 1, "--retries", 0)
    assert 2 == main([*arguments, "--incremental_mode", "retry"])
    assert 0 == main(arguments)
    failed = json.loads((out / "manifest.json").read_text())["counts"]["reasons"]["fetch"]
    assert {"http-404": 1, "http-5xx": 4} == failed
    marker = (out / "00001_stats.json").read_bytes()
    web_log = {name: (web.folder / name).stat().st_atime for name in pictures}
    assert 0 == main([*arguments, "--incremental_mode", "retry"])
    assert {"http-404": 1} == json.loads((out / "manifest.json").read_text())["counts"]["reasons"]["fetch"]
    assert marker != (out / "00001_stats.json").read_bytes()
    assert web_log
    assert 0 == main(flags(links, web, good_day, "--processes_count", 1))
    assert hashes(good_day) == hashes(out)
    assert 0 == run_job("pipelines.audit", out).returncode


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--xyzzy", "3"], "unknown flag --xyzzy; python -m pipelines.ingest --help shows all", 2),
        (["--url_list", "nowhere.csv", "--output_folder", "{out}"], "nowhere.csv: No such file or directory", 2),
        (["--url_list", "{list}"], "--output_folder is missing", 2),
        (
            ["--url_list", "{list}", "--output_folder", "/proc/nowhere"],
            "/proc/nowhere: cannot be written to (/proc: ",
            2,
        ),
        (["--url_list", "{list}", "--output_folder", "{out}", "--url_col", "link"], "has no column 'link'", 2),
        (["--url_list", "{empty}", "--output_folder", "{out}"], "the list has no rows", 2),
        (
            ["--url_list", "{foreign}", "--output_folder", "{out}"],
            "holds pictures and is no list; --dataset folder collects those",
            2,
        ),
        (["--url_list", "{list}", "--output_folder", "{foreign}"], "holds 'photo.jpg', which no job of ours made", 2),
        (["--caption_col", "x"], "--url_list is missing", 2),
        (["--url_list", "{list}", "--output_folder", "{list}"], "list.csv: is a file, expected a folder", 2),
        (["--url_list", "{list}", "--output_folder", "{out}", "--runner", "Foo"], "--runner Foo: expected one of ", 2),
        (["--url_list", "{list}", "--output_folder", "nostore://x/y"], "nostore", 2),
        (
            ["--url_list", "{list}", "--output_folder", "{out}", "--save_additional_columns", "url"],
            "is the ledger's own",
            2,
        ),
        (["--url_list", "{list}", "--output_folder", "{out}", "--save_additional_columns", "a", "a"], "named twice", 2),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str, code: int
) -> None:
    """Where, what was found, what was expected, what to do; no trace, and nothing begun."""
    places = {name: tmp_path / name for name in ("out", "list", "empty", "foreign")}
    places["list"] = tmp_path / "list.csv"
    places["list"].write_text("url,caption\nhttp://a.invalid/,a red boat\n")
    places["empty"] = tmp_path / "empty.csv"
    places["empty"].write_text("url,caption\n")
    places["foreign"].mkdir()
    (places["foreign"] / "photo.jpg").touch()
    assert code == main([flag.format(**places) for flag in arguments])
    told = capsys.readouterr().err
    assert told.startswith("pipelines.ingest: ")
    assert message in told
    assert "Traceback" not in told
    assert not list(places["out"].glob("0*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image_size", "big"], "expected a whole number, found 'big'"),
        (["--image_size", "0"], "--image_size 0: expected 1 or more"),
        (["--resize_mode", "stretch"], "--resize_mode stretch: expected border, center_crop"),
        (["--encode_format", "png"], "expected 0 to 9 for png"),
        (["--skip_reencode", "maybe"], "expected True or False, found 'maybe'"),
    ],
)
def test_bad_values_name_their_flag(capsys: pytest.CaptureFixture, arguments: list[str], message: str) -> None:
    """The flag, what was found and what was expected, exit code 2."""
    assert 2 == main(arguments)
    told = capsys.readouterr().err
    assert message in told
    assert 1 == len(told.splitlines())


def test_folder_in_use(links: Path, coco_web: Web, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A second run in the same folder is refused while the first is at work."""
    out = tmp_path / "out"
    with coco_web.holding():
        job = Job("pipelines.ingest", *flags(links, coco_web, out, "--processes_count", 1, "--timeout", 60))
        job.until_a_unit_is_done(out)
        assert 2 == main(flags(links, coco_web, out))
        assert "another run is at work in this folder" in capsys.readouterr().err
    assert 0 == job.ended().returncode
