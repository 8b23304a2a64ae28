"""The results document as files: .json .csv .md .tex .html, written whole or not at all."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from archcmp.files import write_whole
from archcmp.report.measured import all_tables
from archcmp.report.tables import Table
from archcmp.results import Comparison, ModelResult


def to_json(doc: Comparison) -> str:
    """The document itself."""
    return json.dumps(doc.as_json(), indent=2, allow_nan=False) + "\n"


# ---- CSV: one tidy row per model and quantity -------------------------------------------------------

_CSV_HEADER = [
    *("model", "name", "quantity", "value", "unit"),
    *("batch_size", "seq_len", "dtype", "convention", "composed", "refused"),
]
_SECTION_UNITS = {"params": "parameters", "flops": "FLOP", "memory": "bytes"}
_THROUGHPUT_UNITS = {
    "tokens_per_second": "tokens/s",
    "median_s": "s",
    "iqr_s": "s",
    "rounds": "rounds",
    "speedup": "times the first model",
    "mfu": "share of calibrated matmul",
    "bandwidth_use": "share of calibrated copy",
    "build_s": "s",
    "compile_s": "s",
}


def _numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _numbers(f"{prefix}.{key}", child)
    elif isinstance(value, (int, float)):
        yield prefix, value


def _counted_rows(doc: Comparison, data: dict[str, Any]) -> Iterator[list[Any]]:
    s = doc.settings
    for section, unit in _SECTION_UNITS.items():
        convention = s.flops_convention if section == "flops" else ""
        for quantity, value in _numbers(section, data[section]):
            yield [quantity, value, unit, s.batch_size, s.seq_len, s.dtype, convention, "", ""]


def _measured_rows(doc: Comparison, model: ModelResult) -> Iterator[list[Any]]:
    """A refused workload has one row, with the reason and no value."""
    s = doc.settings
    for workload, result in model.throughput.items():
        if result is None:
            continue
        place = [s.batch_size, result.seq_len, s.dtype]
        for name, unit in _THROUGHPUT_UNITS.items():
            value = getattr(result, name)
            if value is None and not (result.refused and name == "tokens_per_second"):
                continue
            convention = "exact" if name == "mfu" else ""
            figures = {"": value} if name != "speedup" else {f".{k}": v for k, v in vars(value).items()}
            for suffix, figure in figures.items():
                quantity = f"throughput.{workload}.{name}{suffix}"
                yield [quantity, figure, unit, *place, convention, result.composed, result.refused]


def to_csv(doc: Comparison) -> str:
    """Plain numbers, a row per model and quantity."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for model, data in zip(doc.models, doc.as_json()["models"], strict=True):
        for row in (*_counted_rows(doc, data), *_measured_rows(doc, model)):
            writer.writerow([model.id, model.name, *row])
    return out.getvalue()


# ---- documents of tables ----------------------------------------------------------------------------

_INDENT = "\u2003"
"""An em space, which browsers keep where they collapse plain ones."""


def _grid(table: Table, style: str) -> str:
    rows = [[row[0].replace("  ", _INDENT), *row[1:]] for row in table.rows]
    alignments = ["left", *["right"] * (len(table.header) - 1)]
    return tabulate(
        rows,
        headers=table.header,
        tablefmt=style,
        colalign=alignments,
        disable_numparse=True,
        preserve_whitespace=True,
    )


_MARKDOWN_SPECIAL = str.maketrans({c: "\\" + c for c in "\\|<*`"})


def to_markdown(doc: Comparison) -> str:
    """A heading, a pipe table and its notes, per table."""
    parts = []
    for table in all_tables(doc):
        if table.rows:
            cells = [
                [cell.translate(_MARKDOWN_SPECIAL) for cell in row] for row in (table.header, *table.rows)
            ]
            grid = _grid(replace(table, header=cells[0], rows=cells[1:]), "github")
            notes = " ".join(table.notes).translate(_MARKDOWN_SPECIAL)
            parts.append(f"## {table.title}\n\n{grid}\n\n{notes}".rstrip())
    return "\n\n".join(parts) + "\n"


_LATEX = r"""\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage{iftex}
\ifPDFTeX\usepackage[T1]{fontenc}\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}\else\usepackage{fontspec}\fi
\begin{document}
%s
\end{document}
"""
_LATEX_TABLE = r"""\begin{table}[htbp]
\centering
\caption{%s}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%%
%s}

\smallskip{\footnotesize %s}
\end{table}"""
_LATEX_SPECIAL = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def to_latex(doc: Comparison) -> str:
    """A document that compiles by itself (with names beyond Latin letters: by lualatex or xelatex); its table
    environments need booktabs and graphicx."""
    parts = []
    for table in all_tables(doc):
        if table.rows:
            title, notes = (text.translate(_LATEX_SPECIAL) for text in (table.title, " ".join(table.notes)))
            grid = _grid(table, "latex_booktabs").replace(_INDENT, r"\quad ")
            parts.append(_LATEX_TABLE % (title, grid, notes))
    return _LATEX % "\n\n".join(parts)


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: .5rem 0; }}
th, td {{ padding: .2rem .9rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums;
          white-space: nowrap; }}
thead th {{ border-bottom: 2px solid #444; }}
.notes {{ color: #555; font-size: 13px; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def to_html(doc: Comparison) -> str:
    """One page that stands alone."""
    title = html.escape(" vs ".join(model.name for model in doc.models))
    parts = [
        f"<h2>{html.escape(t.title)}</h2>\n{_grid(t, 'html')}\n"
        + (f"<p class='notes'>{html.escape(' '.join(t.notes))}</p>" if t.notes else "")
        for t in all_tables(doc)
        if t.rows
    ]
    return _HTML.format(title=title, body="\n".join(parts))


FORMATS: dict[str, Callable[[Comparison], str]] = {
    ".json": to_json,
    ".csv": to_csv,
    ".md": to_markdown,
    ".tex": to_latex,
    ".html": to_html,
}


# ---- files ------------------------------------------------------------------------------------------


def to_file(doc: Comparison, path: Path) -> None:
    """Write the document in the format of the path's extension."""
    write_whole(path, FORMATS[path.suffix](doc))
