"""The drawing of the models, and the plots of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec

from archcmp.report.diagram import Subject, svg
from archcmp.report.formats._text import printable
from archcmp.report.page.markup import image, paragraphs, scrolling
from archcmp.report.page.section import Section, spec_of
from archcmp.report.page.words import listed
from archcmp.report.plots import kinds_of, svg_of, title_of
from archcmp.results.document import Cell, Document, Model, ModelResult

MOST_DRAWN = 6
"""Models in one drawing."""


def drawn(doc: Document) -> Iterator[Section]:
    """The models side by side as boxes, with what differs; each spec once."""
    models = list({model.spec_sha256: model for model in doc.models}.values())
    counts = {model.name: result for cell in doc.cells[:1] for model, result in _pairs(doc, cell)}
    subjects = [
        Subject(model.name, spec, *_totals(counts.get(model.name)))
        for model in models
        if (spec := spec_of(model)) is not None
    ][:MOST_DRAWN]
    drawn = [subject.name for subject in subjects]
    picture = scrolling("drawing", _figure(subjects)) if subjects else ""
    yield Section("Drawing", picture + paragraphs(list(_not_drawn(models, drawn))))


def _figure(subjects: Sequence[Subject]) -> str:
    """The style sheet keeps each of the models readable on a narrow screen."""
    return f'<figure style="--models: {len(subjects)}">{printable(svg(subjects))}</figure>'


def _not_drawn(models: Sequence[Model], drawn: Sequence[str]) -> Iterator[str]:
    """Why models are missing in the drawing."""
    missing = [model for model in models if model.name not in drawn]
    old = [model.name for model in missing if spec_of(model) is None]
    if old:
        yield f"Not drawn, since the document holds no spec of today's vocabulary: {listed(old)}."
    if others := [model.name for model in missing if model.name not in old]:
        yield f"Not drawn, since the drawing holds {MOST_DRAWN} models: {listed(others)}."


def _pairs(doc: Document, cell: Cell) -> Iterable[tuple[Model, ModelResult]]:
    return zip(doc.models, cell.models, strict=False)


def _totals(result: ModelResult | None) -> tuple[int | None, int | None]:
    """All parameters and the active ones, where they were counted."""
    quantities = {} if result is None else result.quantities()
    return quantities.get("params"), quantities.get("active")


def plotted(doc: Document) -> Iterator[Section]:
    """The plots that there are figures for, as pictures, so that nothing in them is part of the page."""
    kinds = kinds_of(doc)
    if kinds and find_spec("matplotlib") is None:
        yield Section("Plots", paragraphs(["Plots need matplotlib: pip install 'archcmp[plot]'."]))
        return
    for kind in kinds:
        picture = image(svg_of(doc, kind), f"Plot: {title_of(kind)}. Its figures stand in the tables.")
        yield Section(title_of(kind), scrolling(title_of(kind), f"<figure>{picture}</figure>"))
