"""Draw pictures of captions, and choose the best of many (Ramesh et al. 2021, §2.6).

    python -m dalle.generate "a red kite above a house" --prior prior --output_folder drawn
    python -m dalle.generate --captions_file captions.txt --samples 64 --keep 1 --reranker contrastive
    python -m dalle.generate "the same with a moon" --image photo.jpg --keep_rows 15

Of each caption --samples are drawn, made into pictures by the dVAE of the prior, and with --reranker scored by how well
they fit; --keep of them stay. In the output folder are then the pictures in `images/`, `samples.parquet`, which has the
caption, seed, codes, log-likelihood, score and file of every sample, kept or not, `index.html`, a page to look at them,
and `manifest.json`.

A picture follows from the prior, its caption, --seed, the sample's number, and --batch_size (and --samples, if fewer),
for products of another size round in another way; not from which other captions are drawn, or in which order. Killed or
stopped, the same command goes on where it was.
"""

from __future__ import annotations

from dalle.training.machine import prepare
from schemas.commands.guard import begin_guarded

if __name__ == "__main__":
    prepare()
    begin_guarded("dalle.generate")  # before the imports below, which take seconds

import sys
import time
from collections.abc import Sequence

from dalle import flags
from dalle.drawing.captions import captions_of
from dalle.drawing.generator import Generator
from dalle.drawing.job import Drawing
from dalle.drawing.options import GenerateOptions
from dalle.drawing.planning import plan
from dalle.drawing.watching import Watcher
from schemas.commands.ending import CommandWords, conclude
from schemas.commands.printing import coloured, counted
from schemas.exit_codes import OK
from schemas.output_place import check_output
from schemas.planning import Planned, SayOptions, planned


def generate(options: GenerateOptions) -> int:
    """Draw; gives the exit code."""
    check_output(options.output_folder, "generate", on_disk=True)
    captions = captions_of(options.captions, options.captions_file)
    generator = Generator.of_options(options)
    config, watcher = generator.models.prior.config, Watcher(quiet=options.say.quiet)
    drawing = Drawing(options, captions, generator, watcher)
    drawing.check()
    if options.say.plan:
        raise Planned(plan(drawing))
    said = (
        f"generate\n\n  captions: {len(captions):,}, {counted(options.samples, 'sample')} of each\n"
        f"  prior: {options.prior}, {config.layers} layers, {generator.models.side} x {generator.models.side} codes"
    )
    if not options.say.quiet:
        print(said)
    began = time.monotonic()
    with watcher.showing():
        drawn = drawing.run()
    folder = options.output_folder
    if not drawn:
        print(f"  {folder}: is finished already, nothing to do")
        return OK
    print(f"  drawn: {counted(len(captions) * options.samples, 'sample')}, {time.monotonic() - began:,.1f} s")
    print(f"  look at: {folder / 'index.html'}")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    words = list(sys.argv[1:] if argv is None else argv)
    saying: list[SayOptions] = []

    def work() -> int:
        with coloured(words):
            options = flags.parse_options("dalle.generate", __doc__ or "", GenerateOptions, words)
        saying.append(options.say)
        return planned("generate", options.say, lambda: generate(options))

    return conclude(CommandWords(name="dalle.generate"), work, lambda: any(say.plan for say in saying))


if __name__ == "__main__":
    sys.exit(main())
