"""AXIS ffn: what each token does on its own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import Dim, Part, Positive, Slot, divisors, fault
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.steps import Rows, Step, callouts, projection, step

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "relu2", "xielu"]

_WRITTEN = {
    **{"gelu": "GELU", "gelu_tanh": "GELU", "quick_gelu": "quick GELU", "silu": "SiLU", "relu": "ReLU"},
    **{"relu2": "ReLU\u00b2", "xielu": "xIELU"},
}
"""Activations as a drawing writes them; a call-out has the name in full."""


def _written(activation: str) -> str:
    return _WRITTEN.get(activation, activation)


class MLP(Part):
    """down(activation(up(x))): the original Transformer, GPT-2. relu2 is relu(x)^2."""

    ROLE: ClassVar[str] = "ffn"
    NAMES: ClassVar[dict[str, str]] = {"mlp": "MLP"}
    FORMS: ClassVar[dict[str, str]] = {"d_ff": "d_ff {}", "activation": "{}", "bias": "bias"}

    kind: Literal["mlp"]
    d_ff: Dim
    """Width of the hidden layer."""
    activation: Activation
    """The non-linearity of the hidden layer: silu is x * sigmoid(x), gelu x * Phi(x) with the normal
    distribution's Phi, gelu_tanh its approximation by a tanh, quick_gelu x * sigmoid(1.702 x), relu
    max(x, 0), relu2 relu(x)^2. xielu is a x^2 + x / 2 above 0 and b (exp(x) - 1 - x) + x / 2 below, with
    learned a and b: Apertus."""
    bias: bool = False
    """Every projection of the feed-forward has a bias."""

    def inner(self) -> Rows:
        """Up, the non-linearity, down."""
        return (
            (projection("up", self.d_ff),),
            (Step("gate", _written(self.activation)),),
            (projection("down"),),
        )


class GLU(Part):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu (Llama, OLMo), GeGLU with gelu_tanh (Gemma).
    With `clamp` c, gate(x) is at most c and up(x) lies between -c and c; `up_offset` adds 1 to up(x): both
    gpt-oss. https://arxiv.org/abs/2002.05202"""

    ROLE: ClassVar[str] = "ffn"
    NAMES: ClassVar[dict[str, str]] = {"glu": "Gated feed-forward"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"d_ff": "d_ff {}", "activation": "{}", "bias": "bias", "clamp": "clamp {}"},
        **{"clamp_activation": "activation clamped|gate clamped", "up_offset": "up + 1|up without + 1"},
        **{"gate_scale": "gate \u00d7 {}", "output_scale": "output \u00d7 {}"},
    }

    kind: Literal["glu"]
    d_ff: Dim
    """Width of the hidden layer."""
    activation: Activation
    """The non-linearity of the hidden layer: silu is x * sigmoid(x), gelu x * Phi(x) with the normal
    distribution's Phi, gelu_tanh its approximation by a tanh, quick_gelu x * sigmoid(1.702 x), relu
    max(x, 0), relu2 relu(x)^2. xielu is a x^2 + x / 2 above 0 and b (exp(x) - 1 - x) + x / 2 below, with
    learned a and b: Apertus."""
    bias: bool = False
    """Every projection of the feed-forward has a bias."""
    clamp: Positive | None = None
    """gate(x) is at most clamp, up(x) lies between -clamp and clamp: gpt-oss."""
    clamp_activation: bool = False
    """activation(gate(x)) is at most clamp, not gate(x): Step 3.5 Flash, in its last layers."""
    up_offset: bool = False
    """1 is added to up(x): gpt-oss."""
    gate_scale: Positive = 1.0
    """gate(x) is multiplied by this number before the activation: Falcon-H1."""
    output_scale: Positive = 1.0
    """The output of the feed-forward is multiplied by this number: Falcon-H1."""

    def inner(self) -> Rows:
        """Gate and up side by side, their product, down."""
        sides = (projection("gate", self.d_ff), projection("up", self.d_ff))
        up = "(up + 1)" if self.up_offset else "up"
        product = Step("gate", f"{_written(self.activation)}(gate) \u00d7 {up}")
        return sides, (product,), (projection("down"),)

    @model_validator(mode="after")
    def _clamp_has_a_bound(self) -> GLU:
        if self.clamp_activation and self.clamp is None:
            raise fault(("clamp_activation",), "clamp_activation needs a clamp", "Give clamp a number")
        return self


Dense = Annotated[MLP | GLU, Slot()]


class ExpertGroups(Part):
    """Group-limited routing: the experts form n_groups equal groups, and a token chooses among the experts of
    its top_groups best groups. The score of a group is that of its best expert (`max`, DeepSeek V2) or the
    sum of its best two (`top2_sum`, DeepSeek V3). https://arxiv.org/abs/2405.04434"""

    NAMES: ClassVar[dict[str, str]] = {"max": "its best expert", "top2_sum": "sum of its best two"}
    FORMS: ClassVar[dict[str, str]] = {
        "n_groups": "{} groups",
        "top_groups": "top {} groups",
        "score": "score of a group: {}",
    }

    n_groups: Dim
    """Groups of equal size into which the experts are divided."""
    top_groups: Dim
    """Groups whose experts a token may choose."""
    score: Literal["max", "top2_sum"]
    """The score of a group: that of its best expert (max), or the sum of its best two (top2_sum)."""


class Router(Part):
    """scores = scoring(cap(W_r x [+ b])); the top_k experts by score are chosen, or by score + correction
    where a `correction_bias` balances the load (DeepSeek V3, https://arxiv.org/abs/2408.15664). Their scores,
    divided by their sum with `renormalize`, times `scale`, multiply the experts' outputs, or their inputs
    (`weighs: input`, Llama 4)."""

    ROLE: ClassVar[str] = "choice"
    NAMES: ClassVar[dict[str, str]] = {"Router": "Router"}
    FORMS: ClassVar[dict[str, str]] = {
        **{
            "scoring": "{}",
            "renormalize": "renormalised|not renormalised",
            "scale": "scores \u00d7 {}",
            "weighs": "scores weigh {}s",
        },
        **{"softcap": "softcap {}", "input_norm": "{} before"},
        **{"by_token": "experts by token id|experts by score"},
        **{"scaled": "logits / sqrt(d_model)|logits not scaled", "jitter": "jitter {}"},
        **{"correction_bias": "correction bias", "bias": "bias", "expert_scale": "a factor per expert"},
    }

    scoring: Literal["softmax", "sigmoid", "sqrt_softplus", "sparsemixer"]
    """The experts' scores are the softmax of the router's logits z over all experts, or of each logit the
    sigmoid (DeepSeek V3, Llama 4) or sqrt(softplus(z)) (DeepSeek V4). sparsemixer (Phi-3.5-MoE) takes the
    best expert, then the best of the rest, and so on: the score of each is its softmax among the experts that
    are left and close to it, (z_best - z) / max(|z|, z_best) <= 2 jitter. The sampling of experts in training
    is left out.
    https://arxiv.org/abs/2409.12136"""
    renormalize: bool = False
    """The scores of the chosen experts are divided by their sum."""
    scale: Positive = 1.0
    """Scales the scores of the chosen experts."""
    bias: bool = False
    """The router's projection has a bias: gpt-oss."""
    correction_bias: bool = False
    """A bias per expert takes part in the choice, not in the weights, and balances the load: DeepSeek V3,
    https://arxiv.org/abs/2408.15664"""
    groups: ExpertGroups | None = None
    weighs: Literal["output", "input"] = "output"
    """What the scores multiply: the experts' outputs, or their inputs (Llama 4)."""
    softcap: Positive | None = None
    """The router's logits are bounded: softcap * tanh(z / softcap). An option of Laguna."""
    input_norm: Norm | None = None
    """The router normalises its input: Gemma 4 26B-A4B."""
    scaled: bool = False
    """The router's logits are divided by sqrt(d_model): Gemma 4 26B-A4B."""
    expert_scale: bool = False
    """The weight of each expert is multiplied by a learned number of its own: Gemma 4 26B-A4B."""
    by_token: bool = False
    """A token's experts are looked up by its id in a fixed table, which no gradient trains, and the scores
    only weigh them: the first layers of DeepSeek V4. https://arxiv.org/abs/2106.04426"""
    jitter: Positive | None = None
    """How close to the best an expert's logit must be to share its softmax; sparsemixer only."""

    @model_validator(mode="after")
    def _sparsemixer_alone(self) -> Router:
        if self.scoring == "sparsemixer" and self.jitter is None:
            raise fault(("jitter",), "scoring: sparsemixer needs jitter", "Add jitter: 0.01")
        if self.scoring != "sparsemixer" and self.jitter is not None:
            raise fault(
                ("jitter",), f"jitter is an option of sparsemixer, not of {self.scoring}", "Remove it"
            )
        if self.jitter is not None and (self.correction_bias or self.groups is not None):
            key = "correction_bias" if self.correction_bias else "groups"
            raise fault((key,), f"sparsemixer chooses experts by their logits alone, without {key}")
        return self

    @model_validator(mode="after")
    def _table_chooses_alone(self) -> Router:
        for key in ("correction_bias", "groups", "jitter"):
            if self.by_token and getattr(self, key):
                raise fault(("by_token",), f"by_token leaves no choice to {key}", f"Remove {key}")
        return self


class MoE(Part):
    """Mixture of experts: the sum over the top_k of n_experts feed-forwards that the router chose, each
    weighed by its score, plus the `shared` one that every token visits (with `shared_gate` times
    sigmoid(w x), Qwen3-Next). With `combine: average` the sum is halved (Command A+). With `latent` all
    experts work between two projections that they share (Nemotron 3). Mixtral, DeepSeek, OLMoE.
    https://arxiv.org/abs/1701.06538"""

    ROLE: ClassVar[str] = "ffn"
    NAMES: ClassVar[dict[str, str]] = {"moe": "Mixture of experts"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_experts": "{} experts", "top_k": "{} active", "shared_gate": "gate of the shared expert"},
        **{"combine": "{} with the shared expert", "router": ""},
        **{"latent": "experts of width {}|experts of width d_model"},
        **{"expert": "", "shared": "", "branch_norm": ""},
    }

    kind: Literal["moe"]
    n_experts: Dim
    """Experts among which the router chooses."""
    top_k: Dim
    """Experts that a token visits."""
    router: Router
    """How experts are chosen and weighed."""
    expert: Dense
    """The feed-forward that each expert is."""
    shared: Dense | None = None
    """A feed-forward that every token visits beside its experts: DeepSeek, Qwen."""
    shared_gate: bool = False
    """The shared feed-forward's output is multiplied by sigmoid(w x): Qwen3-Next."""
    combine: Literal["sum", "average", "unit_variance"] = "sum"
    """How the outputs of the experts and of the shared feed-forward are joined: their sum, or their average,
    (experts(x) + shared(x)) / 2, in Command A+, or with unit_variance (experts(x) + shared(x)) / sqrt(2), in
    Grok 2.5. https://huggingface.co/docs/transformers/model_doc/cohere2_moe"""
    branch_norm: Norm | None = None
    """The experts and the shared feed-forward each normalise their input and their output with norms of their
    own, norm(experts(norm(x))) + norm(shared(norm(x))), where x is the residual stream: the residual has no
    norm before the feed-forward. The router sees x, too. Gemma 4 26B-A4B.
    https://huggingface.co/docs/transformers/model_doc/gemma4"""
    latent: Dim | None = None
    """The experts work in this width: W_up experts(W_down x). The router and the shared feed-forward see x
    itself. Nemotron 3 Super and Ultra, Kimi K3.
    https://huggingface.co/docs/transformers/model_doc/nemotron_h"""

    @property
    def takes_stream(self) -> bool:
        """Whether it has norms of its own in place of the residual's norm before it."""
        return self.branch_norm is not None

    def inner(self) -> Rows:
        """The router, the experts beside the shared feed-forward, with what each has before and after, and
        their sum."""
        experts = Step("ffn", "expert", callouts(self.expert), self.expert, copies=self.n_experts)
        rows: list[tuple[Step | None, ...]] = [(experts,)]
        if self.shared is not None:
            rows = [(experts, Step("ffn", "shared", callouts(self.shared), self.shared))]
        if self.shared_gate:
            rows.append((None, Step("gate", "gate")))
        beside = (None,) * (len(rows[0]) - 1)
        if self.latent is not None:
            rows = [(projection("down", self.latent), *beside), *rows, (projection("up"), *beside)]
        if self.branch_norm is not None:
            norms = (step(self.branch_norm, "norm"),) * len(rows[0])
            rows = [norms, *rows, norms]
        chosen = Step("choice", "Router", callouts(self.router), self.router)
        return (chosen, *beside), *rows, (Step("ffn", self._joined),)

    @property
    def _joined(self) -> str:
        """'weighted sum of top 8 + shared': what the outputs of the experts become."""
        weighted = "weighted sum" if self.router.weighs == "output" else "sum"
        total = f"{weighted} of top {self.top_k}"
        if self.shared is None:
            return total
        divided = {"sum": "", "average": " / 2", "unit_variance": " / sqrt(2)"}[self.combine]
        return f"({total} + shared){divided}" if divided else f"{total} + shared"

    @model_validator(mode="after")
    def _experts_suffice(self) -> MoE:
        groups = self.router.groups
        if self.top_k > self.n_experts:
            raise fault(("top_k",), f"top_k = {self.top_k} is more than n_experts = {self.n_experts}")
        if self.expert.activation == "xielu":
            raise fault(("expert", "activation"), "experts cannot have xielu, whose numbers are learned")
        if self.shared_gate and self.shared is None:
            raise fault(
                ("shared_gate",), "shared_gate needs a shared expert", "Add shared, or remove shared_gate"
            )
        if self.combine != "sum" and self.shared is None:
            raise fault(("combine",), "combine needs a shared expert", "Add shared, or remove combine")
        if groups is not None:
            self._groups_suffice(groups)
        return self

    def _groups_suffice(self, groups: ExpertGroups) -> None:
        path = ("router", "groups")
        if self.n_experts % groups.n_groups:
            raise fault(
                (*path, "n_groups"),
                f"n_groups = {groups.n_groups} does not divide n_experts = {self.n_experts}; "
                f"{divisors(self.n_experts)}",
            )
        if groups.top_groups > groups.n_groups:
            raise fault(
                (*path, "top_groups"),
                f"top_groups = {groups.top_groups} is more than n_groups = {groups.n_groups}",
            )
        size = self.n_experts // groups.n_groups
        if groups.top_groups * size < self.top_k:
            held = f"top_groups = {groups.top_groups} of {size} experts hold fewer than top_k = {self.top_k}"
            raise fault((*path, "top_groups"), held)
        if groups.score == "top2_sum" and size < 2:
            raise fault((*path, "score"), "top2_sum needs groups of two experts or more")


FFN = Annotated[MLP | GLU | MoE, Slot()]
