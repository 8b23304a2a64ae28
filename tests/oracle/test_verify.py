"""`verify` tells a model that agrees with transformers from one that does not, and loads real checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

import archcmp
from archcmp.cli.app import app
from archcmp.errors import ConfigError, UsageError, WeightsError
from archcmp.oracle import verify
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import randomise, verify_checkpoint, verify_spec
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.known import TINY, tiny


def _checkpoint(family: str, folder: Path) -> Path:
    """A shrunk model as transformers saves it, in shards, experts each on their own."""
    model = randomise(transformers_model(shrunk(load_spec(family)), "cpu", torch.float32))
    model.save_pretrained(folder, max_shard_size="100KB")  # type: ignore[operator]
    return folder


def _names(folder: Path) -> list[str]:
    return [name for file in folder.glob("*.safetensors") for name in safe_open(file, "pt").keys()]  # noqa: SIM118


@pytest.mark.parametrize(
    "family",
    ["llama3", "gpt2", "pythia", "mixtral", "qwen3-moe", "gpt-oss", "llama4:maverick", "deepseek-v3"],
)
def test_saved_checkpoints_load_and_agree(family: str, tmp_path: Path) -> None:
    result = verify_checkpoint(_checkpoint(family, tmp_path))
    assert result.agrees and result.logits_std > 0.1
    assert len(list(tmp_path.glob("*.safetensors"))) > 1


def test_experts_are_read_one_by_one_as_checkpoints_have_them(tmp_path: Path) -> None:
    names = _names(_checkpoint("mixtral", tmp_path))
    assert any("experts.7.w1.weight" in name for name in names)


@pytest.mark.parametrize("extra", ["model.layers.4.eh_proj.weight", "mtp.fc.weight"])
def test_layers_for_further_tokens_are_left_out(extra: str, tmp_path: Path) -> None:
    folder = _checkpoint("deepseek-v3", tmp_path)
    head = extra.rpartition(".")[0].rpartition(".")[0]
    save_file({extra: torch.ones(2), f"{head}.enorm.weight": torch.ones(2)}, folder / "extra.safetensors")
    model = archcmp.build_model(shrunk(load_spec("deepseek-v3")))
    archcmp.load_hf_weights(model, folder)
    save_file({"model.layers.7.mlp.weight": torch.ones(2)}, folder / "surplus.safetensors")
    with pytest.raises(WeightsError, match=r"layers\.7\.mlp\.weight"):
        archcmp.load_hf_weights(model, folder)


def test_a_wrong_model_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_and_spoil(model: archcmp.model.decoder.Decoder, weights: dict[str, torch.Tensor]) -> None:
        archcmp.load_hf_weights(model, weights)
        with torch.no_grad():
            model.blocks[0].mixer.out.weight[0] += 0.1

    monkeypatch.setattr(verify, "load_hf_weights", load_and_spoil)
    result = verify_spec("tiny", tiny())
    assert not result.agrees and result.whole > verify.TOLERANCE
    printed = CliRunner().invoke(app, ["verify", str(TINY)])
    assert printed.exit_code == 1 and "DIFFERS" in printed.stdout


def test_pickles_are_refused_before_anything_reads_them(tmp_path: Path) -> None:
    folder = _checkpoint("llama3", tmp_path)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is a pickle"):
        verify_checkpoint(folder)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        verify_checkpoint(tmp_path)


def test_a_design_of_ones_own_has_nothing_to_be_verified_against() -> None:
    with pytest.raises(UsageError, match="no model of transformers with these choices"):
        verify_spec("mine", tiny("blocks.main.mixer.sinks=true"))


def test_the_command_takes_specs_and_folders(tmp_path: Path) -> None:
    folder = _checkpoint("olmo2", tmp_path / "checkpoint")
    result = CliRunner().invoke(app, ["verify", "olmo2:1b", str(folder), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    spec, checkpoint = json.loads(result.stdout)
    assert spec["id"] == "olmo2:1b" and checkpoint["id"] == str(folder)
    assert spec["agrees"] and checkpoint["agrees"] and spec["model_type"] == "olmo2"
    shutil.rmtree(folder)
