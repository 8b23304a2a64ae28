"""The Python API: each kind of experiment as a function that returns its document.

A model is named by a reference, such as "olmo2:13b+n_layers=16", or given as a ModelSpec.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archcmp.analysis import count_blocks
from archcmp.experiments.core import OnProgress
from archcmp.experiments.runner import Session
from archcmp.report import diagram
from archcmp.report.export import export
from archcmp.report.page.page import fragment
from archcmp.results import store
from archcmp.results.document import Document
from archcmp.results.rows import tidy_rows
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import all_sizes, load_models

Models = str | Path | ModelSpec | Sequence[str | Path | ModelSpec]


@dataclass(frozen=True, repr=False)
class Results(Document):
    """A document that can be taken apart, written, and looked at."""

    def rows(self) -> list[dict[str, Any]]:
        """A plain dictionary per cell, model and quantity, which pandas takes as they are."""
        return list(tidy_rows(self))

    def export(self, path: str | Path, standalone: bool = False) -> None:
        """Write a .json, .csv, .md, .tex or .html file. A .tex file holds tables for another
        document, or, `standalone`, is one. Raises UsageError."""
        export(self, Path(path), standalone)

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.models)
        return f"<{self.kind} of {names}; {len(self.cells)} of {len(self.request.points())} cells>"

    def _repr_html_(self) -> str:
        return fragment(self)


def run(
    kind: str,
    models: Models = (),
    *,
    output: str | Path | None = None,
    resume: str | Path | None = None,
    on_progress: OnProgress | None = None,
    on_document: Callable[[Document], None] | None = None,
    **options: Any,
) -> Results:
    """Run an experiment of any kind. `options` are those of Request; `output` is a new file that keeps
    every cell, `resume` continues one. Raises SpecError and UsageError for bad input, before anything is
    built, MeasureError for what cannot be measured, and KeyboardInterrupt when interrupted."""
    session = Session(kind, _references(models), options, None if resume is None else Path(resume), _warn)
    if output is not None:
        session.keep_in(Path(output))
    try:
        return Results(**vars(session.run(on_document, on_progress)))
    finally:
        session.rescue()


def _references(models: Models) -> list[str | ModelSpec]:
    given = [models] if isinstance(models, (str, Path, ModelSpec)) else models
    return [str(model) if isinstance(model, Path) else model for model in given]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _with_devices(options: dict[str, Any], on: str | Sequence[str]) -> dict[str, Any]:
    """The options of an experiment, with the devices that `on` names, if any."""
    return {**options, "options": {**options.get("options", {}), "on": _listed(on)}} if on else options


def _axes(**given: Any) -> dict[str, list[Any]]:
    """The axes that were given; one value is an axis of one."""
    found = {axis: value for axis, value in given.items() if value is not None}
    return {axis: list(v) if isinstance(v, Sequence) else [v] for axis, v in found.items()}


def _workloads(measure: str | Sequence[str] | None) -> str | Sequence[str] | None:
    """As Request has them: none of them for None, the usual ones where none is named."""
    return [] if measure is None else measure or None


def compare(
    models: Models = (),
    measure: str | Sequence[str] | None = (),
    *,
    batch_size: int | None = None,
    seq_len: int | None = None,
    on: str | Sequence[str] = (),
    **options: Any,
) -> Results:
    """Models side by side, one sequence of 2048 tokens (or fewer, where learned positions end sooner) unless
    others are given. `measure` names the workloads to time, all by default; None counts only. `on` names
    devices whose published figures bound the speed, such as "h100". Other options: `run`'s and Request's."""
    axes = _axes(batch_size=batch_size, seq_len=seq_len)
    return run("comparison", models, measure=_workloads(measure), axes=axes, **_with_devices(options, on))


def fit(
    models: Models,
    on: str | Sequence[str],
    *,
    batch_size: int | None = None,
    context: int | None = None,
    **options: Any,
) -> Results:
    """Whether the models fit in the memory of the devices that `on` names, such as "h100" or a path to a
    sheet: weights and cache, the longest context, the largest batch, and devices to train on."""
    axes = _axes(batch_size=batch_size, seq_len=context)
    return run("fit", models, axes=axes, options={"on": _listed(on)}, **options)


def bench(
    models: Models = (),
    measure: str | Sequence[str] | None = (),
    *,
    batch_sizes: Sequence[int] | None = None,
    seq_lens: Sequence[int] | None = None,
    on: str | Sequence[str] = (),
    **options: Any,
) -> Results:
    """A comparison at every pair of a batch size and a sequence length. `budget_s` is for each. `measure`
    names the workloads to time, prefill and decode by default; None counts only. `on` is as in `compare`."""
    axes = _axes(batch_size=batch_sizes, seq_len=seq_lens)
    return run("grid", models, measure=_workloads(measure), axes=axes, **_with_devices(options, on))


def race(
    model: Models = (),
    against: str | None = None,
    *,
    batch_size: int | None = None,
    seq_len: int | None = None,
    **options: Any,
) -> Results:
    """One model against another way to compute the same: "transformers" (by default), "composed" or "masked",
    one sequence of 1024 tokens unless others are given."""
    chosen = None if against is None else {"against": against}
    return run("race", model, axes=_axes(batch_size=batch_size, seq_len=seq_len), options=chosen, **options)


def stability(
    models: Models = (),
    *,
    learning_rates: Sequence[float] | None = None,
    seeds: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    **options: Any,
) -> Results:
    """Proxies of the models, trained at every learning rate from `seeds` seeds (3 unless given). `recipe` has
    the fields of training.recipe.Recipe that are not as usual, such as {"steps": 300}, and `stress`, `text`
    (a path), `jobs` and `compile` ("auto", "always" or "never"). `budget_s` is for all runs."""
    axes = _axes(learning_rate=learning_rates, seed=None if seeds is None else range(seeds))
    return run("stability", models, axes=axes, options=dict(recipe or {}), **options)


def ablate(
    a: str | Path | ModelSpec,
    b: str | Path | ModelSpec,
    measure: str | Sequence[str] = (),
    *,
    by: str | None = None,
    order: str | Sequence[str] = (),
    knobs: str | Sequence[str] = (),
    batch_size: int | None = None,
    seq_len: int | None = None,
    **options: Any,
) -> Results:
    """The path from `a` to `b`, a difference at a time: those in `order` first, then always the one that
    changes the quantity `by` most. `knobs` are the only differences to go through. `measure` names workloads
    to time, each row against the one above it."""
    given = {"by": by, "order": _listed(order), "knobs": _listed(knobs)}
    chosen = {name: value for name, value in given.items() if value}
    axes = _axes(batch_size=batch_size, seq_len=seq_len)
    return run("ablation", (a, b), measure=measure, axes=axes, options=chosen, **options)


def read(path: str | Path) -> Results:
    """The results in a file, of any version. Raises UsageError."""
    return Results(**vars(store.read(path)))


def list_specs() -> list[str]:
    """A reference for every size of every known family."""
    return [reference for family in known_specs() for reference in all_sizes(family)]


def draw(models: Models, path: str | Path | None = None, scale: str | None = None) -> None:
    """Draw models side by side in a .svg, .html, .png or .mmd (Mermaid) file, or without a path, print them
    as text. With `scale` (params, or flops of a forward pass over 2,048 tokens) the heights of boxes are in
    proportion to it. Raises SpecError and UsageError."""
    path = None if path is None else Path(path)
    diagram.check_drawing(path, scale)
    named = load_models(_references(models))
    subjects = [diagram.Subject.counted(each.name, each.spec, count_blocks(each.spec)) for each in named]
    if path is None:
        diagram.show(subjects)
    else:
        diagram.write(subjects, path, scale)
