"""Every format shows every table whole, whatever its text is, and stays what it is."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from archcmp.report.formats import html, latex, listed, markdown
from archcmp.report.formats._text import NAME, lines, printable
from archcmp.report.formats.terminal import print_heading, print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.results.timings import PairedRatio
from archcmp.units import Bytes, Count, Flops, Seconds, TokensPerSecond

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


# ---- cells and units --------------------------------------------------------------------------------


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
        (Figure(1, str, speedup=FASTER), "1, 1.31x faster", "1, 1.31x faster (1.28 to 1.34)"),
        (Figure(1, str, 2.0, SLOWER, "*"), "1, 2.00x slower *", "1, 2.00x slower (1.25 to 2.50) *"),
        (Figure(1, str, speedup=SAME), "1, no difference", "1, no difference (0.99 to 1.01)"),
        (Figure(1, str, speedup=UNDECIDED), "1, undecided", "1, undecided (0.95 to 1.50)"),
    ],
)
def test_cells_are_said_in_short_and_at_length(figure: Figure, short: str, at_length: str) -> None:
    assert figure.text(differences=False) == short
    assert figure.text() == (at_length or short)


def test_names_are_broken_between_words_before_equals_signs() -> None:
    name = "Llama 3.2 1B residual=reordered_norm"
    assert lines(name, 24, NAME) == ["Llama 3.2 1B", "residual=reordered_norm"]
    assert lines(name, 14, NAME) == ["Llama 3.2 1B", "residual=", "reordered_norm"]
    assert "".join(lines(name, 1, NAME)) == name.replace(" ", "")


# ---- the terminal -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("columns", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("n_models", [1, 2, 5])
def test_lines_are_no_longer_than_the_terminal_and_nothing_is_cut(columns: int, n_models: int) -> None:
    for table in tables(n_models):
        text = printed([table], columns, details=True)
        assert max(map(cell_len, text.splitlines())) <= columns
        for shown in table.rows:
            for figure in shown.figures:
                assert letters(figure.text(differences=False).replace(";", "")) <= letters(text)


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


def test_a_narrow_terminal_has_ratios_without_differences() -> None:
    assert "8.03 B (+732 M, 1.10x)" in printed([tables(2)[1]], 80)
    assert "8.03 B (1.10x)" in printed([tables(2)[1]], 36)
    assert "12,345 tok/s, 1.31x faster (1.28 to 1.34)" in printed([tables(2)[2]], 80)
    assert re.search(r"12,345 tok/s, 1.31x faster$", printed([tables(2)[2]], 66), re.MULTILINE)


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


# ---- files ------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Texts of cells, row by row; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "br", "hr"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"br", "hr"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def from_markdown(text: str) -> Reader:
    return Reader(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


HOSTILE = [
    *(
        "</td><script>alert(1)</script>",
        "a|b\\|c\\",
        "`x",
        "*a* _b_ __c__ ~~d~~ a_b_c",
        "&amp; &#1; <b>",
        "]: x",
    ),
    *("\x1b[31mred\x1b]0;title\x07", "a\nb\r\n\n# c", "\u202egnp.exe", "\ud800", "\x9b31m", "\u2028", "\x00"),
    *("- a", "1. a", "1986", "# a", "> a", "+", "===", "---", ":---:", "![a](b)", "    code", "$x$ \\(y\\)"),
    *("a & b % c $ d # e { f } ~ ^ \\", "[x]", "*", "--budget ---", "\\input{x}", "^^M", "{", "}}", "%", ""),
    *(
        "1e-06 1.10x 8x7B 2 x 3 (-5)",
        "http://a.b/c?d=e&f",
        "\u65e5\u672c\u8a9e",
        "e\u0301\u0301",
        "{title} %s",
    ),
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30))
any_text = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def expected(table: Table) -> list[list[str]]:
    rows = [list(table.header), *([row.label, *(f.text() for f in row.figures)] for row in table.rows)]
    return [[" ".join(printable(cell).split()) for cell in cells] for cells in rows]


def found(rows: list[list[str]]) -> list[list[str]]:
    return [[" ".join(cell.split()) for cell in cells] for cells in rows]


@any_text
@given(texts)
def test_no_text_drives_the_terminal(text: str) -> None:
    for columns in (None, 20, 80):
        shown = printed(one(text), columns)
        assert all(char.isprintable() for line in shown.split("\n") for char in line)
        assert letters(printable(text)) <= letters(shown)


@any_text
@given(texts)
@example("\\|")
def test_any_text_comes_out_of_a_page_as_it_went_in(text: str) -> None:
    page = html.render(text, one(text), notes=[text])
    reader = Reader(page)
    assert found(reader.rows) == expected(one(text)[0])
    assert "script" not in reader.tags
    assert printable(page.replace("\n", " ")) == page.replace("\n", " ")


@any_text
@given(texts)
@example("\\|")
def test_any_text_comes_out_of_markdown_as_it_went_in(text: str) -> None:
    reader = from_markdown(markdown.render(text, one(text), notes=[text]))
    assert found(reader.rows) == expected(one(text)[0])
    assert set(reader.tags) <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}


def command_names(text: str) -> set[str]:
    return set(re.findall(r"\\([a-zA-Z]+|.)", text))


def groups_balance(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            return False
    return depth == 0


TEXT_COMMANDS = {*"&%$#_{}", "times", "quad"}
TEXT_COMMANDS |= {
    f"text{name}" for name in ("asciitilde", "asciicircum", "backslash", "less", "greater", "bar")
}


@any_text
@given(texts)
def test_no_text_is_a_command_of_latex(text: str) -> None:
    escaped = latex.escaped(text)
    assert groups_balance(escaped) and command_names(escaped) <= TEXT_COMMANDS
    bare = re.sub(r"\\(?:[a-zA-Z]+|.)", "", escaped)
    maths = re.findall(r"\$[^$]*\$", bare)
    assert all(re.fullmatch(r"\$[\d.,{}^+ -]*\$", formula) for formula in maths)
    assert not set("&%$#_~^<>|\n") & set(re.sub(r"\$[^$]*\$", "", bare))


@any_text
@given(texts)
def test_any_text_leaves_a_latex_table_its_rows_and_columns(text: str) -> None:
    for render in (latex.render, latex.render_standalone):
        source = render(text, one(text), notes=[text])
        code = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
        assert groups_balance(code)
        body = code.partition("\\toprule\n")[2].partition("\\bottomrule")[0]
        body = re.sub(r"\\shortstack\[r\]{(?:[^{}]|\\[{}]|{[^{}]*})*}", "", body)
        rows = [line for line in body.splitlines() if line != "\\midrule"]
        assert len(rows) == 3
        assert all(line.endswith(r" \\") and line.replace(r"\&", "").count("&") == 2 for line in rows)
        assert not any(line.lstrip().startswith(("[", "*")) for line in rows)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("1e-06", "$10^{-6}$"),
        ("2.5e-05", r"$2.5\times10^{-5}$"),
        ("8.03 B (-805 M, 1.10x)", r"8.03 B ($-$805 M, $1.10\times$)"),
        ("1,234x, 2,345 x", r"$1{,}234\times$, 2,345 x"),
        ("eps 1e-06. 1e+20 3e00 1e5b", r"eps $10^{-6}$. $10^{20}$ $3\times10^{0}$ 1e5b"),
        ("batch 1 x 2,048", r"batch 1 $\times$ 2,048"),
        ("Mixtral 8x7B", "Mixtral 8x7B"),
        ("n_kv_heads & 50 %", r"n\_kv\_heads \& 50 \%"),
        ("--budget", "-{}-budget"),
    ],
)
def test_numbers_are_set_as_maths(text: str, source: str) -> None:
    assert latex.escaped(text) == source


def test_latex_tables_can_be_input_and_need_only_booktabs() -> None:
    source = latex.render("a vs b", tables(5))
    assert "documentclass" not in source and "resizebox" not in source
    assert re.findall(r"\\label{(.*)}", source) == [
        "tab:a-vs-b-design-choices-that-differ",
        "tab:a-vs-b-parameters",
        "tab:a-vs-b-throughput",
    ]
    assert source.count(r"\smallskip") == 2, "one of the tables has no notes"
    assert r"\begin{tabular}{lrrrrr}" in source
    assert r"\shortstack[r]{Llama 3.2 1B \\ residual= \\ reordered\_norm}" in source
    commands = command_names(source) - TEXT_COMMANDS
    assert commands == {
        *(
            "begin",
            "end",
            "centering",
            "caption",
            "label",
            "footnotesize",
            "toprule",
            "midrule",
            "bottomrule",
        ),
        *("smallskip", "shortstack", "usepackage", "\\"),
    }


def test_latex_documents_stand_alone() -> None:
    source = latex.render_standalone("a vs b", tables(2))
    assert source.startswith(r"\documentclass") and source.rstrip().endswith(r"\end{document}")
    for name in re.findall(r"\\begin{(\w+)}", source):
        assert source.count(f"\\begin{{{name}}}") == source.count(f"\\end{{{name}}}")


def test_tables_of_one_name_have_labels_of_their_own() -> None:
    labels = re.findall(r"\\label{(.*)}", latex.render("a", [*tables(1), *tables(1)]))
    assert len(set(labels)) == len(labels) == 6


def test_markdown_keeps_alignment_and_sub_rows() -> None:
    text = markdown.render("a vs b", tables(2))
    assert re.search(r"^\|:-+\|-+:\|-+:\|$", text, re.MULTILINE)
    cells = from_markdown(text).rows
    assert ["\u2003norm", "528 K", "266 K (-262 K, 0.50x)"] in cells
    assert "query_pre_attn_scalar" in text, "underscores inside words need no escape"


def test_pages_adapt_and_tell_differences() -> None:
    page = html.render("a vs b", tables(4))
    for needed in ("width=device-width", "prefers-color-scheme: dark", "overflow-x: auto", "<title>a vs b<"):
        assert needed in page
    assert not re.search(r"<script|<link|https?://|src=", page)
    assert '<th scope="row" class="text part">norm</th>' in page
    assert '<td class="differs">8.03 B (+732 M, 1.10x)</td>' in page
    assert '<td class="same">8.30 tok/s, no difference (0.99 to 1.01)</td>' in page
    assert '<td class="differs">12,345 tok/s, 1.31x faster (1.28 to 1.34)</td>' in page


def test_fragments_are_pages_without_their_head() -> None:
    fragment = html.fragment(tables(2))
    assert fragment.startswith("<div") and fragment in html.render("a", tables(2))


def test_files_show_details_and_notes_without_rows() -> None:
    for module in (markdown, html, latex):
        assert "median time" in module.render("a", tables(2))
    empty = [Table("Differences", ["", "a"], [], ["No design choices differ."])]
    for module in (markdown, html):
        assert "No design choices differ" in module.render("a", empty)
    assert "No design choices differ" in printed(empty)


def test_formats_are_found_by_suffix_and_loaded_when_asked_for() -> None:
    assert {".md": markdown, ".tex": latex, ".html": html}.items() <= listed().items()
    assert all(hasattr(m, "render") or hasattr(m, "render_document") for m in listed().values())
    code = "import sys, archcmp.report.formats; print({'rich', 'tabulate', 'torch'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
