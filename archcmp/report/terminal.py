"""Tables on a terminal or in a pipe, never wider than either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from archcmp.report.tables import Table
from archcmp.spec.schema import ModelSpec

LABEL_WIDTH = 22
COLUMN_WIDTH = 24


def _column_groups(n_columns: int, width: int) -> Iterator[list[int]]:
    """Model columns that fit side by side; every group starts with the first model, the base of ratios."""
    fit = max(2, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    if n_columns <= fit:
        yield list(range(n_columns))
        return
    for start in range(1, n_columns, fit - 1):
        yield [0, *range(start, min(start + fit - 1, n_columns))]


def _grid(table: Table, columns: list[int]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold cyan")
    grid.add_column(Text(table.header[0]), overflow="fold")
    for i in columns:
        grid.add_column(Text(table.header[i + 1]), justify="right", overflow="fold")
    for row in table.rows:
        cells = [row[0], *(row[i + 1] for i in columns)]
        grid.add_row(*map(Text, cells), style="dim" if row[0].startswith("  ") else "")
    return grid


def print_tables(tables: Iterable[Table], groups: bool = True) -> None:
    """Print to stdout; with `groups`, a table too wide for it is continued below."""
    console = Console(highlight=False)
    for table in tables:
        if not table.rows:
            continue
        n_columns = len(table.header) - 1
        parts = _column_groups(n_columns, console.width) if groups else [list(range(n_columns))]
        for part, columns in enumerate(parts):
            console.print(Text(table.title + (" (continued)" if part else ""), style="bold"))
            console.print(_grid(table, columns))
            console.print()
        for note in table.notes:
            console.print(Text(note, style="italic"))
        console.print()


def print_heading(spec: ModelSpec) -> None:
    """Who made a model, when, and where its numbers come from."""
    console = Console(highlight=False)
    about = ", ".join(part for part in (spec.organization, spec.released) if part)
    console.print(Text(f"{spec.title} ({about})" if about else spec.title, style="bold"))
    for line in (spec.note, spec.source, *spec.sources):
        if line:
            console.print(Text(line))
    console.print()
