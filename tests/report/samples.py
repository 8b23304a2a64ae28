"""Tables with every kind of cell, and what is printed of them, for the tests of formats."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.results.timings import PairedRatio
from archcmp.units import Count, TokensPerSecond

NAMES = ["OLMo 2 7B", "Llama 3 8B", "Gemma 3 4B", "GPT-2 small", "Llama 3.2 1B residual=reordered_norm"]
FASTER, SLOWER = PairedRatio(1.31, 1.28, 1.34), PairedRatio(0.5, 0.4, 0.8)
SAME, UNDECIDED = PairedRatio(1.0, 0.99, 1.01), PairedRatio(1.2, 0.95, 1.5)


def row(label: str, values: Sequence[float | None], unit: type, level: int = 0, detail: bool = False) -> Row:
    bases = [None, *[values[0]] * (len(values) - 1)]
    figures = [Figure(value, unit, base) for value, base in zip(values, bases, strict=True)]
    return Row(label, figures, level, detail)


def texts_row(label: str, *values: str) -> Row:
    return Row(label, [Figure(value) for value in values])


def tables(n_models: int) -> list[Table]:
    """As a comparison has them."""
    header = ["", *NAMES[:n_models]]
    choices = [
        texts_row(
            "residual", *["reordered_norm", "pre_norm", "sandwich_norm", "pre_norm", "parallel"][:n_models]
        ),
        texts_row("query_pre_attn_scalar", *["128", "64", "256", "64", "128"][:n_models]),
        texts_row("window", *["none", "512", "local: 1,024; global: none", "none", "none"][:n_models]),
    ]
    totals = [7_298_617_344, 8_030_261_248, 3_880_099_328, 124_439_808, None]
    params = [
        row("total", totals[:n_models], Count),
        row("norm", [528_384, 266_240, 368_000, 38_400, None][:n_models], Count, level=1),
    ]
    rates = zip([8.31, 12_345.0, 4.1, 8.3, 9.9], [None, FASTER, SLOWER, SAME, UNDECIDED], strict=True)
    speeds = [Figure(rate, TokensPerSecond, speedup=verdict) for rate, verdict in rates][:n_models]
    times = [Figure("120 ms, IQR 3.00 ms, n=10")] * n_models
    throughput = [Row("decode, context 2,048", speeds), Row("median time", times, 1, detail=True)]
    return [
        Table("Design choices that differ", header, choices, differing=True),
        Table("Parameters", header, params, ["Norms are few & small."]),
        Table("Throughput, measured", header, throughput, ["* composed"], measured=True),
    ]


def one(text: str) -> list[Table]:
    """A table with `text` wherever text can be."""
    rows = [Row(text, [Figure(text), Figure("b", marks=text)]), Row("next", [Figure(1), Figure(text)], 1)]
    return [Table(text, [text, text, "plain"], rows, [text])]


def printed(
    given: Sequence[Table],
    columns: int | None = None,
    details: bool = False,
    split: bool = True,
    encoding: str = "utf-8",
) -> str:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        if columns is not None:
            patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "__stdout__", stdout)
        print_tables(given, details, split)
        stdout.flush()
        data = stdout.buffer.getvalue()
    return str(data.decode(encoding))


def letters(text: str) -> Counter[str]:
    return Counter(char for char in text if not char.isspace())
