"""Rotary positions in configurations: `rope_theta` and `rope_scaling`, or, since transformers 5,
`rope_parameters`, which may have one set per kind of layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archcmp.spec.hf.bindings import Draft, Tree
from archcmp.spec.hf.fields import Fields

_YARN = ("factor", "beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim")
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor")
_LONGROPE = ("factor", "short_factor", "long_factor", "attention_factor")
_OPTIONS = {
    "linear": ("factor",),
    "llama3": _LLAMA3,
    "yarn": _YARN,
    "dynamic": ("factor",),
    "longrope": _LONGROPE,
}
PROPORTIONAL = "proportional"
"""The kind whose `partial_rotary_factor` is the share of the frequencies that rotate."""
_RENAMED = {"su": "longrope"}
"""Names of scalings in the first files of Phi-3 -> their names since."""
_ORIGINAL = "original_max_position_embeddings"
_NOT_SCALING = ("rope_type", "type", "rope_theta", "partial_rotary_factor", "rotary_pct", _ORIGINAL)
_SECTIONS = ("mrope_section", "mrope_interleaved")
"""How the rotated dimensions are shared by time, height and width. For text all three are the position."""


@dataclass(frozen=True)
class RopeFields:
    """The rotary positions of the blocks with the part `part` (all blocks, by default).

    `layer_type` is the key below `rope_parameters` where it has one set per kind of layer. In older
    configurations `theta_key` is the field with theta, and `scaled` says whether rope_scaling holds for it.
    """

    theta: float = 10_000.0
    part: str = ""
    layer_type: str | None = None
    theta_key: str = "rope_theta"
    scaled: bool = True
    interleaved: bool = False
    reverse: bool = False
    partial: float = 1.0
    turns_part: bool = False
    """Whether configurations of this type may rotate a part of the head. Types with a `partial` may."""
    scaling: Tree | None = None
    """The scaling where the configuration names none."""
    kinds: tuple[str, ...] = ("default", *_OPTIONS)
    original: int | None = None
    """What the type takes for an original_max_position_embeddings that is left out."""
    sections: bool = False
    """Whether configurations of this type may share the dimensions among the axes of images (M-RoPE)."""

    others: tuple[str, ...] = ()
    """Further options of the positions, which are read elsewhere."""
    slot: str = "mixer"
    """The mixer with these positions: another where a layer has two."""

    @property
    def path(self) -> str:
        return f"{self.part}:{self.slot}.rope"

    def read(self, fields: Fields, draft: Draft) -> None:
        options = self.options(fields)
        scaling = self._scaling(fields, options)
        partial = float(options.get("partial_rotary_factor") or options.get("rotary_pct") or self.partial)
        proportional = options.get("rope_type") == PROPORTIONAL
        if partial != self.partial and self.partial == 1 and not (self.turns_part or proportional):
            raise fields.refuse(
                "partial_rotary_factor", partial, "models of this type rotate all dimensions of a head"
            )
        rope: Tree = {"theta": float(options.get("rope_theta") or self.theta)}
        if partial != 1:
            rope["partial"] = partial
        if proportional:
            rope["proportional"] = True
        if self.interleaved:
            rope["interleaved"] = True
        if self.reverse:
            rope["reverse"] = True
        if scaling:
            rope["scaling"] = scaling
        draft.set(self.path, rope)

    def options(self, fields: Fields) -> Tree:
        """The options of these positions, under the names of `rope_parameters`."""
        old: Tree = {"rope_theta": fields.get(self.theta_key, None)}
        for key in ("rotary_pct", "partial_rotary_factor"):
            old[key] = fields.get(key, None)
        scaling = fields.get("rope_scaling", None)
        new = fields.get("rope_parameters", None)
        for key, value in (("rope_scaling", scaling), ("rope_parameters", new)):
            if value is not None and not isinstance(value, dict):
                raise fields.wrong(key, value, "a mapping")
        if self.scaled and scaling:
            old |= scaling
        if new and (self.layer_type is None) == any(isinstance(value, dict) for value in new.values()):
            wanted = "one set for all layers" if self.layer_type is None else "one set per kind of layer"
            raise fields.wrong("rope_parameters", new, wanted)
        if new and self.layer_type is not None:
            new = new.get(self.layer_type)
        if new is None and scaling is None and self.scaled and self.scaling:
            old |= self.scaling
        return old | {key: value for key, value in (new or {}).items() if value is not None}

    def _scaling(self, fields: Fields, options: Tree) -> Tree | None:
        kind = options.get("rope_type") or options.get("type") or "default"
        kind = _RENAMED.get(kind, kind)
        if self.sections and kind == "mrope":
            kind = "default"
        if kind not in self.kinds:
            key = "rope_type" if options.get("rope_type") else "type"
            hint = f"known: {', '.join(self.kinds)}. No count depends on it: without it, counts are right"
            raise fields.refuse(f"{_holder(fields)}.{key}", kind, hint)
        if kind == PROPORTIONAL:
            kind = "linear" if options.get("factor", 1) != 1 else "default"
            options = {key: value for key, value in options.items() if key != "factor" or kind == "linear"}
        known = _OPTIONS.get(kind, ())
        for key, value in options.items():
            if key in self.others or (self.sections and key in _SECTIONS):
                continue
            if key not in known and key not in _NOT_SCALING and value is not None:
                raise fields.refuse(
                    f"{_holder(fields)}.{key}", value, f"options of {kind}: {', '.join(known) or 'none'}"
                )
        original = self._original(fields, options, kind)
        if kind == "default":
            return None
        scaling: Tree = {"kind": kind}
        for key in known:
            if options.get(key) not in (None, 0):
                scaling[key] = _number_or_list(options[key])
        if options.get("truncate") is False:
            scaling["truncate"] = False
        if kind != "linear":
            scaling["original_context_length"] = original
        if kind == "longrope":
            factor = options.get("factor") or fields.get("max_position_embeddings") / original
            scaling["factor"] = max(float(factor), 1.0)
        return scaling

    def _original(self, fields: Fields, options: Tree, kind: str) -> int | None:
        """The length before it was extended. A field beside the options has priority where all layers share
        them. In dynamic scaling it is always the context length."""
        beside = fields.get(_ORIGINAL, self.original) if self.layer_type is None else None
        if kind in ("default", "linear"):
            return None
        given = None if kind == "dynamic" else beside or options.get(_ORIGINAL)
        return int(given or fields.get("max_position_embeddings"))

    def write(self, draft: Draft, config: Tree) -> None:
        ropes = [rope for rope in draft.values(self.path) if rope is not None]
        if not ropes:
            return
        parameters = _parameters(ropes[0])
        if self.partial != 1:
            parameters["partial_rotary_factor"] = ropes[0]["partial"]
        if self.original is not None and _ORIGINAL in parameters:
            config[_ORIGINAL] = parameters[_ORIGINAL]
        if self.layer_type is None:
            config["rope_parameters"] = parameters
        else:
            config.setdefault("rope_parameters", {})[self.layer_type] = parameters


def _holder(fields: Fields) -> str:
    """The field that says how frequencies are scaled."""
    return "rope_scaling" if fields.get("rope_scaling", None) else "rope_parameters"


def _number_or_list(value: Any) -> Any:
    if isinstance(value, list):
        return [float(number) for number in value]
    return value if isinstance(value, bool) else float(value)


def _parameters(rope: Tree) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_theta": rope["theta"], "rope_type": "default"}
    if rope["partial"] < 1:
        parameters["partial_rotary_factor"] = rope["partial"]
    if rope["scaling"] is not None:
        options = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in rope["scaling"].items()
            if value is not None
        }
        parameters["rope_type"] = options.pop("kind")
        original = options.pop("original_context_length", None)
        if original is not None and parameters["rope_type"] != "dynamic":
            parameters[_ORIGINAL] = original
        parameters |= options
    if rope["proportional"]:
        parameters["rope_type"] = PROPORTIONAL
    return parameters
