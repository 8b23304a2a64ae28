"""Limits of a process are seen, and memory that runs out is told apart from other faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from archcmp.timing.memory import available_bytes, cgroup_bytes, is_out_of_memory, shortage

GIB = 2**30


def _group(folder: Path, limit: str, use: str, stat: str, values: tuple[str, int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    allowed, used, cached = values
    (folder / limit).write_text(f"{allowed}\n")
    (folder / use).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{stat} {cached}\n")


VERSIONS = {
    1: (
        "4:memory:/batch/job\n0::/\n",
        "memory",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ),
    2: ("0::/batch/job\n", "", ("memory.max", "memory.current", "inactive_file")),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tightest_group_counts_and_cached_files_are_free(version: int, tmp_path: Path) -> None:
    lines, controller, names = VERSIONS[version]
    membership = tmp_path / "membership"
    membership.write_text(f"9:name=systemd:/\n{lines}")
    root = tmp_path / "groups"
    assert cgroup_bytes(root, membership) == sys.maxsize
    _group(root / controller / "batch", *names, (str(4 * GIB), 3 * GIB, 0))
    _group(root / controller / "batch" / "job", *names, (str(6 * GIB), 5 * GIB, 2 * GIB))
    assert cgroup_bytes(root, membership) == GIB, "the group above leaves 1 GiB, the job's own 3"
    _group(root / controller, *names, (str(2 * GIB), 2 * GIB, GIB // 2))
    assert cgroup_bytes(root, membership) == GIB // 2, "a container sees its own group as the root"


def test_a_group_without_a_limit_limits_nothing(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/\n")
    _group(tmp_path, *VERSIONS[2][2], ("max", 5, 0))
    assert cgroup_bytes(tmp_path, tmp_path / "membership") == sys.maxsize
    assert cgroup_bytes(tmp_path, tmp_path / "no such file") == sys.maxsize


@pytest.mark.skipif(sys.platform == "win32", reason="no ulimit")
def test_ulimit_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = available_bytes(torch.device("cpu"))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000, 1000))
    assert before > 0 == available_bytes(torch.device("cpu"))


def test_one_sentence_says_that_memory_is_short() -> None:
    assert shortage(100, 100) is None
    assert shortage(12 * GIB, 9 * GIB) == "needs 12.0 GiB; 9.00 GiB are available"
    assert shortage(12 * GIB, 9 * GIB, 2) == "needs 12.0 GiB; 9.00 GiB are available for each of 2 models"


def test_a_cpu_that_runs_out_of_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(failed.value)
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError())
