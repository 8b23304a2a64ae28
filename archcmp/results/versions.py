"""Documents of version 1, in which every command had a form of its own, as documents of today."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from archcmp.results.document import SCHEMA

Json = dict[str, Any]


def _label(workload: str, seq_len: int) -> str:
    return f"{workload}, context {seq_len:,}" if workload == "decode" else f"{workload}, {seq_len:,} tokens"


def _environment(old: Json) -> Json:
    rates = {name: old.get(name) for name in ("matmul_flops_per_s", "copy_bytes_per_s")}
    return old | {"rates": None if None in rates.values() else rates}


def _value(text: Any) -> Any:
    """A choice, which version 1 kept as it was displayed: '4,096', 'yes', 'local: 1,024; global: none'."""
    if not isinstance(text, str):
        return text
    if "; " in text and all(": " in part for part in text.split("; ")):
        return {name: _value(value) for name, value in (part.split(": ", 1) for part in text.split("; "))}
    plain = {"none": None, "yes": True, "no": False}
    if text in plain:
        return plain[text]
    for number in (int, float):
        try:
            value = number(text.replace(",", ""))
        except ValueError:
            continue
        if abs(value) < math.inf:  # JSON has neither infinity nor NaN
            return value
    return text


def _section(totals: Json, breakdowns: Json) -> Json:
    """Version 1 broke down only some totals."""
    return {
        name: {"total": total, "by_component": breakdowns.get(name) or {}}
        for name, total in totals.items()
        if isinstance(total, int)
    }


def _result(old: Json) -> Json:
    params, flops, memory = (old.get(name) or {} for name in ("params", "flops", "memory"))
    embedding = params.get("embedding")
    active = {} if embedding is None else {"embedding": embedding}
    totals = {name: params[name] for name in ("total", "active") if name in params}
    timings = {
        workload: timing | {"label": _label(workload, timing["seq_len"]), "raw_s": timing.get("raw_s") or []}
        for workload, timing in (old.get("throughput") or {}).items()
        if timing is not None
    }
    return {
        "params": _section(totals, {"total": params.get("by_component"), "active": active}),
        "flops": _section(flops, {"forward": flops.get("by_component")}),
        "memory": _section(memory, memory.get("by_component") or {}),
        "throughput": timings,
    }


def _status(old: Json, results: Sequence[Json]) -> str:
    if old["environment"].get("interrupted"):
        return "interrupted"
    timings = [timing for result in results for timing in result["throughput"].values()]
    return "refused" if any(timing.get("refused") for timing in timings) else "done"


def _cell(old: Json) -> Json:
    results = [_result(model) for model in old["models"]]
    return {
        "point": {name: old["settings"][name] for name in ("batch_size", "seq_len")},
        "status": _status(old, results),
        "models": results,
        "environment": _environment(old["environment"]),
    }


def _model(old: Json) -> Json:
    """Two variants of one spec had one name; what an id overrides tells them apart."""
    changes = [change.partition("=") for change in str(old["id"]).split("+")[1:] if "=" in change]
    name = " ".join([str(old["name"]), *(f"{key.rpartition('.')[2]}={value}" for key, _, value in changes)])
    choices = {key: _value(text) for key, text in (old.get("choices") or {}).items()}
    return {"id": old["id"], "name": name, "spec_sha256": old.get("spec_sha256", ""), "choices": choices}


def _comparison(old: Json) -> Json:
    settings, environment = old["settings"], old["environment"]
    measured = {name for model in old["models"] for name, t in (model.get("throughput") or {}).items() if t}
    request = {
        "kind": "comparison",
        "specs": [model["id"] for model in old["models"]],
        "axes": {name: [settings[name]] for name in ("batch_size", "seq_len")},
        "measure": sorted(measured),
        "dtype": settings["dtype"],
        "device": environment.get("device"),
        "convention": settings["flops_convention"],
        "budget_s": environment.get("budget_s") or 60.0,
        "compile": bool(environment.get("compiled")),
    }
    return _document(old, request, [_model(model) for model in old["models"]], [_cell(old)])


def _sweep(old: Json) -> Json:
    asked, cells = old["request"], old["cells"]
    axes = {"batch_size": asked["batch_sizes"], "seq_len": asked["seq_lens"]}
    request = asked | {"kind": "grid", "axes": axes}
    first = cells[0]["models"] if cells else []
    return _document(old, request, [_model(model) for model in first], [_cell(cell) for cell in cells])


# ---- races -------------------------------------------------------------------------------------------


def _timing(label: str, seq_len: int, raw_s: list[float], speedup: Json | None = None) -> Json:
    figures = {"median_s": statistics.median(raw_s), "rounds": len(raw_s), "raw_s": raw_s}
    return {"seq_len": seq_len, "label": label, "speedup": speedup, **figures}


def _times_as_fast(times_as_long: Json | None) -> Json | None:
    """Version 1 kept how many times as long the windows' rivals and composed models take."""
    if times_as_long is None:
        return None
    ends = {"median": "median", "low": "high", "high": "low"}
    return {name: 1 / times_as_long[end] for name, end in ends.items()}


_READINGS = {
    "transformers": {"transformers": ("theirs_s", None), "archcmp": ("ours_s", "speedup")},
    "composed": {"whole": ("whole_s", None), "composed": ("composed_s", "ratio")},
    "masked": {
        "windowed": ("ours_s", None),
        "masked": ("masked_s", "over_masked"),
        "global": ("global_s", "over_global"),
    },
}
"""Contest -> contender -> the fields with its seconds and with its ratio to the first contender."""


def _race_cell(old: Json, against: str, shape: Json) -> Json:
    masked = against == "masked"
    axis, entry = ("block", old["block"]) if masked else ("workload", old["workload"])
    label = f"{entry}, window {old['window']:,}" if masked else _label(entry, old["seq_len"])
    models: list[Json] = []
    for seconds, ratio in _READINGS[against].values():
        speedup = old[ratio] if ratio is not None else None
        if ratio != "speedup":
            speedup = _times_as_fast(speedup)
        models.append({"throughput": {entry: _timing(label, old["seq_len"], old[seconds], speedup)}})
    if "logits_std" in old:
        models[0]["figures"] = {
            "output_difference": old["logits_difference"],
            "output_std": old["logits_std"],
        }
    return {"point": {**shape, axis: entry}, "status": "done", "models": models}


def _race(old: Json) -> Json:
    settings, against = old["settings"], old["against"]
    shape = {name: settings[name] for name in ("batch_size", "seq_len")}
    cells = [_race_cell(result, against, shape) for result in old["results"]]
    points: list[Json] = [cell["point"] for cell in cells]
    request = settings | {
        "kind": "race",
        "specs": [old["model"]],
        "axes": {axis: list(dict.fromkeys(point[axis] for point in points)) for axis in points[0]},
        "measure": settings["workloads"],
        "options": {"against": against},
        "compile": settings["compiled"],
    }
    return _document(old, request, [{"id": old["model"], "name": name} for name in _READINGS[against]], cells)


def _document(old: Json, request: Json, models: list[Json], cells: list[Json]) -> Json:
    first = cells[0].get("environment") if cells else None
    environment = first or _environment(old.get("environment") or {})
    return {
        "schema": SCHEMA,
        "kind": request["kind"],
        "environment": environment,
        "request": request,
        "models": models,
        "cells": cells,
        **({"created": old["created"]} if "created" in old else {}),
    }


UPGRADES: dict[str, Callable[[Json], Json]] = {
    "archcmp.comparison/1": _comparison,
    "archcmp.sweep/1": _sweep,
    "archcmp.race/1": _race,
}
