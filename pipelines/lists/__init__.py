"""The lists a job is given, whatever they are written in: their files, their rows, where their pictures are.

    source = lists.open_source(ListOptions(url_list="cc3m/*.tsv", dataset="cc3m"))
    source.inputs()          # name and sha256 of each file, for the manifest
    source.rows()            # batches of `pipelines.lists.rows.ROWS` and the additional columns

A layout known by name is a `Preset` in `presets`; everything else is read by its format in `formats`.
"""

from pipelines.lists.options import ListOptions
from pipelines.lists.source import Source, open_source

__all__ = ["ListOptions", "Source", "open_source"]
