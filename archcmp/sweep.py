"""A sweep: one comparison for each cell of a grid of batch sizes and sequence lengths, in a file that is
whole after every cell. Torch is loaded only to measure, so that bad input needs none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from archcmp.errors import UsageError
from archcmp.files import write_whole
from archcmp.report.saved import beside, comparison_from, read_document
from archcmp.results import Comparison
from archcmp.settings import DEFAULT_CONVENTION, DEFAULT_DTYPE, check_measure, check_workload, make_settings
from archcmp.spec.yaml.load import NamedSpec, load_models, spec_sha256

if TYPE_CHECKING:
    from archcmp.timing.measurement import OnProgress

SCHEMA = "archcmp.sweep/1"
CELL_BUDGET_S = 20.0
SAME_ENVIRONMENT = ("torch", "device_name", "threads")
"""Figures are comparable only between cells that agree in these."""


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    batch_size: int
    seq_len: int

    def __str__(self) -> str:
        return f"batch {self.batch_size:,} x {self.seq_len:,} tokens"

    @classmethod
    def of(cls, doc: Comparison) -> Cell:
        return cls(doc.settings.batch_size, doc.settings.seq_len)


@dataclass(frozen=True)
class Request:
    """What a sweep measures. `budget_s` is per cell; `dtype` and `device` are None until the device is
    known; `spec_sha256` has a fingerprint per spec, in their order, once they are loaded."""

    specs: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    seq_lens: list[int] = field(default_factory=lambda: [512, 2048, 8192])
    batch_sizes: list[int] = field(default_factory=lambda: [1, 8])
    measure: list[str] = field(default_factory=lambda: ["prefill", "decode"])
    dtype: str | None = None
    device: str | None = None
    budget_s: float = CELL_BUDGET_S
    compose: str = "auto"
    compile: bool = False
    convention: str = DEFAULT_CONVENTION
    spec_sha256: list[str] = field(default_factory=list)

    def cells(self) -> list[Cell]:
        """The grid, length after length for each batch size."""
        return [Cell(batch_size, seq_len) for batch_size in self.batch_sizes for seq_len in self.seq_lens]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Sweep:
    """The sweep's document: what was asked for, and a comparison per cell measured so far."""

    request: Request
    cells: list[Comparison] = field(default_factory=list)
    created: str = field(default_factory=_now)
    schema: str = SCHEMA

    def missing(self) -> list[Cell]:
        """The cells still to be measured."""
        measured = {Cell.of(doc) for doc in self.cells}
        return [cell for cell in self.request.cells() if cell not in measured]

    def as_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, the schema's name first."""
        return {
            "schema": self.schema,
            "created": self.created,
            "request": asdict(self.request),
            "cells": [doc.as_json() for doc in self.cells],
        }


# ---- checking ---------------------------------------------------------------------------------------


def _check_grid(label: str, values: Sequence[int]) -> None:
    if not values:
        raise UsageError(f"no {label} was given")
    if len(set(values)) < len(values):
        raise UsageError(f"a {label} is given twice in {','.join(map(str, values))}")


def subjects_of(request: Request) -> list[NamedSpec]:
    """Load the specs and check every cell. Raises SpecError, and UsageError for a cell that cannot be
    measured and for a spec that no longer has its fingerprint."""
    subjects = load_models(request.specs, request.overrides)
    _check_grid("sequence length", request.seq_lens)
    _check_grid("batch size", request.batch_sizes)
    if not request.measure:
        raise UsageError("no workload was named")
    check_measure(request.measure, request.budget_s, request.compose)
    specs = [subject.spec for subject in subjects]
    for cell in request.cells():
        dtype = request.dtype or DEFAULT_DTYPE
        check_workload(specs, cell.batch_size, cell.seq_len, dtype, request.convention)
    for name, spec, known in zip(request.specs, specs, request.spec_sha256, strict=False):
        if spec_sha256(spec) != known:
            raise UsageError(f"{name} is no longer the spec that this sweep began with; start another sweep")
    return subjects


def check_same(request: Request, given: dict[str, Any]) -> None:
    """Raises UsageError naming the options in `given` that a sweep which is gone on with has otherwise."""
    differing = [
        f"{name} is {_shown(known)}, not {_shown(value)}"
        for name, value in given.items()
        if (known := getattr(request, name)) != value
    ]
    if differing:
        raise UsageError(f"this sweep cannot go on otherwise than it began: {'; '.join(differing)}")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


# ---- the file ---------------------------------------------------------------------------------------


def write_sweep(sweep: Sweep, path: Path) -> None:
    """Write the document whole: the earlier cells survive a kill or a power cut at any moment."""
    write_whole(path, json.dumps(sweep.as_json(), indent=2, allow_nan=False) + "\n")


def read_sweep(path: Path) -> Sweep:
    """A sweep from its file. Raises UsageError if it cannot be read, or is not a sweep's, whole."""
    data = read_document(path)
    if data.get("schema") != SCHEMA:
        raise UsageError(f"'{path}' is not a sweep ({SCHEMA})")
    try:
        request = TypeAdapter(Request).validate_python(data["request"])
        cells = [comparison_from(cell, f"a cell of {path}") for cell in data["cells"]]
        sweep = Sweep(request, cells, str(data["created"]))
    except (ValidationError, KeyError, TypeError):
        raise UsageError(f"'{path}' is damaged: it is not as a sweep writes it") from None
    if not _is_consistent(sweep):
        raise UsageError(f"'{path}' is damaged: its cells are not those that it asks for")
    return sweep


def _is_consistent(sweep: Sweep) -> bool:
    """Whether something is asked for, and every cell is of the grid, there once, and of the specs."""
    places, request = [Cell.of(doc) for doc in sweep.cells], sweep.request
    return (
        bool(request.cells() and request.measure)
        and set(places) <= set(request.cells())
        and len(set(places)) == len(places)
        and all([model.spec_sha256 for model in doc.models] == request.spec_sha256 for doc in sweep.cells)
    )


def saved_cells(path: Path) -> list[Comparison]:
    """The comparisons in a saved sweep, or the one in a saved comparison. Raises UsageError for another
    file."""
    doc = read_document(path)
    return read_sweep(path).cells if doc.get("schema") == SCHEMA else [comparison_from(doc, str(path))]


def beside_saved(
    cells: Sequence[Comparison], saved: Sequence[tuple[str, Sequence[Comparison]]]
) -> list[Comparison]:
    """The cells that all have, each with the models of all. Raises UsageError where there is none, or where
    they were made for different dtypes or conventions."""
    groups: dict[Cell, list[tuple[str, Comparison]]] = {}
    sources = [*saved, ("", cells)] if cells else list(saved)
    for label, docs in sources:
        for doc in docs:
            groups.setdefault(Cell.of(doc), []).append((label, doc))
    common = [beside(group) for group in groups.values() if len(group) == len(sources)]
    if not common:
        raise UsageError("no batch size and sequence length is in all of the saved results")
    return common


# ---- measuring --------------------------------------------------------------------------------------


def resolved(sweep: Sweep, subjects: Sequence[NamedSpec]) -> Sweep:
    """With the device, the dtype native to it unless one was asked for, and the specs' fingerprints.
    Raises UsageError for a device that is not here."""
    from archcmp.timing.device import native_dtype, resolve_device

    device = resolve_device(sweep.request.device)
    request = replace(
        sweep.request,
        device=str(device),
        dtype=sweep.request.dtype or native_dtype(device),
        spec_sha256=[spec_sha256(subject.spec) for subject in subjects],
    )
    return replace(sweep, request=request)


def environment_changes(sweep: Sweep) -> list[str]:
    """In what the measured cells' environment is not today's: 'torch 2.12.0, now 2.13.0'."""
    from archcmp.timing.device import device_facts, resolve_device, versions

    now = versions() | device_facts(resolve_device(sweep.request.device))
    changes = []
    for name in SAME_ENVIRONMENT:
        earlier = sorted({str(doc.environment.get(name)) for doc in sweep.cells})
        if earlier and earlier != [str(now[name])]:
            changes.append(f"{name} {' and '.join(earlier)}, now {now[name]}")
    return changes


def measure_cell(
    request: Request, subjects: Sequence[NamedSpec], cell: Cell, on_progress: OnProgress
) -> Comparison:
    """One cell, counted and measured within the request's budget."""
    from archcmp.pipeline import count_all, measure_all, plan_measuring

    specs = [subject.spec for subject in subjects]
    dtype = request.dtype or DEFAULT_DTYPE
    settings = make_settings(specs, cell.batch_size, cell.seq_len, dtype, request.convention)
    settings, measuring = plan_measuring(
        settings,
        workloads=request.measure,
        device=request.device,
        dtype=request.dtype,
        budget_s=request.budget_s,
        compose=request.compose,
        compile=request.compile,
    )
    assert measuring is not None, "a sweep names a workload"
    return measure_all(count_all(subjects, settings), subjects, measuring, on_progress)


def run(
    sweep: Sweep, path: Path, measure: Callable[[Cell, OnProgress], Comparison], on_progress: OnProgress
) -> Iterator[Sweep]:
    """Measure what is missing, and yield the sweep after each cell once it is in the file. Raises
    KeyboardInterrupt for an interrupted cell, of which nothing is kept."""
    write_sweep(sweep, path)
    n_cells = len(sweep.request.cells())
    for cell in sweep.missing():
        n_done = len(sweep.cells)
        doc = measure(cell, _within(on_progress, f"cell {n_done + 1} of {n_cells}, {cell}", n_done, n_cells))
        if doc.environment.get("interrupted"):
            raise KeyboardInterrupt
        sweep = replace(sweep, cells=[*sweep.cells, doc])
        write_sweep(sweep, path)
        yield sweep


def _within(on_progress: OnProgress, place: str, n_done: int, n_cells: int) -> OnProgress:
    """One cell's progress as the whole sweep's."""
    return lambda text, share: on_progress(f"{place}, {text}", (n_done + share) / n_cells)
