"""A study by people: pages in a real browser, files that workers send back, and what they are counted as."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.stats import binomtest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dalle.evaluation.study import KEY, Contestant, Study, StudyOptions, TallyOptions, tally, write_study
from dalle.evaluation.study.binomial import interval
from schemas.commands.printing import printable
from schemas.folder import Folder
from tests.browser import chromium, press

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>window.pwned=1</script> <img src=x onerror=window.pwned=1> \u202egnp.exe\x07\nsecond & \"'"
CAPTIONS = {f"c{n}": f"caption {n} of {['kite', 'house', 'boat', 'tree'][n % 4]} {n * 7}" for n in range(9)}
CAPTIONS["c2"] = HOSTILE
OPTIONS = StudyOptions(captions_per_page=6, checks_per_page=2, seed=1234567890123456789)


def png(level: int) -> bytes:
    return cv2.imencode(".png", np.full((20, 20, 3), level, np.uint8))[1].tobytes()


def of(base: int) -> Callable[[str], bytes]:
    """Pictures of which a browser can tell whose they are, and of which caption: by their grey."""
    return lambda caption: png(base + 4 * int(caption[1:]))


def a_study(known: Callable[[str], bytes] | None = None, captions: dict[str, str] = CAPTIONS) -> Study:
    return Study(captions=captions, models=(Contestant("ours <b>", of(10)), Contestant("DF-GAN", of(90))), known=known)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert ["pages/000.html", "pages/001.html"] == write_study(Folder(folder), a_study(), OPTIONS)
    return folder


@pytest.fixture(scope="module")
def key(written: Path) -> dict[str, Any]:
    return json.loads((written / KEY).read_text())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    downloads = tmp_path_factory.mktemp("downloads")
    with chromium(downloads) as opened:
        opened.downloads = downloads  # type: ignore[attr-defined]
        yield opened


def visit(browser: Chrome, page: Path) -> None:
    """As somebody who was never there."""
    browser.get(page.as_uri())
    browser.execute_script("localStorage.clear(); answers.worker = ''; answers.given.clear()")
    browser.refresh()


def saved(browser: Chrome) -> Path:
    """The one file that the browser saves."""
    folder: Path = browser.downloads  # type: ignore[attr-defined]
    for old in folder.iterdir():
        old.unlink()
    browser.find_element(By.ID, "save").click()

    def whole(_: Chrome) -> bool:
        files = [*folder.iterdir()]
        return bool(files) and all(one.suffix == ".json" and one.stat().st_size for one in files)

    WebDriverWait(browser, 60).until(whole)
    (file,) = folder.iterdir()
    return file


def greys(browser: Chrome) -> list[int]:
    """Of the left and the right picture, once both are there: `decode()` fails where a page is still setting them."""
    seen = """
        const images = ["left", "right"].map((id) => document.getElementById(id));
        if (!images.every((image) => image.complete && image.naturalWidth)) return null;
        return images.map((image) => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
          canvas.getContext("2d").drawImage(image, 0, 0, 1, 1);
          return canvas.getContext("2d").getImageData(0, 0, 1, 1).data[0];
        });
    """
    return WebDriverWait(browser, 60).until(lambda _: browser.execute_script(seen))


def test_a_worker_answers_reloads_and_sends_a_file(written: Path, key: dict, browser: Chrome, tmp_path: Path) -> None:
    """Pictures are where the key says; what was pressed is in the file, also after the page was closed half-way."""
    visit(browser, written / "pages/000.html")
    browser.find_element(By.ID, "worker").send_keys("  Wörker <1>/../x ", Keys.ENTER)
    asked, expected = key["pages"][0], []
    assert 8 == len(asked)
    for number, pair in enumerate(asked):
        left, right = greys(browser)
        if "check" not in pair:
            n = int(pair["caption"][1:])
            by_model = [10 + 4 * n, 90 + 4 * n]
            assert [by_model[pair["left"]], by_model[pair["right"]]] == pytest.approx([left, right], abs=2)
        else:
            fits = {10 + 4 * int(pair["caption"][1:]), 90 + 4 * int(pair["caption"][1:])}
            good, bad = (left, right) if pair["check"] == "left" else (right, left)
            assert min(abs(good - one) for one in fits) <= 2 < min(abs(bad - one) for one in fits)
        shown = browser.find_element(By.ID, "caption").get_property("textContent")
        assert printable(CAPTIONS[pair["caption"]], keep="\n") == shown
        press(browser, Keys.ENTER)  # nothing is skipped
        assert str(number) == re.match(r"\d+", browser.find_element(By.ID, "said").text).group()  # type: ignore[union-attr]
        realistic, matches = number % 2, number % 3
        press(browser, "12"[realistic])
        if number == 3:
            browser.refresh()  # half of a pair is kept as well
        if number == 5:
            browser.find_elements(By.CSS_SELECTOR, "#matches label")[matches].click()
            browser.find_element(By.ID, "next").click()
        else:
            press(browser, "345"[matches], Keys.ENTER)
        expected.append((pair["id"], ["left", "right"][realistic], ["left", "neither", "right"][matches]))
    assert "All pairs are answered. Thank you." == browser.find_element(By.CSS_SELECTOR, "#end h2").text
    browser.refresh()
    file = saved(browser)
    assert "answers-000-W_rker__1_____x.json" == file.name
    sent = json.loads(file.read_text())
    assert expected == [(one["id"], one["realistic"], one["matches"]) for one in sent["answers"]]
    assert all(0 <= one["seconds"] < 300 for one in sent["answers"])
    assert any(one["seconds"] > 0 for one in sent["answers"])
    counted = tally(written / KEY, [file], TallyOptions(votes=1, most_failed_checks=1, least_seconds=0))
    assert ["Wörker <1>/../x"] == counted.workers
    assert 6 == counted.captions
    assert ["c6", "c7", "c8"] == counted.captions_short_of_votes
    said = dict.fromkeys(("ours <b>", "DF-GAN", "neither"), 0)
    for (_, _, matches), pair in zip(expected, asked, strict=True):
        if "check" not in pair:
            said[key["models"][pair[matches]] if matches in pair else matches] += 1
    assert said == counted.questions["matches"].votes


def test_going_back_changes_an_answer(written: Path, browser: Chrome) -> None:
    """And a file can be saved of what is answered only in the end; keys do nothing while the name is typed."""
    visit(browser, written / "pages/001.html")
    press(browser, "1", Keys.TAB)
    browser.find_element(By.ID, "worker").send_keys("w135b", Keys.ENTER)
    press(browser, "1", "3", Keys.ENTER, "b", "2", "5")
    first = browser.execute_script("return answers.toFile().answers")
    assert [("right", "right")] == [(one["realistic"], one["matches"]) for one in first]
    assert "w135b" == browser.execute_script("return answers.worker")
    assert browser.find_element(By.CSS_SELECTOR, "#realistic input[value=right]").is_selected()


def test_no_page_says_whose_is_what(written: Path, key: dict) -> None:
    """Neither names nor seed; sides are balanced, and no two pages or pairs have a name in common."""
    sources = [path.read_text() for path in sorted((written / "pages").iterdir())]
    for source in sources:
        assert "DF-GAN" not in source
        assert "ours" not in source
        assert str(OPTIONS.seed) not in source
        assert source.count("<script") == source.count("</script")
        assert '"check"' not in source
    pairs = [pair for page in key["pages"] for pair in page]
    assert len(pairs) == len({pair["id"] for pair in pairs})
    lefts = Counter(pair["left"] for pair in pairs if "check" not in pair)
    assert [4, 5] == sorted(lefts.values())
    for page in key["pages"]:
        captions = [pair["caption"] for pair in page]
        assert len(captions) == len(set(captions))  # a caption seen twice would tell a check
        assert 2 == sum("check" in pair for pair in page)
    others = [[*pair.values()] for pair in pairs]
    again = write_study_key(written.parent / "other_seed", StudyOptions(captions_per_page=6, checks_per_page=2, seed=2))
    assert others != [[*pair.values()] for page in again["pages"] for pair in page]


def write_study_key(folder: Path, options: StudyOptions) -> dict:
    folder.mkdir()
    write_study(Folder(folder), a_study(), options)
    return json.loads((folder / KEY).read_text())


def test_the_same_study_has_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_study(Folder(tmp_path), a_study(), OPTIONS)
    files = [path.relative_to(written) for path in sorted(written.rglob("*.*"))]
    assert 3 == len(files)
    assert [(written / name).read_bytes() for name in files] == [(tmp_path / name).read_bytes() for name in files]


def test_a_page_runs_and_fetches_nothing_of_others(written: Path, browser: Chrome) -> None:
    for page in sorted((written / "pages").iterdir()):
        visit(browser, page)
        browser.execute_script("answers.begin('w'); begin()")
        for number in range(browser.execute_script("return facts.pairs.length")):
            browser.execute_script("show(arguments[0])", number)
            assert 0 == browser.execute_script("return document.querySelectorAll('#caption *').length")
        assert browser.execute_script("return window.pwned === undefined")
        assert [] == browser.execute_script("return performance.getEntriesByType('resource')")
        assert [] == browser.get_log("browser")


@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_fits_the_window(width: int, written: Path, browser: Chrome) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        visit(browser, written / "pages/000.html")
        browser.execute_script("answers.begin('w'); begin()")
        assert width >= browser.execute_script("return document.documentElement.scrollWidth")
        boxes = [browser.find_element(By.ID, name).rect for name in ("left", "right", "next")]
        assert boxes[0]["y"] == boxes[1]["y"]
        assert boxes[0]["width"] == boxes[1]["width"] > 150
        assert all(box["x"] + box["width"] <= width and box["y"] + box["height"] <= 900 for box in boxes)
    finally:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "width": 1280})


def a_file(folder: Path, key: dict, page: int, worker: str, answers: list[tuple[str, str, str, float]]) -> Path:
    path = folder / f"{worker}-{page}.json"
    said = [{"id": i, "realistic": r, "matches": m, "seconds": s} for i, r, m, s in answers]
    value = {"format_version": 1, "study": key["study"], "page": page, "worker": worker, "answers": said}
    path.write_text(json.dumps(value))
    return path


def random_files(rng: np.random.Generator, key: dict, folder: Path) -> list[Path]:
    """Workers of whom some guess, some hurry, some stop half-way."""
    files = []
    for worker in range(int(rng.integers(4, 10))):
        care, hurry = rng.choice([0.3, 0.95]), rng.choice([0.1, 0.7])
        for number, page in enumerate(key["pages"]):
            answers = []
            for pair in page[: int(rng.integers(1, len(page) + 1)) if rng.random() < 0.3 else len(page)]:
                matches = str(rng.choice(["left", "right", "neither"]))
                if "check" in pair and rng.random() < care:
                    matches = pair["check"]
                seconds = round(float(rng.uniform(0, 4) if rng.random() < hurry else rng.uniform(4, 60)), 1)
                answers.append((pair["id"], str(rng.choice(["left", "right"])), matches, seconds))
            if rng.random() < 0.9:
                files.append(a_file(folder, key, number, f"w{worker}", answers))
    return files


def by_hand(key: dict, files: list[Path], options: TallyOptions) -> tuple[dict, set[str], list[str]]:
    """The oracle: wins by question, who is left out, captions short of votes."""
    pairs = {pair["id"]: pair for page in key["pages"] for pair in page}
    workers: dict[str, list[dict]] = {}
    for file in files:
        value = json.loads(file.read_text())
        workers.setdefault(value["worker"], []).extend(value["answers"])
    out = set()
    for worker, answers in workers.items():
        checks = [one["matches"] == pairs[one["id"]]["check"] for one in answers if "check" in pairs[one["id"]]]
        hasty = [one["seconds"] < options.least_seconds for one in answers]
        if not checks or 1 - np.mean(checks) > options.most_failed_checks or np.mean(hasty) > options.most_hasty:
            out.add(worker)
    wins = {question: Counter() for question in ("realistic", "matches")}
    short = []
    for name, pair in pairs.items():
        if "check" in pair:
            continue
        votes = [one for w in sorted(set(workers) - out) for one in workers[w] if one["id"] == name][: options.votes]
        if len(votes) < options.votes:
            short.append(pair["caption"])
            continue
        for question, counter in wins.items():
            for_first = sum(one[question] in pair and pair[one[question]] == 0 for one in votes)
            for_second = sum(one[question] in pair and pair[one[question]] == 1 for one in votes)
            counter[0 if for_first > len(votes) / 2 else 1 if for_second > len(votes) / 2 else "tie"] += 1
    return wins, out, short


def test_the_tally_is_the_one_by_hand(key: dict, written: Path, tmp_path: Path) -> None:
    """For all kinds of workers, and whatever the order of their files."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rng = np.random.default_rng(seed)
        files = random_files(rng, key, folder)
        options = TallyOptions(votes=int(rng.choice([1, 2, 3, 5])), most_failed_checks=float(rng.choice([0.25, 0.5])))
        wins, out, short = by_hand(key, files, options)
        counted = tally(written / KEY, [files[n] for n in rng.permutation(len(files))], options)
        assert counted == tally(written / KEY, files, options)
        assert out == set(counted.workers_left_out)
        assert short == counted.captions_short_of_votes
        assert 9 - len(short) == counted.captions
        for question, expected in wins.items():
            got = counted.questions[question]
            assert [expected[0], expected[1]] == [got.wins[model].captions for model in key["models"]]
            assert expected["tie"] == got.ties.captions
            assert counted.captions * options.votes == sum(got.votes.values())
            if counted.captions:
                share = got.wins["DF-GAN"]
                assert expected[1] / counted.captions == share.share
                assert (share.low, share.high) == interval(expected[1], counted.captions)
        seen.update(["out"] * bool(out), short=bool(short), full=counted.captions > 0, beyond=counted.votes_beyond > 0)
        assert json.loads(json.dumps(counted.to_json()))["captions"] == counted.captions
    assert min(seen[kind] for kind in ("out", "short", "full", "beyond")) > 5


def test_five_votes_make_a_majority(key: dict, written: Path, tmp_path: Path) -> None:
    """Three of five win; two, two and neither is a tie; most for neither is a tie as well."""
    votes = {"c0": "00011", "c1": "00122", "c2": "11100", "c3": "22200", "c4": "00000", "c5": "11222"}
    files = []
    for worker in range(5):
        answers = []
        for pair in key["pages"][0]:
            if "check" in pair:
                answers.append((pair["id"], "left", pair["check"], 9.0))
                continue
            said = int(votes[pair["caption"]][worker])
            side = "neither" if said == 2 else "left" if pair["left"] == said else "right"
            answers.append((pair["id"], side if side != "neither" else "left", side, 9.0))
        files.append(a_file(tmp_path, key, 0, f"w{worker}", answers))
    matches = tally(written / KEY, files).questions["matches"]
    assert {"ours <b>": 2, "DF-GAN": 1} == {model: share.captions for model, share in matches.wins.items()}
    assert 3 == matches.ties.captions
    assert {"ours <b>": 14, "DF-GAN": 8, "neither": 8} == matches.votes
    assert 2 / 6 == matches.wins["ours <b>"].share


def test_who_is_left_out_and_why(key: dict, written: Path, tmp_path: Path) -> None:
    """Workers and files, each with a sentence; nothing of them is counted."""
    page = key["pages"][0]

    def answers(
        *, right: bool = True, seconds: float = 9.0, of: list[dict] = page
    ) -> list[tuple[str, str, str, float]]:
        wrong = {"left": "right", "right": "left"}
        return [
            (
                pair["id"],
                "left",
                (pair["check"] if right else wrong[pair["check"]]) if "check" in pair else "left",
                seconds,
            )
            for pair in of
        ]

    asked = [pair for pair in page if "check" not in pair]
    files = [
        a_file(tmp_path, key, 0, "good", answers()),
        a_file(tmp_path, key, 0, "careless", answers(right=False)),
        a_file(tmp_path, key, 0, "hasty", answers(seconds=3.9)),
        a_file(tmp_path, key, 0, "skips", answers(of=asked)),
        a_file(tmp_path, key, 0, "empty", []),
        a_file(tmp_path, key, 0, "two", answers()),
        a_file(tmp_path, key, 1, "foreign", answers()),
        a_file(tmp_path, key, 7, "far", answers()),
        a_file(tmp_path, {**key, "study": "other"}, 0, "other", answers()),
        a_file(tmp_path, key, 0, "twice", [*answers(), answers()[0]]),
    ]
    changed = [(name, "right", matches, seconds) for name, _, matches, seconds in answers()]
    (tmp_path / "more").mkdir()
    files.append(a_file(tmp_path / "more", key, 0, "two", changed))
    for name, content in (("deep", "[" * 5000), ("cut", '{"study"'), ("list", "[]"), ("large", " " * 3_000_000)):
        (tmp_path / f"{name}.json").write_text(content)
        files.append(tmp_path / f"{name}.json")
    files.append(tmp_path / "absent.json")
    counted = tally(written / KEY, files, TallyOptions(votes=1))
    assert ["good"] == counted.workers
    assert {
        "careless": "failed 2 of 2 checks, 25% are allowed",
        "hasty": "gave 8 of 8 answers in less than 4 s",
        "skips": "answered none of the checks",
        "empty": "answered nothing",
        "two": "answered one pair in two ways, in two files",
    } == counted.workers_left_out
    why = {Path(name).stem: said for name, said in counted.files_left_out.items()}
    assert {"foreign-1", "far-7", "other-0", "twice-0", "deep", "cut", "list", "large", "absent"} == set(why)
    for name, said in (
        ("foreign-1", "which page 1 does not ask"), ("far-7", "answers page 7, the study has 2"),
        ("other-0", "answers another study"), ("twice-0", "twice"), ("deep", "not JSON"), ("list", "expected an object"),
        ("large", "has 3,000,000 bytes"), ("absent", "No such file"),
    ):  # fmt: skip
        assert said in why[name]
        assert 1 == len(why[name].splitlines())
    with pytest.raises(ValueError, match=r"no worker's file can be counted: .*absent"):
        tally(written / KEY, [tmp_path / "absent.json"])
    with pytest.raises(ValueError, match="no file was given"):
        tally(written / KEY, [])


def test_who_disagrees_with_most_others(key: dict, written: Path, tmp_path: Path) -> None:
    """Four say left and one right: he agrees with nobody, and is left out if that is asked for."""
    files = []
    for worker in range(5):
        side = "right" if worker == 2 else "left"
        answers = [(pair["id"], side, pair.get("check", side), 9.0) for pair in key["pages"][0]]
        files.append(a_file(tmp_path, key, 0, f"w{worker}", answers))
    counted = tally(written / KEY, files)
    assert {"w0": 1, "w1": 1, "w2": 0, "w3": 1, "w4": 1} == counted.agreement
    assert {} == counted.workers_left_out
    strict = tally(written / KEY, files, TallyOptions(least_agreement=0.2, votes=4))
    assert {"w2": "agrees with most others in 0% of the answers, 20% are expected"} == strict.workers_left_out
    assert ["w0", "w1", "w3", "w4"] == strict.workers
    assert counted.agreement == strict.agreement
    assert {} == tally(written / KEY, files[:2], TallyOptions(votes=2, least_agreement=1)).agreement


def test_what_is_no_study_is_one_sentence(written: Path, tmp_path: Path) -> None:
    """A folder that has one, captions that are all the same, a picture that is none, models of one name."""
    with pytest.raises(ValueError, match="is the key of a study, which may be running; give another folder"):
        write_study(Folder(written), a_study(), OPTIONS)
    with pytest.raises(ValueError, match="a check needs captions that differ"):
        write_study(Folder(tmp_path), a_study(captions={"c0": "a", "c1": "a"}))
    broken = Study(captions=CAPTIONS, models=(Contestant("a", of(10)), Contestant("b", lambda _: b"GIF")))
    with pytest.raises(ValueError, match=r"the picture of caption c\d of b: cannot be decoded"):
        write_study(Folder(tmp_path), broken, OPTIONS)
    with pytest.raises(ValueError, match="give them names of their own"):
        Study(captions=CAPTIONS, models=(Contestant("neither", of(10)), Contestant("b", of(20))))
    with pytest.raises(ValueError, match="the study has no captions"):
        a_study(captions={})
    assert [] == [*tmp_path.rglob("*.*")]


def test_checks_of_pictures_that_are_known_to_fit(browser: Chrome, tmp_path: Path) -> None:
    """Where there are photographs, checks are made of them and not of what a model drew."""
    write_study(Folder(tmp_path), a_study(known=lambda caption: png(180 + 4 * int(caption[1:]))), OPTIONS)
    page = json.loads((tmp_path / KEY).read_text())["pages"][0]
    visit(browser, tmp_path / "pages/000.html")
    browser.execute_script("answers.begin('w'); begin()")
    for number, pair in enumerate(page):
        browser.execute_script("show(arguments[0])", number)
        assert ("check" in pair) == all(grey > 170 for grey in greys(browser))


@pytest.mark.parametrize("among", [1, 2, 5, 37, 1000])
def test_the_interval_is_exact(among: int) -> None:
    """As scipy has it."""
    for count in {0, 1, among // 3, among // 2, among - 1, among}:
        expected = binomtest(count, among).proportion_ci(0.95, "exact")
        assert (expected.low, expected.high) == pytest.approx(interval(count, among), abs=1e-9)
    assert (0.0, 1.0) == interval(0, 0)
