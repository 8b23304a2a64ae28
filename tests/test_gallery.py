"""What the documentation says of the gallery's models is so."""

from __future__ import annotations

from pathlib import Path

from tests.gallery import rows, table

PAGE = Path(__file__).parents[1] / "docs" / "verification.md"


def test_a_model_has_a_spec_or_lacks_something() -> None:
    for row in rows():
        assert bool(row.reference) != bool(row.missing), row.model
    assert len({row.model for row in rows()}) == len(rows())


def test_the_table_of_the_documentation_is_what_the_specs_say() -> None:
    assert table() in PAGE.read_text(), "write docs/verification.md anew: python -m tests.gallery"
