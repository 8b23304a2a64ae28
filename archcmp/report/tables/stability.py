"""Stability: losses over learning rates, what they say of each model, probes, and hypotheses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables import stability_notes as notes
from archcmp.report.tables.comparison import choices_table
from archcmp.report.tables.rows import header
from archcmp.report.tables.stability_notes import Unit
from archcmp.results.document import Cell, Document, Status
from archcmp.units import Share

_CENSORED = {"above": "at least ", "below": "at most ", "both": "about "}


def tables(doc: Document, show_all: bool) -> list[Table]:
    made = [choices_table(doc, show_all)] if any(model.choices for model in doc.models) else []
    if doc.cells and doc.summary:
        made += [losses_table(doc), stability_table(doc), probes_table(doc)]
        made += [hypotheses_table(doc)] if doc.summary["hypotheses"] else []
    return made


# ---- losses -----------------------------------------------------------------------------------------


def _at_rate(point: Mapping[str, Any], n_seeds: int) -> Figure:
    """'4.42; 1 of 3 diverged'; '4.42; 2 of 3 runs' while one is still to come."""
    n_runs, n_diverged = point["runs"], point["diverged"]
    if not n_runs or point["loss"] is None:
        return Figure()
    parts = [notes.loss(point["loss"])]
    parts += [f"{n_diverged:,} of {n_runs:,} diverged"] if n_diverged else []
    parts += [f"{n_runs:,} of {n_seeds:,} runs"] if n_runs < n_seeds else []
    return Figure("; ".join(parts))


def losses_table(doc: Document) -> Table:
    """A row per learning rate, a column per model."""
    n_seeds = len(doc.request.axes["seed"])
    curves = [doc.summary["curves"][model.id] for model in doc.models]
    rows = [
        Row(f"{points[0]['learning_rate']:g}", [_at_rate(point, n_seeds) for point in points])
        for points in zip(*curves, strict=True)
    ]
    about = notes.of_losses(doc)
    return Table("Final loss by learning rate", header(doc, "learning rate"), rows, about, measured=True)


# ---- stability --------------------------------------------------------------------------------------


def _numbers(label: str, values: Sequence[float | None], unit: Unit) -> Row:
    return Row(label, [Figure(value, unit) for value in values])


def _mean_rows(label: str, models: Sequence[Mapping[str, Any]], name: str) -> list[Row]:
    """A mean over seeds in nats per byte, and its interval below it."""
    ends = [model["intervals"][name] for model in models]
    intervals = [Figure(notes.between(end["low"], end["high"], notes.loss)) for end in ends]
    return [_numbers(label, [model[name] for model in models], notes.loss), Row("interval", intervals, 1)]


def _bounded(value: float | None, unit: Unit, censored: str | None) -> Figure:
    return Figure() if value is None else Figure(_CENSORED.get(str(censored), "") + unit(value))


def _critical_rows(models: Sequence[Mapping[str, Any]]) -> list[Row]:
    found = [model["critical_learning_rate"] for model in models]
    intervals = [
        notes.between(c["low"], c["high"], notes.short) or (c["censored"] and "not known") for c in found
    ]
    return [
        Row("critical LR", [_bounded(c["value"], notes.short, c["censored"]) for c in found]),
        Row("interval", [Figure(text) for text in intervals], 1),
    ]


def stability_table(doc: Document) -> Table:
    """What the runs of all seeds say of each model."""
    summary = doc.summary
    models = [summary["models"][model.id] for model in doc.models]
    censored = [model["critical_learning_rate"]["censored"] for model in models]
    margins = [
        _bounded(model["safety_margin"], notes.factor, c) for model, c in zip(models, censored, strict=True)
    ]
    diverged = [f"{m['diverged']:,} of {m['runs']:,}" if m["runs"] else None for m in models]
    words = {True: "yes", False: "no", None: None}
    rows = [
        *_critical_rows(models),
        *_mean_rows("LR sensitivity", models, "sensitivity"),
        Row("diverged runs", [Figure(text) for text in diverged]),
        _numbers("best LR", [model["best_learning_rate"] for model in models], lambda rate: f"{rate:g}"),
        *_mean_rows("loss at best LR", models, "best_loss"),
    ]
    if (shared := summary["shared_best_learning_rate"]) is not None:
        rows += _mean_rows(f"loss at LR {shared:g}", models, "shared_best_loss")
    rows.append(Row("safety margin", margins))
    if len(models) > 1:
        rows.append(Row("curve coincides", [Figure(words[model["coincides"]]) for model in models]))
    return Table("Stability", header(doc), rows, notes.of_stability(doc), measured=True)


# ---- probes -----------------------------------------------------------------------------------------


def _done(doc: Document) -> list[Cell]:
    return [cell for cell in doc.cells if cell.status is Status.DONE]


def _at_end(result: Mapping[str, Any], name: str) -> list[float]:
    """One figure per layer that has it, infinite where it is no longer finite."""
    moments = result["probes"].get(name) or [[]]
    ends = zip(moments[0], moments[-1], strict=True)
    return [math.inf if end is None else end for start, end in ends if (start, end) != (None, None)]


def _lowest_entropy(result: Mapping[str, Any]) -> float | None:
    layers = _at_end(result, "entropy_min")
    return math.inf if math.inf in layers else min(layers, default=None)


def _last_rms(result: Mapping[str, Any]) -> float | None:
    layers = _at_end(result, "residual_rms")
    return layers[-1] if layers else None


_PROBES: dict[str, tuple[Callable[[Mapping[str, Any]], float | None], Unit]] = {
    "largest logit": (lambda result: max(_at_end(result, "max_logit"), default=None), notes.figure),
    "logit growth": (lambda result: result["logit_growth"], lambda growth: f"{notes.figure(growth)}x"),
    "lowest entropy": (_lowest_entropy, notes.figure),
    "residual RMS": (_last_rms, notes.figure),
    "gradient norm": (lambda result: max(result["gradient_norms"], default=None), notes.figure),
    "spike share": (lambda result: result["gradient_spike_share"], lambda share: str(Share(share))),
}
"""How each is found in a run, and how it is printed."""


def _median(cells: Sequence[Cell], find: Callable[[Mapping[str, Any]], float | None]) -> float | None:
    """A figure that one of the runs has: of two, the higher."""
    values = [value for cell in cells if (value := find(cell.result)) is not None]
    return statistics.median_high(values) if values else None


def _probe_rows(doc: Document, rate: float) -> list[Row]:
    """The medians at one learning rate below a row that names it; none where there is no run."""
    here = [cell for cell in _done(doc) if cell.point["learning_rate"] == rate]
    by_model = [[cell for cell in here if cell.point["model"] == model.id] for model in doc.models]
    rows = []
    for label, (find, unit) in _PROBES.items():
        values = [_median(cells, find) for cells in by_model]
        if any(value is not None for value in values):
            rows.append(Row(label, [Figure(value, unit) for value in values], 1))
    return [Row(f"at LR {rate:g}", [Figure("")] * len(doc.models)), *rows] if rows else []


def probes_table(doc: Document) -> Table:
    """What was seen inside the models at the shared best learning rate and at the largest one."""
    shared, largest = doc.summary["shared_best_learning_rate"], max(doc.request.axes["learning_rate"])
    rates = dict.fromkeys([largest] if shared is None else [shared, largest])
    rows = [row for rate in rates for row in _probe_rows(doc, rate)]
    unscored = any(not _at_end(cell.result, "max_logit") for cell in _done(doc))
    about = notes.of_probes([row.label for row in rows], unscored)
    return Table("Probes", header(doc), rows, about, measured=True)


# ---- hypotheses -------------------------------------------------------------------------------------


def _effect(found: Mapping[str, Any]) -> Figure:
    """'3.2x (1.0x to 10x)'."""
    if found["effect"] is None:
        return Figure()
    interval = notes.between(found["low"], found["high"], notes.decades)
    return Figure(notes.decades(found["effect"]) + (f" ({interval})" if interval else ""))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def hypotheses_table(doc: Document) -> Table:
    """A row per hypothesis, then the main effects of a 2x2."""
    tested, main_effects = doc.summary["hypotheses"], doc.summary["main_effects"]
    rows = [Row(h["name"], [_effect(h), Figure(h["p"], _p), Figure(h["verdict"])]) for h in tested]
    rows += [Row(effect["name"], [_effect(effect), Figure(), Figure()]) for effect in main_effects]
    about = notes.of_hypotheses(doc)
    return Table("Hypotheses", ["", "effect", "p", "verdict"], rows, about, n_text=4, measured=True)
