"""The page of what was drawn, in a real browser: what it shows for any choice is what the samples say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from math import comb
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from dalle.drawing import page
from dalle.drawing.best_of import mean_scores, pictures_to_show, stops
from dalle.drawing.drawn import Drawn, DrawnCaption, Named, Settings, captions_of_table
from dalle.drawing.page import MOST_BYTES, PAGE, write_page
from schemas.commands.printing import printable
from schemas.folder import Folder
from tests.browser import chromium, press

pytestmark = pytest.mark.slow

HOSTILE = (
    "</script><script>window.pwned=1</script><!-- <img src=x onerror=window.pwned=1> \u2028 & \"'",
    "{{ pwned }} {% for x in y %} ${window.pwned=1} javascript:window.pwned=1 `",
    "a kite \u202egnp.exe \u2066 \u200f\x1b[2J\x07\x00 \ud800 after",
    "first line\r\nsecond <b>line</b>\n\n\nlast",
    "طائرة ورقية حمراء فوق منزل 👨‍👩‍👧",
    "a long one " * 272 + "the end.",
)
SETTINGS = Settings(
    prior=Named("prior <b>", "a1" * 32),
    dvae=Named("builtin", "b2" * 32),
    reranker=Named("open_clip:ViT-B-32//clip.pt", "c3" * 32),
    top_k=128,
    more={"image": "photo.jpg </script>"},
)
PNGS = [cv2.imencode(".png", np.full((8, 8, 3), (n * 3, 255 - n, n), np.uint8))[1].tobytes() for n in range(64)]


def picture(name: str) -> bytes:
    return PNGS[int(re.findall(r"\d+", name)[-1]) % len(PNGS)]


def caption_of(number: int, text: str, samples: int, *, keep: int | None = None, scored: bool = True) -> DrawnCaption:
    """Scores of few different values, so that many are equal; every other picture of a hard name."""
    rng = np.random.default_rng(number)
    names = [
        f"images/{number:06d}_{n:04d}.png" if n % 2 else f"images/{number} #?%25 é'\"<_{n}.png" for n in range(samples)
    ]
    return DrawnCaption(
        text=text,
        id=str(number),
        seeds=rng.integers(0, 2**64, samples, np.uint64),
        log_likelihood=rng.normal(-5000, 100, samples),
        scores=rng.integers(10, 40, samples).astype(np.float32) / 64 if scored else None,
        files=[name if keep is None or n < keep else None for n, name in enumerate(names)],
    )


def written(folder: Path, captions: Sequence[DrawnCaption], settings: Settings = SETTINGS) -> Path:
    folder.mkdir(exist_ok=True)
    write_page(Folder(folder), Drawn(captions=captions, picture=picture, settings=settings))
    return folder / PAGE


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("downloads")) as opened:
        yield opened


CAPTIONS = [caption_of(n, text, 20, keep=17 if n == 1 else None) for n, text in enumerate(HOSTILE)]
CAPTIONS.append(caption_of(90, "the same again", 3))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hostile"), CAPTIONS)


def choose(browser: Chrome, field: str, value: object) -> None:
    browser.find_element(By.CSS_SELECTOR, f"#{field} option[value='{value}']").click()


def select(browser: Chrome, field: str, value: object) -> None:
    """The same without a mouse, which takes a while."""
    browser.execute_script(
        "const field = element(arguments[0]); field.value = arguments[1]; field.dispatchEvent(new Event('change'))",
        field,
        str(value),
    )


def text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def listed(browser: Chrome) -> list[list[int]]:
    """Caption and number of every sample in the list, in its order."""
    return browser.execute_script(
        "return tiles.all.map((sample, place) => [tiles.ofCaption[place], sample - samples.starts[tiles.ofCaption[place]]])"
    )


def in_sight(browser: Chrome) -> list[tuple[str, ...]]:
    """What the document says of its samples: number, score, log-likelihood, seed, address."""
    return [
        tuple(one)
        for one in browser.execute_script(
            "return [...document.querySelectorAll('.tile')].map(tile => [tile.dataset.sample,"
            " ...['.score', '.likelihood', '.seed'].map(part => tile.querySelector(part)?.textContent ?? ''),"
            " tile.querySelector('a')?.href ?? tile.querySelector('.frame').textContent])"
        )
    ]


def best(caption: DrawnCaption, by: str, first: int, show: int) -> list[int]:
    """The oracle: sort the first ones by hand."""
    values: Any = {"score": caption.scores, "likelihood": caption.log_likelihood}.get(by)
    numbers = sorted(range(min(first, len(caption.seeds))), key=lambda n: (0 if values is None else -values[n], n))
    return numbers[:show]


def test_the_choice_is_the_best_of_the_first(hostile: Path, browser: Chrome) -> None:
    """For each place of the slider, each order and each number shown; by mouse, by keys, and as the samples say."""
    browser.get(hostile.as_uri())
    slider = browser.find_element(By.ID, "first")
    slider.send_keys(Keys.HOME)
    tried = 0
    for first in stops(20):
        assert (first, str(first)) == (browser.execute_script("return first()"), slider.get_attribute("aria-valuetext"))
        for by in ("score", "likelihood", "number"):
            for show in (1, 4, 20):
                select(browser, "sort", by)
                select(browser, "show", show)
                expected = [[n, i] for n, caption in enumerate(CAPTIONS) for i in best(caption, by, first, show)]
                assert expected == listed(browser), (first, by, show)
                tried += 1
        slider.send_keys(Keys.ARROW_RIGHT)
    assert 6 * 9 == tried
    press(browser, "[", "[", "s", "s", "s", "-", "+", "-")
    assert [[n, i] for n, caption in enumerate(CAPTIONS) for i in best(caption, "number", 8, 16)] == listed(browser)


def test_numbers_and_links_are_those_of_the_samples(hostile: Path, browser: Chrome) -> None:
    """Seeds to the last of 64 bits, three digits of the score, and the file beside the page, whatever it is called."""
    browser.get(hostile.as_uri())
    press(browser, Keys.HOME)
    flat = [(caption, n) for caption in CAPTIONS for n in range(len(caption.seeds))]
    seen = in_sight(browser)
    assert len(seen) >= 8
    for sample, score, likelihood, seed, address in seen:
        caption, n = flat[int(sample)]
        assert caption.scores is not None
        assert str(Decimal(float(caption.scores[n])).quantize(Decimal("0.001"), ROUND_HALF_UP)) == score
        assert f"{caption.log_likelihood[n]:,.1f} nats" == likelihood
        assert f"seed {caption.seeds[n]}" == seed
        file = caption.files[n]
        assert unquote(address) == ("not kept" if file is None else f"file://{hostile.parent / file}")
        assert "#" not in address
        assert "?" not in address
    assert all(browser.execute_script("return [...document.images].map(one => one.naturalWidth)"))
    means = browser.execute_script("return facts.means")
    by_hand = [np.mean([expected_best(c.scores, n) for c in CAPTIONS]) for n in stops(20)]
    assert by_hand == pytest.approx(means)
    assert f"best of the first 20 of 20 samples · mean score of the best {by_hand[-1]:.3f}" == text(browser, "counts")
    assert 6 == browser.execute_script("return document.querySelector('#curve polyline').points.length")
    said = browser.execute_script("return [...document.querySelectorAll('.setting')].map(one => one.textContent)")
    assert ["priorprior <b>a1a1a1a1a1a1", "dVAEbuiltinb2b2b2b2b2b2"] == said[:2]
    assert ["temperature1", "top k128", "top p1", "imagephoto.jpg </script>"] == said[3:]


def expected_best(scores: np.ndarray | None, n: int) -> float:
    """Mean of the greatest over all subsets of n, or of all if there are fewer."""
    assert scores is not None
    n = min(n, len(scores))
    return sum(comb(i, n - 1) * score for i, score in enumerate(sorted(scores.tolist()))) / comb(len(scores), n)


def test_what_others_wrote_is_shown_as_text(hostile: Path, browser: Chrome) -> None:
    """Markup is read, marks that turn text round are written out, and a long caption can be read whole."""
    browser.get(hostile.as_uri())
    choose(browser, "show", 1)
    shown = browser.execute_script("return [...document.querySelectorAll('.caption bdi')].map(one => one.textContent)")
    expected = [printable(one.replace("\r\n", "\n"), "\n\u200c\u200d") for one in HOSTILE]
    assert [*(one if len(one) <= 3000 else one[:2999] + "…" for one in expected), "the same again"] == shown
    assert r"a kite \u202egnp.exe \u2066 \u200f\x1b[2J\x07\x00 \ud800 after" == shown[2]
    assert 0 == browser.execute_script("return document.querySelectorAll('.caption bdi *, .setting bdi *').length")
    browser.find_elements(By.CSS_SELECTOR, ".caption")[5].click()
    whole = browser.find_element(By.CSS_SELECTOR, "#whole .text")
    assert whole.text.endswith("the end.")
    assert whole.size["height"] < 900
    press(browser, Keys.ESCAPE)
    source = hostile.read_text()
    assert source.count("<script") == source.count("</script")
    assert browser.execute_script("return window.pwned === undefined")
    assert "\u2028" not in source
    assert "\u202e" not in source


def test_nothing_is_asked_of_the_network(hostile: Path, browser: Chrome) -> None:
    """The page loads nothing, and could not if it wanted to."""
    browser.get(hostile.as_uri())
    assert [] == browser.execute_script("return performance.getEntriesByType('resource')")
    assert [] == browser.get_log("browser")
    blocked = browser.execute_async_script(
        "const done = arguments[0], found = [];"
        "document.addEventListener('securitypolicyviolation', event => {"
        "  found.push(event.effectiveDirective); if (found.length === 3) done(found.sort()) });"
        "fetch('http://127.0.0.1:9/x').catch(() => 0); new Image().src = 'http://127.0.0.1:9/y.png';"
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 1'}));"
    )
    assert ["connect-src", "img-src", "script-src-elem"] == blocked
    assert browser.execute_script("return window.pwned === undefined")
    browser.get_log("browser")


def test_search_finds_captions_by_words(hostile: Path, browser: Chrome) -> None:
    """All words, in any order, whatever the case; the list is theirs, and comes back."""
    browser.get(hostile.as_uri())
    press(browser, "/")
    press(browser, "LINE FIRST")
    assert {3} == {caption for caption, _ in listed(browser)}
    assert "1 of 7 captions" == text(browser, "said")
    press(browser, " nowhere")
    assert [] == listed(browser)
    assert browser.find_element(By.ID, "nothing").is_displayed()
    press(browser, Keys.ESCAPE)
    assert set(range(7)) == {caption for caption, _ in listed(browser)}


def test_keys_go_from_sample_to_sample(hostile: Path, browser: Chrome) -> None:
    """Arrows, captions, ends; the current sample is in sight and stays current when the order changes."""
    browser.get(hostile.as_uri())
    choose(browser, "show", 20)
    columns = browser.execute_script("return tiles.columns")

    def current() -> int:
        seen = browser.find_element(By.CSS_SELECTOR, ".tile.here")
        box = seen.rect
        assert 0 <= box["y"] < 900 - box["height"]
        return int(seen.get_attribute("data-place"))

    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert 1 == current()
    press(browser, Keys.ARROW_DOWN)
    assert 1 + columns == current()
    press(browser, Keys.ARROW_UP, "n", "n")
    assert 40 == current()
    press(browser, "p")
    assert 20 == current()
    press(browser, "s")
    assert 20 + best(CAPTIONS[1], "likelihood", 20, 20).index(best(CAPTIONS[1], "score", 20, 1)[0]) == current()
    press(browser, Keys.END)
    assert 122 == current()
    press(browser, Keys.HOME)
    assert 0 == current()


SCROLL = """
const done = arguments[0], view = document.getElementById("samples"), reached = new Set(), wrong = [];
const look = () => {
  const box = view.getBoundingClientRect();
  for (const tile of document.querySelectorAll(".tile")) {
    const { top, bottom } = tile.querySelector(".frame").getBoundingClientRect();
    if (bottom > box.top && top < box.bottom) reached.add(Number(tile.dataset.sample));
  }
};
let most = 0;
const count = () => (most = Math.max(most, document.querySelectorAll("#rows > *").length));
const rows = Math.max(1, list.page - 1);
for (let index = 0; index < list.items.length; index += rows) {
  list.scrollTo(index);
  look();
  count();
}
const frames = [...Array(40).keys()].map(n => (n * 7919 % 1000) / 1000 * (view.scrollHeight - view.clientHeight));
const frame = () => {  // as a person scrolls: the frame that follows has pictures wherever one looks
  count();
  const box = view.getBoundingClientRect();
  for (const y of [0.2, 0.5, 0.8]) {
    const row = [...document.querySelectorAll("#rows > *")].some(one => {
      const { top, bottom } = one.getBoundingClientRect(), here = box.top + y * box.height;
      return top - 20 <= here && here <= bottom + 20;
    });
    if (!row) wrong.push([frames.length, y]);
  }
  if ([...document.images].some(one => one.complete && !one.naturalWidth)) wrong.push(["no picture", frames.length]);
  if (!frames.length) return done([reached.size, most, wrong, document.getElementsByTagName("*").length]);
  view.scrollTop = frames.pop();
  requestAnimationFrame(() => requestAnimationFrame(frame));
};
requestAnimationFrame(frame);
"""


@pytest.mark.parametrize(
    "captions, samples", [(10_000, 1), (20, 500), (1, 512)], ids=["captions of one", "many of some", "512 of one"]
)
def test_ten_thousand_pictures_scroll(captions: int, samples: int, browser: Chrome, tmp_path: Path) -> None:
    """Each can be come to, by scrolling and by the last key; few rows are in the document at a time."""
    path = written(tmp_path, [caption_of(n, f"caption {n}", samples) for n in range(captions)])
    assert path.stat().st_size <= MOST_BYTES
    browser.get(path.as_uri())
    if captions > 1 and samples > 1:
        choose(browser, "show", samples)
    reached, most_rows, wrong, elements = browser.execute_async_script(SCROLL)
    assert (captions * samples, []) == (reached, wrong[:5])
    assert most_rows < 20
    assert elements < 1000
    press(browser, Keys.END)
    assert captions * samples - 1 == int(
        browser.find_element(By.CSS_SELECTOR, ".tile.here").get_attribute("data-place")
    )


def test_a_list_higher_than_browsers_lay_out(hostile: Path, browser: Chrome) -> None:
    """Is scrolled in proportion: still every sample can be come to, and the list ends with its last row."""
    browser.get(hostile.as_uri())
    choose(browser, "show", 20)
    real = browser.execute_script("return list.tops.at(-1)")
    assert real > 4000
    browser.execute_script("LongList.highest = 2500; lay()")
    assert 2500 == browser.execute_script("return element('rows').offsetHeight")
    reached, _, wrong, _ = browser.execute_async_script(SCROLL)
    assert (123, []) == (reached, wrong[:5])
    press(browser, Keys.END)
    bottom = browser.execute_script(
        "return document.querySelector('.tile.here').getBoundingClientRect().bottom"
        " - element('samples').getBoundingClientRect().bottom"
    )
    assert -80 < bottom < 1


def test_without_scores_or_samples_to_choose_from(browser: Chrome, tmp_path: Path) -> None:
    """Sorted by log-likelihood; nothing of scores is offered. Nothing drawn is a page as well."""
    captions = [caption_of(n, f"caption {n}", 9, scored=False) for n in range(3)]
    browser.get(
        written(tmp_path / "no", captions, Settings(prior=SETTINGS.prior, dvae=SETTINGS.dvae, reranker=None)).as_uri()
    )
    choose(browser, "show", 9)
    assert [[n, i] for n, caption in enumerate(captions) for i in best(caption, "likelihood", 9, 9)] == listed(browser)
    assert not browser.find_element(By.ID, "curve").is_displayed()
    assert [] == browser.find_elements(By.CSS_SELECTOR, "#sort [value=score], .score")
    browser.get(written(tmp_path / "none", []).as_uri())
    assert "0 captions" == text(browser, "said")
    assert [] == browser.get_log("browser")


@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_the_window_and_the_time_of_day(width: int, hostile: Path, browser: Chrome) -> None:
    """Nothing sticks out, tiles are in columns, and the button turns light to dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(hostile.as_uri())
        assert width >= browser.execute_script("return document.documentElement.scrollWidth")
        assert {400: 2, 1400: 6}[width] == browser.execute_script("return tiles.columns")
        inside = browser.execute_script(
            "return [...document.querySelectorAll('.tile, .head, header button, header select')]"
            ".every(one => one.getBoundingClientRect().right <= innerWidth)"
        )
        assert inside
        before = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
        browser.find_element(By.ID, "theme").click()
        assert before != browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    finally:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "width": 1280})


def test_a_page_keeps_to_its_bytes(browser: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is said; whatever is the best of the first N for some N keeps its picture; same bytes twice."""
    monkeypatch.setattr(page, "MOST_BYTES", 150_000)
    monkeypatch.setattr(page, "MOST_SAMPLES", 200)
    monkeypatch.setattr(page, "MOST_PICTURES", 60)
    captions = [caption_of(n, f"{n} " + "word " * 2000, 16) for n in range(20)]
    path = written(tmp_path, captions)
    once = path.read_bytes()
    assert len(once) <= 150_000
    assert once == written(tmp_path, captions).read_bytes()
    browser.get(path.as_uri())
    said = text(browser, "left-out")
    assert "320 samples drawn, 192 pictures kept" in said
    assert "the first 12 of 20 captions; samples.parquet has all" in said
    assert "12 captions cut short" in said
    assert "small pictures of 60 of 192 pictures, the best" in said
    for first in stops(16):
        for number in range(12):
            (winner,) = best(captions[number], "score", first, 1)
            has = browser.execute_script(f"return tiles.pictures.source(samples.pictures[{16 * number + winner}])")
            assert has.startswith("data:image/webp;base64,")
    assert mean_scores(captions, stops(16)) == browser.execute_script("return facts.means")


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path) -> None:
    """Scores of some captions only, numbers that are none, files elsewhere, pictures that are no more."""
    with pytest.raises(ValueError, match="caption 1: has no scores, others have"):
        written(tmp_path, [caption_of(0, "a", 2), caption_of(1, "b", 2, scored=False)])
    fields = vars(caption_of(0, "a", 2))
    for changed, said in (
        ({"scores": np.array([0.5, np.nan], np.float32)}, "caption 0: the score of sample 1 is no number"),
        ({"log_likelihood": np.array([np.nan, 1.0])}, "caption 0: the log-likelihood of sample 0 is no number"),
        ({"files": ["../x.png", None]}, r"caption 0: has the file '../x.png', expected a file's name inside"),
        ({"files": ["/etc/passwd", None]}, "expected a file's name inside the folder"),
        ({"seeds": np.zeros(3, np.uint64)}, r"caption 0: has \[2, 3\] samples in its columns"),
    ):
        with pytest.raises(ValueError, match=said):
            DrawnCaption(**{**fields, **changed})
    with pytest.raises(ValueError, match=r"images/.*: cannot be decoded any more .*; draw it again"):
        captions = [caption_of(0, "a", 1)]
        write_page(Folder(tmp_path), Drawn(captions=captions, picture=lambda _: b"GIF", settings=SETTINGS))
    assert [] == [*tmp_path.iterdir()]


def test_captions_of_a_table() -> None:
    """Rows of a caption are its samples; the same text is another caption, under another id or the same."""
    captions = [caption_of(0, "a", 3), caption_of(1, "a", 2), caption_of(1, "a", 2), caption_of(2, "b", 4, keep=1)]
    rows = [
        {"caption": c.text, "caption_id": c.id, "sample": n, "seed": int(c.seeds[n]), "log_likelihood": c.log_likelihood[n],
         "score": None if c.scores is None else float(c.scores[n]), "file": c.files[n]}
        for c in captions
        for n in range(len(c.seeds))
    ]  # fmt: skip
    schema = pa.schema([("caption", pa.string()), ("caption_id", pa.string()), ("sample", pa.int32()),
                        ("seed", pa.uint64()),
                        ("log_likelihood", pa.float64()), ("score", pa.float32()), ("file", pa.string())])  # fmt: skip
    read = captions_of_table(pa.Table.from_pylist(rows, schema))
    assert [(c.text, c.id, [*c.seeds], [*c.log_likelihood], [*c.scores], [*c.files]) for c in captions] == [
        (c.text, c.id, [*c.seeds], [*c.log_likelihood], [*c.scores], [*c.files]) for c in read
    ]
    unscored = pa.Table.from_pylist([{**row, "score": None} for row in rows], schema)
    assert [None] * 4 == [caption.scores for caption in captions_of_table(unscored)]


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=40), min_size=1, max_size=5), st.integers(0, 30))
def test_pictures_of_the_best_come_first(scores: list[list[int]], most: int) -> None:
    """Whoever wins for some N has its picture before any that never does."""
    captions = [
        DrawnCaption(text="", id=str(n), seeds=np.zeros(len(row)), log_likelihood=np.zeros(len(row)),
                     scores=np.array(row, np.float32), files=["a"] * len(row))
        for n, row in enumerate(scores)
    ]  # fmt: skip
    sizes = stops(max(map(len, scores)))
    winners = {(n, best(caption, "score", first, 1)[0]) for n, caption in enumerate(captions) for first in sizes}
    chosen = pictures_to_show(captions, sizes, most)
    assert min(most, sum(map(len, scores))) == len(chosen)
    assert winners <= chosen or chosen <= winners
    means = mean_scores(captions, sizes)
    assert np.mean([np.mean(row) for row in scores]) == pytest.approx(means[0])
    assert np.mean([max(row) for row in scores]) == pytest.approx(means[-1])
    assert (np.diff(means) >= -1e-9).all()
