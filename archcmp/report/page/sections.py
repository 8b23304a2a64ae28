"""The parts of a page about one document, in their order: each a function from the document to sections."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from itertools import zip_longest
from typing import Any

from pydantic import ValidationError

from archcmp.report.diagram import Subject, svg
from archcmp.report.page.markup import bullets, definitions, grid, image, link, paragraphs, scrolling, text
from archcmp.report.page.words import listed, summary
from archcmp.report.plots import kinds_of, svg_of, title_of
from archcmp.report.table import BLANK
from archcmp.report.tables import provenance, tables_of
from archcmp.report.tables.effects import conventions_note, values_of
from archcmp.results.command import command_of
from archcmp.results.document import Cell, Document, Environment, Model, ModelResult
from archcmp.results.store import to_text
from archcmp.results.timings import RESOLUTION, Rates
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.units import Bytes, Count, Flops


@dataclass(frozen=True)
class Section:
    """A part of a page that can be folded: its title, its content as HTML, whether it is open at first."""

    title: str
    body: str
    is_open: bool = True
    kind: str = ""


def sections(doc: Document) -> list[Section]:
    """All parts of a page about a document that have any content."""
    made = [section for part in SECTIONS for section in part(doc)]
    return [section for section in made if section.body]


def in_short(doc: Document) -> Iterator[Section]:
    yield Section("In short", bullets(summary(doc)))


def compared(doc: Document) -> Iterator[Section]:
    """The models, and the conditions that all figures share."""
    models = f'<div class="models">{"".join(_models(doc))}</div>'
    yield Section("What was compared", models + definitions(_conditions(doc)))


def _models(doc: Document) -> Iterator[str]:
    """Each model by its name, with what it is and where its figures are from."""
    params = values_of(doc.cells[0].models, "params") if doc.cells else []
    for model, n_params in zip_longest(doc.models, params):
        about = definitions(_about(model, n_params))
        yield f'<div class="model"><p class="name">{text(model.name)}</p>{about}</div>'


def _about(model: Model, n_params: int | None) -> Iterator[tuple[str, str]]:
    yield "reference", f"<code>{text(model.id)}</code>"
    if n_params is not None:
        yield "parameters", text(str(Count(n_params)))
    if model.source:
        yield "figures from", f"<code>{text(model.source)}</code>"
    if (spec := spec_of(model)) is None:
        return
    yield "layers", f"{len(layer_blocks(spec)):,} of width {spec.d_model:,}"
    yield "context", f"{spec.context_length:,} tokens"
    if spec.organization or spec.released:
        yield "published", text(", ".join(filter(None, [spec.organization, spec.released])))
    sources = [source for source in (spec.source, *spec.sources) if source]
    if sources:
        yield "sources", "<br>".join(map(link, sources))
    if spec.note:
        yield "note", text(spec.note)


def spec_of(model: Model) -> ModelSpec | None:
    """The resolved spec; None where the document has none that is valid today."""
    try:
        return ModelSpec.model_validate(model.spec)
    except ValidationError:
        return None


_AXES = {"batch_size": "batch size", "seq_len": "tokens in a sequence", "learning_rate": "learning rates"}


def _conditions(doc: Document) -> Iterator[tuple[str, str]]:
    request = doc.request
    yield "experiment", text(request.kind)
    for axis, values in request.axes.items():
        if axis in _AXES:
            yield _AXES[axis], text(listed([_number(value) for value in values]))
    if request.axes.get("seed"):
        yield "seeds", f"{len(request.axes['seed']):,}"
    yield "timed", text(listed(request.measure) if request.measure else "nothing: counts only")
    if request.dtype:
        yield "dtype of counts", text(request.dtype)
    if request.measure and doc.timed_dtype:
        yield "dtype of timing", text(doc.timed_dtype)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


MOST_DRAWN = 6
"""Models in one drawing."""


def drawn(doc: Document) -> Iterator[Section]:
    """The models side by side as boxes, with what differs; each spec once."""
    models = {model.spec_sha256: model for model in doc.models}.values()
    counts = {model.name: result for cell in doc.cells[:1] for model, result in _pairs(doc, cell)}
    subjects = [
        Subject(model.name, spec, **_totals(counts.get(model.name)))
        for model in models
        if (spec := spec_of(model)) is not None
    ]
    if not subjects:
        return
    left_out = [subject.name for subject in subjects[MOST_DRAWN:]]
    notes = [f"Not drawn: {listed(left_out)}."] if left_out else []
    picture = f"<figure>{svg(subjects[:MOST_DRAWN])}</figure>"
    yield Section("Drawing", scrolling("drawing", picture) + paragraphs(notes))


def _pairs(doc: Document, cell: Cell) -> Iterable[tuple[Model, ModelResult]]:
    return zip(doc.models, cell.models, strict=False)


def _totals(result: ModelResult | None) -> dict[str, int | None]:
    """What a drawing says of a model as a whole."""
    quantities = {} if result is None else result.quantities()
    return {name: quantities.get(name) for name in ("params", "active")}


def tabled(doc: Document) -> Iterator[Section]:
    """A section per table: what differs and its cost, counts, speeds with their verdicts."""
    for table in tables_of(doc):
        yield Section(table.title, grid(table))


def plotted(doc: Document) -> Iterator[Section]:
    """The plots that there are figures for, as pictures, so that nothing in them is part of the page."""
    kinds = kinds_of(doc)
    if kinds and find_spec("matplotlib") is None:
        yield Section("Plots", paragraphs(["Plots need matplotlib: pip install 'archcmp[plot]'."]))
        return
    for kind in kinds:
        picture = image(svg_of(doc, kind), f"Plot: {title_of(kind)}. Its figures stand in the tables.")
        yield Section(title_of(kind), scrolling(title_of(kind), f"<figure>{picture}</figure>"))


# ---- how the figures were made ----------------------------------------------------------------------


def environment(doc: Document) -> Iterator[Section]:
    """The machine and the versions, and what the numbers mean."""
    body = [definitions(_environment(doc.environment)), '<p class="name">Conventions</p>']
    body.append(bullets(_conventions(doc)))
    yield Section("Environment and conventions", "\n".join(body))


def _rates(rates: Rates) -> str:
    matmul, memory = Flops(rates.matmul_flops_per_s), Bytes(rates.memory_bytes_per_s)
    return f"{matmul}/s of a large matmul, {memory}/s of memory"


_LABELS = {"memory_bytes": "memory", "rates": "best rates", "fresh_rates": "rates of this run"}
_LABELS |= {"compiled": "code", "device_name": "device name", "thread_binding": "thread binding"}
_UNITS: dict[str, Callable[[Any], str]] = {
    "memory_bytes": lambda n: str(Bytes(n)),
    "rates": _rates,
    "fresh_rates": _rates,
    "compiled": lambda compiled: "compiled" if compiled else "eager",
    "busy": lambda busy: "yes" if busy else "no",
}


def _environment(found: Environment) -> Iterator[tuple[str, str]]:
    for name, value in vars(found).items():
        if value is not None:
            yield _LABELS.get(name, name), text(_UNITS.get(name, str)(value))


def _conventions(doc: Document) -> Iterator[str]:
    yield conventions_note(doc)
    yield "A multiply-add is 2 FLOPs. K, M, B and T are powers of 1,000; KiB, MiB and GiB powers of 1,024."
    yield "Ratios and differences are against the first model, unless a table says otherwise."
    if doc.measured or doc.request.measure:
        yield (
            f"Speeds within {100 * RESOLUTION:g} % are taken for equal. Faster, slower and no difference "
            "hold for the whole interval; otherwise the verdict is undecided."
        )
    yield f"{BLANK} was not measured, or there is nothing to show."


def reproduced(doc: Document) -> Iterator[Section]:
    """The command, and the versions that it ran with."""
    words = command_of(doc)
    line = shlex.join(words)
    notes = [f"Made {provenance(doc)}."]
    if words and line.isprintable():
        command = scrolling("command", f"<pre><code>{text(line)}</code></pre>")
        notes.append("A path is a file of the author's; its resolved spec is in the raw document.")
    else:
        command = ""
        notes.append("No command line names these models. Their resolved specs are in the raw document.")
    if doc.sources:
        notes.append(f"The figures of {listed(list(doc.sources))} are from other runs, and not made by it.")
    notes.append(f"The raw document, saved, makes this page again: archcmp report {doc.kind}.json")
    yield Section("How to reproduce it", command + paragraphs(notes))


def raw(doc: Document) -> Iterator[Section]:
    """The document itself, to read and to save; JSON escapes all that is not ASCII."""
    data = f'<pre class="data">{escape(to_text(doc), quote=False)}</pre>'
    name = text(f"{doc.kind}.json")
    button = f'<p><button class="save" hidden data-name="{name}">Save {name}</button></p>'
    yield Section("Raw document", button + scrolling("raw document", data), is_open=False, kind="raw")


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
