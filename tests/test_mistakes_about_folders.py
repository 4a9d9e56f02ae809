"""Whatever folder a user names wrongly: one sentence that says where, what was found and what to do; nothing is written.

A table of commands by mistakes: places that cannot be written to, and folders of every other kind than is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dalle import (
    evaluate,
    generate,
    study,
    train_contrastive,
    train_detector,
    train_dvae,
    train_prior,
)
from pipelines import audit, dedup, encode, ingest, vocab
from schemas.exit_codes import NOTHING_KEPT, OK, USAGE
from tests.conftest import jsonl
from tests.folders import KINDS, say_made_by, standing, write_all


@dataclass(frozen=True)
class Command:
    """How a command is called well, but for --output_folder, and what its flags read."""

    main: Callable[[Sequence[str]], int]
    words: str
    """With {} for the place."""
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By flag (or word), the folders of `tests.folders` that are right for it, first the one in `words`."""
    job: str = ""
    """As it is called in manifests; nothing if it leaves none."""


PAIRS = ("clean", "pairs")
COMMANDS = {
    "ingest": Command(
        ingest.main,
        "--dataset folder --url_list {}/pictures",
        {"--url_list": ("pictures", "references", "drawn")},
        "ingest",
    ),
    "dedup": Command(
        dedup.main,
        "--input_folder {}/pairs --reference r={}/references --detector phash",
        {"--input_folder": ("pairs", "clean")},
        "dedup",
    ),
    "vocab": Command(vocab.main, "--input_folder {}/clean", {"--input_folder": PAIRS}, "vocab"),
    "encode": Command(
        encode.main,
        "--input_folder {}/clean --dvae {}/dvae --vocabulary {}/vocab",
        {"--input_folder": PAIRS, "--dvae": ("dvae",), "--vocabulary": ("vocab",)},
        "encode",
    ),
    "train_dvae": Command(
        train_dvae.main, "tiny --input_folder {}/clean --steps 1", {"--input_folder": PAIRS}, "train_dvae"
    ),
    "train_dvae from": Command(
        train_dvae.main,
        "tiny --images {}/pictures --init_from {}/dvae --steps 1 --batch_size 2 --vocab_size 32 "
        "--encoder_n_hid 8 --decoder_n_hid 8 --n_init 8",
        {"--images": ("pictures", "references", "drawn"), "--init_from": ("dvae",)},
        "train_dvae",
    ),
    "train_prior": Command(
        train_prior.main,
        "tiny --input_folder {}/examples --vocabulary {}/vocab --bpe_dropout 0.1 --steps 1",
        {"--input_folder": ("examples",), "--vocabulary": ("vocab",)},
        "train_prior",
    ),
    "train_contrastive": Command(
        train_contrastive.main,
        "tiny --input_folder {}/clean --vocabulary {}/vocab --steps 1",
        {"--input_folder": PAIRS, "--vocabulary": ("vocab",)},
        "train_contrastive",
    ),
    "train_detector": Command(
        train_detector.main,
        "tiny --images {}/pictures --init_from {}/detector --steps 1",
        {"--images": ("pictures", "references", "drawn"), "--init_from": ("detector",)},
        "train_detector",
    ),
    "generate": Command(
        generate.main,
        "boat --prior {}/prior --dvae {}/dvae --vocabulary {}/vocab --reranker {}/contrastive --samples 1",
        {"--prior": ("prior",), "--dvae": ("dvae",), "--vocabulary": ("vocab",), "--reranker": ("contrastive",)},
        "generate",
    ),
    "evaluate": Command(
        evaluate.main,
        "--samples {}/drawn --reference {}/references --features builtin",
        {
            "--samples": ("drawn", "pictures", "references", *PAIRS),
            "--reference": ("references", "drawn", "pictures", *PAIRS),
        },
        "evaluate",
    ),
    "evaluate captions": Command(
        evaluate.main, "--captions 1 --captions_from {}/clean", {"--captions_from": PAIRS}, "evaluate"
    ),
    "study": Command(
        study.main, "ask --models a={}/drawn b={}/drawn --captions all", {"--models": ("drawn",)}, "study"
    ),
}
NOT_ALLOWED = "--allow_undeduplicated"
OTHERS = ("nowhere", "empty", "file", "foreign", "unfinished", "judged")
"""What is no folder of any kind."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind."""
    path = tmp_path_factory.mktemp("place")
    write_all(path)
    return path


def words_of(command: Command, place: Path, *more: object) -> list[str]:
    return [*command.words.format(*[place] * 9).split(), *map(str, more)]


def refused(
    main: Callable[[Sequence[str]], int], words: Sequence[str], place: Path, capsys: pytest.CaptureFixture
) -> str:
    """What a command says that refuses and leaves all as it is: one sentence, before it says anything else."""
    before = standing(place)
    capsys.readouterr()
    assert USAGE == main(words)
    out, err = capsys.readouterr()
    assert before == standing(place)
    assert "" == out
    assert 1 == len(err.splitlines()), err
    assert "; " in err or "such as" in err, "says nothing that can be done"
    assert not re.search(r"Traceback|Error\b|\bNone\b|\[Errno|<class", err), err
    return err


# --- places that are written to

PLACES = {
    "a file": ("file", "file: is a file, expected a folder"),
    "below a file": ("file/x/y", "cannot be made, for {}/file is a file"),
    "a link to nowhere": ("link", "link: is a link to nowhere, which is not there"),
    "below a link to nowhere": ("link/x", "link: is a link to nowhere, which is not there"),
    "somebody's own": ("foreign", "foreign: holds 'thesis.doc', which no job of ours made"),
    "somebody's folders": ("rooms", "rooms: holds 'of mine', which no job of ours made"),
    "no name": ("x" * 300, "cannot be written to"),
    "a system's": ("/proc/x/y", "/proc/x/y: cannot be written to (/proc"),
}


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_to(name: str, what: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """It is said before anything is read, and nothing is left."""
    (place / "rooms/of mine").mkdir(parents=True, exist_ok=True)
    where, says = PLACES[what]
    words = words_of(COMMANDS[name], place, "--output_folder", place / where)
    assert says.format(place) in refused(COMMANDS[name].main, words, place, capsys)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_another_job(name: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """Whatever each of the others left."""
    command = COMMANDS[name]
    for folder, job in KINDS.items():
        if job != command.job:
            words = words_of(command, place, "--output_folder", place / folder)
            said = refused(command.main, words, place, capsys)
            assert (
                f"{folder}: was made by the job {job}; give another --output_folder" in said or "is the input" in said
            )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_in_a_dataset(name: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """Whose manifest knows of no such folder, also where a link leads there."""
    (place / "to pairs").unlink(missing_ok=True)
    (place / "to pairs").symlink_to(place / "pairs")
    for folder in ("pairs/new/deep", "to pairs/new", "examples/new", "vocab/new"):
        words = words_of(COMMANDS[name], place, "--output_folder", place / folder)
        assert re.search(
            r": lies in .*; give another --output_folder, outside of it",
            refused(COMMANDS[name].main, words, place, capsys),
        )


@pytest.mark.parametrize(
    ("name", "flag", "folder"),
    [
        (name, flag, folders[0])
        for name, command in COMMANDS.items()
        for flag, folders in command.reads.items()
        if flag not in ("--vocabulary", "--dvae", "--prior", "--init_from", "--reranker")
    ],
)
def test_into_what_is_read(
    name: str, flag: str, folder: str, place: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """The input itself, or below it, however it is spelled."""
    command = COMMANDS[name]
    os.symlink(place / folder, tmp_path / "link")
    for where in (place / folder, place / "empty" / ".." / folder, tmp_path / "link"):
        words = words_of(command, place, "--output_folder", where)
        assert f"is the input, which {flag} names" in refused(command.main, words, place, capsys)
        words = words_of(command, place, "--output_folder", where / "new/deep")
        assert f"new/deep: lies in the input, {flag}" in refused(command.main, words, place, capsys)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith(("train", "gen", "eval"))])
@pytest.mark.parametrize("address", ["s3://bucket/x", "memory://x", "file://x"])
def test_an_address_where_a_disk_is_needed(
    name: str, address: str, place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder of that name is made here."""
    monkeypatch.chdir(place)
    words = words_of(COMMANDS[name], place, "--output_folder", address)
    assert "is no local folder" in refused(COMMANDS[name].main, words, place, capsys)


# --- folders that are read

WRONG = [
    pytest.param(name, flag, folder, id=f"{name} {flag} {folder}")
    for name, command in COMMANDS.items()
    for number, (flag, right) in enumerate(command.reads.items())
    for folder in (*OTHERS, *[kind for kind in KINDS if kind != "judged"][number % 2 :: 2])
    if folder not in right and (name, folder) not in (("ingest", "foreign"), ("ingest", "judged"))  # lists' own words
]


@pytest.mark.parametrize(("name", "flag", "folder"), WRONG)
def test_a_folder_of_another_kind(
    name: str, flag: str, folder: str, place: Path, capsys: pytest.CaptureFixture
) -> None:
    """It is said what it holds, where a job left it, and what is expected."""
    command = COMMANDS[name]
    words = words_of(command, place, "--output_folder", place / "new/deep")
    at = words.index(flag) + 1
    words[at] = words[at].replace(f"/{command.reads[flag][0]}", f"/{folder}")
    said = refused(command.main, words, place, capsys)
    assert f"{place / folder}" in said
    assert "expected" in said or "give" in said or "once more" in said or "make one" in said


def test_an_audit_of_what_is_no_dataset(place: Path, capsys: pytest.CaptureFixture) -> None:
    """Of each kind but pairs and examples; and of two at once."""
    for folder in (*OTHERS, *KINDS):
        if folder not in ("pairs", "clean", "examples"):
            said = refused(audit.main, [str(place / folder)], place, capsys)
            assert f"{place / folder}: " in said


def test_a_sheet_that_cannot_be_written(place: Path, capsys: pytest.CaptureFixture) -> None:
    """Said before anything is encoded."""
    words = [str(place / "examples"), "--input_folder", str(place / "clean"), "--dvae", str(place / "dvae")]
    for sheet, says in {"file/x.png": "is a file", "sheet.txt": "ends in .png", "link/x.png": "is not there"}.items():
        said = refused(audit.main, [*words, "--contact_sheet", str(place / sheet)], place, capsys)
        assert says in said


def test_what_a_message_advises_can_be_done(place: Path, capsys: pytest.CaptureFixture) -> None:
    """The folder of pictures that dedup was given is collected by the command that it says."""
    words = words_of(COMMANDS["dedup"], place, "--output_folder", place / "new")
    words[1] = str(place / "pictures")
    said = refused(dedup.main, words, place, capsys)
    advised = said.partition("python -m pipelines.ingest ")[2].split()
    advised[advised.index("pairs")] = str(place / "advised")
    assert OK == ingest.main([*advised, "--processes_count", "1", "--filters", "none"])
    given = ["--url_list", str(place / "pictures"), "--output_folder", str(place / "new")]
    assert "--dataset folder collects those" in refused(ingest.main, given, place, capsys)


# --- models and files that do not belong to each other

MISFITS = {
    "a dVAE of other sizes": (
        "train_dvae from",
        "--vocab_size 64 --output_folder {}/new",
        "--init_from {}/dvae: is a network of --vocab_size 32, expected --vocab_size 64; give the flags",
    ),
    "a detector of other sizes": (
        "train_detector",
        "--dimension 64 --output_folder {}/new",
        "--init_from {}/detector: is a network of --",
    ),
    "no picture": (
        "generate",
        "--output_folder {}/new --image {}/file",
        "--image {}/file: cannot be read as a picture",
    ),
    "too many rows": (
        "generate",
        "--output_folder {}/new --image {}/drawn/images/boat.jpg --keep_rows 30",
        "--keep_rows 30: expected 0 to 4, the rows of codes",
    ),
    "no mask": (
        "generate",
        "--output_folder {}/new --image {}/drawn/images/boat.jpg --keep_mask {}/file",
        "--keep_mask {}/file: cannot be read as a picture",
    ),
    "captions in JSON": (
        "generate",
        "--output_folder {}/new --captions_file {}/study/key.json",
        "key.json: is JSON, expected a caption in each line",
    ),
    "weights that are none": (
        "generate",
        "--output_folder {}/new --reranker open_clip:RN50/{}/file",
        "the weights could not be loaded (other things than tensors are in the file, or it is no file of weights; "
        "nothing was executed)",
    ),
    "a store that is a vocabulary": (
        "train_prior",
        "--output_folder {}/new --batch_size 2 --bpe_dropout 0 --allow_undeduplicated --checkpoint_store {}/vocab",
        "vocab: holds 'manifest.json', so it is no store of checkpoints; give an empty --checkpoint_store",
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit(what: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """It is found out before anything is told, or written."""
    name, more, says = MISFITS[what]
    words = words_of(COMMANDS[name], place, *more.replace("{}", str(place)).split())
    assert says.replace("{}", str(place)) in refused(COMMANDS[name].main, words, place, capsys)


SPELLINGS = ("{0}/{2}", "file://{0}/{2}/", "{2}", "./{2}/", "../{1}/{2}", "to place/{2}")


@pytest.mark.parametrize("name", ["vocab", "generate", "evaluate captions", "study"])
def test_the_same_folders_spelled_otherwise(
    name: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command is the same, however its folders are named: it finds its work done."""
    monkeypatch.chdir(place)
    (tmp_path / "out").mkdir()
    os.symlink(tmp_path / "out", tmp_path / "to out")
    os.symlink(place, tmp_path / "to place")
    outs = (tmp_path / "to out", f"file://{tmp_path}/out/", os.path.relpath(tmp_path / "out", place))
    for number, spelling in enumerate(SPELLINGS):
        where = spelling.replace("to place", f"{tmp_path}/to place")
        words = [
            re.sub(r"\{\}/(\S+)", lambda folder: where.format(place, place.name, folder[1]), word)  # noqa: B023
            for word in COMMANDS[name].words.split()
        ]
        code = COMMANDS[name].main([*words, "--output_folder", str(outs[number % 3])])
        assert OK == code, (words, capsys.readouterr().err)


# --- references


def collected(place: Path, capsys: pytest.CaptureFixture) -> Path:
    """The folder of pictures, as pairs."""
    pairs = place / "collected"
    given = ["--dataset", "folder", "--url_list", place / "pictures", "--output_folder", pairs, "--filters", "none"]
    assert OK == ingest.main([*map(str, given), "--processes_count", "1"])
    capsys.readouterr()
    return pairs


def test_a_reference_that_is_the_dataset(place: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """As it was collected, as it is stored, or what it was collected from: it is asked whether that is meant."""
    pairs = collected(place, capsys)
    words = [
        "--input_folder",
        pairs,
        "--detector",
        "phash",
        "--processes_count",
        1,
        "--output_folder",
        tmp_path / "out",
    ]
    for reference in (place / "pictures", pairs):
        given = [*map(str, words), "--reference", f"r={reference}"]
        said = refused(dedup.main, given, place, capsys)
        assert "--reference r: 2 of the 2 pictures of" in said
        assert "--allow_self_reference" in said
    assert not (tmp_path / "out").exists()
    assert NOTHING_KEPT == dedup.main([*given, "--allow_self_reference"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "pipelines.dedup: nothing was kept: 2 of 2 rows are dedup: copy-of-r; is a reference set what" in last


@pytest.mark.parametrize(
    ("references", "says"),
    [
        (["r={}/nowhere"], "nowhere"),
        (["{}/references"], "expected NAME=PATH"),
        (["=x"], "expected NAME=PATH"),
        (["r="], "expected NAME=PATH"),
        (["r={}/references", "r={}/drawn/images"], "the same name twice"),
        (["r={}/vocab"], "expected pairs"),
    ],
)
def test_references_that_are_none(references: list[str], says: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    """Sets without pictures, without a name, of one name."""
    words = [
        "--input_folder",
        f"{place}/pairs",
        "--detector",
        "phash",
        "--output_folder",
        f"{place}/new",
        "--reference",
    ]
    assert says in refused(dedup.main, [*words, *[one.format(place) for one in references]], place, capsys)


# --- nothing is left


@dataclass(frozen=True)
class Lost:
    """A list of which nothing is kept."""

    rows: list[dict]
    flags: tuple[str, ...]
    says: str


LOST = {
    "no network": Lost(
        [{"url": f"http://no-such-host-{n}.invalid/x.jpg", "caption": "a red kite"} for n in range(3)],
        ("--filters", "none", "--retries", "0"),
        "3 of 3 rows are fetch: dns, the host's name has no address; is there a network",
    ),
    "another language": Lost(
        [
            {"url": f"http://x.invalid/{n}", "caption": "ein roter Drachen steht hoch über dem alten Haus"}
            for n in range(3)
        ],
        (),
        "3 of 3 rows are caption: not-english, the caption is in another language; --language any keeps",
    ),
    "no captions": Lost(
        [{"url": "http://x.invalid/1", "caption": ""}],
        (),
        "1 of 1 rows are caption: no-caption, the row has no caption; is --caption_col the column of the captions?",
    ),
    "no links": Lost(
        [{"url": "a red kite", "caption": "a red kite above a house"}],
        (),
        "1 of 1 rows are fetch: bad-url, the address is not an http or https address; is --url_col the column",
    ),
    "bad rows": Lost(
        [{"url": ["x"], "caption": "a red kite above a house"}],
        (),
        "1 of 1 rows are read: bad-row, the line of the list could not be parsed; are --dataset and --input_format",
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_a_list_of_which_nothing_is_kept(what: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The last line says what most likely was the cause, and so does the same command again; the code is 3."""
    lost = LOST[what]
    words = ["--url_list", jsonl(tmp_path / "list.jsonl", lost.rows), "--output_folder", tmp_path / "out", *lost.flags]
    for _ in range(2):
        assert NOTHING_KEPT == ingest.main([*map(str, words), "--processes_count", "1"])
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"pipelines.ingest: nothing was kept: {lost.says}")


def test_what_comes_after_a_dataset_of_nothing(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Examples of no pairs are a dataset of nothing; no vocabulary and no model is made of it."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    say_made_by("dedup", nothing)
    words = ["--input_folder", nothing, "--output_folder", tmp_path / "out", "--dvae", place / "dvae"]
    assert NOTHING_KEPT == encode.main([*map(str, words), "--processes_count", "1"])
    assert "nothing was kept, for there is nothing in" in capsys.readouterr().err.splitlines()[-1]
    for name in ("vocab", "train_dvae", "train_contrastive", "train_prior"):
        read = tmp_path / "out" if name == "train_prior" else nothing
        more = [NOT_ALLOWED] if name == "train_prior" else []
        words = words_of(COMMANDS[name], place, "--output_folder", tmp_path / "new", *more)
        words[words.index("--input_folder") + 1] = str(read)
        said = refused(COMMANDS[name].main, words, tmp_path, capsys)
        assert str(read) in said


# --- names with something in them that means something elsewhere

NAMES = ("{1..3}", "a::b", "a*b", "[ab]", "a b", "a\nb", "~", "-x", "a\udcffb", "{}", "ä?")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_folder_with_a_name_of_its_own(
    name: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is read and written whatever it is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    os.rename(tmp_path / name, tmp_path / "moved")
    for path in (place / "clean").iterdir():
        os.link(path, tmp_path / "moved" / path.name)
    os.rename(tmp_path / "moved", tmp_path / name)
    out = f"out {name}"
    assert OK == vocab.main([f"--input_folder={name}", f"--output_folder={out}"]), capsys.readouterr()
    assert sorted(os.listdir(tmp_path)) == sorted([name, out])
    assert "vocabulary.json" in os.listdir(out)
