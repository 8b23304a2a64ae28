"""Every key and every value that a table shows can be written as a change, of any spec."""

from __future__ import annotations

import random
import re

import pytest

from archcmp.errors import ArchcmpError, SpecError, UsageError
from archcmp.spec.describe import Value, design_choices, differing, parse_text, shown, text
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.overrides import UnknownKeyError, override_spec
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.rope import LongRopeScaling
from archcmp.spec.yaml.load import load_spec
from tests.each import check_each
from tests.known import COMPRESSED, UNLIKE, attention, dense, tiny

IMPLIED = {
    *("scaling.attention_factor", "latent_norm", "latent_norm.eps", "latent_norm.weight"),
    "qk_norm.norm",
    "output_norm",
}
"""What is not shown where another option decides it, so that nothing shown sets it back."""


def _written(spec: ModelSpec) -> list[str]:
    """Every choice as it is shown; the factors of LongRoPE, of which only the number is shown, in full."""
    shown = {key: text(value, key) for key, value in design_choices(spec).items()}
    for mixer in (block.mixer for block in spec.blocks.values()):
        if isinstance(mixer, Attention) and mixer.rope and isinstance(mixer.rope.scaling, LongRopeScaling):
            scaling = mixer.rope.scaling
            shown["scaling.short_factor"] = str(list(scaling.short_factor))
            shown["scaling.long_factor"] = str(list(scaling.long_factor))
    return [f"{key}={value}" for key, value in shown.items()]


def _check_written_back(spec: ModelSpec) -> None:
    for override in _written(spec):
        made = override_spec(spec, [override])
        assert made.model_copy(update={"published": spec.published}) == spec, override


def test_what_is_shown_written_back_is_the_same_spec() -> None:
    check_each(UNLIKE, lambda family: _check_written_back(load_spec(family)))


def test_what_is_shown_of_another_model_makes_a_spec_that_shows_the_same() -> None:
    specs = {family: load_spec(family) for family in UNLIKE}

    def check(family: str) -> None:
        spec = specs[family]
        wanted = design_choices(spec)
        others = [other for other in specs.values() if set(other.blocks) == set(spec.blocks)]
        for other in random.Random(family).sample(others, min(2, len(others))):
            made = design_choices(override_spec(other, _written(spec)))
            assert set(differing([made, wanted])) <= IMPLIED, other.title

    check_each(specs, check)


EVERYTHING = [
    *("residual={kind: parallel, shared_norm: false}", "n_heads=8", "n_kv_heads=4", "head_dim=16"),
    *("qkv_bias=yes", "output_bias=yes", "query_pre_attn_scalar=33", "qk_norm=each_head", "clip_qkv=8"),
    *(
        "window=7",
        "sinks=yes",
        "temperature={floor_scale: 4, attn_scale: 0.1, from_zero: true}",
        "output_gate={per: head}",
        "v_head_dim=16",
        "values=keys",
        "v_norm={kind: layernorm}",
        "value_scale=0.5",
        "alibi={max_bias: 8, scaled: true}",
    ),
    *("softcap=50", "n_layers=3"),
    "rope={theta: 500, partial: 0.5, proportional: true, interleaved: true, reverse: true}",
    "rope.scaling={kind: yarn, factor: 4, original_context_length: 32, mscale: 2, mscale_all_dim: 3}",
    *("ffn={kind: moe, n_experts: 8, top_k: 3, shared_gate: true}", "d_model=32", "vocab_size=1,234"),
    "ffn.router={scoring: sigmoid, renormalize: true, scale: 2.5, bias: true, correction_bias: true}",
    "router.groups={n_groups: 4, top_groups: 2, score: top2_sum}",
    *("ffn.router.softcap=9", "ffn.router.weighs=input", "ffn.combine=average", "ffn.latent=10"),
    "ffn.expert={kind: glu, d_ff: 12, activation: relu, bias: true, clamp: 7, up_offset: true}",
    "ffn.shared={kind: mlp, d_ff: 13, activation: gelu, bias: true}",
    *(
        "context_length=99",
        "norm={kind: layernorm, eps: 1.0e-3, bias: false, unit_offset: true}",
        "embedding.scale=sqrt_d_model",
        "embedding.norm={kind: layernorm, bias: false}",
    ),
    *(
        "embedding.positions=learned",
        "embedding.position_offset=2",
        "output={tied: true, bias: true, norm: false, scale: 0.5, softcap: 30}",
    ),
]


def test_a_spec_whose_every_option_is_changed_is_shown_and_written_back() -> None:
    spec = tiny(*EVERYTHING)
    plain = design_choices(tiny())
    same = {key for key, value in design_choices(spec).items() if key in plain and plain[key] == value}
    unchanged = {"mixer", "chunk", "rope", "norm.weight", "loop", "shared_kv", "per_layer", "layer_scalar"}
    unchanged |= {"block_indexer"}
    assert same == unchanged
    _check_written_back(spec)
    assert design_choices(tiny(*_written(spec))) == design_choices(spec)


VALUES: list[Value] = [0, 4096, 1e-05, 0.25, 1e20, True, False, None, "pre_norm", "attention (GQA)"]
VALUES += [
    {"local": 1024, "global": None},
    {"a": "glu", "b": True},
    "5 local : 1 global",
    "3 dense, then 58 moe",
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_value_survives_being_shown(value: Value) -> None:
    assert parse_text(text(value)) == value


def test_numbers_of_layers_survive_being_shown() -> None:
    assert text({"local": 22, "global": 4}, "n_layers") == "26 (22 local, 4 global)"
    assert parse_text("26 (22 local, 4 global)") == {"local": 22, "global": 4}
    assert parse_text("62 (5 local : 1 global)") == "62 (5 local : 1 global)"


def test_a_short_key_means_every_block_that_has_the_option_or_could_have_it() -> None:
    spec = load_spec("gemma3:1b+window=128")
    assert [attention(spec, block).window for block in ("local", "global")] == [128, 128]
    hybrid = load_spec("qwen3-next+n_heads=32")
    assert attention(hybrid, "full_moe").n_heads == 32
    without_rope = load_spec("smollm3+rope.theta=7")
    assert [attention(without_rope, block).rope is None for block in ("rope", "nope")] == [False, True]
    scaled = load_spec("olmo2+rope.scaling=linear+scaling.factor=2")
    assert design_choices(scaled)["scaling.factor"] == 2


def test_a_value_may_name_each_block() -> None:
    spec = load_spec("gemma3:1b", ["window=local: 1,024; global: none", "ffn.d_ff=global: 8,192"])
    assert [attention(spec, block).window for block in ("local", "global")] == [1024, None]
    assert [dense(spec, block).d_ff for block in ("local", "global")] == [6912, 8192]


@pytest.mark.parametrize(
    ("override", "layers"),
    [
        ("olmo2+n_layers=16", {"main": 16}),
        ("gemma3:1b+n_layers=12", {"local": 10, "global": 2}),
        ("gemma3:1b+n_layers=26 (22 local, 4 global)", {"local": 22, "global": 4}),
        ("gemma3:1b+layers=1 local : 1 global", {"local": 13, "global": 13}),
        ("deepseek-v3+n_layers=16", {"dense": 3, "moe": 13}),
        ("deepseek-v3+layers=1 dense, then 4 moe", {"dense": 1, "moe": 4}),
        ("deepseek-v3+layers=4 (1 dense : 1 moe), then 2 moe", {"dense": 2, "moe": 4}),
    ],
)
def test_layers_are_changed_as_they_are_shown(override: str, layers: dict[str, int]) -> None:
    assert distinct_blocks(load_spec(override)) == layers


def test_overrides_apply_in_the_order_given_and_are_validated_together() -> None:
    assert attention(tiny("n_heads=3", "n_kv_heads=3")).n_heads == 3
    assert tiny("d_model=8", "d_model=32").d_model == 32
    far = tiny("window=5", "blocks.far={extends: main, mixer: {rope: null}}")
    assert attention(far, "far").window == 5 and attention(far, "far").rope is None


def test_a_spec_that_no_file_holds_is_changed_alike() -> None:
    built = ModelSpec.model_validate(tiny().model_dump())
    assert override_spec(built, ["n_kv_heads=1"]) == tiny("n_kv_heads=1")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("n_kv_heads=7", "n_kv_heads = 7 does not divide n_heads = 32; 1, 2, 4, 8, 16 or 32 do"),
        ("n_heads=7", "n_kv_heads = 32 does not divide n_heads = 7; 1 or 7 do"),
        ("mixer=mla", "kv_lora_rank, qk_nope_head_dim"),
        ("kind=mla", "has no kind. Write mixer=mla"),
        ("qk_norm=perhead", "Did you mean per_head?"),
        ("n_layers=0", "must be a whole number of 1 or more"),
        ("n_layers=20000", "n_layers must be at most 1,000, not 20,000"),
        ("window=main: 5; far: 3", "has no block 'far'. Blocks: main"),
        ("mixer=attention (GQA)", "n_kv_heads makes it attention (MHA). Change n_kv_heads, too"),
        ("size=7b", "size is set by the name of a size"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(override: str, said: str) -> None:
    with pytest.raises((SpecError, UsageError)) as caught:
        load_spec("olmo2", [override])
    assert str(caught.value).startswith(f"override {override}") and said in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("n_kv_head=8", "Did you mean n_kv_heads"),
        ("d_ff=8", "Did you mean ffn.d_ff"),
        ("kv_lora_rank=8", "It is an option of mla"),
        ("router.scoring=softmax", "It is an option of moe"),
        ("blocks.local.mixer.window=8", "no block 'local'"),
        ("zzz=8", "`archcmp show SPEC` lists the keys"),
    ],
)
def test_a_key_that_is_nowhere_names_the_nearest(override: str, said: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        load_spec("olmo2", [override])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("indexer", "compressor.indexer"),
        ("indexer.top_k", "compressor.indexer.top_k"),
        ("rate", "compressor.rate"),
        ("compresser.rate", "compressor.rate"),
        ("far.compressor.rate", "compressor.rate"),
    ],
)
def test_a_part_of_a_nested_key_names_the_whole(key: str, meant: str) -> None:
    with pytest.raises(UnknownKeyError, match=re.escape(f"Did you mean {meant}?")):
        tiny(COMPRESSED, f"{key}=8")


def test_layers_of_which_it_is_not_clear_which_to_change_are_written_out() -> None:
    with pytest.raises(ArchcmpError, match="Write them all, such as layers=3 dense, then 58 moe"):
        load_spec("deepseek-v3+n_layers=3")
    with pytest.raises(ArchcmpError, match=r"layers makes it 26 \(22 local, 4 global\). Change layers, too"):
        load_spec("gemma3:1b+n_layers=26 (13 local, 13 global)")


def test_models_that_leave_an_option_at_its_default_do_not_differ_from_those_that_lack_it() -> None:
    choices = [design_choices(load_spec(name)) for name in ("olmo2", "deepseek-v3", "gpt2")]
    keys = differing(choices)
    assert shown(choices, "rope") == ["yes", "yes", "none"] and "rope" in keys
    assert shown(choices, "router.correction_bias") == ["no", "yes", "no"]
    assert not {"sinks", "window", "shared.bias"} & set(keys)


@pytest.mark.parametrize(
    "earlier",
    [
        "blocks=8",
        "blocks=[]",
        "layers[0]=1e300",
        "layers[0].repeat=7",
        "layers[0].n_layers=x",
        "blocks.main=3",
    ],
)
@pytest.mark.parametrize("later", ["n_layers=8", "layers=3 main", "window=4", "blocks.main.mixer.window=4"])
def test_an_override_that_leaves_no_layers_of_blocks_is_the_one_refused(earlier: str, later: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"override {earlier}: {earlier.partition('=')[0]}")):
        tiny(earlier, later)


def test_an_index_of_thousands_of_digits_is_a_key_that_is_nowhere() -> None:
    with pytest.raises(ArchcmpError, match="override"):
        tiny(f"layers[{'9' * 5000}].n_layers=3")
