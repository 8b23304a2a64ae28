"""What is settled for the whole process before torch is loaded leaves alone what the user has set."""

from __future__ import annotations

import os

import pytest

from archcmp.timing.process import settle_process

BINDING = ("OMP_PLACES", "OMP_PROC_BIND")
OTHER_BINDINGS = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY")
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of its own, which is put back as a whole."""
    ours = (*BINDING, *OTHER_BINDINGS, LARGE_PAGES)
    monkeypatch.setattr(
        os, "environ", {name: value for name, value in os.environ.items() if name not in ours}
    )


def test_threads_are_bound_and_large_pages_asked_for_where_the_user_says_nothing() -> None:
    settle_process()
    assert all(os.environ.get(name) for name in (*BINDING, LARGE_PAGES))


@pytest.mark.parametrize("name", [*BINDING, *OTHER_BINDINGS, LARGE_PAGES])
def test_what_the_user_has_set_stays(name: str) -> None:
    os.environ[name] = "mine"
    settle_process()
    assert os.environ[name] == "mine"


@pytest.mark.parametrize("name", [*BINDING, *OTHER_BINDINGS])
def test_one_way_to_bind_threads_is_not_mixed_with_another(name: str) -> None:
    os.environ[name] = "mine"
    settle_process()
    assert not set(os.environ) & {*BINDING} - {name}
