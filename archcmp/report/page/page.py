"""One HTML file about one document or several, and the fragment of it that a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.report.page.markup import asset, digest, paragraphs, text
from archcmp.report.page.pictures import drawn
from archcmp.report.page.section import Section
from archcmp.report.page.sections import sections, tabled
from archcmp.report.tables import provenance, title_of
from archcmp.results.document import Document

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; script-src '{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body class="archcmp">
<header><h1>{title}</h1>
{about}</header>
<nav aria-label="Contents">{contents}</nav>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def page(documents: Sequence[tuple[str, Document]]) -> str:
    """The page about documents, each given as (where it is from, document). Its policy lets it ask the
    network for nothing, and lets no script run but its own."""
    alone = len(documents) == 1
    title = title_of(documents[0][1]) if alone else f"{len(documents)} experiments"
    parts = [_part(i, label, doc, alone) for i, (label, doc) in enumerate(documents, start=1)]
    script = asset("page.js")
    return _PAGE.format(
        title=text(title),
        about=paragraphs(_about(*documents[0]), "about") if alone else "",
        contents="".join(contents for contents, _ in parts),
        body="\n".join(body for _, body in parts),
        style=asset("tables.css") + asset("page.css"),
        script=script,
        digest=digest(script),
    )


def _about(label: str, doc: Document) -> list[str]:
    return [f"{', '.join(filter(None, [doc.kind.capitalize(), label]))}. {provenance(doc)}."]


def _part(number: int, label: str, doc: Document, alone: bool) -> tuple[str, str]:
    """The contents of a document, and its sections; below a heading of its own where it is not alone."""
    found = sections(doc)
    ids = [f"part-{number}-{n}" for n in range(1, len(found) + 1)]
    level = 2 if alone else 3
    body = "\n".join(_folded(id, section, level) for id, section in zip(ids, found, strict=True))
    links = "".join(
        f'<li><a href="#{id}">{text(section.title)}</a></li>' for id, section in zip(ids, found, strict=True)
    )
    if alone:
        return f"<ul>{links}</ul>", body
    title = text(title_of(doc))
    first = f'<li><a href="#part-{number}">All of it</a></li>'
    contents = f"<details><summary>{title}</summary><ul>{first}{links}</ul></details>"
    about = paragraphs(_about(label, doc), "about")
    return contents, f'<section id="part-{number}"><h2>{title}</h2>{about}\n{body}\n</section>'


def _folded(id: str, section: Section, level: int) -> str:
    kind = f' class="{section.kind}"' if section.kind else ""
    is_open = " open" if section.is_open else ""
    heading = f"<h{level}>{text(section.title)}</h{level}>"
    return f'<details id="{id}"{kind}{is_open}><summary>{heading}</summary>\n{section.body}\n</details>'


def fragment(doc: Document) -> str:
    """The drawing and the tables alone, with their style, in the colours of the notebook around them."""
    shown = [section for part in (drawn, tabled) for section in part(doc)]
    body = "\n".join(f"<h3>{text(section.title)}</h3>\n{section.body}" for section in shown)
    return f'<div class="archcmp">\n<style>\n{asset("tables.css")}</style>\n{body}\n</div>'
