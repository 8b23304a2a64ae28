"""A spec at a smaller size, with every choice it makes. `shrunk` makes a spec that runs at once: logits are
compared at that size. `proxy` makes a spec to train small.

Both are one walk over the spec, at a `Scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archcmp.errors import SpecError, UsageError
from archcmp.spec.edit import tree_of, validated
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import MAX_DIM, MAX_LAYERS
from archcmp.spec.schema.model import ModelSpec, Run
from archcmp.spec.shrink import SHRUNK, Scale, shrunk_block

MAX_SHRUNK = 12
"""Layers of a shrunk spec, if every block appears among so many in a row."""

STEP = 16
"""d_model and d_ff of a proxy are multiples of it."""

ALLOWED = {
    "d_model": range(32, 4096 + 1, STEP),
    "n_layers": range(1, MAX_LAYERS + 1),
    "seq_len": range(3, 2**31 + 1),
    "vocab_size": range(1, MAX_DIM + 1),
}
"""The sizes that can be asked of a proxy."""


def _in_a_row(spec: ModelSpec, n_layers: int) -> Run | None:
    """The first `n_layers` layers in a row among which every block appears, in the order of the whole."""
    names = layer_blocks(spec)
    order = list(dict.fromkeys(names))
    rows = (names[i : i + n_layers] for i in range(len(names) - n_layers + 1))
    row = next((row for row in rows if list(dict.fromkeys(row)) == order), None)
    return None if row is None else Run(repeat=row, n_layers=n_layers)


def _cut(spec: ModelSpec, runs: tuple[Run, ...], at_most: int) -> tuple[Run, ...]:
    """The runs. Where they have more than `at_most` layers, because patterns are long or irregular
    (Nemotron-H), `at_most` layers of the spec in a row, if every block appears among them."""
    row = _in_a_row(spec, at_most) if sum(run.n_layers for run in runs) > at_most else None
    return runs if row is None else (row,)


def _scaled(spec: ModelSpec, scale: Scale, runs: tuple[Run, ...], source: str) -> ModelSpec:
    """The spec at a scale, with `runs` as its layers, validated anew. Raises SpecError; its message begins
    with `source`."""
    used = set(layer_blocks(spec))
    blocks = {name: shrunk_block(block, scale) for name, block in spec.blocks.items() if name in used}
    small = spec.model_copy(
        update={
            "d_model": scale.d_model,
            "vocab_size": scale.vocab_size,
            "context_length": scale.context_length,
            "blocks": blocks,
            "layers": runs,
        }
    )
    return validated(tree_of(small), lambda _: source)


def shrunk(spec: ModelSpec) -> ModelSpec:
    """`spec` with every width, window and expert count small, and few layers: one of each distinct block at
    least, the last layers of each run, as many as its pattern has and, where it repeats, one more. A d_ff
    that is a multiple of four d_model stays the same multiple: some types have no other (MPT, BLOOM).
    Validated anew."""
    patterns = [len(run.repeat) + (1 if len(run.repeat) > 1 else 0) for run in spec.layers]
    n_layers = [min(run.n_layers, n) for run, n in zip(spec.layers, patterns, strict=True)]
    widths = replace(
        SHRUNK,
        d_ff=lambda d_ff: (
            SHRUNK.d_ff(d_ff) if d_ff % (4 * spec.d_model) else d_ff // spec.d_model * SHRUNK.d_model
        ),
    )
    ends = tuple(_end(run, n) for run, n in zip(spec.layers, n_layers, strict=True))
    return _scaled(spec, widths, _cut(spec, ends, MAX_SHRUNK), f"{spec.title}, shrunk")


def _end(run: Run, n_layers: int) -> Run:
    """The last `n_layers` layers of a run."""
    first = (run.n_layers - n_layers) % len(run.repeat)
    return run.model_copy(update={"repeat": run.repeat[first:] + run.repeat[:first], "n_layers": n_layers})


def _layers_needed(run: Run) -> int:
    """The layers of a run until each of its blocks has appeared."""
    names = run.repeat[: run.n_layers]
    return 1 + max(names.index(name) for name in names)


def _shares(runs: Sequence[Run], n_layers: int) -> list[int]:
    """The layers of each run, `n_layers` in all or more. Every run gets the layers that it needs. Each other
    layer goes to the run that is furthest below its proportion."""
    shares = [_layers_needed(run) for run in runs]
    total = sum(run.n_layers for run in runs)
    for _ in range(n_layers - sum(shares)):
        lacking = [n_layers * run.n_layers - n * total for run, n in zip(runs, shares, strict=True)]
        shares[lacking.index(max(lacking))] += 1
    return shares


def _proxy_scale(spec: ModelSpec, d_model: int, seq_len: int, vocab_size: int) -> Scale:
    """Heads have 16 elements up to d_model = 128, 32 up to 256, and 64 beyond, but no more than those of the
    large spec: at most 8 heads up to d_model = 512, unless its heads are narrower. d_ff keeps its ratio to
    d_model. Lengths keep their ratio to the context, and are at least an eighth of it."""

    def d_ff(width: int) -> int:
        return -(-width * d_model // (spec.d_model * STEP)) * STEP

    def length(tokens: int) -> int:
        return min(seq_len - 1, max(2, seq_len // 8, round(seq_len * tokens / spec.context_length)))

    return Scale(
        d_model=d_model,
        vocab_size=vocab_size,
        context_length=seq_len,
        head_dim=next((dim for dim in (16, 32) if d_model <= 8 * dim), 64),
        n_heads=lambda head_dim: max(1, d_model // head_dim),
        d_ff=d_ff,
        d_expert=d_ff,
        window=length,
        original_context_length=length,
        floor_scale=length,
    )


def _check_kinds(spec: ModelSpec, small: ModelSpec, refused: str) -> None:
    """Raises UsageError where the number of heads made another kind of attention of a mixer."""
    for name, block in small.blocks.items():
        for path, mixer in block.mixers.items():
            own = spec.blocks[name].mixers[path]
            if isinstance(mixer, Attention) and mixer.label != own.label:
                raise UsageError(
                    f"{refused}: n_heads = {mixer.n_heads} cannot be {own.label}; n_heads = 4, 6 or 8 can. "
                    f"Write a d_model of so many times head_dim = {mixer.head_dim}"
                )


def proxy(
    spec: ModelSpec, d_model: int = 64, n_layers: int = 6, seq_len: int = 64, vocab_size: int = 256
) -> ModelSpec:
    """`spec` scaled down to train small, with every choice kept: the kinds of mixers, d_ff relative to
    d_model, windows relative to the context, and the order of the layers. Validated anew.

    The runs of layers share `n_layers` in proportion. A run keeps its pattern, cut to its share. Where the
    blocks of all runs do not appear in so few layers, the proxy has the first `n_layers` layers in a row
    among which each block appears: three local layers and a global one, of five and one, where `n_layers` is
    4. Where no such row is there, it has the layers that its blocks need.

    Raises UsageError for a size that is not allowed, or at which a choice would be lost."""
    asked = {"d_model": d_model, "n_layers": n_layers, "seq_len": seq_len, "vocab_size": vocab_size}
    for name, value in asked.items():
        if value not in (allowed := ALLOWED[name]):
            what = "a whole number" if allowed.step == 1 else f"a multiple of {allowed.step}"
            raise UsageError(
                f"no proxy of {spec.title} with {name} {value} can be made: {name} must be {what} from "
                f"{allowed[0]:,} to {allowed[-1]:,}"
            )
    refused = f"no proxy of {spec.title} with d_model {d_model} can be made"
    scale = _proxy_scale(spec, d_model, seq_len, vocab_size)
    shares = zip(spec.layers, _shares(spec.layers, n_layers), strict=True)
    starts = tuple(run.model_copy(update={"repeat": run.repeat[:n], "n_layers": n}) for run, n in shares)
    try:
        small = _scaled(spec, scale, _cut(spec, starts, n_layers), refused)
    except SpecError as error:
        raise UsageError(str(error)) from None
    _check_kinds(spec, small, refused)
    return small
