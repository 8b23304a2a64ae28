"""HTML of text, tables and lists. Whatever text a document holds comes out as text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from archcmp.report.formats._text import printable
from archcmp.report.table import Figure, Row, Table, share_text
from archcmp.results.timings import Verdict


@cache
def asset(name: str) -> str:
    """A style sheet or script of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def digest(source: str) -> str:
    """By which a content security policy knows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def text(words: str) -> str:
    """Any text on one line, as HTML."""
    return escape(printable(words))


_BREAKS = re.compile(r"(?<=[_=/+])(?=\w)|(?<=\w\.)(?=[a-z])|(?<=\S{30})(?=\S)")
"""Where a name may be broken: after '_' and the like, and anywhere from its 30th character on."""


def breakable(words: str) -> str:
    """Any text, for the narrow cell of a table."""
    return "<wbr>".join(map(escape, _BREAKS.split(printable(words))))


def link(address: str) -> str:
    """A link to a page of the web; any other text as text."""
    shown = text(address)
    return f'<a href="{shown}">{shown}</a>' if address.startswith(("https://", "http://")) else shown


def paragraphs(lines: Sequence[str], kind: str = "notes") -> str:
    return f'<p class="{kind}">{"<br>".join(map(text, lines))}</p>' if lines else ""


def bullets(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for, the latter as HTML."""
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{html}</dd>' for name, html in pairs)}</dl>"


def scrolling(label: str, html: str) -> str:
    """What may be wider than the screen; the keyboard reaches it to scroll it."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{text(label)}">{html}</div>'


def image(svg: str, instead: str) -> str:
    """An SVG as a picture of its own; `instead` is what is read aloud."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{text(instead)}" src="data:image/svg+xml;base64,{data}">'


# ---- tables -----------------------------------------------------------------------------------------


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


def _cell(figure: Figure, kinds: Sequence[str]) -> str:
    """Numbers keep their value, by which the script sorts."""
    is_number = isinstance(figure.value, (int, float)) and not isinstance(figure.value, bool)
    shown = " ".join(filter(None, [*kinds, "number" if is_number else ""]))
    kind = f' class="{shown}"' if shown else ""
    if not is_number:
        return f"<td{kind}>{breakable(figure.text())}</td>"
    number = str(figure.unit(figure.value))
    rest = figure.text().removeprefix(number)
    comma = "," if rest.startswith(",") else ""
    than = f' <span class="than">{text(rest.removeprefix(",").strip())}</span>' if rest else ""
    return f'<td{kind} data-value="{float(figure.value)!r}">{text(number)}{comma}{than}</td>'


def _row(row: Row, n_text: int) -> str:
    cells = [f'<th scope="row" class="level-{row.level}">{breakable(row.label)}</th>']
    for column, figure in enumerate(row.figures, start=1):
        kind = "text" if column < n_text else against_first(figure, row.figures[0]) if n_text == 1 else ""
        cells.append(_cell(figure, [kind]))
    return f'<tr data-level="{row.level}">{"".join(cells)}</tr>'


def _heads(table: Table) -> str:
    """The names of the columns; one without a name is called for those who cannot see what stands there."""
    kinds = ["text"] * table.n_text + ["figure"] * (len(table.header) - table.n_text)
    names = [breakable(name).strip() or '<span class="unseen">row</span>' for name in table.header]
    return "".join(
        f'<th scope="col" class="{kind}">{name}</th>' for name, kind in zip(names, kinds, strict=True)
    )


def grid(table: Table) -> str:
    """The rows of a table and its notes."""
    made = []
    if table.rows:
        rows = "\n".join(_row(row, table.n_text) for row in table.rows)
        made.append(
            scrolling(
                table.title,
                f'<table class="sorts">\n<thead><tr>{_heads(table)}</tr></thead>\n'
                f"<tbody>\n{rows}\n</tbody>\n</table>",
            )
        )
    return "\n".join([*made, paragraphs(table.notes)])
