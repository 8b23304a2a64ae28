"""What turns one spec into another, in groups of changes that are valid without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from archcmp.errors import ArchcmpError
from archcmp.spec.describe import short_key
from archcmp.spec.edit import Change, apply, diff
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.reflect import Path
from archcmp.spec.schema.model import ModelSpec, Run

Subset = tuple[int, ...]
"""Places of knobs in a list of them."""


@dataclass(frozen=True)
class Knob:
    """Changes of one or more `options` that make a valid spec together: the vocabulary, the width, a mixer
    with its heads."""

    options: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def name(self) -> str:
        """'n_heads and n_kv_heads'; where many options change together, the slots that they are in."""
        return " and ".join(self.options if len(self.options) < 4 else sorted(self.slots))

    @property
    def slots(self) -> frozenset[str]:
        """Where the changes lie: 'mixer', 'ffn', 'norm', 'd_model'."""
        return frozenset(
            "layers" if len(path) == 2 else str(path[2 if path[0] == "blocks" else 0])
            for path in (change.path for change in self.changes)
        )

    def joined(self, others: Sequence[Knob]) -> Knob:
        """One knob with the changes of all."""
        all_knobs = (self, *others)
        options = sorted({option for knob in all_knobs for option in knob.options})
        return Knob(tuple(options), tuple(change for knob in all_knobs for change in knob.changes))


def turned(spec: ModelSpec, knobs: Iterable[Knob]) -> ModelSpec:
    """The spec with these knobs turned. Raises SpecError where that is not valid."""
    return apply(spec, [change for knob in knobs for change in knob.changes])


# ---- the same blocks in both ------------------------------------------------------------------------


def _fitted(runs: Sequence[Run], n_layers: int) -> tuple[Run, ...]:
    """The runs with `n_layers` in all. The longest has as many more or fewer; where that leaves it none, the
    last layers are left out."""
    longest = max(range(len(runs)), key=lambda i: runs[i].n_layers)
    more = n_layers - sum(run.n_layers for run in runs)
    sizes = [run.n_layers + more * (i == longest) for i, run in enumerate(runs)]
    if sizes[longest] < 1:
        starts = [sum(run.n_layers for run in runs[:i]) for i in range(len(runs))]
        sizes = [min(run.n_layers, n_layers - start) for run, start in zip(runs, starts, strict=True)]
    kept = zip(runs, sizes, strict=True)
    return tuple(run.model_copy(update={"n_layers": size}) for run, size in kept if size > 0)


def _written_as(spec: ModelSpec, like: ModelSpec) -> ModelSpec:
    """A spec with one kind of layer, under the names and in the order of the blocks of another. It computes
    what it did."""
    ((name, n_layers),) = distinct_blocks(spec).items()
    blocks = dict.fromkeys(distinct_blocks(like), spec.blocks[name])
    return spec.model_copy(update={"blocks": blocks, "layers": _fitted(like.layers, n_layers)})


def _paired(a: ModelSpec, b: ModelSpec) -> tuple[ModelSpec, ModelSpec]:
    """Two specs with several kinds of layer each, under a block for every pair of their blocks that are at
    the same layer. For each, the other is fitted to as many layers."""

    def names_at(n_layers: int) -> list[tuple[str, str]]:
        fitted = [s.model_copy(update={"layers": _fitted(s.layers, n_layers)}) for s in (a, b)]
        return list(zip(*map(layer_blocks, fitted), strict=True))

    found = [names_at(len(layer_blocks(spec))) for spec in (a, b)]
    pairs = dict.fromkeys(pair for names in found for pair in names)

    def written(side: int) -> ModelSpec:
        spec = (a, b)[side]
        blocks = {"/".join(pair): spec.blocks[pair[side]] for pair in pairs}
        repeat = tuple("/".join(pair) for pair in found[side])
        layers = (Run(repeat=repeat, n_layers=len(repeat)),)
        return spec.model_copy(update={"blocks": blocks, "layers": layers})

    return written(0), written(1)


def aligned(a: ModelSpec, b: ModelSpec) -> tuple[ModelSpec, ModelSpec]:
    """Both specs with blocks of the same names, so that a change of a block does not look like another order
    of layers. Each computes what it did."""
    ours, theirs = distinct_blocks(a), distinct_blocks(b)
    if set(ours) == set(theirs):
        return a, b
    if len(ours) == 1:
        return _written_as(a, b), b
    return (a, _written_as(b, a)) if len(theirs) == 1 else _paired(a, b)


# ---- knobs ------------------------------------------------------------------------------------------


def singles(n: int) -> Iterator[Subset]:
    """Each of n knobs alone."""
    return ((i,) for i in range(n))


def knobs(
    a: ModelSpec,
    b: ModelSpec,
    subsets: Callable[[int], Iterable[Subset]] = singles,
    check: Callable[[ModelSpec], None] = lambda spec: None,
) -> list[Knob]:
    """What turns `a` into `b`: the changes of one option each, joined until all `subsets` of the knobs are
    valid. So n_heads is joined with n_kv_heads where it is not valid without it. `check` raises for a spec
    that the schema allows, but that cannot be counted."""
    groups: dict[str, list[Change]] = {}
    for change in diff(a, b):
        groups.setdefault(_option(change, a, b), []).append(change)
    found = [Knob((option,), tuple(changes)) for option, changes in groups.items()]
    known: dict[frozenset[Path], bool] = {}

    def holds(some: Iterable[Knob]) -> bool:
        some = tuple(some)
        key = frozenset(change.path for knob in some for change in knob.changes)
        if key not in known:
            known[key] = _holds(a, some, check)
        return known[key]

    while bad := next((s for s in subsets(len(found)) if not holds(found[i] for i in s)), None):
        found = _repaired(found, [found[i] for i in bad], holds)
    return found


def _option(change: Change, a: ModelSpec, b: ModelSpec) -> str:
    """The option that a change sets, whichever blocks it is of: 'qk_norm', 'ffn.d_ff', 'vocab_size'."""
    if change.path == ("layers",):
        same = [run.repeat for run in a.layers] == [run.repeat for run in b.layers]
        return "n_layers" if same else "layers"
    if change.path[0] != "blocks":
        return ".".join(map(str, change.path))
    return short_key(map(str, change.path[2:])) if len(change.path) > 2 else "layers"


def _holds(a: ModelSpec, some: Iterable[Knob], check: Callable[[ModelSpec], None]) -> bool:
    try:
        check(turned(a, some))
    except ArchcmpError:
        return False
    return True


def _repaired(
    found: Sequence[Knob], bad: Sequence[Knob], holds: Callable[[Iterable[Knob]], bool]
) -> list[Knob]:
    """The knobs, two or more of them joined. `bad` is not valid without another knob: one that makes it valid
    is joined with one of `bad`, or, where there is none, `bad` with all that lie in its slots."""
    core = list(bad)
    for knob in bad:
        fewer = [other for other in core if other is not knob]
        if fewer and not holds(fewer):
            core = fewer
    slots = frozenset().union(*(knob.slots for knob in core))
    rest = sorted((knob for knob in found if knob not in core), key=lambda knob: not knob.slots & slots)
    partner = next((knob for knob in rest if holds([*core, knob])), None)
    if partner is not None:
        first = next((knob for knob in core if holds([knob, partner])), core[0])
        others = [partner]
    else:
        first, *others = core
        others = others or [knob for knob in rest if knob.slots & slots] or rest
    return [*(knob for knob in found if knob is not first and knob not in others), first.joined(others)]
