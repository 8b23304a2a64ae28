"""A table of typed cells. Every format can show it, and only formats round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from archcmp.results.timings import PairedRatio, Verdict

BLANK = "-"


def share_text(ratio: float) -> str:
    """'1.10x', the ratio to the first model's value."""
    if ratio >= 100:
        return f"{ratio:,.0f}x"
    return f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.3g}x"


def in_words(ratio: PairedRatio) -> str:
    """'1.31x faster (1.28 to 1.34)', '1.10x slower (...)', 'no difference (0.99 to 1.01)' or 'undecided
    (0.95 to 1.50)'."""
    low, high, words = ratio.low, ratio.high, ratio.verdict.value
    if ratio.verdict is Verdict.FASTER:
        words = f"{share_text(ratio.median)} {words}"
    elif ratio.verdict is Verdict.SLOWER:
        words = f"{share_text(1 / ratio.median)} {words}"
        low, high = 1 / high, 1 / low
    return f"{words} ({low:.2f} to {high:.2f})"


@dataclass(frozen=True)
class Figure:
    """One cell. `value` is a number or text, None where there is nothing to show; `unit` (of archcmp.units)
    prints it. `base` is the first model's value, None in its own column. `speedup` is judged in the cell.
    `marks` refer to the table's notes."""

    value: Any = None
    unit: Callable[[Any], object] = str
    base: float | None = None
    speedup: PairedRatio | None = None
    marks: str = ""

    @property
    def ratio(self) -> float | None:
        """The ratio to the first model's value, None beside 0, infinity or another sign."""
        ratio = self.value / self.base if self.value and self.base else 0.0
        return ratio if 0 < ratio < math.inf else None

    @property
    def difference(self) -> float | None:
        """This value minus the first model's."""
        return None if self.value is None or self.base is None else self.value - self.base

    def text(self) -> str:
        """'7.30 B' for the first model's value, '6.49 B (-805 M, 0.89x)' for another, '8.31 tok/s, 1.31x
        faster (1.28 to 1.34)' where it is judged."""
        return self._text(differences=True)

    def narrow(self) -> list[str]:
        """The lines of a narrow cell: '6.49 B (0.89x)' without the difference; '8.31 tok/s, 1.31x faster' and
        below it '(1.28 to 1.34)'."""
        text = self._text(differences=False)
        verdict, _, interval = text.rpartition(" (")
        return [verdict, f"({interval}"] if self.speedup is not None and verdict else [text]

    def _text(self, differences: bool) -> str:
        if self.value is None:
            return BLANK
        shown = f"{self.unit(self.value)}{self._against_first(differences)}"
        return f"{shown} {self.marks}" if self.marks else shown

    def _against_first(self, differences: bool) -> str:
        if self.speedup is not None:
            return f", {in_words(self.speedup)}"
        if self.ratio is None or not self.difference:
            return ""
        share = share_text(self.ratio)
        if not differences:
            return f" ({share})"
        sign = "+" if self.difference > 0 else "-"
        return f" ({sign}{self.unit(abs(self.difference))}, {share})"


@dataclass(frozen=True)
class Row:
    """A label and a cell per column. A row of `level` 1 is a part of the row of level 0 above it, one of
    level 2 of that. A `detail` is shown on a terminal only with --details; files hold it always."""

    label: str
    figures: Sequence[Figure]
    level: int = 0
    detail: bool = False


@dataclass(frozen=True)
class Table:
    """A title, a header (what labels are, then a name per column), rows, and notes on how to read them. The
    first `n_text` columns hold text, the others figures. `measured`: its figures need a clock. Where a
    terminal shows the columns in parts, the first `n_repeated` stand in each, and, if `differing`, rows that
    are the same in all columns of a part are left out."""

    title: str
    header: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)
    n_text: int = 1
    measured: bool = False
    differing: bool = False
    n_repeated: int = 2
