"""Links that model types with experts share."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, after_first_dense, write_first_dense
from archcmp.spec.hf.bindings import Binding, Draft, Field, Tree, activation
from archcmp.spec.hf.common import GLU, RMSNORM
from archcmp.spec.hf.fields import REQUIRED, Fields

MODEL: Tree = {"norm": RMSNORM, "output": {}}


def moe(scoring: str, **router: Any) -> Tree:
    return {"kind": "moe", "router": {"scoring": scoring} | router, "expert": GLU}


N_EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts")
"""Names of the number of experts. transformers writes the number of some types under another name than it
reads."""


def experts(count: str, width: str, part: str = "", default_top_k: Any = 2) -> tuple[Binding, ...]:
    """The number of experts, the number of experts per token, and their width."""
    others = tuple(name for name in N_EXPERTS if name != count)
    return (
        Field(count, f"{part}:ffn.n_experts", aliases=others),
        Field("num_experts_per_tok", f"{part}:ffn.top_k", default_top_k),
        Field(width, f"{part}:ffn.expert.d_ff"),
        activation(f"{part}:ffn.expert.activation"),
    )


DENSE: tuple[Binding, ...] = (
    Field("intermediate_size", "dense:ffn.d_ff"),
    activation("dense:ffn.activation"),
)


class SharedExperts:
    """The experts that every token visits, as one expert of their total width. The field `key` is their
    number."""

    def __init__(
        self,
        default: int = 1,
        key: str = "n_shared_experts",
        part: str = "moe",
        default_width: Any = REQUIRED,
    ) -> None:
        self.default, self.key, self.path, self.width = default, key, f"{part}:ffn", default_width

    def read(self, fields: Fields, draft: Draft) -> None:
        count = fields.number(self.key, self.default)
        if count and draft.owners(self.path)[0]:
            draft.set(f"{self.path}.shared", dict(GLU))
            draft.set(f"{self.path}.shared.d_ff", count * fields.number("moe_intermediate_size", self.width))
            activation(f"{self.path}.shared.activation").read(fields, draft)

    def write(self, draft: Draft, config: Tree) -> None:
        widths = (draft.values(f"{self.path}.{part}.d_ff") for part in ("shared", "expert"))
        for shared, expert in zip(*widths, strict=True):
            config[self.key] = shared // expert if shared else 0


class ExpertGroups:
    """Group-limited routing, if there is more than one group."""

    def __init__(self, score: str, n_groups: int = 1, top_groups: int = 1, by_method: bool = False) -> None:
        self.score, self.n_groups, self.top_groups, self.by_method = score, n_groups, top_groups, by_method

    def read(self, fields: Fields, draft: Draft) -> None:
        n_groups = fields.number("n_group", self.n_groups)
        top_groups = fields.number("topk_group", self.top_groups)
        method = fields.number("topk_method", "greedy") if self.by_method else "group_limited_greedy"
        if method not in ("greedy", "group_limited_greedy"):
            raise fields.refuse("topk_method", method, "known: greedy, group_limited_greedy")
        if n_groups > 1 and method != "greedy" and draft.owners("moe:ffn")[0]:
            groups = {"n_groups": n_groups, "top_groups": top_groups, "score": self.score}
            draft.set("moe:ffn.router.groups", groups)

    def write(self, draft: Draft, config: Tree) -> None:
        for router in draft.values("moe:ffn.router"):
            groups = router["groups"] or {"n_groups": 1, "top_groups": 1}
            config |= {"n_group": groups["n_groups"], "topk_group": groups["top_groups"]}
            if self.by_method:
                config["topk_method"] = "group_limited_greedy" if router["groups"] else "greedy"


FIRST_DENSE = DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, after_first_dense, write_first_dense)
