"""Parts against independent statements of their equations."""

from __future__ import annotations

import math
import re
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from archcmp import count
from archcmp.errors import UsageError
from archcmp.model.build import build_block, build_model
from archcmp.model.cache import FullCache, RollingCache
from archcmp.model.mixers.attention import Attention
from archcmp.model.ops import attention as sdpa
from archcmp.model.ops.attention import WAYS, attention, prefer
from archcmp.model.residual import RESIDUALS, MakeNorm
from archcmp.model.rope import Rope
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.norms import RMSNorm
from archcmp.spec.schema.residual import (
    HyperConnections,
    Parallel,
    PostNorm,
    PreNorm,
    ReorderedNorm,
    SandwichNorm,
    StreamNorm,
)
from archcmp.spec.schema.rope import Rope as RopeSpec
from tests.known import MAIN_AND_FAR, tiny


def naive_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
    slopes: Tensor | None,
) -> Tensor:
    """The definition, one query at a time, in float64."""
    group, offset = q.shape[1] // k.shape[1], k.shape[2] - q.shape[2]
    output = torch.zeros(*q.shape[:3], v.shape[3], dtype=torch.float64)
    for h in range(q.shape[1]):
        for t in range(q.shape[2]):
            last = offset + t + 1
            first = 0 if window is None else max(0, last - window)
            keys, values = (x[:, h // group, first:last].double() for x in (k, v))
            scores = scale * torch.einsum("bd,bsd->bs", q[:, h, t].double(), keys)
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            if slopes is not None:
                scores = scores + slopes[h] * torch.arange(first + 1 - last, 1)
            output[:, h, t] = torch.einsum("bs,bsd->bd", scores.softmax(-1), values)
    return output


@settings(max_examples=120, deadline=None)
@given(
    n_new=st.integers(1, 24),
    n_past=st.integers(0, 12),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    window=st.none() | st.integers(1, 40),
    softcap=st.none() | st.floats(0.5, 50),
    d_v=st.sampled_from([4, 8]),
    chunk=st.integers(1, 30),
    biased=st.booleans(),
)
def test_attention_is_its_definition(
    n_new: int,
    n_past: int,
    heads: tuple[int, int],
    window: int | None,
    softcap: float | None,
    d_v: int,
    chunk: int,
    biased: bool,
) -> None:
    torch.manual_seed(n_new)
    slopes = torch.rand(heads[0]) if biased else None
    q = torch.randn(2, heads[0], n_new, 8)
    k = torch.randn(2, heads[1], n_past + n_new, 8)
    v = torch.randn(2, heads[1], n_past + n_new, d_v)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sdpa, "PIECE", chunk)
        ours = attention(q, k, v, 0.7, window, softcap, slopes=slopes)
    assert (ours - naive_attention(q, k, v, 0.7, window, softcap, slopes)).abs().max() < 1e-5


def test_windowed_attention_is_differentiable_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdpa, "PIECE", 3)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 11, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, 0.5, 4), (q, k, v))


# With f(x) = x + 1 and norm(x) = 10 x every arrangement of two sub-layers takes 3 elsewhere.
RESIDUAL_OF_3 = {
    PreNorm: 34 + (340 + 1),
    PostNorm: 10 * (70 + 71),
    StreamNorm: 610 + 611,
    ReorderedNorm: 43 + 10 * 44,
    SandwichNorm: 313 + 10 * (3130 + 1),
    Parallel: 3 + 31 + 31,
}


class TimesTen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 10 * x


class MakeTimesTen(MakeNorm):
    def __call__(self) -> nn.Module:
        return TimesTen()


@pytest.mark.parametrize("kind", [kind for kind in RESIDUALS if kind is not HyperConnections])
def test_residual_equations(kind: type[Part]) -> None:
    residual = RESIDUALS[kind](
        kind.model_validate({"kind": get_args(kind.model_fields["kind"].annotation)[0]}),
        MakeTimesTen(RMSNorm(kind="rmsnorm"), 1),
        2,
    )
    assert residual(torch.tensor(3.0), lambda x: x + 1, lambda x: x + 1).item() == RESIDUAL_OF_3[kind]


def test_hyper_connections_are_their_equation() -> None:
    """X <- M X + w f(norm(r X)), written out for a single token with three streams of four numbers."""
    torch.manual_seed(0)
    spec = HyperConnections(
        kind="hyper_connections", n_streams=3, sinkhorn_iterations=20, magnitude=1.5, eps=1e-3
    )
    residual = RESIDUALS[HyperConnections](spec, MakeNorm(RMSNorm(kind="rmsnorm", eps=0.1), 4), 1)
    for parameter in residual.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 4)
    state = residual.state_dict()
    z = state["weights.0.weight"] @ x.flatten() / (x.square().mean() + 0.1).sqrt()
    scale, bias = state["weights.0.scale"], state["weights.0.bias"]
    r = (scale[0] * z[:3] + bias[:3]).sigmoid() + 1e-3
    w = 1.5 * (scale[1] * z[3:6] + bias[3:6]).sigmoid()
    m = (scale[2] * z[6:] + bias[6:]).view(3, 3).softmax(1) + 1e-3
    for _ in range(19):
        m = m / (m.sum(0) + 1e-3)
        m = m / (m.sum(1, keepdim=True) + 1e-3)
    m = m / (m.sum(0) + 1e-3)
    collapsed = r @ x
    normed = collapsed / (collapsed.square().mean() + 0.1).sqrt() * state["before.0.weight"]
    torch.testing.assert_close(m.sum(1), torch.ones(3), rtol=0, atol=0.02)
    expected = m.T @ x + torch.outer(w, torch.tanh(normed))
    torch.testing.assert_close(residual(x[None, None], torch.tanh)[0, 0], expected)


def test_streams_start_alike_and_end_as_one() -> None:
    model = build_model(tiny("residual={kind: hyper_connections, n_streams: 3, narrowing: mean}"))
    stream, _ = model.enter(torch.arange(5)[None])
    assert stream.shape == (1, 5, 3, 16)
    assert torch.equal(stream[:, :, 0], stream[:, :, 2])
    torch.testing.assert_close(model.residual(stream), stream[:, :, 0])


def test_a_residual_multiplier_scales_every_sub_layer() -> None:
    residual = RESIDUALS[PreNorm](PreNorm(kind="pre_norm", multiplier=2.0), TimesTen, 2)
    assert residual(torch.tensor(3.0), lambda x: x + 1, lambda x: x + 1).item() == 65 + 2 * (10 * 65 + 1)


@pytest.mark.parametrize(("kind", "norm_first"), [("post_norm", False), ("pre_norm", True)])
def test_block_equals_the_original_transformer_layer(kind: str, norm_first: bool) -> None:
    """torch's own encoder layer, with a causal mask and no positions, tells post-norm from pre-norm."""
    spec = tiny(
        "blocks.main.mixer={kind: attention, n_heads: 2, n_kv_heads: 2, head_dim: 8, qkv_bias: true, "
        "output_bias: true, rope: null}",
        "blocks.main.ffn={kind: mlp, d_ff: 32, activation: relu, bias: true}",
        "norm={kind: layernorm}",
        f"blocks.main.residual={kind}",
    )
    theirs = nn.TransformerEncoderLayer(16, 2, 32, 0.0, "relu", batch_first=True, norm_first=norm_first)
    ours: Any = build_model(spec, layers=("main",)).blocks[0]
    norms: Any = ours.residual.before if norm_first else ours.residual.after
    pairs: dict[Any, tuple[Tensor, Tensor]] = {
        ours.mixer.qkv: (theirs.self_attn.in_proj_weight, theirs.self_attn.in_proj_bias),
        ours.mixer.out: (theirs.self_attn.out_proj.weight, theirs.self_attn.out_proj.bias),
        ours.ffn.up: (theirs.linear1.weight, theirs.linear1.bias),
        ours.ffn.down: (theirs.linear2.weight, theirs.linear2.bias),
        norms[0]: (theirs.norm1.weight, theirs.norm1.bias),
        norms[1]: (theirs.norm2.weight, theirs.norm2.bias),
    }
    with torch.no_grad():
        for module, (weight, bias) in pairs.items():
            module.weight.copy_(nn.init.normal_(weight, std=0.3))
            module.bias.copy_(nn.init.normal_(bias, std=0.3))
        x = torch.randn(2, 9, 16)
        mask = nn.Transformer.generate_square_subsequent_mask(9)
        assert (ours(x) - theirs(x, src_mask=mask)).abs().max() < 1e-5


def test_rotation_depends_on_distance_only_and_keeps_length() -> None:
    rope = Rope(RopeSpec(theta=100.0, partial=0.5), head_dim=16)
    q, k = torch.randn(16), torch.randn(16)

    def at(x: Tensor, position: int) -> Tensor:
        return rope.rotate(x.view(1, 1, 1, 16), rope(torch.tensor([position]), torch.float32, 30)).flatten()

    assert torch.allclose(at(q, 9) @ at(k, 4), at(q, 25) @ at(k, 20), atol=1e-5)
    assert math.isclose(at(q, 7).norm(), q.norm(), rel_tol=1e-5)
    assert torch.equal(at(q, 7)[8:], q[8:]), "partial rotary leaves the second half alone"


def test_casting_a_model_does_not_spoil_its_positions() -> None:
    """Frequencies kept in bfloat16 would turn token 60 by a visibly wrong angle."""
    model = build_model(tiny("blocks.main.mixer.rope.theta=1000000"))
    positions = torch.tensor([60])
    (rope,) = model.ropes
    assert isinstance(rope, Rope)
    exact = rope(positions, torch.float32, 61)
    (cast,) = model.to(torch.bfloat16).ropes
    assert isinstance(cast, Rope)
    turned = cast(positions, torch.float32, 61)
    assert all(torch.equal(a, b) for a, b in zip(exact, turned, strict=True))


@pytest.mark.parametrize(
    ("n_heads", "exponents"),
    [(4, [2, 4, 6, 8]), (1, [8]), (6, [2, 4, 6, 8, 1, 3]), (3, [4, 8, 2]), (5, [2, 4, 6, 8, 1])],
)
def test_the_slopes_of_alibi_are_those_of_its_paper(n_heads: int, exponents: list[int]) -> None:
    """For numbers between two powers of two, those of the lower one, then some of the higher one's."""
    heads = f"{{n_heads: {n_heads}, n_kv_heads: {n_heads}, alibi: {{max_bias: 8}}}}"
    mixer = build_block(tiny(f"blocks.main.mixer={heads}"), "main").mixer
    assert isinstance(mixer, Attention)
    slopes = mixer.slopes(torch.device("cpu"))
    assert slopes is not None and slopes.tolist() == [2.0**-exponent for exponent in exponents]


def test_windowed_layers_keep_only_their_window() -> None:
    model = build_model(tiny(*MAIN_AND_FAR), "meta")
    full, rolling = model.new_cache(batch_size=1, capacity=64).layers
    assert isinstance(full, FullCache) and not isinstance(full, RollingCache)
    assert isinstance(rolling, RollingCache)
    assert full.nbytes == 2 * 2 * 64 * 8 * 4
    assert rolling.nbytes == 2 * 2 * 3 * 8 * 4


def test_sequences_beyond_learned_positions_or_the_cache_are_refused() -> None:
    model = build_model(tiny("embedding.positions=learned", "context_length=8"))
    with pytest.raises(UsageError, match="learned positions for 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
    cache = model.new_cache(1, 4)
    for shape in ((1, 5), (2, 3)):
        with pytest.raises(UsageError, match="room for 1 x 4"):
            model(torch.zeros(*shape, dtype=torch.int64), cache)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [{}, {"softcap": 2.0}, {"sinks": torch.tensor([0.5, -1.0, 2.0, 0.0])}, {"slopes": torch.rand(4)}],
)
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("first", WAYS)
def test_every_way_to_compute_one_tokens_attention_gives_what_the_whole_gives(
    first: str, window: int | None, options: dict[str, Any], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 12, 8, dtype=dtype) for heads in (4, 2, 2))
    options = {name: x.to(dtype) if isinstance(x, torch.Tensor) else x for name, x in options.items()}
    whole = attention(q, k, v, 0.3, window, **options)
    prefer(dtype, (first, *(way for way in WAYS if way != first)))
    try:
        last = attention(q[:, :, -1:], k, v, 0.3, window, **options)
    finally:
        prefer(dtype, WAYS)
    assert torch.allclose(last, whole[:, :, -1:], atol=1e-5)


def test_a_loop_is_its_layers_in_a_row_with_shared_weights() -> None:
    looped = tiny("loop={passes: 3}")
    n_layers = looped.layers[0].n_layers
    row = tiny(f"n_layers={3 * n_layers}")
    model, unrolled = build_model(looped), build_model(row)
    unrolled.load_state_dict(
        {
            name: model.state_dict()[
                re.sub(r"blocks\.(\d+)", lambda found: f"blocks.{int(found[1]) % n_layers}", name)
            ]
            for name in unrolled.state_dict()
        }
    )
    tokens = torch.arange(8)[None]
    torch.testing.assert_close(model(tokens), unrolled(tokens))
    once, thrice = count(looped, seq_len=8), count(row, seq_len=8)
    assert once.flops == thrice.flops
    assert once.memory["kv_cache_bytes"] == thrice.memory["kv_cache_bytes"]
    assert 3 * once.params["total"].by_component["ffn"] == thrice.params["total"].by_component["ffn"]
