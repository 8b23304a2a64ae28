"""Which model of `transformers` is the witness of a spec: found by design, not by name."""

from __future__ import annotations

import pytest
import torch

from archcmp.oracle.models import transformers_model
from archcmp.spec.yaml.load import load_spec


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gpt2:small", "GPT2LMHeadModel"),
        ("llama3:1b", "LlamaForCausalLM"),
        ("olmo2:1b", "Olmo2ForCausalLM"),
        ("gemma3:270m", "Gemma3ForCausalLM"),
    ],
)
def test_the_witness_is_chosen_by_design_not_by_name(family: str, name: str) -> None:
    spec = load_spec(family)
    renamed = {block: f"b{i}" for i, block in enumerate(spec.blocks)}
    runs = tuple(
        run.model_copy(update={"repeat": tuple(renamed[block] for block in run.repeat)})
        for run in spec.layers
    )
    blocks = {renamed[block]: spec.blocks[block] for block in spec.blocks}
    other = spec.model_copy(update={"name": "Mine", "size": None, "blocks": blocks, "layers": runs})
    witness = transformers_model(other, "meta", torch.bfloat16)
    assert type(witness).__name__ == name
    assert {(parameter.dtype, parameter.is_meta) for parameter in witness.parameters()} == {
        (torch.bfloat16, True)
    }
