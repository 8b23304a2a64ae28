"""The known families and sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
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
from archcmp.spec.layers import layer_blocks
from archcmp.spec.vocabulary import by_place, features, names_of, places, vocabulary
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import default_size, load_spec
from archcmp.units import Bytes, Count

Known = dict[str, Any]
"""What is listed of a model."""

GROUPS: dict[str, Callable[[Known], str]] = {
    "family": lambda model: str(model["family"]),
    "organization": lambda model: model["organization"] or "unknown organization",
    "date": lambda model: (model["released"] or "unknown date")[:4],
}
"""What `--by` takes -> the heading that a model stands under."""
ORDERS = {
    "params": "params",
    "active": "active",
    "kv": "kv_cache_per_token_bytes",
    "context": "context_length",
    "date": "released",
}
"""What `--sort` takes -> what a model is sorted by."""
UNCERTAIN = "Not certain:"
"""With this a spec's note names fields that its publisher's files do not confirm."""


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
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only models released then or later: 2026, 2026-03.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Group by family, organization or date (a group per year, newest first).",
            autocompletion=complete.one_of(GROUPS),
        ),
    ] = "family",
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Largest or newest first, by params, active, kv (cache per token), context or date: in one "
            "list, or within the groups of --by organization or date.",
            autocompletion=complete.one_of(ORDERS),
        ),
    ] = None,
    count_missing: Annotated[
        bool, typer.Option("--count", help="Count the parameters of models without a published total.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    bounds = _parse_count(min_params), _parse_count(max_params)
    _check_date(since)
    check_name("grouping", by, list(GROUPS))
    if sort is not None:
        check_name("order", sort, list(ORDERS))
    wanted = {name.strip().lower() for choice in choices or () for name in choice.split(",")}
    if wanted:
        explained = {name for place in by_place() for name in names_of(place)}
        for choice in wanted - explained:
            check_name("choice", choice, sorted({choice.name for choice in vocabulary()}))
    models = _matching(list(_known_models(described=as_json)), patterns or ())
    models = [model for model in models if not wanted or wanted <= _choices_of(model["id"])]
    models = [model for model in models if since is None or (model["released"] or "") >= since]
    if count_missing:
        _count(models)
    models = [model for model in models if _is_between(model["params"], *bounds)]
    if sort == "kv":
        _count_cache(models)
    models = _in_order(models, by, sort)
    if as_json:
        typer.echo(json.dumps(models, indent=2))
    else:
        _print(models, by, sort)


def _parse_count(text: str | None) -> float | None:
    """'10B' -> 10,000,000,000. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", text.strip().upper())
    if found is None:
        raise UsageError(f"'{text}' is not a number of parameters; write 500M, 10B or 1.5T")
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[2]]


def _check_date(text: str | None) -> None:
    if text is not None and not re.fullmatch(r"\d{4}(-(0[1-9]|1[0-2]))?", text):
        raise UsageError(f"'{text}' is not a date; write a year or a month: 2026, 2026-03")


def _in_order(models: Sequence[Known], by: str, sort: str | None) -> list[Known]:
    """Groups by name, years from the newest on; within them as they are, or sorted, unknown values last."""
    found = list(models)
    order = sort or ("date" if by == "date" else None)
    if order is not None:
        key = ORDERS[order]
        known = [model for model in found if model[key] is not None]
        unknown = [model for model in found if model[key] is None]
        found = sorted(known, key=lambda model: model[key], reverse=True) + unknown
    if by == "organization":
        return sorted(found, key=GROUPS[by])
    if by == "date":
        return sorted(found, key=lambda model: (model["released"] or "")[:4], reverse=True)
    return found


def _is_between(params: int | None, least: float | None, most: float | None) -> bool:
    """Whether a total is within the bounds that are given; an unknown one is within none."""
    if params is None:
        return least is None and most is None
    return (least or 0) <= params <= (float("inf") if most is None else most)


def _matching(models: Sequence[Known], patterns: Sequence[str]) -> list[Known]:
    """The models whose reference or title contains a pattern. Raises UsageError for a pattern of none."""
    found = []
    for pattern in patterns:
        those = [m for m in models if any(pattern.lower() in m[key].lower() for key in ("id", "name"))]
        if not those:
            hint = did_you_mean(pattern, dict.fromkeys(model["family"] for model in models), "Families")
            raise UsageError(f"no model's name contains '{pattern}'. {hint}")
        found += those
    return [model for model in models if model in found] if patterns else list(models)


def _count(models: Sequence[Known]) -> None:
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


def _count_cache(models: Sequence[Known]) -> None:
    """What a token adds to the KV cache of each model, in bfloat16, which takes torch."""
    with waiting("counting"):
        from archcmp.analysis import count

        for model in models:
            memory = count(load_spec(model["id"]), seq_len=1, convention="6n").memory
            model[ORDERS["kv"]] = memory[ORDERS["kv"]].total


def _choices_of(reference: str) -> set[str]:
    """Every name by which `--with` finds a model."""
    return {name for place in places(load_spec(reference)) for name in names_of(place)}


def _known_models(described: bool) -> Iterator[Known]:
    """Every size of every known spec that can be read; with its choices, if they are to be `described`."""
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
                "choices": sorted(features(spec)) if described else [],
                "note": spec.note,
                "file": str(path),
            }


def _print(models: Sequence[Known], by: str, sort: str | None) -> None:
    """A table. Groups other than families have headings: a family is in the names of its models."""
    cells = _cells(by, sort)
    rows = []
    for heading, group in groupby(models, key=GROUPS[by]):
        if by != "family":
            rows.append(Row(heading, [Figure("") for _ in cells]))
        before: tuple[str, str] | None = None
        for model in group:
            texts = [text(model) for text in cells.values()]
            about = model["family"], texts[-1]
            if sort is None and about == before:
                texts[-1] = ""
            before = about
            marks = " *" * model["default"] + " ?" * _is_uncertain(model)
            rows.append(Row(model["id"] + marks, [Figure(text) for text in texts], int(by != "family")))
    print_tables([Table("Known architectures", ["spec", *cells], rows, [_note(models)])], split=False)


def _cells(by: str, sort: str | None) -> dict[str, Callable[[Known], str]]:
    """The columns beside the name. The cache per token takes the place of the shape, for width."""
    about = ["released"] if by == "organization" else ["organization", "released"]
    shape: dict[str, Callable[[Known], str]] = {
        "layers x width": lambda model: f"{model['n_layers']} x {model['d_model']:,}"
    }
    if sort == "kv":
        shape = {"KV per token": lambda model: str(Bytes(model[ORDERS[sort]]))}
    return {
        "params": lambda model: "-" if model["params"] is None else str(Count(model["params"])),
        "active": lambda model: "" if model["active"] is None else str(Count(model["active"])),
        **shape,
        "context": lambda model: f"{model['context_length']:,}",
        "by": lambda model: " ".join(model[key] for key in about if model[key]),
    }


def _is_uncertain(model: Known) -> bool:
    return UNCERTAIN in (model["note"] or "")


def _note(models: Sequence[Known]) -> str:
    notes = [
        f"{len(models)} model{'s' if len(models) != 1 else ''}. `archcmp show SPEC` tells more of one; a "
        "bare family name stands for the size with a *. --with takes any name that `archcmp choices` "
        "explains. Active is what one token visits of a mixture of experts."
    ]
    if any(model["params"] is None for model in models):
        notes.append("A model with a - has no published total; --count counts it.")
    if any(_is_uncertain(model) for model in models):
        notes.append("A ? marks a model of which a field is not certain; `archcmp show SPEC` names it.")
    return " ".join(notes)
