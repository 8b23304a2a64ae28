"""HTML: one page that stands alone, and fragments of it for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from archcmp.report.formats._text import printable
from archcmp.report.table import Figure, Row, Table, share_text
from archcmp.results.timings import Verdict

SUFFIX = ".html"

_STYLE = """\
.archcmp .wide { overflow-x: auto; }
.archcmp table { border-collapse: collapse; margin: .5rem 0; }
.archcmp th, .archcmp td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #8884; text-align: right;
  font-variant-numeric: tabular-nums; font-weight: normal; white-space: nowrap; min-width: 8.5rem; }
.archcmp thead th { border-bottom: 2px solid #888; font-weight: 600; vertical-align: bottom;
  white-space: normal; }
.archcmp th:first-child { min-width: 12rem; }
.archcmp .text { text-align: left; }
.archcmp .part { padding-left: 1.2em; opacity: .8; }
.archcmp .differs { font-weight: 600; }
.archcmp .same { opacity: .55; }
.archcmp .notes { opacity: .75; font-size: .85em; max-width: 60rem; }
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e4e4e4; background: #16181c; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def _text(text: str) -> str:
    return escape(printable(text))


def against_first(figure: Figure, first: Figure) -> str:
    """'same', 'differs', or '' where there is no ratio or the ratio shows no difference."""
    if figure is first or figure.value is None or first.value is None:
        return ""
    if figure.speedup is not None:
        verdict = figure.speedup.verdict
        return {Verdict.NO_DIFFERENCE: "same", Verdict.UNDECIDED: ""}.get(verdict, "differs")
    if figure.value == first.value:
        return "same"
    return "" if figure.ratio is None or share_text(figure.ratio) == share_text(1) else "differs"


def _row(row: Row, n_text: int) -> str:
    label = "text part" if row.level else "text"
    cells = [f'<th scope="row" class="{label}">{_text(row.label)}</th>']
    for column, figure in enumerate(row.figures, start=1):
        kind = "text" if column < n_text else against_first(figure, row.figures[0]) if n_text == 1 else ""
        attribute = f' class="{kind}"' if kind else ""
        cells.append(f"<td{attribute}>{_text(figure.text())}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _table(table: Table) -> str:
    kinds = [' class="text"'] * table.n_text + [""] * (len(table.header) - table.n_text)
    names = [
        f'<th scope="col"{kind}>{_text(name)}</th>' for name, kind in zip(table.header, kinds, strict=True)
    ]
    rows = "\n".join(_row(row, table.n_text) for row in table.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{"".join(names)}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _notes(notes: Sequence[str]) -> str:
    return f'<p class="notes">{"<br>".join(map(_text, notes))}</p>'


def fragment(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """The tables alone, with their style, in the colours of the page around them."""
    blocks = []
    for table in tables:
        if table.rows or table.notes:
            blocks.append(f"<h2>{_text(table.title)}</h2>")
        if table.rows:
            blocks.append(_table(table))
        if table.notes:
            blocks.append(_notes(table.notes))
    if notes:
        blocks.append(_notes(notes))
    body = "\n".join(blocks)
    return f'<div class="archcmp">\n<style>\n{_STYLE}</style>\n{body}\n</div>'


def render(title: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """A page without scripts or links, readable on narrow and on dark screens. `notes` are at its end."""
    return _PAGE.format(title=_text(title), body=fragment(tables, notes))
