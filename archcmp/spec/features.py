"""The design choices that a spec makes, as bare names: `mla`, `gqa`, `qk_norm`, `window`, `tied`.

Made from the schema's own fields: a name is the kind of a choice, an option that is not at its default, or
the usual short name of a mixer.
"""

from __future__ import annotations

from collections.abc import Iterator

from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema import ModelSpec, Part

_SLOTS = frozenset({"residual", "mixer", "ffn", "norm", "embedding", "output", "router", "expert"})
"""What every spec, or every mixture, has."""


def _features(part: Part) -> Iterator[str]:
    label = getattr(part, "label", None)
    if label is not None:
        yield str(label).lower()
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if name in ("kind", "scoring"):
            yield value
            continue
        if name in ModelSpec.ABOUT or value is None or value is False:
            continue
        if isinstance(value, Part):
            yield from _features(value)
        if name not in _SLOTS and (value is True if info.is_required() else value != info.default):
            yield name


def features(spec: ModelSpec) -> frozenset[str]:
    """Every choice of the model as a whole and of its blocks in use."""
    whole = spec.model_copy(update={"blocks": {}, "layers": ()})
    blocks = (spec.blocks[name] for name in distinct_blocks(spec))
    return frozenset([*_features(whole), *(name for block in blocks for name in _features(block))])
