"""Lists of specs: what is known, and whether it meets its published totals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from archcmp.cli.progress import waiting
from archcmp.errors import ArchcmpError, UsageError, did_you_mean
from archcmp.report.tables import Table
from archcmp.report.terminal import print_tables
from archcmp.spec.describe import features, vocabulary
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import NamedSpec, Reference, all_sizes, load_models
from archcmp.units import Count

if TYPE_CHECKING:
    from archcmp.analysis.check import Check


def _params(subject: NamedSpec) -> int:
    """The published total; counted, which takes torch, only where none is published."""
    if subject.spec.published:
        return subject.spec.published.params
    with waiting("counting"):
        from archcmp.analysis import count

        return count(subject.spec).params.total


def load_what_loads(names: Iterable[str]) -> tuple[list[NamedSpec], int]:
    """Every size of every name, and how many names could not be read, each reported on stderr."""
    subjects: list[NamedSpec] = []
    n_broken = 0
    for name in names:
        try:
            subjects += load_models(all_sizes(name))
        except ArchcmpError as error:
            typer.echo(f"archcmp: {error}", err=True)
            n_broken += 1
    return subjects, n_broken


@dataclass(frozen=True)
class Filter:
    """Which models a list keeps: with all of these choices, and parameters within bounds."""

    choices: tuple[str, ...] = ()
    min_params: float = 0.0
    max_params: float = float("inf")

    def keeps(self, spec: ModelSpec, params: int) -> bool:
        return features(spec).issuperset(self.choices) and self.min_params <= params <= self.max_params


def parse_count(text: str) -> float:
    """'10B' -> 10,000,000,000. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", text.strip().upper())
    if found is None:
        raise UsageError(f"'{text}' is not a number of parameters; write 500M, 10B or 1.5T")
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[2]]


def known_models(wanted: Filter) -> list[dict[str, Any]]:
    """Every size of every known spec that can be read and is wanted. Raises UsageError for a choice that no
    model makes."""
    models = []
    known = known_specs()
    seen: set[str] = set()
    for family, path in known.items():
        for subject in load_what_loads([family])[0]:
            spec = subject.spec
            seen |= features(spec)
            params = _params(subject)
            if not wanted.keeps(spec, params):
                continue
            models.append(
                {
                    "id": subject.id,
                    "family": family,
                    "name": spec.title,
                    "organization": spec.organization,
                    "released": spec.released,
                    "params": params,
                    "n_layers": len(layer_blocks(spec)),
                    "d_model": spec.d_model,
                    "context_length": spec.context_length,
                    "choices": sorted(features(spec)),
                    "file": str(path),
                }
            )
    for choice in wanted.choices:
        if choice not in seen:
            raise UsageError(
                f"no known model has '{choice}'. {did_you_mean(choice, sorted(seen), 'Choices')}"
            )
    return models


def print_catalog(models: Sequence[dict[str, Any]]) -> None:
    """The same as a table, a group per family."""
    rows: list[list[str]] = []
    for _, sizes in groupby(models, key=lambda model: model["family"]):
        first = True
        for model in sizes:
            about = " ".join(part for part in (model["organization"], model["released"]) if part)
            rows.append(
                [
                    model["id"],
                    str(Count(model["params"])),
                    f"{model['n_layers']} x {model['d_model']:,}",
                    f"{model['context_length']:,}",
                    about if first else "",
                ]
            )
            first = False
    header = ["spec", "params", "layers x width", "context", "by"]
    counted = f"{len(models)} model" + ("s" if len(models) != 1 else "")
    note = (
        f"{counted}. `archcmp show SPEC` tells more of one; a bare family name is its default size. "
        "--with takes any name under choices in `archcmp list --json`; `archcmp choices` explains them."
    )
    print_tables([Table("Known architectures", header, rows, [note], n_text=1)], split=False)


def choices_in_use() -> list[dict[str, Any]]:
    """Every choice of the vocabulary with the known families that make it."""
    subjects, _ = load_what_loads(known_specs())
    made: dict[str, list[str]] = {}
    for subject in subjects:
        family = Reference.parse(subject.id).family
        for feature in features(subject.spec):
            families = made.setdefault(feature, [])
            if family not in families:
                families.append(family)
    return [asdict(choice) | {"used_by": made.get(choice.name, [])} for choice in vocabulary()]


def print_choices(choices: Sequence[dict[str, Any]]) -> None:
    """A paragraph per choice: where it stands in a spec, what it means, who uses it."""
    console = Console(highlight=False)
    for choice in choices:
        place = ".".join(part for part in (choice["slot"], choice["name"]) if part)
        console.print(Text(place, style="bold cyan"))
        console.print(Padding(Text(choice["meaning"]), (0, 0, 0, 4)))
        users = ", ".join(choice["used_by"])
        about = [part for part in (f"used by {users}" if users else "", choice["source"]) if part]
        if about:
            console.print(Padding(Text("; ".join(about), style="dim"), (0, 0, 0, 4)))


def print_checks(checks: Sequence[Check]) -> None:
    """A line per model: the total that was built, and how it stands to the published one."""
    width = max((len(result.id) for result in checks), default=0)
    for result in checks:
        if result.published is None:
            verdict = "ok, no published total to compare with"
        elif result.differs:
            verdict = (
                f"DIFFERS from the published {result.published:,} by {result.params - result.published:+,}"
            )
        elif result.of == "configuration":
            verdict = "ok, as transformers builds the published configuration"
        else:
            verdict = "ok, as published"
        typer.echo(f"{result.id:<{width}}  {result.params:>16,} parameters  {verdict}")
