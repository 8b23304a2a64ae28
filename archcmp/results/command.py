"""The command line that makes a document again: its request, option by option."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from archcmp.results.document import Document, Model
from archcmp.results.request import DEFAULT_DTYPE, Request

_COMMANDS = {"comparison": "compare", "grid": "bench", "ablation": "ablate"}
"""Kinds of experiment whose command has another name."""

_TIMING_IS_USUAL = ("comparison", "grid")
"""Kinds that time workloads where the command line says nothing."""

_NAMES = {
    "seed": "seeds",
    "learning_rate": "lr",
    "n_layers": "layers",
    "convention": "flops",
    "budget_s": "budget",
    "quantity": "match",
    "attribute": "details",
}
"""Entries of a request that have a shorter name on the command line."""

_OWN_WAYS = {
    *("kind", "specs", "overrides", "vary", "axes", "measure"),
    *("dtype", "device", "budget_s", "compile", "match", "options"),
}
"""Fields of a request that are not simply an option with a value."""

_FOUND = ("proxies", "text_name", "text_fingerprint", "unigram_entropy")
"""Entries of `options` that follow from the others."""

_NOT_ON_THE_LINE = (*_FOUND, "compile", "crossover", "final_share", "beta1", "beta2", "eps")


def command_of(doc: Document) -> list[str]:
    """The words of the command, without quotes; none where a model was given in Python, so that no reference
    names it. Figures of other runs, set beside these, are not part of it."""
    request = doc.request
    if any(_given_in_python(model) for model in doc.models):
        return []
    words = ["archcmp", _command(request), *_references(doc)]
    for name, value in _options(doc):
        words += _written(_NAMES.get(name, name), value)
    return words


def _command(request: Request) -> str:
    if "crossover" in request.options and len(request.specs) == 1:
        return "show"
    return _COMMANDS.get(request.kind, request.kind)


def _given_in_python(model: Model) -> bool:
    """Whether a model has its title for a reference."""
    spec = model.spec or {}
    title = " ".join(str(part) for part in (spec.get("name"), spec.get("size")) if part)
    return model.id == title and " " in title


def _references(doc: Document) -> list[str]:
    """What names each model, without the change that matched it, and with the name that the user gave it."""
    models = {model.id: model for model in doc.models if model.source is None}
    named = len(models) == len(doc.models)
    return [_reference(id, models[id], named) if id in models else id for id in doc.request.specs]


def _reference(id: str, model: Model, named: bool) -> str:
    """What names a model; `named` where its column has the name of the model, not that of a contender."""
    if model.matched is not None:
        id = id.removesuffix(f"+{model.matched.override}")
    title = str((model.spec or {}).get("name"))
    own_name = named and not model.name.startswith(title) and not set("=+:/") & set(model.name)
    return f"{model.name}={id}" if own_name else id


def _options(doc: Document) -> Iterator[tuple[str, Any]]:
    """Name and value of what the command must say; a value of False, None or [] says nothing."""
    request, options = doc.request, doc.request.options
    for axis in ("batch_size", "seq_len"):
        yield "context" if (axis, request.kind) == ("seq_len", "fit") else axis, request.axes.get(axis)
    yield "learning_rate", request.axes.get("learning_rate")
    yield "seed", len(request.axes.get("seed", ())) or None
    yield "measure", request.measure
    unasked = request.kind in _TIMING_IS_USUAL and _command(request) != "show"
    yield "no_measure", unasked and not request.measure
    timed = bool(request.measure) or request.device is not None
    yield "budget_s", request.budget_s if timed else None
    yield "device", request.device
    yield "dtype", request.dtype if request.dtype in (None, doc.environment.dtype) else _unusual(request)
    for plain in fields(Request):
        value = getattr(request, plain.name)
        if plain.name not in _OWN_WAYS and value != plain.default:
            yield plain.name, value
    compiled = options.get("compile", request.compile)
    yield "compile", compiled in (True, "always")
    yield "eager", compiled == "never"
    yield from request.match.items()
    for name, value in options.items():
        usual = name == "attribute" and len(request.specs) == 2
        if name not in _NOT_ON_THE_LINE and not usual:
            yield name, value


def _unusual(request: Request) -> str | None:
    """The dtype of counts where it is not the usual one. Readings in a device's own dtype follow from it."""
    return request.dtype if request.dtype != DEFAULT_DTYPE else None


def _written(name: str, value: Any) -> list[str]:
    """An option and its value; `--on` again for each of its values."""
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False or value == []:
        return []
    if value is True:
        return [option]
    if name == "on":
        return [word for each in value for word in (option, str(each))]
    values = value if isinstance(value, list) else [value]
    return [option, ",".join(str(each).removesuffix(".0") for each in values)]
