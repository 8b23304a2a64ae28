"""The known families and sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.catalog import load_all_sizes
from archcmp.cli.progress import waiting
from archcmp.errors import UsageError, did_you_mean
from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.results.request import check_name
from archcmp.spec.describe import features, places, vocabulary
from archcmp.spec.layers import layer_blocks
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import default_size, load_spec
from archcmp.units import Count


def command(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN",
            help="Only models whose name contains it: gemma, 7b.",
            autocompletion=complete.families,
        ),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="CHOICE",
            help="Only models with this choice: mla, moe, qk_norm; repeatable.",
            autocompletion=complete.choices,
        ),
    ] = None,
    min_params: Annotated[
        str | None, typer.Option(metavar="N", help="Only models of this size or more.")
    ] = None,
    max_params: Annotated[str | None, typer.Option(metavar="N", help="Or less: 500M, 10B.")] = None,
    count_missing: Annotated[
        bool, typer.Option("--count", help="Count the parameters of models without a published total.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    bounds = _parse_count(min_params), _parse_count(max_params)
    wanted = {name.strip().lower() for choice in choices or () for name in choice.split(",")}
    dotted = {choice.place for choice in vocabulary()}
    known = sorted({choice.name for choice in vocabulary()})
    for choice in wanted - dotted:
        check_name("choice", choice, known)
    models = _matching(list(_known_models()), patterns or ())
    models = [model for model in models if wanted <= {*model["choices"], *model.pop("places")}]
    if count_missing:
        _count(models)
    models = [model for model in models if _is_between(model["params"], *bounds)]
    if as_json:
        typer.echo(json.dumps(models, indent=2))
    else:
        _print(models)


def _parse_count(text: str | None) -> float | None:
    """'10B' -> 10,000,000,000. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", text.strip().upper())
    if found is None:
        raise UsageError(f"'{text}' is not a number of parameters; write 500M, 10B or 1.5T")
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[2]]


def _is_between(params: int | None, least: float | None, most: float | None) -> bool:
    """Whether a total is within the bounds that are given; an unknown one is within none."""
    if params is None:
        return least is None and most is None
    return (least or 0) <= params <= (float("inf") if most is None else most)


def _matching(models: Sequence[dict[str, Any]], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The models whose reference or title contains a pattern. Raises UsageError for a pattern of none."""
    found = []
    for pattern in patterns:
        those = [m for m in models if any(pattern.lower() in m[key].lower() for key in ("id", "name"))]
        if not those:
            hint = did_you_mean(pattern, dict.fromkeys(model["family"] for model in models), "Families")
            raise UsageError(f"no model's name contains '{pattern}'. {hint}")
        found += those
    return [model for model in models if model in found] if patterns else list(models)


def _count(models: Sequence[dict[str, Any]]) -> None:
    """Fill in what is not published, which takes torch."""
    missing = [model for model in models if model["params"] is None]
    if not missing:
        return
    with waiting("counting"):
        from archcmp.analysis import count

        for model in missing:
            params = count(load_spec(model["id"])).params
            total, active = params["total"].total, params["active"].total
            model |= {"params": total, "active": None if active == total else active}


def _known_models() -> Iterator[dict[str, Any]]:
    """Every size of every known spec that can be read."""
    for family, path in known_specs().items():
        found = load_all_sizes([family])[0]
        default = default_size(family) if found else None
        for named in found:
            spec, published = named.spec, named.spec.published
            yield {
                "id": named.id,
                "family": family,
                "name": spec.title,
                "organization": spec.organization,
                "released": spec.released,
                "default": default is not None and spec.size == default,
                "params": published.params if published else None,
                "active": published.active if published else None,
                "n_layers": len(layer_blocks(spec)),
                "d_model": spec.d_model,
                "context_length": spec.context_length,
                "choices": sorted(features(spec)),
                "places": places(spec),
                "file": str(path),
            }


def _print(models: Sequence[dict[str, Any]]) -> None:
    """A table, a group per family."""
    rows = []
    for _, sizes in groupby(models, key=lambda model: model["family"]):
        for i, model in enumerate(sizes):
            about = " ".join(part for part in (model["organization"], model["released"]) if part)
            texts = [
                "-" if model["params"] is None else str(Count(model["params"])),
                "" if model["active"] is None else str(Count(model["active"])),
                f"{model['n_layers']} x {model['d_model']:,}",
                f"{model['context_length']:,}",
                about if i == 0 else "",
            ]
            mark = " *" if model["default"] else ""
            rows.append(Row(model["id"] + mark, [Figure(text) for text in texts]))
    header = ["spec", "params", "active", "layers x width", "context", "by"]
    print_tables([Table("Known architectures", header, rows, [_note(models)])], split=False)


def _note(models: Sequence[dict[str, Any]]) -> str:
    notes = [
        f"{len(models)} model{'s' if len(models) != 1 else ''}. `archcmp show SPEC` tells more of one; a "
        "bare family name stands for the size with a *. --with takes any name that `archcmp choices` "
        "explains. Active is what one token visits of a mixture of experts."
    ]
    if any(model["params"] is None for model in models):
        notes.append("A model with a - has no published total; --count counts it.")
    return " ".join(notes)
