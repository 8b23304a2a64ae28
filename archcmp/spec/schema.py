"""The vocabulary: every design choice archcmp knows, as typed, frozen data.

A slot (`residual`, `norm`, `mixer`, `ffn`, `rope.scaling`, `qk_norm`) holds one choice, told apart by
its `kind`. Class docstrings are what users read about a choice: its equation, and who uses it.
Sizes are in elements and tokens.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_DIM = 2**24
Dim = Annotated[int, Field(gt=0, le=MAX_DIM)]
Length = Annotated[int, Field(gt=0, le=2**31)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


def fault(path: tuple[str | int, ...], problem: str, hint: str = "") -> PydanticCustomError:
    """A rule that spans several keys is broken; `path`, relative to the model, is the key to mend."""
    return PydanticCustomError("fault", "{problem}", {"path": path, "problem": problem, "hint": hint})


def _expand_kind(value: Any) -> Any:
    """`residual: pre_norm` is short for `residual: {kind: pre_norm}`."""
    return {"kind": value} if isinstance(value, str) else value


class Part(BaseModel):
    """Base of everything in a spec: immutable, strictly typed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# ---- norms ------------------------------------------------------------------------------------------


class RMSNorm(Part):
    """x / sqrt(mean(x^2) + eps) * weight; with unit_offset * (1 + weight), as Gemma does.
    https://arxiv.org/abs/1910.07467"""

    kind: Literal["rmsnorm"]
    eps: Positive = 1e-6
    unit_offset: bool = False


class LayerNorm(Part):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias; OLMo 1 has neither weight nor bias.
    https://arxiv.org/abs/1607.06450"""

    kind: Literal["layernorm"]
    eps: Positive = 1e-5
    weight: bool = True
    bias: bool = True

    @model_validator(mode="after")
    def _bias_needs_weight(self) -> LayerNorm:
        if self.bias and not self.weight:
            raise fault(("bias",), "a layernorm without weight has no bias", "Write bias: false")
        return self


Norm = Annotated[RMSNorm | LayerNorm, Field(discriminator="kind")]


# ---- residual: how norms and the residual stream join a sub-layer f ---------------------------------


class PreNorm(Part):
    """x + f(norm(x)): GPT-2, Llama. https://arxiv.org/abs/2002.04745"""

    kind: Literal["pre_norm"]


class PostNorm(Part):
    """norm(x + f(x)): the original Transformer. https://arxiv.org/abs/1706.03762"""

    kind: Literal["post_norm"]


class ReorderedNorm(Part):
    """x + norm(f(x)), post-norm inside the residual branch: OLMo 2. https://arxiv.org/abs/2501.00656"""

    kind: Literal["reordered_norm"]


class SandwichNorm(Part):
    """x + norm(f(norm(x))): Gemma 2 and 3. https://arxiv.org/abs/2105.13290"""

    kind: Literal["sandwich_norm"]


class Parallel(Part):
    """x + mixer(norm(x)) + ffn(norm(x)), one shared norm: GPT-J, PaLM, Command R.
    https://arxiv.org/abs/2204.02311"""

    kind: Literal["parallel"]


_AnyResidual = PreNorm | PostNorm | ReorderedNorm | SandwichNorm | Parallel
_ResidualName = Literal["pre_norm", "post_norm", "reordered_norm", "sandwich_norm", "parallel"]
Residual = Annotated[
    Annotated[_AnyResidual, Field(discriminator="kind")],
    BeforeValidator(_expand_kind, json_schema_input_type=_ResidualName | _AnyResidual),
]


# ---- positions --------------------------------------------------------------------------------------


class LinearScaling(Part):
    """Position interpolation: every frequency divided by factor. https://arxiv.org/abs/2306.15595"""

    kind: Literal["linear"]
    factor: Positive


class Llama3Scaling(Part):
    """Frequencies slower than the original context divided by factor, faster ones kept, those between
    blended: Llama 3.1. Wavelength bounds are original_context_length / {low,high}_freq_factor."""

    kind: Literal["llama3"]
    factor: Positive
    low_freq_factor: Positive = 1.0
    high_freq_factor: Positive = 4.0
    original_context_length: Length

    @model_validator(mode="after")
    def _band(self) -> Llama3Scaling:
        if self.high_freq_factor <= self.low_freq_factor:
            raise fault(("high_freq_factor",), f"must be above low_freq_factor = {self.low_freq_factor:g}")
        return self


class YarnScaling(Part):
    """YaRN: frequencies that turn fewer than beta_slow times over the original context are divided by
    factor, those that turn more than beta_fast times kept, a ramp between; cos and sin are scaled by
    attention_factor, 0.1 ln(factor) + 1 by default. https://arxiv.org/abs/2309.00071"""

    kind: Literal["yarn"]
    factor: Annotated[float, Field(ge=1)]
    original_context_length: Length
    beta_fast: Positive = 32.0
    beta_slow: Positive = 1.0
    attention_factor: Positive | None = None

    @model_validator(mode="after")
    def _ramp(self) -> YarnScaling:
        if self.beta_fast <= self.beta_slow:
            raise fault(("beta_fast",), f"must be above beta_slow = {self.beta_slow:g}")
        return self


class Rope(Part):
    """Rotary positions: pairs of dimensions turn by position * theta^(-2i/d). `partial` is the share of
    head_dim that turns. https://arxiv.org/abs/2104.09864"""

    theta: Annotated[float, Field(gt=1)]
    partial: Annotated[float, Field(gt=0, le=1)] = 1.0
    scaling: Annotated[LinearScaling | Llama3Scaling | YarnScaling, Field(discriminator="kind")] | None = None


# ---- token mixers -----------------------------------------------------------------------------------


class AllHeadsQKNorm(Part):
    """One norm over the whole query (and key) projection, all heads together: OLMo 2.
    https://arxiv.org/abs/2501.00656"""

    kind: Literal["all_heads"]
    norm: Norm | None = None


class PerHeadQKNorm(Part):
    """One norm over head_dim, its weight shared by all heads: Gemma 3, Qwen3; with LayerNorm ViT-22B.
    https://arxiv.org/abs/2302.05442"""

    kind: Literal["per_head"]
    norm: Norm | None = None


_AnyQKNorm = AllHeadsQKNorm | PerHeadQKNorm
QKNorm = Annotated[
    Annotated[_AnyQKNorm, Field(discriminator="kind")],
    BeforeValidator(_expand_kind, json_schema_input_type=Literal["all_heads", "per_head"] | _AnyQKNorm),
]


class Attention(Part):
    """softmax(scale * q k^T) v over causal positions. n_kv_heads = n_heads is multi-head (MHA), 1 is
    multi-query (MQA), between is grouped-query attention (GQA, https://arxiv.org/abs/2305.13245).

    scale is query_pre_attn_scalar^-0.5, head_dim^-0.5 by default. `window` is how many keys a token
    sees, itself included (null: all). `softcap` bounds scores by softcap * tanh(score / softcap).
    `rope: null` gives no rotary positions. `qk_norm` uses the model's norm unless it names one.
    """

    kind: Literal["attention"]
    n_heads: Dim
    n_kv_heads: Dim
    head_dim: Dim
    qkv_bias: bool = False
    output_bias: bool = False
    query_pre_attn_scalar: Positive | None = None
    qk_norm: QKNorm | None = None
    window: Length | None = None
    softcap: Positive | None = None
    rope: Rope | None = None

    @property
    def label(self) -> str:
        """The usual short name: MHA, GQA or MQA."""
        if self.n_kv_heads == self.n_heads:
            return "MHA"
        return "MQA" if self.n_kv_heads == 1 else "GQA"

    @model_validator(mode="after")
    def _dimensions_divide(self) -> Attention:
        if self.n_heads % self.n_kv_heads:
            raise fault(("n_kv_heads",), f"{self.n_kv_heads} does not divide n_heads = {self.n_heads}")
        if self.n_heads * self.head_dim > MAX_DIM:
            raise fault(
                ("n_heads",), f"x head_dim = {self.n_heads * self.head_dim:,} must be at most {MAX_DIM:,}"
            )
        if self.rope and (turned := round(self.head_dim * self.rope.partial, 6)) % 2:
            raise fault(
                ("rope", "partial") if self.rope.partial < 1 else ("head_dim",),
                f"rotary positions turn pairs of dimensions, but {turned:g} of head_dim = {self.head_dim} "
                "is not an even whole number",
            )
        return self


Mixer = Attention


# ---- channel mixers ---------------------------------------------------------------------------------

Activation = Literal["gelu", "gelu_tanh", "silu", "relu", "relu2"]


class MLP(Part):
    """down(activation(up(x))): the original Transformer, GPT-2. relu2 is relu(x)^2."""

    kind: Literal["mlp"]
    d_ff: Dim
    activation: Activation
    bias: bool = False


class GLU(Part):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu (Llama, OLMo), GeGLU with gelu_tanh (Gemma).
    https://arxiv.org/abs/2002.05202"""

    kind: Literal["glu"]
    d_ff: Dim
    activation: Activation
    bias: bool = False


FFN = Annotated[MLP | GLU, Field(discriminator="kind")]


# ---- the whole model --------------------------------------------------------------------------------


class Block(Part):
    """One layer: a token mixer and a channel mixer, joined to the residual stream by `residual`."""

    residual: Residual
    mixer: Mixer
    ffn: FFN


class Embedding(Part):
    """Token vectors times scale, plus, with `positions: learned`, a vector per position (GPT-2)."""

    scale: Literal["sqrt_d_model"] | Positive | None = None
    positions: Literal["learned"] | None = None


class Output(Part):
    """Logits from the last hidden state: the final norm (`norm: false` for none, as in the original
    Transformer), then the token embedding (`tied`) or a matrix of its own, then the softcap."""

    tied: bool
    norm: bool = True
    softcap: Positive | None = None


class Run(Part):
    """`count` layers that take the block names of `repeat` in turn, from the first, over and over."""

    repeat: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    count: Annotated[int, Field(gt=0, le=10_000)]


class Published(Part):
    """What the publisher's own checkpoint holds: the ground truth that a build must meet."""

    params: Annotated[int, Field(gt=0)]


class ModelSpec(Part):
    """One architecture at one size, everything resolved. Equal specs compute the same function."""

    ABOUT: ClassVar[frozenset[str]] = frozenset(
        {"name", "size", "organization", "released", "sources", "source", "note", "published"}
    )

    name: Text
    size: str | None = None
    organization: Text | None = None
    released: Text | None = None
    sources: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    source: Text | None = None
    note: Text | None = None
    published: Published | None = None

    vocab_size: Dim
    context_length: Length
    d_model: Dim
    norm: Norm
    embedding: Embedding = Embedding()
    output: Output
    blocks: dict[Text, Block]
    layers: Annotated[tuple[Run, ...], Field(min_length=1, strict=False)]

    @property
    def title(self) -> str:
        """The name people use: `OLMo 2 7B`, `GPT-2 small`."""
        if self.size is None:
            return self.name
        return f"{self.name} {self.size.upper() if self.size[0].isdigit() else self.size}"

    @model_validator(mode="after")
    def _layers_name_blocks(self) -> ModelSpec:
        for i, run in enumerate(self.layers):
            for j, name in enumerate(run.repeat):
                if name not in self.blocks:
                    known = f"Blocks in this file: {', '.join(self.blocks)}"
                    raise fault(("layers", i, "repeat", j), f"no block '{name}'", known)
        return self
