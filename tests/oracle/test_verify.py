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
from archcmp.cli import app
from archcmp.errors import ConfigError, MeasureError, UsageError, WeightsError
from archcmp.model.hf.checkpoint import INDEX
from archcmp.oracle import verify
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import randomise, verify_checkpoint, verify_spec
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from archcmp.units import Bytes
from tests.known import TINY, tiny


def _checkpoint(family: str, folder: Path) -> Path:
    """A shrunk model as transformers saves it, in shards, experts each on their own."""
    model = randomise(transformers_model(shrunk(load_spec(family)), "cpu", torch.float32))
    model.save_pretrained(folder, max_shard_size="100KB")  # type: ignore[operator]
    return folder


def _add_file(folder: Path, file: str, tensors: dict[str, torch.Tensor]) -> None:
    """One more file of weights, in the index too."""
    save_file(tensors, folder / file)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] |= dict.fromkeys(tensors, file)
    (folder / INDEX).write_text(json.dumps(index))


def _change(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


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
    _add_file(folder, "extra.safetensors", {extra: torch.ones(2), f"{head}.enorm.weight": torch.ones(2)})
    model = archcmp.build_model(shrunk(load_spec("deepseek-v3")))
    archcmp.load_hf_weights(model, folder)
    _add_file(folder, "surplus.safetensors", {"model.layers.7.mlp.weight": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"layers\.7\.mlp\.weight"):
        archcmp.load_hf_weights(model, folder)


def test_a_wrong_model_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_and_spoil(model: archcmp.model.decoder.Decoder, weights: dict[str, torch.Tensor]) -> None:
        archcmp.load_hf_weights(model, weights)
        with torch.no_grad():
            model.blocks[0].get_parameter("mixer.out.weight")[0] += 0.1

    monkeypatch.setattr(verify, "load_hf_weights", load_and_spoil)
    result = verify_spec("tiny", tiny())
    assert not result.agrees and result.whole > verify.TOLERANCE
    printed = CliRunner().invoke(app, ["verify", str(TINY)])
    assert printed.exit_code == 1 and "DIFFERS" in printed.stdout


# ---- hostile and broken checkpoints -----------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    ["evil.bin", "../good/model.safetensors", "/etc/passwd", "sub\\model.safetensors", "gone.safetensors", 7],
)
def test_an_index_leads_only_to_safetensors_files_of_its_own_folder(file: object, tmp_path: Path) -> None:
    folder = _checkpoint("llama3", tmp_path / "checkpoint")
    shutil.copytree(folder, tmp_path / "good")
    (folder / "evil.bin").write_bytes(b"\x80\x04.")
    _change(folder / INDEX, weight_map={"lm_head.weight": file})
    with pytest.raises(WeightsError, match=r"index\.json: .* is not the plain name of a \.safetensors file"):
        verify_checkpoint(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": ["b"]}}', "[" * 100_000], ids=len
)
def test_what_is_no_index_is_refused(text: str, tmp_path: Path) -> None:
    folder = _checkpoint("llama3", tmp_path)
    (folder / INDEX).write_text(text)
    with pytest.raises(WeightsError, match="not a readable index"):
        verify_checkpoint(folder)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = _checkpoint("llama3", tmp_path)
    _add_file(folder, "twice.safetensors", {"model.norm.weight": torch.ones(64)})
    with pytest.raises(
        WeightsError, match=r"model\.norm\.weight is in two files, model-.* and twice\.safetensors"
    ):
        verify_checkpoint(folder)


def test_only_the_files_of_the_index_hold_the_weights(tmp_path: Path) -> None:
    """Some publishers put the same weights beside them under names of their own."""
    folder = _checkpoint("llama3", tmp_path)
    save_file({"layers.0.attention.wq.weight": torch.ones(2)}, folder / "consolidated.safetensors")
    assert verify_checkpoint(folder).agrees


@pytest.mark.parametrize(
    "fields",
    [
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"quantization_config": ["fp8"]},
        {"attention_dropout": "x"},
        {"pad_token_id": -300},
        {"return_dict": False},
        {"dtype": "evil"},
        {"use_cache": "no"},
    ],
    ids=str,
)
def test_whatever_transformers_raises_is_one_line(fields: dict[str, object], tmp_path: Path) -> None:
    folder = _checkpoint("llama3", tmp_path)
    _change(folder / "config.json", **fields)
    with pytest.raises(MeasureError, match=r"transformers fails on this checkpoint: \w+: .") as refused:
        verify_checkpoint(folder)
    assert "\n" not in str(refused.value)


def test_logits_that_are_all_equal_verify_nothing(tmp_path: Path) -> None:
    model = transformers_model(shrunk(load_spec("llama3:8b")), "cpu", torch.float32)
    torch.nn.init.zeros_(model.lm_head.weight)  # type: ignore[arg-type, union-attr]
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    with pytest.raises(MeasureError, match="all equal: they verify nothing"):
        verify_checkpoint(tmp_path)


def test_a_checkpoint_that_memory_does_not_hold_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    """Weights in float32, and the largest, 199 x 64, once more while it is read."""
    folder = _checkpoint("llama3", tmp_path)
    fits = verify_checkpoint(folder)
    needed = 4 * (fits.params + 199 * 64)
    assert verify_checkpoint(folder, available=needed) == fits
    said = rf"needs {Bytes(needed)}; {Bytes(needed - 1)} are available"
    with pytest.raises(MeasureError, match=said):
        verify_checkpoint(folder, available=needed - 1)


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
