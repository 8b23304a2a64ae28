"""A checkpoint from anyone is verified or refused in one line, and no code of it runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from archcmp.errors import ArchcmpError
from archcmp.oracle.verify import verify_checkpoint
from tests.fuzz.checkpoints import FAULTS, PROOF, hostile, save_good
from tests.fuzz.recipe import assert_one_line

CASES = list(islice(hostile(Random(1)), len(FAULTS) + 12))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "good"
    save_good(folder)
    return folder


def try_one(good: Path, folder: Path, spoil: Callable[[Path], object]) -> str:
    """'verified', 'differs', or the refusal."""
    shutil.copytree(good, folder)
    spoil(folder)
    try:
        found = verify_checkpoint(folder)
    except ArchcmpError as error:
        assert_one_line(f"archcmp: {error}")
        return str(error)
    finally:
        assert not (folder / PROOF).exists()
    return "verified" if found.agrees else "differs"


@pytest.mark.parametrize(("name", "spoil"), CASES, ids=[name for name, _ in CASES])
def test_a_spoilt_checkpoint_is_verified_or_refused(
    name: str, spoil: Callable[[Path], object], good: Path, tmp_path: Path
) -> None:
    result = try_one(good, tmp_path / "spoilt", spoil)
    assert result != "differs"
    assert name not in FAULTS or result != "verified" or name == "code beside it"
