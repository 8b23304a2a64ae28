"""A small spec makes every choice of the large one."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Literal

import pytest
import torch

from archcmp.errors import UsageError
from archcmp.model.build import build_model
from archcmp.spec import scale
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Dim, Part
from archcmp.spec.schema.ffn import MoE
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.rope import YarnScaling
from archcmp.spec.shrink import SHRUNK, shrunk_block
from archcmp.spec.vocabulary import features
from archcmp.spec.yaml.load import load_spec
from tests.each import check_each
from tests.known import OF_A_KIND, PUBLISHED, UNLIKE, attention, dense


def test_a_shrunk_spec_makes_the_same_choices_in_fewer_layers() -> None:
    def check(reference: str) -> None:
        spec = load_spec(reference)
        small = scale.shrunk(spec)
        assert features(small) == features(spec)
        assert distinct_blocks(small).keys() == distinct_blocks(spec).keys()
        assert len(layer_blocks(small)) <= 14 and small.d_model == SHRUNK.d_model

    check_each(PUBLISHED, check)


class Convolution(Part):
    """A mixer that the rules of shrinking do not know."""

    kind: Literal["convolution"]
    width: Dim
    taps: Dim = 4


def test_a_choice_without_a_rule_is_shrunk_too() -> None:
    block = (
        load_spec("olmo2")
        .blocks["main"]
        .model_copy(update={"mixer": Convolution(kind="convolution", width=4096)})
    )
    shrunk: object = shrunk_block(block).mixer
    assert shrunk == Convolution(kind="convolution", width=16)


def _stretches(spec: ModelSpec) -> list[tuple[str, int]]:
    """The layers as [('dense', 1), ('moe', 5)]."""
    return [(name, len(list(same))) for name, same in groupby(layer_blocks(spec))]


@pytest.mark.parametrize("d_model", [64, 128, 512])
def test_a_proxy_makes_the_same_choices(d_model: int) -> None:
    check_each(PUBLISHED if d_model == 64 else UNLIKE, partial(_check_proxy, d_model))


def _check_proxy(d_model: int, reference: str) -> None:
    spec = load_spec(reference)
    small = scale.proxy(spec, d_model=d_model, seq_len=96, vocab_size=300)
    assert features(small) == features(spec)
    assert list(distinct_blocks(small)) == list(distinct_blocks(spec))
    needed = sum(1 + max(map(run.repeat.index, run.repeat)) for run in spec.layers)
    assert len(layer_blocks(small)) in (6, needed)
    assert (small.d_model, small.vocab_size, small.context_length) == (d_model, 300, 96)
    assert small.published is None
    for name, block in small.blocks.items():
        own = spec.blocks[name]
        assert getattr(block.mixer, "label", None) == getattr(own.mixer, "label", None)
        assert block.residual == spec.blocks[name].residual
        if isinstance(block.mixer, Attention | MLA):
            widest = getattr(spec.blocks[name].mixer, "head_dim", 64)
            assert block.mixer.n_heads == {64: 4, 128: 8, 512: max(8, 512 // widest)}[d_model]
        if isinstance(block.ffn, MoE):
            assert block.ffn.top_k < block.ffn.n_experts <= 8


def test_the_proxy_of_olmo2() -> None:
    small = scale.proxy(load_spec("olmo2:7b"))
    assert (small.d_model, small.vocab_size, small.context_length) == (64, 256, 64)
    assert layer_blocks(small) == ("main",) * 6
    mixer = attention(small)
    assert (mixer.n_heads, mixer.n_kv_heads, mixer.head_dim) == (4, 4, 16)
    assert dense(small).d_ff == 176, "11,008 / 4,096 * 64 = 172, in steps of 16"


@pytest.mark.parametrize(
    ("d_model", "n_heads", "head_dim"),
    [(32, 2, 16), (128, 8, 16), (144, 4, 32), (256, 8, 32), (272, 4, 64), (512, 8, 64), (4096, 64, 64)],
)
def test_a_wider_proxy_has_wider_heads(d_model: int, n_heads: int, head_dim: int) -> None:
    mixer = attention(scale.proxy(load_spec("olmo2"), d_model=d_model))
    assert (mixer.n_heads, mixer.n_kv_heads, mixer.head_dim) == (n_heads, n_heads, head_dim)


@pytest.mark.parametrize(
    ("reference", "n_heads", "n_kv_heads"),
    [
        ("qwen3:0.6b", 8, 4),
        ("llama3:8b", 8, 2),
        ("qwen3:32b", 8, 2),
        ("qwen2.5:0.5b", 6, 2),
        ("gemma3:1b", 8, 1),
    ],
)
def test_groups_of_heads_keep_their_size_where_they_can(
    reference: str, n_heads: int, n_kv_heads: int
) -> None:
    small = scale.proxy(load_spec(reference), d_model=16 * n_heads)
    mixer = attention(small, next(iter(small.blocks)))
    assert (mixer.n_heads, mixer.n_kv_heads) == (n_heads, n_kv_heads)


@pytest.mark.parametrize(
    ("reference", "n_layers", "stretches"),
    [
        ("deepseek-v3", 6, [("dense", 1), ("moe", 5)]),
        ("deepseek-v3", 40, [("dense", 2), ("moe", 38)]),
        ("deepseek-v3", 1, [("dense", 1), ("moe", 1)]),
        ("gemma3:1b", 6, [("local", 5), ("global", 1)]),
        ("gemma3:1b", 4, [("local", 3), ("global", 1)]),
        ("gemma3:1b", 14, [("local", 5), ("global", 1), ("local", 5), ("global", 1), ("local", 2)]),
    ],
)
def test_runs_share_the_layers_in_proportion(
    reference: str, n_layers: int, stretches: list[tuple[str, int]]
) -> None:
    assert _stretches(scale.proxy(load_spec(reference), n_layers=n_layers)) == stretches


def test_a_pattern_is_cut_once_each_of_its_blocks_has_appeared() -> None:
    spec = load_spec("gemma2", ["layers=[{repeat: [local, global, local, local], n_layers: 8}]"])
    assert _stretches(scale.proxy(spec, n_layers=1)) == [("local", 1), ("global", 1)]


@pytest.mark.parametrize(
    ("reference", "seq_len", "window"),
    [("gemma2", 64, 32), ("gemma2", 512, 256), ("gemma3:1b", 64, 8), ("gemma3:1b", 4, 2)],
)
def test_a_window_scales_with_the_length(reference: str, seq_len: int, window: int) -> None:
    assert attention(scale.proxy(load_spec(reference), seq_len=seq_len), "local").window == window


def test_a_window_of_the_whole_context_stays_a_window() -> None:
    spec = load_spec("mistral", ["window=32768"])
    assert attention(scale.proxy(spec)).window == 63


def test_other_lengths_scale_too() -> None:
    far = attention(scale.proxy(load_spec("llama4:scout")), "global_moe").temperature
    assert far is not None and far.floor_scale == 8
    rope = attention(scale.proxy(load_spec("olmo3"), seq_len=256), "global").rope
    assert rope is not None and isinstance(rope.scaling, YarnScaling)
    assert rope.scaling.original_context_length == 32, "8,192 of 65,536"


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (
            {"d_model": 60},
            "no proxy of OLMo 2 7B with d_model 60 can be made: d_model must be a multiple of 16",
        ),
        ({"d_model": 16}, "from 32 to 4,096"),
        ({"n_layers": 0}, "with n_layers 0 can be made: n_layers must be a whole number from 1 to 1,000"),
        ({"seq_len": 2}, "with seq_len 2 .* from 3 to"),
        ({"vocab_size": 0}, "with vocab_size 0 .* from 1 to"),
    ],
)
def test_an_impossible_size_is_refused_by_name(size: dict[str, int], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        scale.proxy(load_spec("olmo2:7b"), **size)


@pytest.mark.parametrize("d_model", [32, 80])
def test_a_width_at_which_a_choice_would_be_lost_is_refused(d_model: int) -> None:
    problem = f"no proxy of Llama 3 8B with d_model {d_model} can be made: n_heads = . cannot be GQA; .* 4, 6"
    with pytest.raises(UsageError, match=problem):
        scale.proxy(load_spec("llama3:8b"), d_model=d_model)


def test_a_spec_that_is_not_valid_has_no_proxy() -> None:
    spec = load_spec("olmo2:7b")
    wrong = spec.model_copy(update={"output": spec.output.model_copy(update={"scale": -1.0})})
    with pytest.raises(UsageError, match=r"with d_model 64 can be made: output\.scale must be above 0"):
        scale.proxy(wrong)


@pytest.mark.parametrize("family", OF_A_KIND)
def test_a_proxy_runs(family: str) -> None:
    spec = scale.proxy(load_spec(family))
    torch.manual_seed(0)
    tokens = torch.randint(spec.vocab_size, (2, spec.context_length))
    with torch.no_grad():
        logits = build_model(spec)(tokens)
    assert logits.shape == (*tokens.shape, spec.vocab_size) and logits.isfinite().all()
