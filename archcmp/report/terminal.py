"""Tables on a terminal or in a pipe, never wider than either."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from archcmp.report.tables import Table
from archcmp.spec.schema.model import ModelSpec

WIDEST = 18
"""Columns wider than this are wrapped before they push others off the screen."""

WIDEST_LABEL = 31
"""Labels are names, which do not wrap well: they may be as wide as this, and half the screen."""

GAP = 3


def _column_groups(table: Table, width: int) -> list[list[int]]:
    """Columns that fit side by side; every group starts with the label and the first model, the base of
    ratios."""
    columns = zip(table.header, *table.rows, strict=True)
    widths = [
        min(max(_width(cell) for cell in column), WIDEST if i else WIDEST_LABEL) + GAP
        for i, column in enumerate(columns)
    ]
    groups = [[0, 1]]
    for i in range(2, len(widths)):
        fits = sum(widths[j] for j in groups[-1]) + widths[i] <= width + GAP
        if not fits and len(groups[-1]) > 2:
            groups.append([0, 1])
        groups[-1].append(i)
    return groups


def _broken(cell: str) -> str:
    """A long value that names several blocks takes a line for each."""
    return cell.replace("; ", "\n") if len(cell) > WIDEST else cell


def _width(cell: str) -> int:
    return max(map(len, _broken(cell).split("\n")))


def _grid(table: Table, columns: list[int], width: int) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold cyan")
    for i in columns:
        justify: JustifyMethod = "left" if i < table.n_text else "right"
        whole = i == 0 and max((_width(row[0]) for row in table.rows), default=0) <= min(
            WIDEST_LABEL, width // 2
        )
        grid.add_column(Text(table.header[i]), justify=justify, overflow="fold", no_wrap=whole)
    for row in table.rows:
        cells = [_broken(row[i]) for i in columns]
        if table.differing and len(set(cells[1:])) == 1:
            continue
        grid.add_row(*map(Text, cells), style="dim" if row[0].startswith("  ") else "")
    return grid


def print_tables(tables: Iterable[Table], split: bool = True) -> None:
    """Print to stdout; with `split`, a table too wide for it is continued below."""
    console = Console(highlight=False)
    for table in tables:
        if not table.rows and not table.notes:
            continue
        groups = _column_groups(table, console.width) if split else [list(range(len(table.header)))]
        for part, columns in enumerate(groups):
            console.print(Text(table.title + (" (continued)" if part else ""), style="bold"))
            if table.rows:
                console.print(_grid(table, columns, console.width))
                console.print()
        for note in table.notes:
            console.print(Text(note, style="italic"))
        if table.notes:
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
