"""Draw what was asked for into a folder: batch by batch, each safe once it is drawn, and the folder whole at the end.

All is made in `_next/` (`schemas.draft`) and takes its place under a journal: what was there before stays until then.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dalle.drawing.captions import Caption
from dalle.drawing.drawn import Drawn, Named, Settings, captions_of_table
from dalle.drawing.figures import write_best_of
from dalle.drawing.generator import Codes, Generator
from dalle.drawing.given import given_of
from dalle.drawing.judging import judged, kept_samples, table_of
from dalle.drawing.options import GenerateOptions
from dalle.drawing.page import write_page
from dalle.drawing.parts import Batch, Unit, units
from dalle.drawing.standing import JOB, has_begun, has_other_inputs, is_drawn, recipe_of
from dalle.prior.lines import Given
from schemas import opening
from schemas.draft import NEXT, Draft
from schemas.folder import RECIPE, Folder, Staging
from schemas.journal import is_between, put_in_place
from schemas.lock import only_run
from schemas.manifest import MANIFEST, manifest, versions
from schemas.output_place import made
from schemas.samples import PICTURES, SAMPLES, samples_schema
from schemas.shards import read_parquet

_MAKE_THE_BYTES = ("matplotlib", "numpy", "opencv-python-headless", "pyarrow", "torch")


class Watcher(Protocol):
    """Is told how the work goes."""

    def begins(self, samples: int, done: int) -> None:
        """So many samples are to be drawn, so many are drawn already."""
        ...

    def batch(self, samples: int) -> None:
        """A batch of so many samples begins."""
        ...

    def position(self, done: int, of: int) -> None:
        """So many positions of the batch are drawn."""
        ...

    def drawn(self, samples: int) -> None:
        """So many more samples are drawn."""
        ...

    def judged(self, caption: str, best: np.ndarray) -> None:
        """The best picture of a caption, [H, W, 3] uint8."""
        ...


@dataclass(frozen=True)
class Drawing:
    """One run of the job.

    Args:
        options: of the command.
        captions: what is drawn.
        generator: with what.
        watcher: who is told.
    """

    options: GenerateOptions
    captions: Sequence[Caption]
    generator: Generator
    watcher: Watcher

    def check(self) -> None:
        """Find out what cannot be drawn before anything is made.

        Raises:
            ValueError: if a caption has no tokens or too many, the picture that is begun with cannot be used, or the
                folder holds something else.
        """
        self.generator.tokens(self.captions)
        _ = self.given
        if not is_between(self._folder):  # otherwise a run was killed as it put everything in its place
            self._is_drawn(self._folder)

    def run(self) -> bool:
        """Draw what is not drawn yet; gives whether there was anything to do.

        Raises:
            ValueError: if the folder holds something else.
            FolderInUse: if another run is at work there.
        """
        self.check()
        given, recipe = self.given, self._recipe
        with made(self._folder), only_run(self._folder) as held:
            folder = opening.settle(held)
            if self._is_drawn(folder):
                return False
            draft = Draft(folder, hides=True)
            if not draft.own.exists(RECIPE) or draft.own.read_json(RECIPE) != recipe:
                folder.remove_tree(NEXT)
                draft.own.write_json(RECIPE, recipe)
            folder.sweep()
            draft.own.sweep()
            self._draw(draft, given)
            self._finish(draft, recipe)
        return True

    @property
    def is_drawn(self) -> bool:
        """Whether all of it is drawn already, and whole.

        Raises:
            ValueError: if the folder holds something else.
        """
        return self._is_drawn(self._folder)

    @property
    def drawn_so_far(self) -> int:
        """Samples that a run which was stopped has drawn, and that are gone on with."""
        own = Draft(self._folder, hides=True).own
        if not own.exists(RECIPE) or own.read_json(RECIPE) != self._recipe:
            return 0
        batches = [(unit, batch) for unit in self._units() for batch in unit.batches]
        return sum(batch.size for unit, batch in batches if any(map(own.exists, (unit.file, batch.file))))

    @property
    def has_begun(self) -> bool:
        """Whether its folder holds this very drawing, finished or not, so that it can be gone on with."""
        return has_begun(self._folder, self._recipe)

    @property
    def _folder(self) -> Folder:
        return Folder(self.options.output_folder)

    @functools.cached_property
    def _recipe(self) -> dict[str, Any]:
        return recipe_of(self.options, self.captions, self.generator)

    def _is_drawn(self, folder: Folder) -> bool:
        mode = self.options.incremental_mode
        overwrite = mode == "overwrite" or (mode == "renew" and has_other_inputs(folder, self._recipe))
        return is_drawn(folder, self._recipe, overwrite=overwrite)

    @functools.cached_property
    def given(self) -> Given | None:
        """Codes that stay."""
        options, models = self.options, self.generator.models
        if options.image is None:
            return None
        rows, mask = options.keep_rows, options.keep_mask
        return given_of(options.image, models.side, models.dvae, keep_rows=rows, keep_mask=mask)

    def _units(self) -> Iterator[Unit]:
        options = self.options
        return units(len(self.captions), options.samples, options.captions_at_once, options.samples_at_once)

    def _draw(self, draft: Draft, given: Given | None) -> None:
        batches = [(unit, batch) for unit in self._units() for batch in unit.batches]
        done = [draft.own.exists(unit.file) for unit in self._units()]
        self.watcher.begins(sum(batch.size for _, batch in batches), self.drawn_so_far)
        for unit, is_done in zip(self._units(), done, strict=True):
            if not is_done:
                for batch in unit.batches:
                    if not draft.own.exists(batch.file):
                        self._draw_batch(draft, batch, given)
                self._judge(draft, unit)
                draft.own.remove_tree(unit.file.removesuffix(".parquet"))

    def _draw_batch(self, draft: Draft, batch: Batch, given: Given | None) -> None:
        options = self.options
        self.watcher.batch(batch.size)
        captions = [self.captions[number] for number in batch.captions]
        first = [caption.before * options.samples for caption in captions]
        samples = [range(start + batch.samples.start, start + batch.samples.stop) for start in first]
        drawn = self.generator.draw_codes(
            captions, samples, options.seed, options.choosing, given=given, progress=self.watcher.position
        )
        columns = {
            "codes": [codes.astype(np.uint16) for codes in drawn.codes],
            "seed": pa.array(drawn.seeds, pa.uint64()),
            "log_likelihood": drawn.log_likelihood,
        }
        _write(draft, batch.file, pa.table(columns))
        self.watcher.drawn(batch.size)

    def _judge(self, draft: Draft, unit: Unit) -> None:
        parts = [(batch, read_parquet(draft.own, batch.file)) for batch in unit.batches]
        codes = []
        for place in range(len(unit.captions)):
            some = [table.slice(place * len(batch.samples), len(batch.samples)) for batch, table in parts]
            table = pa.concat_tables(some)
            codes.append(
                Codes(
                    np.array(table["codes"].to_pylist(), np.int64),
                    table["seed"].to_pylist(),
                    table["log_likelihood"].to_numpy(),
                )
            )
        captions = [(number, self.captions[number]) for number in unit.captions]
        with Staging(draft) as staging:
            rows = judged(
                self.generator,
                captions,
                codes,
                lambda drawn: kept_samples(drawn, self.options.keep, self.options.best_of),
                staging,
                lambda drawn, caption: self.watcher.judged(caption.text, drawn.pictures[drawn.order[0]]),
            )
            with staging.file(unit.file) as file, _writer(file, self._schema()) as writer:
                writer.write_table(table_of(rows, self._schema()))
            staging.publish()

    def _schema(self) -> pa.Schema:
        return samples_schema(self.generator.models.prior.config.codes)

    def _finish(self, draft: Draft, recipe: Mapping[str, Any]) -> None:
        with Staging(draft) as staging:
            with staging.file(SAMPLES) as file, _writer(file, self._schema()) as writer:
                for unit in self._units():
                    writer.write_table(read_parquet(draft.own, unit.file))
            staging.publish()
        write_page(draft, self._for_the_page(draft))
        write_best_of(draft, self.options.samples, self.options.best_of)
        value = manifest(
            job=JOB,
            table="samples",
            options=recipe["options"],
            inputs=recipe["inputs"],
            library_versions=versions(*_MAKE_THE_BYTES),
            markers=[],
            lineage=self.generator.models.lineage,
        )
        made = [name for name in draft.contents() if name != MANIFEST]  # which a run that was killed may have written
        files = {name: {"sha256": draft.sha256(name), "size": draft.size(name)} for name in made}
        draft.write_json(MANIFEST, {**value, "files": files})
        put_in_place(draft, MANIFEST, (PICTURES,))

    def _for_the_page(self, draft: Draft) -> Drawn:
        models, reranker, choosing = self.generator.models, self.generator.reranker, self.options.choosing
        columns = ["caption", "caption_id", "sample", "seed", "log_likelihood", "score", "file"]
        settings = Settings(
            prior=Named(Path(self.options.prior).name, models.fingerprints["prior"]),
            dvae=Named("dvae", models.fingerprints["dvae"]),
            reranker=None if reranker is None else Named(Path(reranker.name).name, reranker.fingerprint),
            temperature=choosing.temperature,
            top_k=choosing.top_k,
            top_p=choosing.top_p,
            more={"seed": str(self.options.seed), "precision": self.options.number_format},
        )
        captions = captions_of_table(read_parquet(draft, SAMPLES, columns))
        return Drawn(captions=captions, picture=draft.read_bytes, settings=settings)


def _writer(file: Any, schema: pa.Schema) -> contextlib.AbstractContextManager[pq.ParquetWriter]:
    return pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="zstd", use_dictionary=False)


def _write(draft: Draft, name: str, table: pa.Table) -> None:
    with Staging(draft) as staging:
        with staging.file(name) as file, _writer(file, table.schema) as writer:
            writer.write_table(table)
        staging.publish()
