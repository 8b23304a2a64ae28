"""Markdown: a heading, a pipe table and its notes, per table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from archcmp.report.formats._text import printable
from archcmp.report.table import Row, Table

SUFFIX = ".md"
INDENT = "&emsp;"
"""Renderers trim plain spaces at the start of a cell."""

_SPECIAL = re.compile(r"[\\`*\[\]<>&|~$#!]|(?<![^\W_])_|_(?![^\W_])")
"""An underscore inside a word is no emphasis, so it is not escaped."""
_AT_START = re.compile(r"^(\d*)([-+=]|[.)](?= |$))")
"""The start of a line that would begin a list or a heading."""


def escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], printable(text).strip())


def _paragraph(text: str) -> str:
    return _AT_START.sub(r"\1\\\2", escaped(text))


def _cells(row: Row) -> list[str]:
    return [INDENT * row.level + escaped(row.label), *(escaped(figure.text()) for figure in row.figures)]


def _grid(table: Table) -> str:
    n_figures = len(table.header) - table.n_text
    return tabulate(
        [_cells(row) for row in table.rows],
        headers=[escaped(name) for name in table.header],
        tablefmt="pipe",
        colalign=["left"] * table.n_text + ["right"] * n_figures,
        disable_numparse=True,
    )


def render(title: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """A document with a heading. `notes` are at its end."""
    blocks = [f"# {escaped(title)}"]
    for table in tables:
        if table.rows or table.notes:
            blocks.append(f"## {escaped(table.title)}")
        if table.rows:
            blocks.append(_grid(table))
        blocks += map(_paragraph, table.notes)
    blocks += map(_paragraph, notes)
    return "\n\n".join(filter(None, blocks)) + "\n"
