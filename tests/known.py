"""Specs that shared recipes run over: every published size, and the tiny one with changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.ffn import GLU, MLP
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.vocabulary import places
from archcmp.spec.yaml.find import bundled_folder
from archcmp.spec.yaml.load import all_sizes, load_spec, spec_sha256

FAMILIES = sorted(path.stem for path in bundled_folder().glob("*.yaml"))
FILES = {family: str(bundled_folder() / f"{family}.yaml") for family in FAMILIES}
PUBLISHED = [size for file in FILES.values() for size in all_sizes(file)]
WITH_TOTAL = [size for size in PUBLISHED if load_spec(size).published]
"""All but those whose total nobody published and no other library builds."""
PUBLISHED_IDS = [Path(reference).name.replace(".yaml", "") for reference in PUBLISHED]

UNLIKE = list({places(load_spec(family)): family for family in reversed(FAMILIES)}.values())[::-1]
"""One family of each set of choices: those that differ in numbers alone are one."""


def _kinds(part: Part) -> frozenset[object]:
    """The kinds of a part and of all parts in it."""
    inside = [value for _, value in part if isinstance(value, Part)]
    return frozenset([getattr(part, "kind", None)]).union(*map(_kinds, inside))


def _with_new_kinds() -> Iterator[str]:
    seen: frozenset[object] = frozenset()
    for family in UNLIKE:
        spec = load_spec(family)
        kinds = frozenset[object]().union(*(_kinds(spec.blocks[name]) for name in distinct_blocks(spec)))
        if kinds - seen:
            yield family
        seen |= kinds


OF_A_KIND = list(_with_new_kinds())
"""Families that have, together, every kind of part that any family has."""

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parent / "configs").glob("*.json"))}
"""Configurations as their publishers have them."""


def published_config(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(CONFIGS[name].read_text())
    return config


TINY = Path(__file__).parent / "tiny.yaml"

# Changes that give the tiny spec's block another choice, or the spec a second block.
LATENT_OPTIONS = (
    "kind: mla, n_heads: 4, kv_lora_rank: 12, qk_nope_head_dim: 8, qk_rope_head_dim: 4, v_head_dim: 6, "
    "rope: {theta: 100}"
)
DELTA_NET_OPTIONS = (
    "kind: gated_delta_net, n_key_heads: 2, n_value_heads: 4, key_head_dim: 8, value_head_dim: 6, "
    "conv_size: 3"
)
COMPRESSED_OPTIONS = (
    "kind: compressed_attention, n_heads: 4, head_dim: 8, qk_rope_head_dim: 4, q_lora_rank: 10, window: 3, "
    "output_groups: 2, output_lora_rank: 6, rope: {theta: 100, interleaved: true}, "
    "compressor: {rate: 2, overlap: true, indexer: {n_heads: 16, head_dim: 6, top_k: 2}}"
)
MAMBA2_OPTIONS = "kind: mamba2, n_heads: 4, head_dim: 6, d_state: 8, n_groups: 2, conv_size: 3"
KDA_OPTIONS = "kind: kimi_delta_attention, n_heads: 4, head_dim: 8, conv_size: 3"
SUM_OPTIONS = (
    "kind: sum, first: {kind: attention, n_heads: 4, n_kv_heads: 2, head_dim: 8, rope: {theta: 100}}, "
    f"second: {{{MAMBA2_OPTIONS}}}, first_scale: 0.9, second_input_scale: 1.2"
)
LIGHTNING_OPTIONS = "kind: lightning_attention, n_heads: 4, head_dim: 8"
MIXTURE_OPTIONS = (
    "kind: moe, n_experts: 6, top_k: 2, router: {scoring: softmax}, "
    "expert: {kind: glu, d_ff: 8, activation: silu}"
)
LATENT = f"blocks.main.mixer={{{LATENT_OPTIONS}}}"
INDEXED = (
    LATENT,
    "blocks.main.mixer.q_lora_rank=10",
    "blocks.main.mixer.indexer={kind: lightning, n_heads: 16, head_dim: 8, top_k: 9}",
)
BLOCKS = "blocks.main.mixer={rope: {partial: 0.5}, block_indexer: {head_dim: 6, block: 3, top_blocks: 2}}"
INDEX_POOLED = (*INDEXED, "blocks.main.mixer.indexer.pool=3")
INDEX_SHARED = (
    *INDEXED,
    "blocks.other={extends: main, mixer: {indexer: {kind: shared, top_k: 9}}}",
    "layers[0].repeat=[main, other]",
)
COMPRESSED = f"blocks.main.mixer={{{COMPRESSED_OPTIONS}}}"
DELTA_NET = f"blocks.main.mixer={{{DELTA_NET_OPTIONS}}}"
SUM = f"blocks.main.mixer={{{SUM_OPTIONS}}}"
MAMBA2 = f"blocks.main.mixer={{{MAMBA2_OPTIONS}}}"
MIXTURE = f"blocks.main.ffn={{{MIXTURE_OPTIONS}}}"
ALL_EXPERTS = "blocks.main.ffn.top_k=6"
"""Where experts are chosen, a rounding may send a token to others."""
FAR = "blocks.far={extends: main, mixer: {window: 3}}"
MAIN_AND_FAR = (FAR, "layers[0].repeat=[main, far]")


def tiny(*overrides: str) -> ModelSpec:
    """The tiny spec with `key=value` changes."""
    return load_spec(str(TINY), overrides)


def attention(spec: ModelSpec, block: str = "main") -> Attention:
    """The attention of a block that has it."""
    mixer = spec.blocks[block].mixer
    assert isinstance(mixer, Attention)
    return mixer


def dense(spec: ModelSpec, block: str = "main") -> GLU | MLP:
    """The feed-forward of a block that has no experts."""
    ffn = spec.blocks[block].ffn
    assert isinstance(ffn, GLU | MLP)
    return ffn


def distinct(specs: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
    """Of specs that compute the same function, the first."""
    found: dict[str, tuple[str, ModelSpec]] = {}
    for name, spec in specs.items():
        found.setdefault(spec_sha256(spec), (name, spec))
    return {Path(name).name.replace(".yaml", ""): spec for name, spec in found.values()}
