"""Tables as text: no wider than the terminal, or, in a pipe, as wide as they need to be."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from archcmp.report.formats._text import CELL, LABEL, NAME, lines, printable, widest_piece
from archcmp.report.table import Figure, Row, Table

NARROWEST = 20
"""A smaller COLUMNS is ignored, because nothing is legible in it."""
UNLIMITED = 100_000
GAP = 2
INDENT = "  "
ASCII_HEAD = box.Box("    \n    \n -- \n" + "    \n" * 5, ascii=True)
"""box.SIMPLE_HEAD for outputs that cannot encode its line."""


def _console() -> Console:
    """A console as wide as COLUMNS or the terminal; in a pipe lines are as long as they need to be."""
    unknown = 80 if sys.stdout is not None and sys.stdout.isatty() else UNLIMITED
    width = shutil.get_terminal_size((unknown, 24)).columns
    return Console(highlight=False, width=min(width, UNLIMITED) if width >= NARROWEST else unknown)


def _shown(text: str, encoding: str) -> str:
    """The text without characters that standard output cannot encode or that could control a terminal."""
    return printable(text).encode(encoding, "replace").decode(encoding)


# ---- widths -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A name and the cells below it, each of one line or more. Names break between words. Cells break only
    where there is no room, in one of `ways`."""

    name: str
    cells: Sequence[Sequence[str]]
    ways: tuple[re.Pattern[str], ...]

    def name_lines(self, width: int) -> list[str]:
        return lines(self.name, width, NAME, cell_len)

    def cell_lines(self, n: int, width: int) -> list[str]:
        """The lines of a cell, broken where they do not fit."""
        return [piece for line in self.cells[n] for piece in lines(line, width, self.ways, cell_len)]

    def used(self, width: int) -> int:
        """The part of `width` that the name and the cells use."""
        cells = (line for n in range(len(self.cells)) for line in self.cell_lines(n, width))
        return min(width, max(map(cell_len, (*self.name_lines(width), *cells))))

    @property
    def natural(self) -> int:
        return max(cell_len(self.name), self.whole)

    @property
    def whole(self) -> int:
        """The width that leaves cells and the words of the name whole."""
        return self._narrowest(cell_len)

    def broken(self, way: int) -> int:
        """The width that leaves the pieces of cells whole."""
        return self._narrowest(lambda line: widest_piece(line, self.ways[way], cell_len))

    def _narrowest(self, size: Callable[[str], int]) -> int:
        cells = (size(line) for cell in self.cells for line in cell)
        return max(1, widest_piece(self.name, NAME[-1], cell_len), *cells)


def _total(widths: Iterable[int]) -> int:
    return sum(width + GAP for width in widths) - GAP


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """A width per column. If there is room, each is as wide as its name and cells need. If not, narrow
    columns are, and the wide ones share the rest equally; labels break, or else cells, or else both."""
    label, *others = columns
    cells = (
        [column.whole for column in others],
        [column.broken(0) for column in others],
        [column.broken(-1) for column in others],
    )
    choices = [[width, *widths] for widths in cells for width in (label.whole, label.broken(0))]
    choices += [[label.broken(-1), *cells[-1]], [1] * len(columns)]
    least = next((choice for choice in choices if _total(choice) <= room), choices[-1])
    natural = [column.natural for column in columns]
    for level in range(max(natural), 0, -1):
        widths = [min(most, max(low, level)) for most, low in zip(natural, least, strict=True)]
        left = room - _total(widths)
        if left >= 0:
            widths[-1] = min(natural[-1], widths[-1] + left)
            return [column.used(width) for column, width in zip(columns, widths, strict=True)]
    return least


def _groups(columns: Sequence[_Column], n_repeated: int, room: int, texts: bool) -> list[list[int]]:
    """Groups of columns that fit side by side: all of them if broken labels make room, or broken cells where
    these are `texts`. Every group starts with the same columns: labels, and where ratios refer to it, the
    first model."""
    label, *others = columns
    ways = [[label.broken(0), *(column.whole for column in others)]]
    ways += [[label.whole, *(column.broken(0) for column in others)]] if texts else []
    if min(map(_total, ways)) <= room:
        return [[*range(len(columns))]]
    base = [*range(min(n_repeated, len(columns)))]
    groups = [base[:]]
    for i in range(len(base), len(columns)):
        needed = _total(columns[j].whole for j in (*groups[-1], i))
        if needed > room and len(groups[-1]) > len(base):
            groups.append(base[:])
        groups[-1].append(i)
    return groups


# ---- tables -----------------------------------------------------------------------------------------


def _at_length(figure: Figure) -> list[str]:
    return [figure.text()]


def _listed(figure: Figure) -> list[str]:
    """A line for each of several things, and for a rate, its verdict and the interval."""
    separator = "; " if figure.speedup is None else ", "
    return [part for line in figure.narrow() for part in line.split(separator)]


Layout = Callable[[Figure], list[str]]
LAYOUTS: tuple[Layout, ...] = (_at_length, Figure.narrow, _listed)
"""Ways to write the lines of a cell, the widest first."""


def _columns(table: Table, shown: Callable[[str], str], layout: Layout) -> list[_Column]:
    labels = [[INDENT * row.level + shown(row.label)] for row in table.rows]
    columns = [_Column(shown(table.header[0]), labels, LABEL)]
    for i, name in enumerate(table.header[1:]):
        cells = [[shown(line) for line in layout(row.figures[i])] for row in table.rows]
        columns.append(_Column(shown(name), cells, CELL))
    return columns


def _fitting(table: Table, shown: Callable[[str], str], room: int) -> list[_Column]:
    """The columns in the widest layout for which there is room."""
    for layout in LAYOUTS:
        columns = _columns(table, shown, layout)
        if _total(column.whole for column in columns) <= room:
            break
    return columns


def _differs(row: Row, chosen: Sequence[int]) -> bool:
    values = [row.figures[i - 1].value for i in chosen if i > 0]
    return any(value != values[0] for value in values)


def _grid(console: Console, table: Table, columns: Sequence[_Column], chosen: Sequence[int]) -> RichTable:
    head = box.SIMPLE_HEAD if console.encoding.startswith("utf") else ASCII_HEAD
    grid = RichTable(
        box=head, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold cyan"
    )
    widths = dict(zip(chosen, _widths([columns[i] for i in chosen], console.width), strict=True))
    for i, width in widths.items():
        justify: JustifyMethod = "left" if i < table.n_text else "right"
        name = "\n".join(columns[i].name_lines(width))
        grid.add_column(Text(name), justify=justify, overflow="fold", width=width)
    is_part = len(chosen) < len(columns)
    for n, row in enumerate(table.rows):
        if not (table.differing and is_part) or _differs(row, chosen):
            cells = (Text("\n".join(columns[i].cell_lines(n, width))) for i, width in widths.items())
            grid.add_row(*cells, style="dim" if row.level else "")
    return grid


def _print_table(console: Console, table: Table, split: bool) -> None:
    shown = partial(_shown, encoding=console.encoding)
    columns = _fitting(table, shown, console.width)
    groups = (
        _groups(columns, max(table.n_repeated, table.n_text), console.width, table.differing)
        if split
        else [[*range(len(columns))]]
    )
    for part, chosen in enumerate(groups):
        console.print(Text(shown(table.title) + (" (continued)" if part else ""), style="bold"))
        if table.rows:
            console.print(_grid(console, table, columns, chosen))
            console.print()
    for note in table.notes:
        console.print(Text(shown(note), style="italic"))
    if table.notes:
        console.print()


def print_tables(tables: Iterable[Table], details: bool = False, split: bool = True) -> None:
    """Print tables to standard output; rows of detail only with `details`. With `split`, a table that is too
    wide is continued below."""
    console = _console()
    for table in tables:
        rows = [row for row in table.rows if details or not row.detail]
        if rows or table.notes:
            _print_table(console, replace(table, rows=rows), split)


def print_heading(heading: str, about: Iterable[str] = ()) -> None:
    """A heading and lines below it."""
    console = _console()
    console.print(Text(_shown(heading, console.encoding), style="bold"))
    for line in about:
        console.print(Text(_shown(line, console.encoding)))
    console.print()
