"""The maths equals `transformers`: same random weights, same tokens, logits within 1e-4 in float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

import archcmp
from archcmp.model.decoder import Decoder
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.load import load_spec
from archcmp.spec.schema import ModelSpec
from tests.model import references

TOLERANCE = 1e-4
BATCH, TOKENS, PREFILL = 2, 45, 20


@dataclass(frozen=True)
class Case:
    """A spec, shrunk in width until it runs at once, and who else computes it."""

    reference: references.Reference
    spec: str
    heads: tuple[int, int] = (4, 2)
    overrides: tuple[str, ...] = ()

    def load(self) -> ModelSpec:
        spec = load_spec(self.spec)
        blocks = [f"blocks.{name}" for name in distinct_blocks(spec)]
        shrunk = [f"{b}.mixer.{k}" for b in blocks for k in self._mixer()] + [
            f"{b}.ffn.d_ff=96" for b in blocks
        ]
        windows = [
            f"blocks.{name}.mixer.window=8"
            for name in distinct_blocks(spec)
            if spec.blocks[name].mixer.window
        ]
        pattern = len(spec.layers[0].repeat)
        layers = f"layers[0].count={pattern + 2 if pattern > 1 else 2}"
        common = ("d_model=64", "vocab_size=199", layers, *shrunk, *windows, *self.overrides)
        return load_spec(self.spec, common)

    def _mixer(self) -> list[str]:
        return [f"n_heads={self.heads[0]}", f"n_kv_heads={self.heads[1]}", "head_dim=16"]


HERE = Path(__file__).parent / "specs"
SHORT = "blocks.main.mixer.rope.scaling.original_context_length=32"

CASES = {
    "gpt2": Case(references.gpt2, "gpt2", (4, 4)),
    "llama3": Case(references.llama, "llama3:8b"),
    "llama3.1": Case(references.llama, "llama3:405b", overrides=(SHORT,)),
    "llama3.2-tied": Case(references.llama, "llama3:1b", overrides=(SHORT,)),
    "llama-mqa": Case(references.llama, "llama3:8b", (4, 1)),
    "llama-linear": Case(
        references.llama, "llama3:8b", overrides=("blocks.main.mixer.rope.scaling={kind: linear, factor: 4}",)
    ),
    "llama-yarn": Case(
        references.llama,
        "llama3:8b",
        overrides=(
            "blocks.main.mixer.rope.scaling={kind: yarn, factor: 4, original_context_length: 32}",
            "blocks.main.mixer.rope.theta=100",
        ),
    ),
    "olmo2": Case(references.olmo2, "olmo2:7b", (4, 4)),
    "olmo2-gqa": Case(references.olmo2, "olmo2:32b"),
    "gemma3": Case(references.gemma3, "gemma3:4b"),
    "gemma3-27b": Case(references.gemma3, "gemma3:27b"),
    "gemma3-270m": Case(references.gemma3, "gemma3:270m", (4, 1)),
    "gemma2-softcaps": Case(references.gemma2, str(HERE / "gemma2.yaml")),
    "qwen2-qkv-bias": Case(references.qwen2, str(HERE / "qwen2.yaml")),
    "qwen3-per-head-norm": Case(references.qwen3, str(HERE / "qwen3.yaml")),
    "stablelm-partial-rotary": Case(references.stablelm, str(HERE / "stablelm.yaml")),
    "stablelm-parallel": Case(
        references.stablelm, str(HERE / "stablelm.yaml"), overrides=("blocks.main.residual=parallel",)
    ),
}


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def pair(request: pytest.FixtureRequest) -> tuple[Decoder, Tensor, Tensor]:
    """Our model, tokens, and the logits that the reference gives for them."""
    case: Case = request.param
    spec = case.load()
    reference = references.with_random_weights(case.reference(spec))
    model = archcmp.build_model(spec).eval()
    archcmp.load_hf_weights(model, reference.state_dict())
    tokens = torch.randint(0, spec.vocab_size, (BATCH, TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model, tokens, reference(tokens).logits


def assert_close(ours: Tensor, reference: Tensor) -> None:
    assert reference.std() > 0.1, "logits near zero would agree whatever the maths"
    assert (ours - reference).abs().max() <= TOLERANCE


def test_every_distinct_block_and_the_window_are_exercised(pair: tuple[Decoder, Tensor, Tensor]) -> None:
    spec = pair[0].spec
    assert set(layer_blocks(spec)) == set(spec.blocks)
    assert all(
        block.mixer.window is None or 2 * block.mixer.window < PREFILL for block in spec.blocks.values()
    )


@torch.inference_mode()
def test_whole_pass_equals_reference(pair: tuple[Decoder, Tensor, Tensor]) -> None:
    model, tokens, logits = pair
    assert_close(model(tokens), logits)
    assert_close(model(tokens, last_only=True), logits[:, -1:])


@torch.inference_mode()
def test_step_by_step_decoding_equals_reference(pair: tuple[Decoder, Tensor, Tensor]) -> None:
    model, tokens, logits = pair
    cache = model.new_cache(BATCH, TOKENS)
    steps = [model(tokens[:, :PREFILL], cache)]
    steps += [model(tokens[:, i : i + 1], cache) for i in range(PREFILL, TOKENS)]
    assert_close(torch.cat(steps, dim=1), logits)


@torch.inference_mode()
def test_decoding_in_uneven_pieces_equals_reference(pair: tuple[Decoder, Tensor, Tensor]) -> None:
    model, tokens, logits = pair
    cache = model.new_cache(BATCH, TOKENS)
    pieces = [model(piece, cache) for piece in tokens.split([1, 5, 11, 2, 1, 20, 5], dim=1)]
    assert_close(torch.cat(pieces, dim=1), logits)
