"""CSV whose quoting is damaged: one row is lost, and no two rows' links are ever merged."""

from __future__ import annotations

import csv
import io
import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.urls import Target
from pipelines.lists.csv_records import LINK, PICTURE_NAME, csv_records
from pipelines.lists.text import lines

COLUMNS = ("url", "caption", "n")
some = st.sampled_from(['"', '""', ",", '",', "\n", "\r\n", "a", "b c", "é", " ", "'", "\t"])
caption = st.lists(some, max_size=8).map("".join)
orders = st.permutations(COLUMNS)


def written(rows: list[tuple[str, ...]], quoting: int) -> list[str]:
    """Each row as the standard writer has it."""
    texts = []
    for row in rows:
        out = io.StringIO()
        csv.writer(out, quoting=quoting).writerow(row)
        texts.append(out.getvalue())
    return texts


def read(text: str, **options: object) -> list[list[str] | str]:
    return list(csv_records(lines(io.BytesIO(text.encode()), newline=""), **options))


@given(st.lists(st.lists(caption, min_size=2, max_size=4).filter(any), max_size=6), st.sampled_from([0, 1]))
def test_whole_rows_are_the_standard_readers(rows: list[list[str]], quoting: int) -> None:
    """Line breaks, quotes and commas in fields; rows of different lengths where no header says how many."""
    text = "".join(written(rows, quoting))
    assert [row for row in csv.reader(io.StringIO(text, newline="")) if row not in ([], [""])] == read(
        text, has_header=False
    )


@settings(max_examples=200)
@given(st.data(), st.lists(st.tuples(caption, caption), min_size=2, max_size=7), orders, st.sampled_from([0, 1]))
def test_a_damaged_row_takes_no_other_with_it(
    data: st.DataObject, texts: list[tuple[str, str]], order: list[str], quoting: int
) -> None:
    """Quotes are put in or taken out anywhere in a row: every other row is as it was, or a row with a problem."""
    values = [{"url": f"http://h/{i}.jpg", "caption": c, "n": n} for i, (c, n) in enumerate(texts)]
    rows = [tuple(value[name] for name in order) for value in values]
    pieces = written([tuple(order), *rows], quoting)
    damaged = data.draw(st.integers(1, len(rows)))
    piece = pieces[damaged]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(piece) - 2))  # behind its line's end it would be another row's
        quotes = [i for i, char in enumerate(piece) if char == '"']
        if quotes and data.draw(st.booleans()):
            at = data.draw(st.sampled_from(quotes))
            piece = piece[:at] + piece[at + 1 :]
        else:
            piece = piece[:at] + '"' + piece[at:]
    pieces[damaged] = piece
    records = read("".join(pieces))[1:]
    came = [tuple(record) for record in records if not isinstance(record, str) and len(record) == len(order)]
    others = [row for number, row in enumerate(rows, 1) if number != damaged]
    links = {row[order.index("url")] for row in others}
    for record in came:
        held = [link for link in links if link in "\n".join(record)]
        assert not held or record in others, "a row holds the link of another"
    assert [row for row in others if row in came] == [row for row in came if row in others], "rows changed places"
    assert rows[: damaged - 1] == came[: damaged - 1], "a row before the damage is not as it was"
    lost = len(others) - sum(row in others for row in came)
    assert sum(isinstance(record, str) or len(record) != len(order) for record in records) >= lost


@pytest.mark.parametrize("lost", range(1, 5))
def test_the_rows_after_the_damage_come_back(lost: int) -> None:
    """One quote that is not closed: that row alone is lost, and says where and why; the others are whole."""
    rows = [(f"http://h/{i}.jpg", f'a boat, "{i}",\non the lake') for i in range(5)]
    pieces = written([("url", "caption"), *rows], 1)
    pieces[lost] = f'http://h/{lost - 1}.jpg,"a boat\r\n'
    records = read("".join(pieces))[1:]
    assert [list(row) for i, row in enumerate(rows, 1) if i != lost] == [r for r in records if not isinstance(r, str)]
    (problem,) = (record for record in records if isinstance(record, str))
    assert problem.startswith(f"line {2 * lost}: ")


def test_the_issues_own_list() -> None:
    """Five lines of which one has a quote too many: img2dataset makes two rows of them."""
    text = 'url,caption\nhttp://a/1,one\nhttp://a/2,"two\nhttp://a/3,three\nhttp://a/4,four\nhttp://a/5,"five"\n'
    assert [
        ["http://a/1", "one"],
        "line 3: a quote stands in the middle of a quoted field",
        ["http://a/3", "three"],
        ["http://a/4", "four"],
        ["http://a/5", "five"],
    ] == read(text)[1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('u,c\nhttp://a,"x\ny\n\nz"\n', [["http://a", "x\ny\n\nz"]]),
        ('c,u\n"x,\n""y""",http://a\n', [['x,\n"y"', "http://a"]]),
        ('u,c\nhttp://a,12" vinyl\n', [["http://a", '12" vinyl']]),
        ('u,c\nhttp://a,a "nice" boat\n', [["http://a", 'a "nice" boat']]),
        ('u,c\nhttp://a,"see\nhttp://b"\n', ["line 2: a quote is opened, and what follows holds a link before it is closed",
            "line 3: lies in what the quoting of line 2, which is damaged, would run over, and is no whole row itself"]),
        ('u,c\nhttp://a,"see\n www.b.example"\n', ["line 2: a quote is opened, and what follows holds a link before it is closed",
            "line 3: lies in what the quoting of line 2, which is damaged, would run over, and is no whole row itself"]),
        ('u,c\nhttp://a,"x\ny",z\n', ["line 2: its quotes would make 3 fields over several lines, expected 2",
            "line 3: lies in what the quoting of line 2, which is damaged, would run over, and is no whole row itself"]),
        ('u,c\nhttp://a,"x\n', ["line 2: a quote is opened and not closed"]),
        ('u,c\nhttp://a,"x"y\n', ["line 2: a quote stands in the middle of a quoted field"]),
        ('u,c\r\nhttp://a,x\r\rhttp://b,y\n', [["http://a", "x"], ["http://b", "y"]]),
    ],
)  # fmt: skip
def test_what_is_a_row(text: str, expected: list) -> None:
    """Captions over lines and quotes inside words are; links in what runs over lines are not."""
    assert expected == read(text)[1:]


dropped = st.text("\t\r\n", max_size=2)
schemes = st.sampled_from(["http://", "https://", "HTTP://", "hTtPs:\\\\", "http:/\\", "http\u017f://"])
written_links = st.builds(
    lambda chars, gaps, blanks: blanks + "".join(map("".join, zip(chars, gaps, strict=False))),
    st.builds(str.__add__, schemes, st.sampled_from(["b/2.jpg", "user@b.example:80\\x?y", "[::1]/", "bücher.example", "%62/", "b"])),
    st.lists(dropped, min_size=40, max_size=40),
    st.sampled_from(["", " ", "\x01", "\u3000", "\xa0 "]),
)  # fmt: skip
any_text = st.text("htps:/\\ \t\r\n.b\u017fS", max_size=14)


@settings(max_examples=300)
@given(st.one_of(written_links, any_text))
def test_what_is_fetched_as_a_link_is_seen_as_one(link: str) -> None:
    """No spelling that `Target.of` understands is taken for a part of a caption over several lines."""
    try:
        Target.of(link)
    except ValueError:
        return
    assert LINK.inside.search(f"a dog\n{link}")
    records = read(f'url,caption\nhttp://a/1.jpg,"a dog\n{link},a cat"\nhttp://c/3.jpg,a boat\n')[1:]
    assert all(isinstance(record, str) or "a dog" not in record[1] for record in records)
    assert ["http://c/3.jpg", "a boat"] == records[-1]


def test_names_of_pictures_begin_rows_too() -> None:
    """Flickr8k's list has names in place of links."""
    text = '1.jpg,"A child\n1.jpg,A girl , running\n2.jpg,A "dog"\n3.jpg,"wet, dog"\n'
    records = read(text, has_header=False, like=PICTURE_NAME)
    assert [["1.jpg", "A girl ", " running"], ["3.jpg", "wet, dog"]] == [r for r in records if not isinstance(r, str)]
    assert 4 == len(records)


def test_damage_everywhere_is_read_in_no_time_and_little_memory() -> None:
    """A quote in every line, or in one of many, and none after it: each line is read at most twice."""
    begun = time.process_time()
    rows = [f"http://h/{i},a boat\n" for i in range(10_000)]
    rng = random.Random(0)
    odd = ['http://h/x,"a\n', 'http://h/x,"a ""b"" \n', "\n", '"\n', '"""\n', 'a,"""",b\n', "a.b.c-d." * 1000 + "\n"]
    for every in (1, 2, 100, 9_999):
        text = ["url,caption\n", *(rng.choice(odd) if i % every == 0 else row for i, row in enumerate(rows))]
        given_up, longest = 0, 0
        for record in itertools.islice(csv_records(text), 1, None):
            given_up += isinstance(record, str)
            longest = max(longest, *map(len, record), 0) if record else longest
        assert given_up > 0
        assert longest < 1 << 20
    assert time.process_time() - begun < 20
