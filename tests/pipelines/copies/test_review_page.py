"""The review page in a real browser: what a person drags, marks and exports is what dedup then does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dalle.pictures.thumbnails import thumbnail
from dalle.scenes import compose, draw
from pipelines.copies.embedding import REFERENCE_TABLE
from pipelines.copies.overlap import DENYLIST_FILE, MATCHES_FILE, NEAREST_FILE
from pipelines.copies.references import Reference
from pipelines.copies.review import PAGE, Reviewed, page, write_page
from pipelines.copies.review.page import MOST_BYTES, REFERENCES
from pipelines.dedup import main
from pipelines.ingest import main as ingest
from schemas.folder import Folder, Staging
from schemas.matches import DENYLIST, MATCHES, NEAREST, Decisions
from schemas.shards import write_parquet
from tests.browser import chromium, press
from tests.conftest import write_jpeg
from tests.pipelines.jobs.test_dedup import DETECTOR, rows

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>window.pwned=1</script><!-- <img src=x onerror=window.pwned=1> \u2028 & \"'"
BIRDS = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 pictures, 5 of them copies of the 8 references; captions and names as an enemy would write them."""
    root = tmp_path_factory.mktemp("world")
    (root / "birds").mkdir()
    (root / "pictures").mkdir()
    for number in range(BIRDS):
        write_jpeg(root / f"birds/{number}<b>&.jpg", draw(compose(9000 + number, 128, 128)))
    for number in range(20):
        copied = number < 5
        pixels = draw(compose(9000 + number if copied else number, 128, 128))
        pixels = pixels[:, : 128 - 3 * number] if copied else pixels
        write_jpeg(root / f"pictures/{number:02d}.jpg", pixels, 70 if copied else 92)
        (root / f"pictures/{number:02d}.txt").write_text(f"picture {number} {HOSTILE}")
    flags = ["--dataset", "folder", "--url_list", root / "pictures", "--output_folder", root / "pairs"]
    flags += ["--number_sample_per_shard", 8, "--processes_count", 1, "--filters", "none", "--image_size", 64]
    assert 0 == ingest([*map(str, flags)])
    assert 0 == main(dedup_flags(root, root / "clean"))
    return root


def dedup_flags(world: Path, out: Path, *more: object) -> list[str]:
    flags = ["--input_folder", world / "pairs", "--output_folder", out, *DETECTOR, "--processes_count", 1]
    return [str(flag) for flag in (*flags, "--reference", f"birds={world / 'birds'}", *more)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    downloads = tmp_path_factory.mktemp("downloads")
    with chromium(downloads) as opened:
        opened.downloads = downloads  # type: ignore[attr-defined]
        yield opened


def visit(browser: Chrome, folder: Path) -> None:
    """Open a folder's page as somebody who was never there."""
    browser.get((folder / PAGE).as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()


def text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def three_digits(value: float) -> str:
    return str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP))


def at(browser: Chrome) -> float:
    return browser.execute_script("return set.at")


def shown(browser: Chrome) -> list[tuple[str, ...]]:
    """Key, reference, similarity, decision and who decided of each pair in the document, in order."""
    return [
        tuple(row)
        for row in browser.execute_script(
            "return [...document.querySelectorAll('.pair')].sort((a, b) => a.dataset.index - b.dataset.index).map(row =>"
            " [...row.querySelectorAll('.name, .similarity, .told *')].map(one => one.textContent))"
        )
    ]


def pairs_of(folder: Path) -> dict[tuple[str, str], float]:
    """All pairs of the set `birds`, from the tables alone."""
    similarities = {}
    for name in (NEAREST_FILE, MATCHES_FILE):
        for row in pq.read_table(folder / name).to_pylist():
            similarities[row["key"], row["reference_id"]] = row["similarity"]
    return similarities


def would_go(pairs: dict[tuple[str, str], float], threshold: float, marks: dict[tuple[str, str], bool]) -> str:
    """What the page is to say."""
    going = [pair for pair, value in pairs.items() if marks.get(pair, value >= threshold)]
    pictures, references = ({pair[side] for pair in going} for side in (0, 1))
    return f"{len(pictures)} of 20 pictures would go · {len(references)} of 8 references have a copy"


def test_pairs_from_most_to_least_alike(world: Path, browser: Chrome) -> None:
    """Every match and each reference's nearest picture, with three digits and who decided; pictures are there."""
    visit(browser, world / "clean")
    expected = sorted(pairs_of(world / "clean").items(), key=lambda pair: (-pair[1], *pair[0]))
    assert BIRDS <= len(expected)
    threshold = at(browser)
    shown_pairs: dict[int, tuple[str, ...]] = {}
    for number in range(len(expected)):
        assert "true" == browser.find_element(By.CSS_SELECTOR, ".pair.current").get_attribute("aria-current")
        current = browser.find_element(By.CSS_SELECTOR, ".pair.current")
        shown_pairs[int(current.get_attribute("data-index"))] = shown(browser)[
            [int(r.get_attribute("data-index")) for r in sorted_rows(browser)].index(number)
        ]
        press(browser, "j")
    assert [
        (key, reference, three_digits(value), "copy" if value >= threshold else "different", "by threshold")
        for (key, reference), value in expected
    ] == [shown_pairs[number] for number in sorted(shown_pairs)]
    sizes = browser.execute_script("return [...document.images].map(one => one.complete && one.naturalWidth)")
    assert sizes
    assert all(sizes)


def sorted_rows(browser: Chrome) -> list:
    rows = browser.find_elements(By.CSS_SELECTOR, ".pair")
    return sorted(rows, key=lambda row: int(row.get_attribute("data-index")))


def test_dragging_the_threshold_counts_live(world: Path, browser: Chrome) -> None:
    """By mouse while the button is down, and by keys; the numbers are those of the tables."""
    visit(browser, world / "clean")
    pairs, before = pairs_of(world / "clean"), at(browser)
    assert would_go(pairs, before, {}) == text(browser, "counts")
    handle = browser.find_element(By.ID, "handle")
    ActionChains(browser).click_and_hold(handle).move_by_offset(-60, 0).perform()
    assert at(browser) < before
    assert would_go(pairs, at(browser), {}) == text(browser, "counts")
    seen = {text(browser, "counts")}
    ActionChains(browser).move_by_offset(400, 0).perform()
    assert at(browser) > before
    assert would_go(pairs, at(browser), {}) == text(browser, "counts")
    seen.add(text(browser, "counts"))
    ActionChains(browser).release().perform()
    here = at(browser)
    ActionChains(browser).move_by_offset(-100, 0).perform()  # the button is up: nothing moves
    assert here == at(browser)
    handle.send_keys(Keys.ARROW_LEFT)
    assert here - 0.001 == pytest.approx(at(browser), abs=1e-9)
    handle.send_keys(Keys.HOME)
    lowest = at(browser)
    assert before - 0.2 == pytest.approx(lowest, abs=0.001)
    assert would_go(pairs, lowest, {}) == text(browser, "counts")
    seen.add(text(browser, "counts"))
    assert len(seen) > 1
    assert f"--threshold birds={lowest:.3f}" == browser.find_element(By.CSS_SELECTOR, "#use code").text
    press(browser, "]", "r")
    assert before == at(browser)
    assert f"{before:.3f}" == handle.text
    assert f"{before:.3f}" == handle.get_attribute("aria-valuetext")


def test_marks_by_keyboard_and_mouse_survive_a_reload(world: Path, browser: Chrome) -> None:
    """C, D, U and Z mark and go on; a click does the same; the browser remembers."""
    visit(browser, world / "clean")
    pairs, threshold = pairs_of(world / "clean"), at(browser)
    order = sorted(pairs, key=lambda pair: (-pairs[pair], *pair))
    press(browser, "d", "c")
    assert would_go(pairs, threshold, {order[0]: False, order[1]: True}) == text(browser, "counts")
    press(browser, "k", "u", "d", "z")
    assert "2" == browser.find_element(By.CSS_SELECTOR, ".pair.current").get_attribute("data-index")
    assert "1 decided by hand" == text(browser, "said")
    press(browser, "n")
    press(browser, Keys.HOME)
    browser.find_elements(By.CSS_SELECTOR, ".pair[data-index='1'] .different")[0].click()
    browser.refresh()
    said = {row[:2]: row[3:] for row in shown(browser)}
    assert [("different", "by hand")] * 2 == [said[pair] for pair in order[:2]]
    assert would_go(pairs, threshold, dict.fromkeys(order[:2], False)) == text(browser, "counts")
    browser.find_element(By.CSS_SELECTOR, "#filter option[value=marked]").click()
    assert order[:2] == [row[:2] for row in shown(browser)]
    press(browser, "u")
    assert order[1:2] == [row[:2] for row in shown(browser)]


def test_exported_decisions_are_what_dedup_then_does(world: Path, browser: Chrome, tmp_path: Path) -> None:
    """Marked, saved, run again into the same folder without embedding anything; the next page shows and keeps them."""
    out = tmp_path / "clean"
    shutil.copytree(world / "clean", out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("img_emb_*.npy")}
    visit(browser, out)
    pairs = pairs_of(out)
    order = sorted(pairs, key=lambda pair: (-pairs[pair], *pair))
    assert rows_denied(out) == {pair for pair in order if pairs[pair] >= at(browser)}
    press(browser, "d", Keys.END, "c")
    decided = export(browser, tmp_path / "decisions.json")
    expected = [(*order[0], "different"), (*order[-1], "copy")]
    assert sorted(expected) == [(p["key"], p["reference_id"], p["decision"]) for p in decided["pairs"]]
    assert decided["detector"] == json.loads((out / "dedup/decisions.json").read_text())["detector"]
    assert 0 == main(dedup_flags(world, out, "--decisions", tmp_path / "decisions.json"))
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("img_emb_*.npy")}
    gone = {row["key"] for row in rows(out) if row["status"] == "removed"}
    assert order[0][0] not in gone
    assert order[-1][0] in gone
    visit(browser, out)
    assert "2 decided by hand" == text(browser, "said")
    assert ("different", "by hand") == shown(browser)[0][3:]
    press(browser, Keys.END)
    assert ("copy", "by hand") == shown(browser)[-1][3:]
    assert decided == export(browser, tmp_path / "again.json")


def rows_denied(folder: Path) -> set[tuple[str, str]]:
    return {(row["key"], row["reference_id"]) for row in pq.read_table(folder / DENYLIST_FILE).to_pylist()}


def saved_in(browser: Chrome) -> Path:
    return browser.downloads  # type: ignore[attr-defined,no-any-return]


def export(browser: Chrome, to: Path) -> dict:
    saved = saved_in(browser) / "decisions.json"
    saved.unlink(missing_ok=True)
    press(browser, "e")
    unfinished = saved_in(browser).glob  # the browser reserves the name before it has written anything
    WebDriverWait(browser, 60).until(
        lambda _: saved.exists() and saved.stat().st_size and not [*unfinished("*.crdownload")]
    )
    shutil.move(saved, to)
    return json.loads(to.read_text())


def test_what_others_wrote_is_shown_as_text(world: Path, browser: Chrome) -> None:
    """A caption with a script tag and a file name with markup are read, not run."""
    visit(browser, world / "clean")
    captions = browser.execute_script("return [...document.querySelectorAll('.caption')].map(one => one.textContent)")
    assert any("<script>window.pwned=1</script>" in caption for caption in captions)
    assert all("<b>&.jpg" in row[1] for row in shown(browser))
    assert browser.execute_script("return window.pwned === undefined")
    assert 0 == browser.execute_script("return document.querySelectorAll('.pair script, .pair b').length")
    source = (world / "clean" / PAGE).read_text()
    assert 5 == source.count("<script") == source.count("</script")
    assert "window.pwned" in source
    assert "\u2028" not in source


def test_nothing_is_asked_of_the_network(world: Path, browser: Chrome) -> None:
    """The page loads nothing, and could not if it wanted to."""
    visit(browser, world / "clean")
    assert [] == browser.execute_script("return performance.getEntriesByType('resource')")
    assert [] == browser.get_log("browser")
    blocked = browser.execute_async_script(
        "const done = arguments[0], found = [];"
        "document.addEventListener('securitypolicyviolation', event => {"
        "  found.push(event.effectiveDirective); if (found.length === 3) done(found.sort()) });"
        "fetch('http://127.0.0.1:9/x').catch(() => 0); new Image().src = 'http://127.0.0.1:9/y.png';"
        "const link = document.createElement('link'); link.rel = 'stylesheet'; link.href = 'http://127.0.0.1:9/z.css';"
        "document.head.append(link);"
    )
    assert ["connect-src", "img-src", "style-src-elem"] == blocked
    browser.get_log("browser")


REFERENCES_OF_MANY = 500


@pytest.fixture(scope="module")
def many(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What dedup would leave of 20 pictures of which each has 500 matches, and of one copy within the data."""
    folder = Folder(tmp_path_factory.mktemp("many"))
    keys = sorted(row["key"] for row in rows(world / "pairs"))
    names = [f"r{number:03d}.jpg" for number in range(REFERENCES_OF_MANY)]
    values = np.random.default_rng(0).uniform(0.5, 1, (len(keys), len(names))).astype(np.float32)
    matches = [
        {
            "key": key,
            "reference_set": "birds",
            "reference_id": names[number],
            "similarity": values[row, number],
            "rank": 1,
        }
        for row, key in enumerate(keys)
        for number in np.argsort(-values[row], kind="stable")
    ]
    nearest = [
        {"reference_set": "birds", "reference_id": name, "key": keys[row], "similarity": values[row, number]}
        for number, (name, row) in enumerate(zip(names, values.argmax(0), strict=True))
    ]
    within = {"key": keys[1], "reference_set": "within", "reference_id": keys[0], "similarity": np.float32(0.97)}
    denied = [within | {"uid": "", "url": "", "sha256": "", "decided_by": "threshold"}]
    known = [{"id": name, "sha256": "", "caption": f"of {name}"} for name in names]
    with Staging(folder) as staging:
        for file, entries, schema in (
            (MATCHES_FILE, matches, MATCHES),
            (NEAREST_FILE, nearest, NEAREST),
            (DENYLIST_FILE, denied, DENYLIST),
            (f"{REFERENCES}/birds/references.parquet", known, REFERENCE_TABLE),
        ):
            with staging.file(file) as opened:
                write_parquet(opened, [pa.Table.from_pylist(entries, schema)], schema)
        staging.publish()
    write_page(folder, reviewed(world))
    return folder


def reviewed(world: Path) -> Reviewed:
    pairs = Folder(world / "pairs")
    file = str(next((world / "birds").iterdir()))
    references = [Reference(f"r{number:03d}.jpg", file) for number in range(REFERENCES_OF_MANY - 1)]
    return Reviewed(
        pairs=pairs,
        shards=[shard["name"] for shard in pairs.read_json("manifest.json")["shards"]],
        pictures=20,
        references={"birds": references},
        thresholds={"birds": 0.98, "within": 0.9},
        floors={"birds": 0.5},
        decisions=Decisions({}),
        detector="none",
        fingerprint="many",
    )


def test_ten_thousand_pairs_scroll(world: Path, many: Folder, browser: Chrome) -> None:
    """At each step the frame that follows shows the right pairs, pictures and all, and few elements exist."""
    visit(browser, Path(many.root))
    facts = browser.execute_script("return [facts.sets.map(one => one.pairs.length), list.height]")
    assert [9999, 1] == facts[0]
    measured = browser.execute_async_script(
        """
        const done = arguments[0], view = document.getElementById("pairs"), wrong = [];
        let most = 0, step = 0, checked = 0;
        const steps = [...Array(100).keys()].map(n => n * 190)
          .concat([...Array(100).keys()].map(n => (n * 7919 % 10000) * list.height - 31));
        const frame = () => {
          const top = view.getBoundingClientRect().top - view.scrollTop;
          const end = Math.min(set.pairs.length, (view.scrollTop + view.clientHeight) / list.height);
          for (let index = Math.floor(view.scrollTop / list.height); index < end; index++) {
            const row = document.querySelector(`.pair[data-index="${index}"]`), pair = set.pairs[index];
            const names = [...(row?.querySelectorAll(".name") ?? [])].map(one => one.textContent);
            const right = names[0] === facts.names[pair.picture] && names[1] === facts.names[pair.reference]
              && row.querySelector(".similarity").textContent === pair.similarity.toFixed(3)
              && [...row.querySelectorAll("img")].every(one => one.complete && one.naturalWidth > 0)
              && Math.abs(row.getBoundingClientRect().top - top - index * list.height) < 1;
            if (!right) wrong.push([step, index, names]);
            checked++;
          }
          most = Math.max(most, document.getElementsByTagName("*").length);
          if (++step === steps.length) return done([wrong, most, checked]);
          view.scrollTop = steps[step];
          requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
        """
    )
    wrong, most_elements, checked = measured
    assert [] == wrong[:5]
    assert checked > 500
    assert most_elements < 700
    press(browser, Keys.END)
    assert "9998" == browser.find_element(By.CSS_SELECTOR, ".pair.current").get_attribute("data-index")
    assert (Path(many.root) / PAGE).stat().st_size <= MOST_BYTES


def test_what_is_left_out_is_said_and_counted(world: Path, many: Folder, browser: Chrome, tmp_path: Path) -> None:
    """With 60 pairs shown the counts are those of 10,000; the same tables give the same bytes."""
    visit(browser, Path(many.root))
    thresholds = [0, -3, 10, 19, -8]
    wanted = []
    for step in thresholds:
        browser.execute_script("histogram.move(arguments[0])", step)
        wanted.append((at(browser), text(browser, "counts")))
    assert len({count for _, count in wanted}) > 2
    few = Folder(shutil.copytree(many.root, tmp_path / "few"))
    write_page(few, reviewed(world), most_pairs=61)
    once = few.read_bytes(PAGE)
    write_page(few, reviewed(world), most_pairs=61)
    assert once == few.read_bytes(PAGE)
    visit(browser, tmp_path / "few")
    got = []
    for step in thresholds:
        browser.execute_script("histogram.move(arguments[0])", step)
        got.append((at(browser), text(browser, "counts")))
    assert wanted == got
    assert "birds: 60 of 10,000 pairs shown, those nearest to 0.980 · the counts are of all" in text(
        browser, "left-out"
    )


def test_a_set_within_and_a_reference_without_a_picture(world: Path, many: Folder, browser: Chrome) -> None:
    """Copies inside the data are a set of their own with two training pictures; a missing picture has a place."""
    visit(browser, Path(many.root))
    last = f"r{REFERENCES_OF_MANY - 1:03d}.jpg"
    browser.execute_script(
        "list.select(set.pairs.findIndex(pair => facts.names[pair.reference] === arguments[0]))", last
    )
    current = browser.find_element(By.CSS_SELECTOR, ".pair.current")
    assert "no picture" == current.find_element(By.CSS_SELECTOR, "figure:nth-child(2) .frame").text
    press(browser, "2")
    keys = sorted(row["key"] for row in rows(world / "pairs"))
    assert [(keys[1], keys[0], "0.970", "copy", "by threshold")] == shown(browser)
    assert "1 of 20 pictures would go" == text(browser, "counts")
    assert 2 == browser.execute_script("return [...document.images].filter(one => one.naturalWidth).length")


def test_a_page_keeps_to_its_bytes(
    world: Path, many: Folder, browser: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs far from the threshold go first, then pixels; what a person decided stays, and what is gone is said."""
    monkeypatch.setattr(page, "MOST_BYTES", 400_000)
    monkeypatch.setattr(page, "_MOST_BYTES_OF_FACTS", 200_000)
    small = Folder(shutil.copytree(many.root, tmp_path / "small"))
    far = min(pq.read_table(Path(many.root) / MATCHES_FILE).to_pylist(), key=lambda row: row["similarity"])
    decided = Decisions({("birds", far["key"], far["reference_id"]): "copy"})
    write_page(small, replace(reviewed(world), decisions=decided))
    assert small.size(PAGE) <= 400_000
    visit(browser, tmp_path / "small")
    assert re.search(
        r"birds: [1-4],\d{3} of 10,000 pairs shown.* pictures of at most \d\d pixels", text(browser, "left-out")
    )
    press(browser, Keys.END)
    assert (far["key"], far["reference_id"], "copy") == (*shown(browser)[-1][:2], shown(browser)[-1][3])
    assert all(browser.execute_script("return [...document.images].map(one => one.naturalWidth)"))


@pytest.mark.parametrize("most", [16_000, 3_000, 900, 450])
def test_a_thumbnail_keeps_to_its_bytes(most: int, tmp_path: Path) -> None:
    """Even of noise, which nothing compresses; smaller only if it must be."""
    write_jpeg(tmp_path / "noise.jpg", np.random.default_rng(0).integers(0, 256, (400, 300, 3)).astype(np.uint8))
    write_jpeg(tmp_path / "plain.jpg", np.full((400, 300, 3), 90, np.uint8))
    noise, plain = (thumbnail((tmp_path / f"{name}.jpg").read_bytes(), most) for name in ("noise", "plain"))
    assert 0 < len(noise) <= most
    assert 0 < len(plain) <= most
