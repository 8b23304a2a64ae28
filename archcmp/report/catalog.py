"""Lists of specs: what is known, and whether it meets its published totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from archcmp.errors import ArchcmpError
from archcmp.report.progress import waiting
from archcmp.report.tables import Table
from archcmp.report.terminal import print_tables
from archcmp.spec.find import known_specs
from archcmp.spec.layers import layer_blocks
from archcmp.spec.load import Subject, all_sizes, load_subjects
from archcmp.units import Count

if TYPE_CHECKING:
    from archcmp.analysis.check import Check


def _params(subject: Subject) -> int:
    """The published total; counted, which takes torch, only where none is published."""
    if subject.spec.published:
        return subject.spec.published.params
    with waiting("counting"):
        from archcmp.analysis import count

        return count(subject.spec).params.total


def load_what_loads(names: Iterable[str]) -> tuple[list[Subject], int]:
    """Every size of every name, and how many names could not be read, each reported on stderr."""
    subjects: list[Subject] = []
    n_broken = 0
    for name in names:
        try:
            subjects += load_subjects(all_sizes(name))
        except ArchcmpError as error:
            typer.echo(f"archcmp: {error}", err=True)
            n_broken += 1
    return subjects, n_broken


def known_models() -> list[dict[str, Any]]:
    """Every size of every known spec that can be read."""
    models = []
    known = known_specs()
    for family, path in known.items():
        for subject in load_what_loads([family])[0]:
            spec = subject.spec
            models.append(
                {
                    "id": subject.id,
                    "name": spec.title,
                    "organization": spec.organization,
                    "released": spec.released,
                    "params": _params(subject),
                    "n_layers": len(layer_blocks(spec)),
                    "d_model": spec.d_model,
                    "context_length": spec.context_length,
                    "file": str(path),
                }
            )
    return models


def print_catalog(models: Sequence[dict[str, Any]]) -> None:
    """The same as a table."""
    rows = [
        [
            model["id"],
            model["name"],
            str(Count(model["params"])),
            f"{model['n_layers']} x {model['d_model']:,}",
            f"{model['context_length']:,}",
            model["released"] or "",
        ]
        for model in models
    ]
    header = ["spec", "name", "parameters", "layers x width", "context", "released"]
    note = "`archcmp show SPEC` tells more of one; a bare family name is its default size."
    print_tables([Table("Known architectures", header, rows, [note], n_text=2)], split=False)


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
        else:
            verdict = "ok, as published"
        typer.echo(f"{result.id:<{width}}  {result.params:>16,} parameters  {verdict}")
