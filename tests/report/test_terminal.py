"""Tables as text: what a cell says, and how tables fit a terminal, a pipe, and an encoding."""

from __future__ import annotations

import math
import re

import pytest
from rich.cells import cell_len

from archcmp.report.formats._text import NAME, lines
from archcmp.report.formats.terminal import print_heading
from archcmp.report.table import Figure, Table
from archcmp.units import Bytes, Count, Flops, Seconds
from tests.report.samples import FASTER, SLOWER, UNDECIDED, letters, one, printed, tables, texts_row


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Bytes(1023 * 2**20), "0.999 GiB"),
        (Bytes(999 * 2**20), "999 MiB"),
        (Bytes(2**30), "1.00 GiB"),
        (Bytes(1000), "0.977 KiB"),
        (Bytes(999), "999 B"),
        (Count(999_600), "1.00 M"),
        (Count(0), "0"),
        (Flops(31_839_129_436_160), "31.8 TFLOP"),
        (Seconds(0.9999), "1.00 s"),
        (Seconds(0.0034), "3.40 ms"),
    ],
)
def test_quantities_have_three_digits(quantity: object, text: str) -> None:
    assert str(quantity) == text


@pytest.mark.parametrize(
    ("figure", "short", "at_length"),
    [
        (Figure(), "-", ""),
        (Figure(32), "32", ""),
        (Figure(5, Count, 5), "5", ""),
        (Figure(0, Count, 5), "0", ""),
        (Figure(math.inf, str, 5.0), "inf", ""),
        (Figure(math.nan, str, 5.0), "nan", ""),
        (Figure(-1, str, 5.0), "-1", ""),
        (Figure(6.49e9, Count, 7.3e9), "6.49 B (0.89x)", "6.49 B (-810 M, 0.89x)"),
        (Figure(1, str, speedup=FASTER), "1, 1.31x faster\n(1.28 to 1.34)", "1, 1.31x faster (1.28 to 1.34)"),
        (Figure(1, str, speedup=UNDECIDED), "1, undecided\n(0.95 to 1.50)", "1, undecided (0.95 to 1.50)"),
        (
            Figure(1, str, 2.0, SLOWER, "*"),
            "1, 2.00x slower\n(1.25 to 2.50) *",
            "1, 2.00x slower (1.25 to 2.50) *",
        ),
    ],
)
def test_cells_are_said_in_short_and_at_length(figure: Figure, short: str, at_length: str) -> None:
    assert "\n".join(figure.narrow()) == short
    assert figure.text() == (at_length or short)


def test_names_are_broken_between_words_before_equals_signs() -> None:
    name = "Llama 3.2 1B residual=reordered_norm"
    assert lines(name, 24, NAME) == ["Llama 3.2 1B", "residual=reordered_norm"]
    assert lines(name, 14, NAME) == ["Llama 3.2 1B", "residual=", "reordered_norm"]
    assert "".join(lines(name, 1, NAME)) == name.replace(" ", "")


SEPARATORS = str.maketrans("", "", ";,")
"""What stands at the end of a line only where there is room for it."""


# ---- the terminal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("n_models", [1, 2, 5])
def test_lines_are_no_longer_than_the_terminal_and_nothing_is_cut(columns: int, n_models: int) -> None:
    for table in tables(n_models):
        text = printed([table], columns, details=True)
        assert max(map(cell_len, text.splitlines())) <= columns
        for shown in table.rows:
            for figure in shown.figures:
                assert letters("".join(figure.narrow()).translate(SEPARATORS)) <= letters(text)


def test_piped_tables_are_as_wide_as_they_need_to_be() -> None:
    for table in tables(5):
        text = printed([table])
        assert "continued" not in text
        for shown in table.rows:
            if not shown.detail:
                cells = [figure.text() for figure in shown.figures]
                assert any(all(cell in line for cell in cells) for line in text.splitlines())


def test_two_models_fit_80_columns_with_a_line_per_row() -> None:
    for table in tables(2):
        text = printed([table], 80)
        shown = sum(not row.detail for row in table.rows)
        assert len(text.splitlines()) == 3 + shown + 1 + (2 if table.notes else 0)


def test_a_narrow_terminal_has_ratios_without_differences_but_never_a_verdict_without_its_interval() -> None:
    assert "8.03 B (+732 M, 1.10x)" in printed([tables(2)[1]], 80)
    assert "8.03 B (1.10x)" in printed([tables(2)[1]], 36)
    assert "12,345 tok/s, 1.31x faster (1.28 to 1.34)" in printed([tables(2)[2]], 80)
    assert re.search(r"12,345 tok/s, 1.31x faster\n +\(1.28 to 1.34\)\n", printed([tables(2)[2]], 66))
    four = printed([tables(4)[2]], 80)
    assert "continued" not in four
    assert re.search(r"\n(2,048)? +1.31x faster +2.00x slower +no difference\n +\(1.28 to 1.34\) ", four)


def test_wide_tables_go_on_below_with_the_first_model_again() -> None:
    text = printed([tables(5)[1]], 60)
    assert "Parameters (continued)" in text
    assert text.count("OLMo 2 7B") == text.count("Parameters") == text.count("7.30 B\n") + 2
    assert "continued" not in printed([tables(5)[1]], 60, split=False)


def test_words_of_names_stay_whole() -> None:
    text = printed([tables(5)[1]], 90)
    assert "reordered_norm" in text and "residual=" in text


def test_rows_that_do_not_differ_are_left_out_of_a_part() -> None:
    rows = [texts_row("same", "x", "x", "y"), texts_row("other", "x", "y", "x")]
    table = Table("t", ["", "a" * 9, "b" * 9, "c" * 9], rows, differing=True)
    first, second = printed([table], 30).split("(continued)")
    assert "same" not in first and "other" in first
    assert "same" in second and "other" not in second
    assert "same" in printed([table]) and "other" in printed([table])


def test_details_are_shown_when_asked_for() -> None:
    assert "median time" not in printed(tables(2))
    assert "  median time" in printed(tables(2), details=True)


@pytest.mark.parametrize("columns", [0, 1, 5, 10**9])
def test_senseless_widths_are_taken_for_none(columns: int) -> None:
    assert printed(tables(2), columns) == printed(tables(2))


def test_piped_text_is_plain_and_a_terminal_has_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in printed(tables(2))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;36m" in printed(tables(2))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "36m" not in printed(tables(2))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_what_cannot_be_encoded_is_replaced(encoding: str) -> None:
    text = printed(one("\u65e5\u672c \U0001f600 caf\xe9"), encoding=encoding)
    assert "caf" in text and "next" in text


def test_headings_are_as_safe_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_heading("OLMo\x1b[2J", ["note\x07"])
    assert capsys.readouterr().out == "OLMo\ufffd[2J\nnote\ufffd\n\n"
