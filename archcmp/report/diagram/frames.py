"""The blocks of a model as they are drawn: those that differ in numbers alone are one drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archcmp.spec.flow import block
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.steps import Branch, Callout, Flow, Step


@dataclass(frozen=True)
class Frame:
    """Blocks with the same boxes: the name and the number of layers of each, and the way through them. A
    call-out in which they differ has a value for each. `place` is 0 for the frame of the most layers, and
    counts upwards and downwards in the order of first use."""

    layers: Mapping[str, int]
    flow: Flow
    place: int = 0

    @property
    def n_layers(self) -> int:
        return sum(self.layers.values())


def frames(spec: ModelSpec) -> list[Frame]:
    """The frames of a model in the order of first use."""
    alike: dict[Any, dict[str, Flow]] = {}
    counts = distinct_blocks(spec)
    for name in counts:
        flow = block(spec, name)
        alike.setdefault(outline(flow), {})[name] = flow
    found = [Frame({name: counts[name] for name in flows}, _merged(flows)) for flows in alike.values()]
    main = max(range(len(found)), key=lambda i: (found[i].n_layers, -i))
    return [replace(frame, place=i - main) for i, frame in enumerate(found)]


def outline(item: Any) -> Any:
    """What two blocks have in common if they are one drawing: boxes and ways, not numbers."""
    if isinstance(item, Step):
        return item.role, item.label, item.copies > 1, outline(item.sides), outline(item.inner)
    if isinstance(item, Branch):
        return outline(item.before), outline(item.paths), outline(item.track)
    return tuple(map(outline, item)) if isinstance(item, tuple) else item


def _merged(versions: Mapping[str, Any]) -> Any:
    """One flow, branch, box or call-out of those of several blocks."""
    first = next(iter(versions.values()))
    if all(version == first for version in versions.values()):
        return first
    if isinstance(first, tuple):
        return tuple(_merged(_each(versions, i)) for i in range(len(first)))
    if isinstance(first, Branch):
        names = ("paths", "before", "track")
        return Branch(*(_merged({k: getattr(v, name) for k, v in versions.items()}) for name in names))
    inside = {
        name: _merged({k: getattr(v, name) for k, v in versions.items()}) for name in ("sides", "inner")
    }
    return replace(first, callouts=_merged_callouts(versions), copies=max(_copies(versions)), **inside)


def _each(versions: Mapping[str, Sequence[Any]], i: int) -> dict[str, Any]:
    return {name: version[i] for name, version in versions.items()}


def _copies(versions: Mapping[str, Step]) -> list[int]:
    return [version.copies for version in versions.values()]


def _merged_callouts(versions: Mapping[str, Step]) -> tuple[Callout, ...]:
    """Call-outs with a value for each block where they differ; what everybody expects counts as none beside
    another value."""
    forms = dict.fromkeys(callout.form for version in versions.values() for callout in version.callouts)
    return tuple(_merged_callout(form, versions) for form in forms)


def _merged_callout(form: str, versions: Mapping[str, Step]) -> Callout:
    found = {
        name: next((callout for callout in version.callouts if callout.form == form), None)
        for name, version in versions.items()
    }
    quiet = all(callout is None or callout.quiet for callout in found.values())
    written = next(callout for callout in found.values() if callout is not None)
    values = {
        name: None if callout is None or (callout.quiet and not quiet) else callout.value
        for name, callout in found.items()
    }
    value: object = values if len(set(values.values())) > 1 else next(iter(values.values()))
    return replace(written, value=value, quiet=quiet)
