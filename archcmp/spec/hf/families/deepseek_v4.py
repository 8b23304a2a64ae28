"""DeepSeek V4: hyper-connections, compressed attention, and experts by token in the first layers."""

from __future__ import annotations

from typing import Any, ClassVar

from archcmp.spec.hf.axes import Options
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import sizes
from archcmp.spec.hf.experts import MODEL, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_KINDS = {
    "sliding_attention": "window",
    "compressed_sparse_attention": "csa",
    "heavily_compressed_attention": "hca",
}
_RATES = {"csa": ("compressed_sparse_attention", 4), "hca": ("heavily_compressed_attention", 128)}
"""Kind of layer -> its name in transformers, and its tokens per entry."""

_RATIOS = {0: "window", 4: "csa", 128: "hca"}


class Compression:
    """Layers with a window alone, and with either compressor: by `layer_types`, by `compress_ratios`, or
    HCA first and then in turn."""

    parts: ClassVar[dict[str, Tree]] = {
        "window": {},
        "csa": {"mixer": {"compressor": {"overlap": True, "indexer": {}}}},
        "hca": {"mixer": {"compressor": {}}},
    }

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        for key, known in (("layer_types", _KINDS), ("compress_ratios", _RATIOS)):
            given = fields.get(key, None)
            if given is None:
                continue
            if unknown := [kind for kind in given if kind not in known]:
                raise fields.refuse(key, unknown[0], f"known: {', '.join(map(str, known))}")
            fields.get("compress_ratios", None)
            return [known[kind] for kind in given[:n_layers]]
        return ["hca" if i < 2 or i % 2 == 0 else "csa" for i in range(n_layers)]

    def part_of(self, block: Options) -> str:
        compressor = block["mixer"].get("compressor")
        return "window" if compressor is None else "csa" if compressor["indexer"] else "hca"

    def write(self, parts: list[str], config: Tree) -> None:
        names = {part: name for name, part in _KINDS.items()}
        config["layer_types"] = [names[part] for part in parts]


class ByToken:
    """Experts by token in the layers that `mlp_layer_types` or `num_hash_layers` says, the first three by
    default."""

    parts: ClassVar[dict[str, Tree]] = {
        "hash": {"ffn": {"router": {"by_token": True}}},
        "moe": {"ffn": {"router": {"correction_bias": True}}},
    }

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        types = fields.get("mlp_layer_types", None)
        first = fields.number("num_hash_layers", 3)
        if types is None:
            return ["hash" if i < first else "moe" for i in range(n_layers)]
        known = {"hash_moe": "hash", "moe": "moe"}
        if unknown := [kind for kind in types if kind not in known]:
            raise fields.refuse("mlp_layer_types", unknown[0], f"known: {', '.join(known)}")
        return [known[kind] for kind in types[:n_layers]]

    def part_of(self, block: Options) -> str:
        return "hash" if block["ffn"]["router"]["by_token"] else "moe"

    def write(self, parts: list[str], config: Tree) -> None:
        config["mlp_layer_types"] = ["hash_moe" if part == "hash" else "moe" for part in parts]


class Rates:
    """Tokens per entry of either compressor: `compress_rates`, or a field each in older files."""

    def read(self, fields: Fields, draft: Draft) -> None:
        rates = fields.get("compress_rates", None) or {}
        for part, (name, default) in _RATES.items():
            rate = fields.get(f"compress_rate_{part}", None) or rates.get(name, default)
            draft.set(f"{part}:mixer.compressor.rate", rate)

    def write(self, draft: Draft, config: Tree) -> None:
        config["compress_rates"] = {
            name: next(iter(draft.values(f"{part}:mixer.compressor.rate")), default)
            for part, (name, default) in _RATES.items()
        }


_TURNED: dict[str, Any] = {
    "interleaved": True,
    "turns_part": True,
    "kinds": ("default", "linear", "llama3", "yarn"),
}


class Positions:
    """Two sets of rotary positions: those of layers with a window alone, and those of layers that compress.
    Both turn the last dimensions of a head, as many as `qk_rope_head_dim` or a share of the head says. Where
    one scaling is given for the model, only layers that compress have it, and it leaves the scores alone."""

    sets: ClassVar[dict[str, RopeFields]] = {
        "compress": RopeFields(160_000.0, "", "compress", "compress_rope_theta", **_TURNED),
        "main": RopeFields(10_000.0, "window", "main", scaled=False, **_TURNED),
    }

    def read(self, fields: Fields, draft: Draft) -> None:
        given = fields.get("rope_parameters", None)
        head_dim = fields.number("head_dim", 512)
        turned = fields.get("qk_rope_head_dim", None)
        share = fields.get("partial_rotary_factor", None) or (turned or 64) / (head_dim if turned else 512)
        for name, rope in self.sets.items():
            rope.read(fields, draft)
            own = given[name].get("partial_rotary_factor", 1.0) if given else share
            for options in draft.owners(rope.path)[0]:
                options["mixer"]["rope"].pop("partial", None)
                options["mixer"]["qk_rope_head_dim"] = int(head_dim * own)
                scaling = options["mixer"]["rope"].get("scaling")
                if scaling and scaling["kind"] == "yarn" and not given:
                    scaling.setdefault("attention_factor", 1.0)

    def write(self, draft: Draft, config: Tree) -> None:
        head_dim, turned = draft.values(":mixer.head_dim")[0], draft.values(":mixer.qk_rope_head_dim")[0]
        share = None if head_dim is None else turned / head_dim
        config["partial_rotary_factor"] = share
        written: dict[str, Any] = {}
        for part, name in (("window", "main"), ("csa", "compress"), ("hca", "compress")):
            RopeFields(part=part, layer_type=name).write(draft, written)
        found: Tree = written.get("rope_parameters", {})
        for name, rope in self.sets.items():
            found.setdefault(name, {"rope_type": "default", "rope_theta": rope.theta})
            found[name]["partial_rotary_factor"] = share
        config["rope_parameters"] = found


class SharedExpert:
    """One expert more that every token visits, like the others in all."""

    def read(self, fields: Fields, draft: Draft) -> None:
        fields.expect("n_shared_experts", 1)
        for block in draft.blocks.values():
            block["ffn"]["shared"] = dict(block["ffn"]["expert"])

    def write(self, draft: Draft, config: Tree) -> None:
        config["n_shared_experts"] = 1


_SCORINGS = {"sqrtsoftplus": "sqrt_softplus", "softmax": "softmax", "sigmoid": "sigmoid"}

_ATTENTION: tuple[Binding, ...] = (
    Field("num_attention_heads", ":mixer.n_heads", 64),
    Field("head_dim", ":mixer.head_dim", 512),
    Field("q_lora_rank", ":mixer.q_lora_rank", 1024),
    Field("sliding_window", ":mixer.window", 128),
    Field("o_groups", ":mixer.output_groups", 8),
    Field("o_lora_rank", ":mixer.output_lora_rank", 1024),
    Field("index_n_heads", "csa:mixer.compressor.indexer.n_heads", 64),
    Field("index_head_dim", "csa:mixer.compressor.indexer.head_dim", 128),
    Field("index_topk", "csa:mixer.compressor.indexer.top_k", 512),
    Rates(),
    Positions(),
    Only("attention_bias", False),
)

_EXPERTS: tuple[Binding, ...] = (
    *experts("n_routed_experts", "moe_intermediate_size", "", 6),
    Field("swiglu_limit", ":ffn.expert.clamp", 10.0, decode=float),
    SharedExpert(),
    Field(
        "scoring_func",
        ":ffn.router.scoring",
        "sqrtsoftplus",
        decode=_SCORINGS.__getitem__,
        encode={ours: theirs for theirs, ours in _SCORINGS.items()}.__getitem__,
    ),
    Field("routed_scaling_factor", ":ffn.router.scale", 1.5, decode=float),
    Only("norm_topk_prob", True),
    Only("topk_method", "noaux_tc"),
    Only("mlp_bias", False),
)

_STREAMS: tuple[Binding, ...] = (
    Field("hc_mult", ":residual.n_streams", 4),
    Field("hc_sinkhorn_iters", ":residual.sinkhorn_iterations", 20),
    Field("hc_eps", ":residual.eps", 1e-6, decode=float),
)

MODEL_TYPES = (
    ModelType(
        "deepseek_v4",
        MODEL,
        {
            "residual": {"kind": "hyper_connections"},
            "mixer": {"kind": "compressed_attention"},
            "ffn": moe("sqrt_softplus", renormalize=True),
        },
        (*sizes(1_048_576, tied=False), *_ATTENTION, *_EXPERTS, *_STREAMS),
        axes=(Compression(), ByToken()),
        unused=frozenset({"num_key_value_heads", "expert_dtype", "qk_nope_head_dim"}),
    ),
)
