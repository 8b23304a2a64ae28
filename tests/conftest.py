"""What every test shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_calibration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests remember no calibration in the user's own folder, nor use one from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield
