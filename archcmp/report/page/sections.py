"""The parts of a page about one document, in their order: each a function from the document to sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from archcmp.report.page.about import compared, in_short
from archcmp.report.page.markup import grid
from archcmp.report.page.origin import environment, raw, reproduced
from archcmp.report.page.pictures import drawn, plotted
from archcmp.report.page.section import Section
from archcmp.report.tables import tables_of
from archcmp.results.document import Document


def tabled(doc: Document) -> Iterator[Section]:
    """A section per table: what differs and its cost, counts, speeds with their verdicts."""
    for table in tables_of(doc):
        yield Section(table.title, grid(table))


SECTIONS: list[Callable[[Document], Iterator[Section]]] = [
    in_short,
    compared,
    drawn,
    tabled,
    plotted,
    environment,
    reproduced,
    raw,
]
"""A part more is one function more."""


def sections(doc: Document) -> list[Section]:
    """All parts of a page about a document that have any content."""
    made = [section for part in SECTIONS for section in part(doc)]
    return [section for section in made if section.body]
