"""A document as tidy rows: one per cell, model and quantity, each with its unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from archcmp.results.counts import QUANTITIES, Section
from archcmp.results.document import Document, Model, ModelResult
from archcmp.results.timings import Throughput
from archcmp.results.training_memory import RECOMPUTE

_UNITS = {
    "tokens_per_second": "tokens/s",
    "rounds": "rounds",
    "speedup": "times as fast as the first model",
    "mfu": "share of calibrated matmul",
    "bandwidth_use": "share of calibrated copy",
    **dict.fromkeys(("flops", "dtype_flops"), "FLOP"),
    "crossover": "tokens",
    "longest_context": "tokens",
    "largest_batch": "sequences",
    "devices": "devices",
    **dict.fromkeys(RECOMPUTE, "devices"),
}
_SUFFIXES = {"flops_per_s": "FLOP/s", "bytes_per_s": "bytes/s", "_bytes": "bytes", "_s": "s"}
_SECTIONS = {"params": "parameters", "flops": "FLOP", "memory": "bytes"}


def unit_of(name: str) -> str:
    """The unit that a quantity's dotted name says it is in, '' for a plain number."""
    *sections, last = name.split(".")
    if last in QUANTITIES:
        return _SECTIONS[QUANTITIES[last][0]]
    endings = [unit for suffix, unit in _SUFFIXES.items() if last.endswith(suffix)]
    endings += [unit for section, unit in _SECTIONS.items() if section in sections]
    return _UNITS.get(last) or next(iter(endings), "")


def numbers(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every number in nested mappings and records, by its dotted name."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from numbers(f"{prefix}.{key}", below)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield prefix, value


def _counted(name: str, section: Section) -> Iterator[tuple[str, int]]:
    for quantity, breakdown in section.items():
        yield f"{name}.{quantity}", breakdown.total
        for component, value in breakdown.by_component.items():
            yield f"{name}.{quantity}.{component}", value
        if breakdown.scores is not None:
            yield f"{name}.scores.{quantity}", breakdown.scores


def _measured(workload: str, timing: Throughput) -> Iterator[dict[str, Any]]:
    """A refused workload has one row, with the reason and no value."""
    about = {"seq_len": timing.seq_len, "composed": timing.composed, "refused": timing.refused}
    prefix = f"throughput.{workload}"
    if timing.refused is not None:
        yield {"quantity": f"{prefix}.tokens_per_second", "value": None, "unit": "tokens/s", **about}
    figures = {name: value for name, value in asdict(timing).items() if name not in ("seq_len", "composed")}
    for quantity, value in numbers(prefix, figures):
        name = "speedup" if ".speedup." in quantity else quantity.rpartition(".")[2]
        yield {"quantity": quantity, "value": value, "unit": unit_of(name), **about}


def _plain(result: ModelResult) -> Iterator[dict[str, Any]]:
    """Figures that no clock gave: those of another kind of experiment, and what sheets of devices allow."""
    for sheet, workloads in result.bounds.items():
        for workload, bound in workloads.items():
            yield {"quantity": f"bounds.{sheet}.{workload}.binds", "value": bound.binds, "unit": ""}
    if result.training is not None:
        of_training = [
            *_counted("training", result.training.terms),
            ("training.peak_bytes", result.training.peak_bytes),
        ]
        of_training += numbers("training", result.training.instants)
        for quantity, value in of_training:
            yield {"quantity": quantity, "value": value, "unit": "bytes"}
    for name in ("figures", "bounds", "fits"):
        for quantity, value in numbers(name, getattr(result, name)):
            yield {"quantity": quantity, "value": value, "unit": unit_of(quantity.rpartition(".")[2])}


def _of_model(
    model: Model, result: ModelResult, convention: str, timed_dtype: str | None
) -> Iterator[dict[str, Any]]:
    for choice, value in model.choices.items():
        yield {"quantity": f"choices.{choice}", "value": value, "unit": ""}
    if model.matched is not None:
        for name, value in (*vars(model.matched).items(), ("residual", model.matched.residual)):
            unit = unit_of(model.matched.quantity) if name in ("planned", "achieved") else ""
            yield {"quantity": f"matched.{name}", "value": value, "unit": unit}
    for effect in result.alone:
        for name, value in effect.change.items():
            yield {"quantity": f"alone.{effect.knob}.{name}", "value": value, "unit": unit_of(name)}
    for name, unit in _SECTIONS.items():
        for quantity, value in _counted(name, getattr(result, name)):
            row = {"quantity": quantity, "value": value, "unit": unit}
            yield row | ({"convention": convention} if name == "flops" else {})
    for workload, timing in result.throughput.items():
        for row in _measured(workload, timing):
            yield {"dtype": timed_dtype} | row
    yield from _plain(result)


_IN_PRECISION = {"memory", "bounds", "fits", "kv_cache", "weights"}
"""Parts of the names of quantities that depend on the formats of weights and KV cache."""


def _stored(doc: Document, quantity: str) -> dict[str, str | None]:
    """The formats that a quantity depends on; training is in the dtype."""
    depends = not _IN_PRECISION.isdisjoint(quantity.split(".")) and "train" not in quantity
    return vars(doc.request.precision) if depends else {}


def tidy_rows(doc: Document) -> Iterator[dict[str, Any]]:
    """All rows with all the columns: where they stand, what they are, and how they were come by."""
    axes = list(dict.fromkeys(name for cell in doc.cells for name in cell.point))
    stored_in = ("dtype", "weights", "kv")
    blank = dict.fromkeys(
        ["model", "name", *axes, "quantity", "value", "unit", *stored_in, "convention", "composed", "refused"]
    )
    names = {model.id: model.name for model in doc.models}
    for cell in doc.cells:
        about = {"dtype": doc.request.dtype, **cell.point}
        name = names.get(str(cell.point.get("model")), cell.result.get("name"))
        for model, result in zip(doc.models, cell.models, strict=not cell.result):
            for row in _of_model(model, result, doc.request.convention, doc.timed_dtype):
                own = {"model": model.id, "name": model.name, **_stored(doc, row["quantity"])}
                yield blank | about | own | row
        for quantity, value in numbers("result", cell.result):
            found = {"name": name, "quantity": quantity, "value": value, "unit": unit_of(quantity)}
            yield blank | about | _stored(doc, quantity) | found
