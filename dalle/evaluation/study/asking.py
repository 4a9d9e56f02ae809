"""A study of what two generations left: their captions in common, some of them drawn, and the folder it goes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dalle.evaluation.captions import ALL, is_count
from dalle.evaluation.pictures import open_source
from dalle.evaluation.samples import SampleSource
from dalle.evaluation.study.answers import read_key
from dalle.evaluation.study.asked import Contestant, Study, StudyOptions, fingerprint_of
from dalle.evaluation.study.page import KEY
from schemas.commands.printing import counted, one_line
from schemas.folder import RECIPE, Folder
from schemas.options import no_change_of_bytes, options_json
from schemas.output_place import check_whose

JOB = "study"


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """All options of `dalle.study ask`."""

    models: tuple[str, ...] = ()
    """The two models as NAME=SAMPLES, each what dalle.generate left: a folder or its samples.parquet, of which the best
    of each caption counts; the names stand in the key and in what is counted, never on a page."""
    captions: str = "1000"
    """How many of the captions that both have are drawn, the paper's 1000, or `all`."""
    output_folder: str = no_change_of_bytes(default="study")
    """For pages/, which workers are given, and key.json, which they are not."""
    pages: StudyOptions = field(default_factory=StudyOptions)

    def __post_init__(self) -> None:
        """Bad values fail before anything starts."""
        if self.captions != ALL and not is_count(self.captions):
            raise ValueError(f"--captions {self.captions[:40]}: expected a number such as 1000, or all")


def study_of(options: AskOptions) -> Study:
    """What is to be judged.

    Raises:
        ValueError: if there are not two models with samples, or too few captions in common.
        OSError: if samples are not there.
    """
    if len(options.models) != 2:
        raise ValueError(f"--models: names {len(options.models)}, expected two, such as dalle=drawn df-gan=other")
    (first, ours), (second, theirs) = (_samples(word) for word in options.models)
    common = [text for text in ours[1] if text in theirs[1]]
    captions = _drawn(common, options)
    texts = {str(number): text for number, text in captions}
    models = (
        Contestant(first, _picture(ours[0], ours[1], texts)),
        Contestant(second, _picture(theirs[0], theirs[1], texts)),
    )
    return Study(captions=texts, models=models)


def is_written(folder: Folder, study: Study, options: AskOptions) -> bool:
    """Whether the folder holds this very study; if nothing of ours is there, it is noted that one is begun.

    Raises:
        ValueError: if it holds another study, which may be running, or what no job of ours made.
    """
    names = folder.names()
    if KEY in names:
        if read_key(folder.path(KEY)).study != fingerprint_of(study, options.pages):
            raise ValueError(f"{folder}: holds another study, which may be running; give another --output_folder")
        return True
    check_whose(folder, JOB)
    folder.sweep()
    folder.write_json(RECIPE, {"job": JOB, "inputs": [], "options": options_json(options)})
    return False


def _samples(word: str) -> tuple[str, tuple[SampleSource, dict[str, str]]]:
    """Name of a model, its samples, and by caption the file of each."""
    name, _, path = word.partition("=")
    if not name.strip() or not path:
        raise ValueError(f"--models {word}: expected NAME=SAMPLES, such as dalle=drawn")
    source = open_source(path, "--models")
    if not isinstance(source, SampleSource) or not source.has_captions:
        raise ValueError(
            f"--models {word}: has pictures without captions, so nobody can say how well they match; give the "
            "samples.parquet that names the caption of each"
        )
    files: dict[str, str] = {}
    for file, caption in source.best.items():
        if caption is not None and caption.strip():
            files.setdefault(one_line(caption), file)
    return name.strip(), (source, files)


def _drawn(common: Sequence[str], options: AskOptions) -> list[tuple[int, str]]:
    """Numbers and texts of the captions that are asked about."""
    count = len(common) if options.captions == ALL else int(options.captions)
    if count > len(common) or not common:
        raise ValueError(
            f"--captions {options.captions}: the models have {counted(len(common), 'caption')} in common; give at "
            "most as many, or all, or draw pictures of the same captions with both"
        )
    chosen = np.random.default_rng([options.pages.seed, 1]).choice(len(common), count, replace=False)
    return [(int(number), common[number]) for number in np.sort(chosen)]


def _picture(source: SampleSource, files: dict[str, str], texts: dict[str, str]) -> Callable[[str], bytes]:
    return lambda caption: source.picture(files[texts[caption]])
