"""Every format shows every table whole, whatever its text is, and stays what it is."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from archcmp.report.formats import html, latex, listed, markdown
from archcmp.report.formats._text import printable
from archcmp.report.page.markup import grid
from archcmp.report.table import Table
from tests.report.samples import letters, one, printed, tables

VOID = {"meta", "br", "hr", "wbr", "img"}
"""Elements without an end."""


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
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
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


def test_wide_latex_tables_leave_out_differences_and_no_interval() -> None:
    narrow, wide = (latex.render("a vs b", tables(n)) for n in (2, 5))
    assert r"8.03 B (+732 M, $1.10\times$)" in narrow and r"8.03 B ($1.10\times$)" in wide
    assert r"$1.31\times$ faster \\ (1.28 to 1.34)}" in wide


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


def test_files_show_details_and_notes_without_rows() -> None:
    for module in (markdown, latex):
        assert "median time" in module.render("a", tables(2))
    empty = [Table("Differences", ["", "a"], [], ["No design choices differ."])]
    assert "No design choices differ" in markdown.render("a", empty) and "differ" in grid(empty[0])
    assert "No design choices differ" in printed(empty)


def test_formats_are_found_by_suffix_and_loaded_when_asked_for() -> None:
    assert {".md": markdown, ".tex": latex, ".html": html}.items() <= listed().items()
    assert all(hasattr(m, "render") or hasattr(m, "render_document") for m in listed().values())
    code = "import sys, archcmp.report.formats; print({'rich', 'tabulate', 'torch'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
