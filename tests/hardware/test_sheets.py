"""Sheets of devices: what they hold is possible, sourced, dense and in plain units; mistakes are told."""

from __future__ import annotations

import math
from pathlib import Path

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from archcmp.cli import app
from archcmp.errors import ArchcmpError
from archcmp.hardware.calibrated import write
from archcmp.hardware.load import SHEETS, known_hardware, load_hardware
from archcmp.hardware.sheet import QUANTITIES, Figures, Hardware, schema_text
from archcmp.spec.yaml.nodes import plain, read_tree
from tests.test_cli import run

KNOWN = load_hardware(known_hardware())
WITH_MATMUL = {name: sheet for name, sheet in KNOWN.items() if sheet.ridge is not None}


def test_the_devices_that_people_ask_for_are_there() -> None:
    wanted = "a100 a100-40 h100 h100-pcie h100-nvl h200 b200 gb200 mi300x mi325x mi355x tpu-v5e tpu-v5p"
    wanted += " tpu-v6e rtx-4090 rtx-5090 l40s a6000 apple-m1 apple-m2-max apple-m3-ultra apple-m4-pro"
    assert set(wanted.split()) <= set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_every_figure_has_a_source_and_every_device_memory_and_bandwidth(name: str) -> None:
    sheet = KNOWN[name]
    assert all(figures.source.startswith("https://") for figures in sheet.figures)
    assert sheet.value("memory_bytes") and sheet.value("bandwidth_bytes_per_s")


@pytest.mark.parametrize("name", WITH_MATMUL)
def test_eight_bits_are_twice_as_fast_as_sixteen_where_both_are_dense(name: str) -> None:
    """A table that mixes rates with and without sparsity is off by a factor of 2."""
    sheet = KNOWN[name]
    bf16, fp16 = sheet.value("bf16_flops_per_s"), sheet.value("fp16_flops_per_s")
    assert None in (bf16, fp16) or bf16 == fp16
    fp8, int8 = sheet.value("fp8_flops_per_s"), sheet.value("int8_ops_per_s")
    if bf16 and fp8:
        assert fp8 == pytest.approx(2 * bf16, rel=0.02)
    if bf16 and int8:
        ratio = 4 if name.startswith("rtx-") else 2  # GeForce halves float rates, not those of integers
        assert int8 == pytest.approx(ratio * bf16, rel=0.02)


@pytest.mark.parametrize("name", WITH_MATMUL)
def test_ridge_points_are_possible(name: str) -> None:
    ridge = KNOWN[name].ridge
    assert ridge is not None and 20 < ridge < 600


@pytest.mark.parametrize(
    ("name", "quantity", "value"),
    [
        ("h100", "bf16_flops_per_s", 989.4e12),  # not 1979e12, which is with sparsity, nor times 2^40
        ("b200", "bf16_flops_per_s", 2.25e15),  # not 4.5e15
        ("a6000", "bf16_flops_per_s", 154.8e12),  # not 309.7e12
        ("rtx-4090", "bf16_flops_per_s", 165.2e12),  # not 330e12
        ("a100", "bf16_flops_per_s", 312e12),  # not 78e12, the vector units
        ("tpu-v5e", "bandwidth_bytes_per_s", 819e9),  # not 1.6e12, the links in bit/s
        ("tpu-v5p", "bandwidth_bytes_per_s", 2.765e12),  # not 4.8e12
        ("h100", "memory_bytes", 80e9),  # SI
        ("h100", "link_bytes_per_s", 450e9),  # one way, not 900e9
    ],
)
def test_errors_of_public_tables_are_not_made_here(name: str, quantity: str, value: float) -> None:
    assert KNOWN[name].value(quantity) == pytest.approx(value, rel=1e-6)


def test_the_schema_is_what_the_sheets_follow() -> None:
    assert (SHEETS / "schema.json").read_text() == schema_text()
    for path in known_hardware().values():
        jsonschema.validate(plain(read_tree(path, path.name)), Hardware.model_json_schema())
    assert all(Figures.model_fields[name].description for name in QUANTITIES)


GOOD = "name: Mine\nfigures:\n- {source: me, date: 2026-11, memory_bytes: 80.0e9}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("memory_bytes", "memory_byte"), "mine.yaml:3: figures[0].memory_byte: a sheet has no"),
        (GOOD.replace("80.0e9", "80"), "must be at least 100,000,000, not 80. Write plain units: 989.4e12"),
        (GOOD.replace("80.0e9", "'80'"), "must be a number, not the text '80'. Write it without quotes"),
        (GOOD.replace("source: me, ", ""), "[0].source is missing. Add it: where the figures are published"),
        (GOOD.replace("2026-11", "November"), "must be a month, not the text 'November'. Write '2026-11'"),
        ("name: Mine\nfigures: []\n", "mine.yaml:2: figures must not be empty"),
        (GOOD + "- {source: you, date: 2026-11, memory_bytes: 81.0e9}\n", "is given by two sources"),
        ("", "mine.yaml:1: a sheet must be a mapping of options, not nothing"),
        (None, "mine.yaml: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_in_a_sheet_is_told_with_its_place(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    result = run("hardware", "./mine.yaml", cwd=tmp_path)
    assert result.returncode == 2 and said in result.stderr


def test_names_are_looked_up_and_rates_that_are_not_there_are_told() -> None:
    with pytest.raises(ArchcmpError, match="no hardware"):
        load_hardware(["h10"])
    with pytest.raises(ArchcmpError, match="named twice"):
        load_hardware(["h100", "H100"])
    with pytest.raises(ArchcmpError, match="the sheet of Apple M4 has no fp8_flops_per_s"):
        KNOWN["apple-m4"].needed("fp8_flops_per_s")


def test_the_command_lists_and_shows(tmp_path: Path) -> None:
    listed = run("hardware").stdout
    assert all(name in listed for name in KNOWN)
    shown = run("hardware", "h100").stdout
    assert "989 TFLOP/s" in shown and "https://www.nvidia.com" in shown and "295 FLOP/byte" in shown
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert "80.0 GB" in run("hardware", "mine.yaml", cwd=tmp_path).stdout
    assert '"memory_bytes": 80000000000.0' in run("hardware", "mine.yaml", "--json", cwd=tmp_path).stdout


def test_what_was_measured_here_stands_below_the_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(typer, "get_app_dir", lambda name: str(tmp_path))
    rates = {"matmul_flops_per_s": 2e11, "copy_bytes_per_s": 1e10, "read_bytes_per_s": 3e10}
    write(
        {
            "A Chip, 4 threads": rates,
            "B Chip": {"matmul_flops_per_s": "damaged"},
            "C Chip": rates | {"copy_bytes_per_s": math.inf},
        }
    )
    output = " ".join(CliRunner().invoke(app, ["hardware"]).output.split())
    assert (
        "Measured here: A Chip, 4 threads: 200 GFLOP/s, 30.0 GB/s." in output
        and "B Chip" not in output
        and "C Chip" not in output
    )


def test_the_sheet_that_the_documentation_shows_can_be_used(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/commands.md").read_text()
    (tmp_path / "mine.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert run("fit", "llama3:8b", "--on", "./mine.yaml", cwd=tmp_path).returncode == 0
    result = run("compare", "gpt2:small", "--no-measure", "--hardware", "./mine.yaml", cwd=tmp_path)
    assert "At best on mine" in result.stdout and "400 TFLOP/s and 2.00 TB/s" in result.stdout
