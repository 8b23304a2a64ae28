"""Which models of the LLM architecture gallery have a spec: `python -m tests.gallery` prints the table of
docs/verification.md from tests/gallery.csv.

In the file, `reference` is the spec, and `missing` what the model needs that a spec cannot say yet.
https://sebastianraschka.com/llm-architecture-gallery
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from archcmp.spec.yaml.load import load_spec

FILE = Path(__file__).with_suffix(".csv")
TOTALS = {
    "checkpoint": "the checkpoint",
    "configuration": "`transformers`, of its configuration",
    None: "a closed form",
}
"""Where a spec's total is from -> what the built model is held to."""


@dataclass(frozen=True)
class Row:
    """A model of the gallery."""

    model: str
    released: str
    reference: str
    missing: str

    def cells(self) -> tuple[str, ...]:
        if not self.reference:
            return self.model, self.released, "", f"missing: {self.missing}"
        spec = load_spec(self.reference)
        held_to = TOTALS[spec.published.of if spec.published else None]
        unsure = "; a field is not certain" if "Not certain" in (spec.note or "") else ""
        return self.model, self.released, f"`{self.reference}`", f"{held_to}{unsure}"


def rows() -> list[Row]:
    with FILE.open(newline="") as stream:
        return [Row(**row) for row in csv.DictReader(stream)]


def table() -> str:
    """The Markdown table, after a line that counts."""
    models = rows()
    n_specs = sum(bool(row.reference) for row in models)
    head = ("model", "released", "spec", "its total equals that of")
    lines = [
        "| " + " | ".join(cells) + " |" for cells in (head, ("---",) * 4, *(row.cells() for row in models))
    ]
    return "\n".join([f"{n_specs} of the {len(models)} models have a spec.", "", *lines])


if __name__ == "__main__":
    print(table())
