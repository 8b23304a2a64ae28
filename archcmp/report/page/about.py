"""What a page begins with: what was found, in short, and what was compared under which conditions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

from archcmp.report.page.markup import breakable, bullets, definitions, link, text
from archcmp.report.page.section import Section, spec_of
from archcmp.report.page.words import listed, summary
from archcmp.report.tables.effects import values_of
from archcmp.results.document import Document, Model
from archcmp.spec.layers import layer_blocks
from archcmp.units import Count


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
    yield "reference", f"<code>{breakable(model.id)}</code>"
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


_AXES = {"batch_size": "batch size", "seq_len": "tokens in a sequence", "learning_rate": "learning rates"}


def _conditions(doc: Document) -> Iterator[tuple[str, str]]:
    request = doc.request
    yield "experiment", text(request.kind)
    for axis, values in request.axes.items():
        if axis in _AXES:
            yield _AXES[axis], text(listed([_number(value) for value in values]))
    if request.axes.get("seed"):
        yield "seeds", f"{len(request.axes['seed']):,}"
    if request.dtype:
        yield "dtype", text(request.dtype)
    for name, stored in (("weights", request.weights), ("KV cache", request.kv)):
        if stored:
            yield f"{name} in", text(stored)
    if devices := request.options.get("on"):
        yield "devices", text(listed(devices))
    yield from _training(doc)
    if request.measure:
        yield "timed", text(f"{listed(request.measure)}, in {doc.timed_dtype}")


def _training(doc: Document) -> Iterator[tuple[str, str]]:
    """How the models train whose memory was counted; of a fit by every recipe, which those are."""
    results = [result for cell in doc.cells[:1] for result in cell.models]
    setups = [result.training.setup for result in results if result.training]
    fits = [fit.training for result in results for fit in result.fits.values()]
    recipes = dict.fromkeys([*(setup.recipe for setup in setups), *chain(*fits)])
    ways = dict.fromkeys(
        [*(setup.recompute for setup in setups), *chain(*(w for f in fits for w in f.values()))]
    )
    if recipes:
        yield "training", text(f"recipe {listed(list(recipes))}")
        yield "recomputation", text(listed(list(ways)))
    if n_micro := doc.request.options.get("accumulate"):
        yield "micro-batches", text(_number(n_micro))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
