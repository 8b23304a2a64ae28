"""Checkpoints are taken whole or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import archcmp
from archcmp.errors import WeightsError
from archcmp.model.decoder import Decoder
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import randomise
from archcmp.spec.scale import shrunk
from tests.known import tiny


@pytest.fixture
def checkpoint() -> dict[str, Tensor]:
    state: dict[str, Tensor] = randomise(transformers_model(tiny(), "cpu", torch.float32)).state_dict()
    return state


@pytest.fixture
def model() -> Decoder:
    return archcmp.build_model(tiny())


def _same_logits(a: Decoder, b: Decoder) -> bool:
    tokens = torch.arange(10)[None]
    with torch.inference_mode():
        return torch.equal(a(tokens), b(tokens))


def test_missing_tensors_are_named(model: Decoder, checkpoint: dict[str, Tensor]) -> None:
    del checkpoint["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(WeightsError, match=r"missing.*model\.layers\.1\.mlp\.up_proj\.weight"):
        archcmp.load_hf_weights(model, checkpoint)


def test_surplus_tensors_are_named(model: Decoder, checkpoint: dict[str, Tensor]) -> None:
    checkpoint["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
    with pytest.raises(WeightsError, match=r"not in Tiny.*self_attn\.q_proj\.bias"):
        archcmp.load_hf_weights(model, checkpoint)


def test_misshapen_tensors_are_named_and_nothing_is_written(
    model: Decoder, checkpoint: dict[str, Tensor]
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = "model.layers.1.self_attn.k_proj.weight"
    checkpoint[name] = checkpoint[name][:-8]
    with pytest.raises(WeightsError, match=r"k_proj\.weight is \(8, 16\), wanted \(16, 16\)"):
        archcmp.load_hf_weights(model, checkpoint)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_values_made_of_keys_have_no_tensor_of_their_own(checkpoint: dict[str, Tensor]) -> None:
    model = archcmp.build_model(tiny("blocks.main.mixer.values=keys"))
    with pytest.raises(WeightsError, match=r"not in Tiny.*v_proj"):
        archcmp.load_hf_weights(model, checkpoint)
    archcmp.load_hf_weights(model, {name: t for name, t in checkpoint.items() if "v_proj" not in name})
    with pytest.raises(WeightsError, match=r"missing.*k_proj"):
        archcmp.load_hf_weights(model, {name: t for name, t in checkpoint.items() if "k_proj" not in name})


def test_layers_that_share_keys_leave_those_of_the_checkpoint_out(checkpoint: dict[str, Tensor]) -> None:
    shares = "blocks.again={extends: main, mixer: {shared_kv: true}}"
    model = archcmp.build_model(tiny(shares, "layers[0].repeat=[main, again]"))
    archcmp.load_hf_weights(model, checkpoint)
    del checkpoint["model.layers.1.self_attn.k_proj.weight"]
    archcmp.load_hf_weights(model, checkpoint)
    with pytest.raises(WeightsError, match=r"missing.*layers\.0\.self_attn\.k_proj"):
        archcmp.load_hf_weights(
            model, {n: t for n, t in checkpoint.items() if n != "model.layers.0.self_attn.k_proj.weight"}
        )


def test_an_unknown_layout_is_refused(model: Decoder) -> None:
    with pytest.raises(WeightsError, match="unknown layout"):
        archcmp.load_hf_weights(model, {"foo.weight": torch.zeros(1)})


def test_a_design_that_the_layout_cannot_hold_is_refused(checkpoint: dict[str, Tensor]) -> None:
    model = archcmp.build_model(tiny("blocks.main.residual=post_norm"))
    with pytest.raises(WeightsError, match=r"residual\.after\.0"):
        archcmp.load_hf_weights(model, checkpoint)


def test_published_file_layouts(model: Decoder, checkpoint: dict[str, Tensor], tmp_path: Path) -> None:
    """A folder of shards, and a prefix such as multimodal checkpoints have, load like the state dict."""
    archcmp.load_hf_weights(model, checkpoint)
    names = sorted(checkpoint)
    for i, part in enumerate((names[::2], names[1::2])):
        tensors = {f"language_model.{name}": checkpoint[name].contiguous() for name in part}
        save_file(tensors, tmp_path / f"model-{i}.safetensors")
    other = archcmp.build_model(tiny())
    archcmp.load_hf_weights(other, tmp_path)
    assert _same_logits(model, other)


def test_gpt2_files_without_the_usual_prefix(tmp_path: Path) -> None:
    heads = "blocks.main.mixer={n_heads: 2, n_kv_heads: 2, head_dim: 16}"
    spec = archcmp.load_spec(f"gpt2+layers[0].n_layers=2+d_model=32+vocab_size=61+{heads}")
    state = randomise(transformers_model(spec, "cpu", torch.float32)).state_dict()
    stripped = {n.removeprefix("transformer."): t for n, t in state.items() if n != "lm_head.weight"}
    stripped["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    whole, bare = archcmp.build_model(spec), archcmp.build_model(spec)
    archcmp.load_hf_weights(whole, state)
    archcmp.load_hf_weights(bare, stripped)
    assert _same_logits(whole, bare)


def test_the_files_of_hunyuan_4_have_names_of_their_own() -> None:
    """As in the index of tencent/Hy4-preview; transformers writes other names."""
    spec = shrunk(archcmp.load_spec("hy4"))
    state = randomise(transformers_model(spec, "cpu", torch.float32)).state_dict()
    published = {
        "attn_hc.": "hc_attn_layer.hc_pre.hc_",
        "ffn_hc.": "hc_mlp_layer.hc_pre.hc_",
        "hc_head.hc_": "hc_head.hc_head_",
        "self_attn.gate_proj": "self_attn.linear_gate",
        "self_attn.sinks": "self_attn.learnable_sink_param",
    }

    def renamed(name: str) -> str:
        part = next((part for part in published if part in name), "")
        return name.replace(part, published[part]) if part else name

    files = {renamed(name): tensor for name, tensor in state.items()}
    files["model.mtp_layers.0.eh_proj.weight"] = torch.ones(1)
    assert len(files.keys() - state.keys()) > 20
    ours, other = archcmp.build_model(spec), archcmp.build_model(spec)
    archcmp.load_hf_weights(ours, state)
    archcmp.load_hf_weights(other, files)
    assert _same_logits(ours, other)


def test_folders_without_usable_files_are_refused(model: Decoder, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no \.safetensors"):
        archcmp.load_hf_weights(model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        archcmp.load_hf_weights(model, tmp_path)


def test_weights_are_cast_to_the_models_dtype(checkpoint: dict[str, Tensor]) -> None:
    model = archcmp.build_model(tiny(), dtype=torch.bfloat16)
    archcmp.load_hf_weights(model, checkpoint)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_model_without_memory_is_refused(checkpoint: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="meta"):
        archcmp.load_hf_weights(archcmp.build_model(tiny(), "meta"), checkpoint)


def test_a_tied_model_takes_only_its_own_embedding_as_head(checkpoint: dict[str, Tensor]) -> None:
    model = archcmp.build_model(tiny("output.tied=true"))
    with pytest.raises(WeightsError, match=r"lm_head\.weight differs"):
        archcmp.load_hf_weights(model, checkpoint)
    checkpoint["vision.lm_head.weight"] = checkpoint["lm_head.weight"]
    checkpoint["lm_head.weight"] = checkpoint["model.embed_tokens.weight"]
    with pytest.raises(WeightsError, match=r"not in Tiny: vision\.lm_head\.weight"):
        archcmp.load_hf_weights(model, checkpoint)
    del checkpoint["vision.lm_head.weight"]
    archcmp.load_hf_weights(model, checkpoint)
    del checkpoint["lm_head.weight"]
    archcmp.load_hf_weights(model, checkpoint)


@pytest.mark.parametrize("prefix", ["model.", "model.language_model.", "language_model.model.", ""])
def test_the_head_is_found_beside_or_above_the_decoder(
    prefix: str, model: Decoder, checkpoint: dict[str, Tensor]
) -> None:
    renamed = {name.replace("model.", prefix, 1): tensor for name, tensor in checkpoint.items()}
    other = archcmp.build_model(tiny())
    archcmp.load_hf_weights(other, renamed)
    archcmp.load_hf_weights(model, checkpoint)
    assert _same_logits(model, other)


def test_buffers_of_old_checkpoints_pass_only_in_their_own_layout(
    model: Decoder, checkpoint: dict[str, Tensor]
) -> None:
    checkpoint["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    archcmp.load_hf_weights(model, checkpoint)
    checkpoint["model.layers.0.attn.bias"] = torch.ones(4)
    with pytest.raises(WeightsError, match=r"not in Tiny: model\.layers\.0\.attn\.bias"):
        archcmp.load_hf_weights(model, checkpoint)


def test_quantised_tensors_are_refused(model: Decoder, checkpoint: dict[str, Tensor]) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    checkpoint[name] = checkpoint[name].to(torch.int8)
    with pytest.raises(WeightsError, match=r"up_proj\.weight is quantised"):
        archcmp.load_hf_weights(model, checkpoint)
