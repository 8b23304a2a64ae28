"""A folder of pictures, one per family, and a page that lists them."""

from __future__ import annotations

from collections.abc import Mapping

from archcmp.report.diagram import svg
from archcmp.report.diagram.subject import Subject
from archcmp.spec.describe import design_choices, text
from archcmp.units import Count

INDEX = "README.md"
COLUMNS = ("model", "released", "parameters", "layers", "residual", "mixer", "feed-forward")


def gallery(subjects: Mapping[str, Subject]) -> dict[str, str]:
    """The files of a gallery of families: name -> content."""
    pictures = {f"{family}.svg": svg([subject]) for family, subject in subjects.items()}
    return pictures | {INDEX: _index(subjects)}


def _index(subjects: Mapping[str, Subject]) -> str:
    newest = sorted(subjects.items(), key=lambda item: item[1].spec.released or "", reverse=True)
    lines = [
        "# Architectures, drawn",
        "",
        f"The default size of each of {len(subjects)} families, newest first. Each picture is drawn from the "
        "spec that archcmp",
        "counts and runs, by `archcmp draw --all docs/gallery`.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join('---' for _ in COLUMNS)} |",
        *(f"| {' | '.join(_row(family, subject))} |" for family, subject in newest),
    ]
    return "\n".join(lines) + "\n"


def _row(family: str, subject: Subject) -> list[str]:
    choices = design_choices(subject.spec)
    params = f"{Count(subject.params or 0)}"
    if subject.active not in (None, subject.params):
        params += f", {Count(subject.active or 0)} active"
    shown = [text(choices[key], key) for key in ("n_layers", "residual", "mixer", "ffn")]
    return [f"[{subject.name}]({family}.svg)", subject.spec.released or "", params, *shown]
