"""A few of every kind of case; `python -m tests.fuzz` tries as many as wanted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.cases import CASES

# Not "model_type", which would load transformers.
N = {"spec": 120, "configuration": 120, "document": 60, "command": 80}


@pytest.mark.parametrize("kind", N)
def test_whatever_is_given_ends_in_a_result_or_in_one_line(kind: str, tmp_path: Path) -> None:
    rng = Random(kind)
    found = Counter(CASES[kind](rng, tmp_path) for _ in range(N[kind]))
    assert found["ok"] > N[kind] // 20 and found["refused"] > N[kind] // 20
