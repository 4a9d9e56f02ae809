"""The tables of README.md and docs/, from the schemas themselves: `python -m schemas.tables` prints them."""

from __future__ import annotations

import pyarrow as pa

from schemas.examples import EXAMPLES
from schemas.pairs import LEDGER
from schemas.reasons import REASONS
from schemas.samples import samples_schema


def columns_table(schema: pa.Schema) -> str:
    """A Markdown table of a schema's columns."""
    lines = ["| column | type | what it is |", "|---|---|---|"]
    for field in schema:
        unit = field.metadata.get(b"unit", b"").decode()
        meaning = field.metadata[b"description"].decode().replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{field.type}` | {meaning}{f' ({unit})' if unit else ''} |")
    return "\n".join(lines)


def reasons_table() -> str:
    """A Markdown table of all reasons, in the order of a row's journey."""
    lines = ["| stage | reason | what it means |", "|---|---|---|"]
    for word, reason in REASONS.items():
        again = " ↻" if reason.transient else ""
        stage = "any" if reason.anywhere else reason.stage
        lines.append(f"| {stage} | `{word}`{again} | {reason.meaning} |")
    return "\n".join(lines)


TABLES = {
    "ledger": lambda: columns_table(LEDGER),
    "reasons": reasons_table,
    "examples": lambda: columns_table(EXAMPLES),
    "samples": lambda: columns_table(samples_schema(1024)),
}
"""By the name that the markers of a page give them."""


if __name__ == "__main__":
    for name, table in TABLES.items():
        print(f"<!-- {name} -->\n{table()}\n<!-- end of {name} -->\n")
