"""The known families and sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from archcmp.cli import options as o
from archcmp.cli.catalog import load_all_sizes
from archcmp.cli.progress import waiting
from archcmp.errors import UsageError, did_you_mean
from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.spec.describe import features, vocabulary
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.find import known_specs
from archcmp.units import Count


def command(
    choices: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="CHOICE", help="Only models with this choice: mla, moe, qk_norm."),
    ] = None,
    min_params: Annotated[str, typer.Option(metavar="N", help="Only models of this size or more.")] = "0",
    max_params: Annotated[str | None, typer.Option(metavar="N", help="Or less: 500M, 10B.")] = None,
    as_json: o.Json = False,
) -> None:
    least, most = _parse_count(min_params), float("inf") if max_params is None else _parse_count(max_params)
    wanted = [choice.lower() for choice in choices or ()]
    known = list(_known_models())
    _check_choices(wanted, {choice.name for choice in vocabulary()})
    models = [m for m in known if {*wanted} <= {*m["choices"]} and least <= m["params"] <= most]
    if as_json:
        typer.echo(json.dumps(models, indent=2))
    else:
        _print(models)


def _parse_count(text: str) -> float:
    """'10B' -> 10,000,000,000. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", text.strip().upper())
    if found is None:
        raise UsageError(f"'{text}' is not a number of parameters; write 500M, 10B or 1.5T")
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[2]]


def _params(spec: ModelSpec) -> int:
    """The published total; counted, which takes torch, only where none is published."""
    if spec.published:
        return spec.published.params
    with waiting("counting"):
        from archcmp.analysis import count

        return count(spec).params["total"].total


def _known_models() -> Iterator[dict[str, Any]]:
    """Every size of every known spec that can be read."""
    for family, path in known_specs().items():
        for named in load_all_sizes([family])[0]:
            spec = named.spec
            yield {
                "id": named.id,
                "family": family,
                "name": spec.title,
                "organization": spec.organization,
                "released": spec.released,
                "params": _params(spec),
                "n_layers": len(layer_blocks(spec)),
                "d_model": spec.d_model,
                "context_length": spec.context_length,
                "choices": sorted(features(spec)),
                "file": str(path),
            }


def _check_choices(wanted: Sequence[str], known: set[str]) -> None:
    for choice in wanted:
        if choice not in known:
            hint = did_you_mean(choice, sorted(known), "Choices")
            raise UsageError(f"no choice is called '{choice}'. {hint}")


def _print(models: Sequence[dict[str, Any]]) -> None:
    """A table, a group per family."""
    rows = []
    for _, sizes in groupby(models, key=lambda model: model["family"]):
        for i, model in enumerate(sizes):
            about = " ".join(part for part in (model["organization"], model["released"]) if part)
            texts = [
                str(Count(model["params"])),
                f"{model['n_layers']} x {model['d_model']:,}",
                f"{model['context_length']:,}",
                about if i == 0 else "",
            ]
            rows.append(Row(model["id"], [Figure(text) for text in texts]))
    note = (
        f"{len(models)} model{'s' if len(models) != 1 else ''}. `archcmp show SPEC` tells more of one; a "
        "bare family name is its default size. --with takes any name that `archcmp choices` explains."
    )
    header = ["spec", "params", "layers x width", "context", "by"]
    print_tables([Table("Known architectures", header, rows, [note])], split=False)
