"""AXIS ffn: what each token does on its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.base import Dim, Part, Positive, fault

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "relu2"]


class MLP(Part):
    """down(activation(up(x))): the original Transformer, GPT-2. relu2 is relu(x)^2."""

    kind: Literal["mlp"]
    d_ff: Dim
    activation: Activation
    bias: bool = False


class GLU(Part):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu (Llama, OLMo), GeGLU with gelu_tanh (Gemma).
    `clamp` c bounds gate(x) above by c and up(x) to +-c, `up_offset` adds 1 to up(x): both gpt-oss, whose
    quick_gelu is x * sigmoid(1.702 x). https://arxiv.org/abs/2002.05202"""

    kind: Literal["glu"]
    d_ff: Dim
    activation: Activation
    bias: bool = False
    clamp: Positive | None = None
    up_offset: bool = False


class ExpertGroups(Part):
    """Group-limited routing: experts stand in n_groups equal groups, and only those in the top_groups best
    may be chosen. A group is as good as its best expert (`max`, DeepSeek V2) or its best two together
    (`top2_sum`, DeepSeek V3). https://arxiv.org/abs/2405.04434"""

    n_groups: Dim
    top_groups: Dim
    score: Literal["max", "top2_sum"]


class Router(Part):
    """scores = scoring(W_r x [+ b]); the top_k experts by score are chosen, or by score + correction where
    a `correction_bias` balances the load (DeepSeek V3, https://arxiv.org/abs/2408.15664). Their scores,
    divided by their sum with `renormalize`, times `scale`, weigh the experts' outputs, or their inputs
    (`weighs: input`, Llama 4)."""

    scoring: Literal["softmax", "sigmoid"]
    renormalize: bool = False
    scale: Positive = 1.0
    bias: bool = False
    correction_bias: bool = False
    groups: ExpertGroups | None = None
    weighs: Literal["output", "input"] = "output"


class MoE(Part):
    """Mixture of experts: the sum over the top_k of n_experts feed-forwards that the router chose, each
    weighed by its score, plus the `shared` one that every token visits (with `shared_gate` times
    sigmoid(w x), Qwen3-Next). Mixtral, DeepSeek, OLMoE. https://arxiv.org/abs/1701.06538"""

    kind: Literal["moe"]
    n_experts: Dim
    top_k: Dim
    router: Router
    expert: Annotated[MLP | GLU, Field(discriminator="kind")]
    shared: Annotated[MLP | GLU, Field(discriminator="kind")] | None = None
    shared_gate: bool = False

    @model_validator(mode="after")
    def _experts_suffice(self) -> MoE:
        groups = self.router.groups
        if self.top_k > self.n_experts:
            raise fault(("top_k",), f"{self.top_k} is more than n_experts = {self.n_experts}")
        if self.shared_gate and self.shared is None:
            raise fault(("shared_gate",), "has no shared expert to gate", "Add shared, or remove it")
        if groups is not None:
            self._groups_suffice(groups)
        return self

    def _groups_suffice(self, groups: ExpertGroups) -> None:
        path = ("router", "groups")
        if self.n_experts % groups.n_groups:
            raise fault(
                (*path, "n_groups"), f"{groups.n_groups} does not divide n_experts = {self.n_experts}"
            )
        if groups.top_groups > groups.n_groups:
            raise fault(
                (*path, "top_groups"), f"{groups.top_groups} is more than n_groups = {groups.n_groups}"
            )
        size = self.n_experts // groups.n_groups
        if groups.top_groups * size < self.top_k:
            raise fault((*path, "top_groups"), f"of {size} experts each hold fewer than top_k = {self.top_k}")
        if groups.score == "top2_sum" and size < 2:
            raise fault((*path, "score"), "top2_sum needs groups of two experts or more")


FFN = Annotated[MLP | GLU | MoE, Field(discriminator="kind")]
