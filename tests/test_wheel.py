"""A built wheel carries its specs and works away from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import archcmp
from tests.known import PUBLISHED

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_specs_schema_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"archcmp/specs/{f}.yaml" for f in ("olmo2", "llama3", "gemma3", "gpt2")} <= names
    assert {"archcmp/specs/schema.json", "archcmp/py.typed"} <= names
    assert {"archcmp/hardware/sheets/h100.yaml", "archcmp/hardware/sheets/schema.json"} <= names
    assert {f"archcmp/report/page/{f}" for f in ("page.css", "tables.css", "page.js")} <= names
    assert not any(name.startswith(("tests", "specs")) for name in names)
    metadata = zipfile.ZipFile(wheel).read(f"archcmp-{archcmp.__version__}.dist-info/METADATA").decode()
    for field in ("License-Expression: Apache-2.0", "Requires-Python: >=3.10", "torch<2.14,>=2.9"):
        assert field in metadata


def test_installed_wheel_passes_check_on_all_sizes(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment holds the wheel alone; the libraries it depends on are lent by this one."""
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    report = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(
        subprocess.run([python, "-c", report], capture_output=True, text=True, check=True).stdout.strip()
    )
    zipfile.ZipFile(wheel).extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = "import archcmp, archcmp.spec.yaml.find as f; print(archcmp.__file__, f.bundled_folder())"
    result = subprocess.run([python, "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(path.startswith(str(site)) for path in result.stdout.split())
    command = [str(python), "-m", "archcmp", "check", "--json"]
    checks = json.loads(
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    )
    assert len(checks) == len(PUBLISHED)
    assert all(check["params"] == check["published"] for check in checks if check["published"])
