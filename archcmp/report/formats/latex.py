r"""LaTeX: table environments that a paper can \input; they need booktabs and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archcmp.report.formats._text import NAME, REPLACEMENT, lines, printable
from archcmp.report.table import BLANK, Figure, Row, Table

SUFFIX = ".tex"
PAGE = 86
"""Characters on a line of a paper in footnotesize, about. Wider tables leave differences out."""
WIDEST_NAME = 18

_DOCUMENT = r"""\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{iftex}
\ifPDFTeX\usepackage[T1]{fontenc}\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}\else\usepackage{fontspec}\fi
\begin{document}
%s
\end{document}
"""
_TABLE = r"""\begin{table}[htbp]
\centering
\caption{%(caption)s}
\label{%(label)s}
\footnotesize
\begin{tabular}{%(columns)s}
\toprule
%(header)s \\
\midrule
%(rows)s
\bottomrule
\end{tabular}%(notes)s
\end{table}"""

_SPECIAL = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"[": "{[}", "]": "{]}", "*": "{*}", "`": "{`}", REPLACEMENT: "?"}
)
r"""Brackets and stars are arguments after \\, so they are kept in braces."""
_MATHS: list[tuple[str, str]] = [
    (r"(?<![\w.,])1e\+?(-?)0*(\d+)(?!\w|\.\d)", r"$10^{\1\2}$"),
    (r"(?<![\w.,])(\d+(?:\.\d+)?)e\+?(-?)0*(\d+)(?!\w|\.\d)", r"$\1\\times10^{\2\3}$"),
    (r"(?<=\d) x (?=\d)", r" $\\times$ "),
    (r"(?<![\w.,])((?:\d+,)*\d+(?:\.\d+)?)x(?!\w)", r"$\1\\times$"),
    (r"(?<![^\s(])-(?=\d)", "$-$"),
    (r"(?<=\d),(?=\d[\d,.]*\\times\$)", "{,}"),
    (r"-(?=-)", "-{}"),
]


def escaped(text: str) -> str:
    r"""As text, with 1e-06 as $10^{-6}$, 1.10x as $1.10\times$ and -805 with a minus sign."""
    text = printable(text).strip().translate(_SPECIAL)
    for pattern, maths in _MATHS:
        text = re.sub(pattern, maths, text)
    return text


def _name(name: str) -> str:
    """A name for a header. A long name is broken into several lines."""
    return _stacked(lines(printable(name), WIDEST_NAME, NAME))


def _stacked(parts: Sequence[str]) -> str:
    r"""Lines below each other. \shortstack needs no package."""
    broken = r" \\ ".join(map(escaped, parts))
    return rf"\shortstack[r]{{{broken}}}" if len(parts) > 1 else broken


def _figure(figure: Figure, differences: bool) -> str:
    parts = [figure.text()] if differences else figure.narrow()
    return "--" if parts == [BLANK] else _stacked(parts)


def _row(row: Row, differences: bool) -> str:
    label = r"\quad " * row.level + escaped(row.label)
    return " & ".join([label, *(_figure(figure, differences) for figure in row.figures)]) + r" \\"


def _fits(table: Table) -> bool:
    """Whether the table with its differences fits on a page."""
    columns = zip(
        *([row.label, *(figure.text() for figure in row.figures)] for row in table.rows), strict=True
    )
    return sum(max(map(len, column)) + 2 for column in columns) <= PAGE


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _table(table: Table, label: str) -> str:
    differences = _fits(table)
    notes = "\n\n".join(map(escaped, table.notes))
    return _TABLE % {
        "caption": escaped(table.title),
        "label": label,
        "columns": "l" * table.n_text + "r" * (len(table.header) - table.n_text),
        "header": " & ".join(map(_name, table.header)),
        "rows": "\n".join(_row(row, differences) for row in table.rows),
        "notes": f"\n\n\\smallskip\n{notes}" if notes else "",
    }


def render(title: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    r"""Table environments to \input, each with a caption and a label. `notes` are comments."""
    comments = [printable(line) for line in (title, *notes, r"Needs \usepackage{booktabs}.")]
    parts = ["\n".join(f"% {line}" for line in comments)]
    labels: list[str] = []
    for table in tables:
        if table.rows:
            label = "tab:" + _slug(f"{title} {re.split('[,:]', table.title)[0]}")
            labels.append(label)
            again = labels.count(label)
            parts.append(_table(table, f"{label}-{again}" if again > 1 else label))
    return "\n\n".join(parts) + "\n"


def render_standalone(title: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """A document that compiles by itself (with names beyond Latin letters, by lualatex or xelatex)."""
    return _DOCUMENT % render(title, tables, notes).rstrip()
