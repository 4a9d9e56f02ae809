"""A small web of our own: drawn scenes with captions, served on this machine, with known troubles planted.

`build` draws it into a folder (a seed decides everything), `serve` serves it, `print_tally` says for each planted
trouble how many were caught, `print_recall` for each kind of edit how many copies of validation pictures were found.
So the main command has something to collect right after the install, and every filter is shown at work on cases whose
right outcome is known. `build_dialect` draws a larger one, without troubles, for the zero-shot trial.
"""

from pipelines.sample_web.dialect_web import DialectWeb, build_dialect, is_dialect_drawn
from pipelines.sample_web.making import SampleWeb, build, is_drawn
from pipelines.sample_web.recall import print_recall
from pipelines.sample_web.server import serve
from pipelines.sample_web.tally import print_tally

__all__ = [
    "DialectWeb",
    "SampleWeb",
    "build",
    "build_dialect",
    "is_dialect_drawn",
    "is_drawn",
    "print_recall",
    "print_tally",
    "serve",
]
