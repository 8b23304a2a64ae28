"""Model types of Gemma 4."""

from __future__ import annotations

from dataclasses import dataclass, field

from archcmp.spec.hf.axes import DenseOrMoE, LocalGlobal, Options, every
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import ATTENTION_BIAS, GLU, RMSNORM, attention, sizes
from archcmp.spec.hf.experts import moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import PROPORTIONAL, RopeFields


@dataclass(frozen=True)
class LastGlobal(LocalGlobal):
    """The same, but the last layer has no window, whatever `layer_types` says."""

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        return [*super().read(fields, n_layers)[:-1], "global"]


LAYERS = LastGlobal(every(6, "_sliding_window_pattern"))


class HeadsByKind:
    """Local layers have num_key_value_heads and head_dim. Global layers have those that `per_layer_config`
    says, where transformers wrote the file, or else global_head_dim and, if values are made of keys,
    num_global_key_value_heads."""

    options = (("head_dim", 256), ("num_key_value_heads", 4))
    of_global = ("global_head_dim", "num_global_key_value_heads")
    names = ("head_dim", "n_kv_heads")

    def read(self, fields: Fields, draft: Draft) -> None:
        local = {key: fields.number(key, default) for key, default in self.options}
        for kind, changes in (("local", {}), ("global", self._changes(fields))):
            for (key, _), name in zip(self.options, self.names, strict=True):
                draft.set(f"{kind}:mixer.{name}", changes.get(key, local[key]))

    def _changes(self, fields: Fields) -> Tree:
        """What global layers have in place of the fields of local ones."""
        head_dim = fields.number("global_head_dim", 512)
        n_kv_heads = fields.get("num_global_key_value_heads", None)
        listed = fields.get("per_layer_config", None)
        if listed is None:
            shared = n_kv_heads is not None and fields.number("attention_k_eq_v", False)
            return {"head_dim": head_dim} | ({"num_key_value_heads": n_kv_heads} if shared else {})
        of_layer = {int(i): options for i, options in listed.items()}
        changes: dict[str, list[Tree]] = {"local": [], "global": []}
        for i, kind in enumerate(LAYERS.read(fields, fields.get("num_hidden_layers"))):
            changes[kind].append(of_layer.get(i, {}))
        first = next(iter(changes["global"]))
        if any(changes["local"]) or any(other != first for other in changes["global"]):
            known = "global layers have the same options, and local layers have none"
            raise fields.refuse("per_layer_config", listed, known)
        if unknown := set(first) - {key for key, _ in self.options}:
            raise fields.refuse("per_layer_config", listed, f"{unknown.pop()} differs by kind of layer")
        return first

    def write(self, draft: Draft, config: Tree) -> None:
        for (key, _), name, of_global in zip(self.options, self.names, self.of_global, strict=True):
            others = draft.values(f"global:mixer.{name}")
            for value in [*others, *draft.values(f"local:mixer.{name}")]:
                config[key] = value
            for value in others:
                config[of_global] = value


class CausalText:
    """Tokens of text see earlier ones only, unless `use_bidirectional_attention` is all; those of an image
    may see one another."""

    key = "use_bidirectional_attention"

    def read(self, fields: Fields, draft: Draft) -> None:
        if (value := fields.get(self.key, None)) not in (None, "vision"):
            raise fields.refuse(self.key, value, "known: null, 'vision'")

    def write(self, draft: Draft, config: Tree) -> None:
        config[self.key] = None


_KINDS = ("default", PROPORTIONAL, "linear", "llama3", "yarn")


@dataclass(frozen=True)
class SharedKeys:
    """The last `num_kv_shared_layers` layers share the keys and values of earlier ones."""

    parts: dict[str, Tree] = field(
        default_factory=lambda: {"own": {}, "shared": {"mixer": {"shared_kv": True}}}
    )
    key = "num_kv_shared_layers"

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        n_shared = fields.number(self.key, 0)
        return ["own" if i < n_layers - n_shared else "shared" for i in range(n_layers)]

    def part_of(self, block: Options) -> str:
        return "shared" if block["mixer"].get("shared_kv") else "own"

    def write(self, parts: list[str], config: Tree) -> None:
        config[self.key] = parts.count("shared")


SHARED_KEYS = SharedKeys()


class Width:
    """The width of the feed-forward that every token visits. With `use_double_wide_mlp` it is twice as wide
    in the layers that share keys and values."""

    def read(self, fields: Fields, draft: Draft) -> None:
        width = fields.number("intermediate_size", 9216)
        wide = 2 if fields.number("use_double_wide_mlp", False) else 1
        for parts, block in draft.blocks.items():
            self._dense(block)["d_ff"] = width * (wide if "shared" in parts else 1)

    def write(self, draft: Draft, config: Tree) -> None:
        widths = {
            "shared" in parts: self._dense(block)["d_ff"] for parts, block in draft.blocks.items() if parts
        }
        if False in widths:
            config["intermediate_size"] = widths[False]
            config["use_double_wide_mlp"] = widths.get(True, 0) == 2 * widths[False]

    def _dense(self, block: Tree) -> Tree:
        """The feed-forward itself, or the one beside the experts."""
        ffn: Tree = block["ffn"]
        return ffn["shared"] if ffn["kind"] == "moe" else ffn


def _with_experts(fields: Fields, n_layers: int) -> list[bool]:
    return n_layers * [bool(fields.number("enable_moe_block", False))]


def _write_with_experts(mixtures: list[bool], config: Tree) -> None:
    config["enable_moe_block"] = any(mixtures)


_ROUTER: Tree = {"renormalize": True, "scaled": True, "expert_scale": True, "input_norm": RMSNORM}
_MOE: Tree = moe("softmax", **_ROUTER) | {"shared": GLU, "branch_norm": RMSNORM}
BESIDE_EXPERTS = DenseOrMoE({"dense": {"ffn": GLU}, "moe": {"ffn": _MOE}}, _with_experts, _write_with_experts)


def _activation(path: str) -> Field:
    return activation(path, "hidden_activation", "gelu_pytorch_tanh")


def _eps(path: str) -> Field:
    return Field("rms_norm_eps", path, 1e-6, decode=float)


_FEED_FORWARD: tuple[Binding, ...] = (
    Width(),
    Field("moe_intermediate_size", "moe:ffn.expert.d_ff"),
    Field("num_experts", "moe:ffn.n_experts"),
    Field("top_k_experts", "moe:ffn.top_k"),
    *map(_activation, ("dense:ffn.activation", "moe:ffn.shared.activation", "moe:ffn.expert.activation")),
    *map(_eps, ("moe:ffn.branch_norm.eps", "moe:ffn.router.input_norm.eps")),
)
VOCAB_SIZE = 262_144
_OF_EXPERTS = frozenset({"num_experts", "top_k_experts", "moe_intermediate_size"})
_VALUES = {False: "own", True: "keys"}


def _gemma4(name: str, context: int, window: int, *bindings: Binding) -> ModelType:
    norm: Tree = {"kind": "rmsnorm", "weight": False}
    mixer = attention(qk_norm={"kind": "per_head"}, v_norm=norm, query_pre_attn_scalar=1.0)
    return ModelType(
        name,
        {"norm": RMSNORM, "embedding": {"scale": "sqrt_d_model"}, "output": {}},
        {"residual": "sandwich_norm", "mixer": mixer, "layer_scalar": True},
        (
            *sizes(context, tied=True)[1:],
            Field("vocab_size", "vocab_size", VOCAB_SIZE),
            _eps(":mixer.v_norm.eps"),
            Field("num_attention_heads", ":mixer.n_heads", 8),
            HeadsByKind(),
            Field(
                "attention_k_eq_v",
                "global:mixer.values",
                False,
                decode=_VALUES.__getitem__,
                encode={values: key for key, values in _VALUES.items()}.__getitem__,
            ),
            *ATTENTION_BIAS,
            CausalText(),
            Field("sliding_window", "local:mixer.window", window),
            RopeFields(10_000.0, "local", "sliding_attention", kinds=_KINDS),
            RopeFields(
                1_000_000.0,
                "global",
                "full_attention",
                scaling={"rope_type": PROPORTIONAL, "partial_rotary_factor": 0.25},
                kinds=_KINDS,
            ),
            *_FEED_FORWARD,
            Field("final_logit_softcapping", "output.softcap", None, nullable=True, decode=float),
            *bindings,
        ),
        axes=(LAYERS, BESIDE_EXPERTS, SHARED_KEYS),
        silent=frozenset({*BESIDE_EXPERTS.parts, "own"}),
        unused=_OF_EXPERTS,
    )


class PerLayerEmbedding:
    """Vectors of `hidden_size_per_layer_input` elements for each layer, or none where it is 0. Their table
    has as many rows as the token embedding."""

    key, rows, path = "hidden_size_per_layer_input", "vocab_size_per_layer_input", ":per_layer"

    def read(self, fields: Fields, draft: Draft) -> None:
        dim, n_rows = fields.number(self.key, 256), fields.number(self.rows, VOCAB_SIZE)
        if not dim:
            return
        if n_rows != fields.number("vocab_size", VOCAB_SIZE):
            raise fields.refuse(self.rows, n_rows, "the only known value is vocab_size")
        draft.set(f"{self.path}.dim", dim)
        _activation(f"{self.path}.activation").read(fields, draft)

    def write(self, draft: Draft, config: Tree) -> None:
        for part in draft.values(self.path):
            config[self.key] = part["dim"] if part else 0
            config[self.rows] = draft.values("vocab_size")[0]


_NEITHER: tuple[Binding, ...] = (Only("enable_moe_block", False), Only(PerLayerEmbedding.key, 0))

MODEL_TYPES = (
    _gemma4("gemma4_text", 131_072, 512, PerLayerEmbedding()),
    _gemma4("gemma4_unified_text", 262_144, 1024, *_NEITHER),
)
