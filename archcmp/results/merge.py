"""Documents of several runs, side by side in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from archcmp.errors import UsageError
from archcmp.results.document import Cell, Document, Environment, Model, ModelResult, Status
from archcmp.results.request import Point, Request

_ALIKE = ("dtype", "convention")
"""Options that figures side by side must share."""


def check_alike(first: Request, first_name: str, other: Request, other_name: str) -> None:
    """Raises UsageError where two requests ask for figures that cannot stand side by side."""
    for option in _ALIKE:
        here, there = getattr(first, option), getattr(other, option)
        if None not in (here, there) and here != there:
            raise UsageError(
                f"{option} is {here} in {first_name}, but {there} in {other_name}; they cannot be compared"
            )
    stored = zip(vars(first.precision).items(), vars(other.precision).values(), strict=True)
    for (option, here), there in stored:
        if here != there:
            raise UsageError(
                f"{option} has {_format(here)} in {first_name}, but {_format(there)} in {other_name}; they "
                "cannot be compared"
            )


def _format(name: str | None) -> str:
    return "no format of its own" if name is None else f"the format {name}"


def points_of(label: str, doc: Document) -> list[Point]:
    """The points of its cells. Raises UsageError for a document that has none yet."""
    if not doc.cells:
        raise UsageError(f"{label or 'this run'} holds no finished cell, so there is nothing to compare")
    return [cell.point for cell in doc.cells]


def common_points(requests: Iterable[list[Point]]) -> list[Point]:
    """The points that all have, in the order of the first. Raises UsageError where there is none."""
    first, *others = requests
    common = [point for point in first if all(point in other for other in others)]
    if not common:
        places = " and ".join(
            ", ".join(f"{k} {v}" for k, v in points[0].items()) for points in (first, *others)
        )
        raise UsageError(f"the results share no point ({places}), so they cannot be compared")
    return common


def _unpaired(result: ModelResult) -> ModelResult:
    """Ratios of paired readings do not carry over to another run."""
    timings = {name: replace(timing, speedup=None) for name, timing in result.throughput.items()}
    return replace(result, throughput=timings)


def _labelled(model: Model, label: str) -> Model:
    return replace(model, name=f"{model.name} ({label})", source=label)


def _merged_cell(point: Point, cells: Sequence[Cell], base: Environment) -> Cell:
    """What refers to the first model stays only in the run that it is of."""
    first, *others = (cell.models for cell in cells)
    results = [*first, *(replace(_unpaired(result), alone=[]) for other in others for result in other)]
    status = max((cell.status for cell in cells), key=list(Status).index)
    return Cell(point, status, results, base)


def merged(documents: Sequence[tuple[str, Document]]) -> Document:
    """One document with the models of several, each given as (label, document), '' for this run's own. It
    holds the points that all have. Raises UsageError where they were made for different dtypes or have no
    point in common."""
    if len(documents) == 1:
        return documents[0][1]
    labels = [label for label, _ in documents]
    for label, doc in documents:
        if any(cell.result for cell in doc.cells):
            raise UsageError(f"{label or 'this run'} holds a {doc.kind}, which is shown alone")
    own_label, own = documents[labels.index("") if "" in labels else 0]
    for label, doc in documents:
        check_alike(own.request, own_label or "this run", doc.request, label or "this run")
    by_point = [points_of(label, doc) for label, doc in documents]
    cells = []
    for point in common_points(by_point):
        there = [next(cell for cell in doc.cells if cell.point == point) for _, doc in documents]
        cells.append(_merged_cell(point, there, _environment_at(own, point)))
    first = documents[0][1]
    models = [
        replace(_labelled(model, label) if label else model, matched=model.matched if doc is first else None)
        for label, doc in documents
        for model in doc.models
    ]
    axes = {axis: list(dict.fromkeys(cell.point[axis] for cell in cells)) for axis in cells[0].point}
    measure = list(dict.fromkeys(name for _, doc in documents for name in doc.request.measure))
    return replace(
        own,
        request=replace(own.request, axes=axes, measure=measure),
        models=models,
        cells=cells,
        sources={
            label: _environment_at(doc, cells[0].point) for label, doc in documents if label != own_label
        },
    )


def _environment_at(doc: Document, point: Point) -> Environment:
    return next(doc.environment_of(cell) for cell in doc.cells if cell.point == point)
