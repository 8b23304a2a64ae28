"""Model types of Cohere with mixtures of experts."""

from __future__ import annotations

from archcmp.spec.hf.axes import DenseOrMoE, LocalGlobal, listed, write_listed
from archcmp.spec.hf.bindings import Draft, Field, Tree, activation
from archcmp.spec.hf.common import ATTENTION_BIAS, GLU, WINDOW, attention, heads, sizes
from archcmp.spec.hf.experts import experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


class NormByEps:
    """RMSNorm where `rms_norm_eps` is given, else LayerNorm without a bias."""

    def read(self, fields: Fields, draft: Draft) -> None:
        rms, layer = fields.get("rms_norm_eps", None), fields.number("layer_norm_eps", 1e-5)
        if rms is None:
            draft.set("norm", {"kind": "layernorm", "bias": False, "eps": float(layer)})
        else:
            draft.set("norm", {"kind": "rmsnorm", "eps": float(rms)})

    def write(self, draft: Draft, config: Tree) -> None:
        (kind,), (eps,) = draft.values("norm.kind"), draft.values("norm.eps")
        config["rms_norm_eps" if kind == "rmsnorm" else "layer_norm_eps"] = eps


class ScoresOfChosen:
    """The scores of the chosen experts: a softmax over them, or sigmoids, divided by their sum with
    `norm_topk_prob`."""

    path = "moe:ffn.router"

    def read(self, fields: Fields, draft: Draft) -> None:
        kind = fields.number("expert_selection_fn", "softmax")
        divided = fields.number("norm_topk_prob", True)
        if kind not in ("softmax", "sigmoid"):
            raise fields.refuse("expert_selection_fn", kind, "known: softmax, sigmoid")
        draft.set(f"{self.path}.scoring", kind)
        draft.set(f"{self.path}.renormalize", kind == "softmax" or divided)

    def write(self, draft: Draft, config: Tree) -> None:
        for router in draft.values(self.path):
            config |= {"expert_selection_fn": router["scoring"], "norm_topk_prob": router["renormalize"]}


class JoinedShared:
    """Experts that every token visits, as one expert of their total width, and how their output is joined."""

    def read(self, fields: Fields, draft: Draft) -> None:
        count = fields.number("num_shared_experts", 0)
        how = fields.number("shared_expert_combination_strategy", "average")
        if not count:
            return
        if how not in ("sum", "average"):
            raise fields.refuse("shared_expert_combination_strategy", how, "known: sum, average")
        if draft.owners("moe:ffn")[0]:
            draft.set("moe:ffn.shared", GLU | {"d_ff": count * fields.get("intermediate_size")})
            activation("moe:ffn.shared.activation").read(fields, draft)
            draft.set("moe:ffn.combine", how)

    def write(self, draft: Draft, config: Tree) -> None:
        options = (draft.values(f"moe:ffn.{option}") for option in ("shared.d_ff", "expert.d_ff", "combine"))
        for shared, expert, how in zip(*options, strict=True):
            config["shared_expert_combination_strategy"] = how
            config["num_shared_experts"] = shared // expert if shared else 0


class RopeOfDense:
    """Local layers have rotary positions, and dense layers, if `prefix_dense_sliding_window_pattern` is 1."""

    ropes = (RopeFields(part="local", interleaved=True), RopeFields(part="dense", interleaved=True))
    pattern = "prefix_dense_sliding_window_pattern"

    def read(self, fields: Fields, draft: Draft) -> None:
        turned = self.ropes if fields.number(self.pattern, 1) == 1 else self.ropes[:1]
        for rope in turned:
            rope.read(fields, draft)

    def write(self, draft: Draft, config: Tree) -> None:
        for rope in self.ropes:
            rope.write(draft, config)
        config[self.pattern] = 1 if all(draft.values("dense:mixer.rope")) else 2


def _after_prefix(fields: Fields, n_layers: int) -> list[str]:
    """The dense layers at the start and the mixtures after them have a pattern of windows each."""
    first = fields.number("first_k_dense_replace", 0)
    dense = fields.number("prefix_dense_sliding_window_pattern", 1)
    sparse = fields.number("sliding_window_pattern", 4)
    at_end = [(i + 1) % dense if i < first else (i - first + 1) % sparse for i in range(n_layers)]
    return ["local" if rest else "global" for rest in at_end]


MODEL_TYPES = (
    ModelType(
        "cohere2_moe",
        {"output": {}},
        {"residual": {"kind": "parallel"}, "mixer": attention(), "ffn": moe("softmax")},
        (
            *sizes(8192, tied=True)[:3],
            Field("tie_word_embeddings", "output.tied", True),
            NormByEps(),
            *heads(head_dim=128),
            Field(
                "prefix_dense_intermediate_size", "dense:ffn.d_ff", lambda f: f.get("intermediate_size", None)
            ),
            activation("dense:ffn.activation"),
            *experts("num_experts", "intermediate_size", "moe"),
            ScoresOfChosen(),
            JoinedShared(),
            *ATTENTION_BIAS,
            Field("logit_scale", "output.scale", 0.0625, decode=float),
            WINDOW,
            RopeOfDense(),
        ),
        axes=(
            LocalGlobal(_after_prefix),
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(0), write_listed),
        ),
    ),
)
