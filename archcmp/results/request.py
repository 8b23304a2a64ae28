"""What was asked: one record for every kind of experiment; names and bounds of its options. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from archcmp.errors import UsageError, did_you_mean
from archcmp.results.counts import QUANTITIES
from archcmp.results.precision import Precision

CONVENTIONS = {
    "exact": "only the (query, key) pairs that the causal mask, the window and the indexer let through",
    "full": "all T x T pairs in every attention layer, as PaLM-style MFU has it",
    "window": "T x min(window, T) pairs, causality ignored",
    "6n": "6 FLOPs per non-embedding parameter and trained token, attention ignored",
}
DEFAULT_CONVENTION = "exact"

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_DTYPE = "bfloat16"
COMPOSE = ("auto", "never", "always")

DEFAULT_SEQ_LEN = 2048
MAX_SEQ_LEN = 2**22
MAX_TOKENS = 2**30

Point = dict[str, Any]
"""Where a cell stands: an axis -> a value, such as {"batch_size": 1, "seq_len": 2048}."""


@dataclass(frozen=True)
class Request:
    """What was asked for; `kind` names the experiment.

    `specs` are references, `overrides` change all of them and `vary` makes variants of each. The cells are
    the product of `axes`, the last axis fastest. `measure` names the workloads to time. `dtype` and `device`
    are None until the device is known. `weights` and `kv` are the formats in which weights and the KV cache
    are counted, where these are not in the dtype. `budget_s` is for one cell. `compose`: "auto" times
    distinct parts alone where a whole model does not fit in memory or budget, "never" times whole models or
    refuses, "always" never builds a whole model. `compile` measures torch.compile's code. `match` changes the
    other models so that they meet the first in a `quantity` by an option, and perhaps a `multiple`:
    {"quantity": "params", "by": "d_ff"}. `options` holds what only this kind of experiment asks.
    """

    kind: str
    specs: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    axes: dict[str, list[Any]] = field(default_factory=dict)
    measure: list[str] = field(default_factory=list)
    dtype: str | None = None
    device: str | None = None
    convention: str = DEFAULT_CONVENTION
    budget_s: float = 60.0
    compose: str = "auto"
    compile: bool = False
    match: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    kv: str | None = None

    @property
    def precision(self) -> Precision:
        """What is counted otherwise than in the dtype."""
        return Precision(self.weights, self.kv)

    def points(self) -> list[Point]:
        """Every cell's place, in the order in which cells are measured."""
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]


def check_name(label: str, value: str, allowed: Sequence[str]) -> None:
    """Raises UsageError for a name that is not allowed, with the nearest that is."""
    if value not in allowed:
        raise UsageError(f"no {label} '{value}'. {did_you_mean(value, allowed)}")


def check_shape(batch_size: int, seq_len: int) -> None:
    """Raises UsageError for a batch that no model can be counted or measured on."""
    for label, value in (("batch size", batch_size), ("sequence length", seq_len)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{label} must be a whole number, not {value!r:.40}")
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size:,} must be at least 1")
    if not 1 <= seq_len <= MAX_SEQ_LEN:
        raise UsageError(f"sequence length {seq_len:,} must lie between 1 and {MAX_SEQ_LEN:,}")
    if batch_size * seq_len > MAX_TOKENS:
        raise UsageError(f"batch size {batch_size:,} x {seq_len:,} tokens is above {MAX_TOKENS:,} tokens")


LARGEST_MULTIPLE = 2**20


def check_match(quantity: Any, by: Any, multiple: Any) -> None:
    """Raises UsageError for what no model can be matched in, by, or rounded to."""
    if quantity is None or by is None:
        raise UsageError("--match, --by and --multiple go together: --match params --by d_ff")
    check_name("quantity", quantity, list(QUANTITIES))
    if multiple is not None and not 1 <= multiple <= LARGEST_MULTIPLE:
        raise UsageError(
            f"a multiple must be a whole number from 1 to {LARGEST_MULTIPLE:,}, not {multiple:,}"
        )


def check_options(request: Request) -> None:
    """Raises UsageError for an option that no experiment takes."""
    if request.dtype is not None:
        check_name("dtype", request.dtype, DTYPES)
    check_name("FLOPs convention", request.convention, list(CONVENTIONS))
    request.precision.check()
    check_name("way to compose", request.compose, COMPOSE)
    if not isinstance(request.match, dict):
        raise UsageError('match is a mapping, such as {"quantity": "params", "by": "d_ff"}')
    for name in request.match:
        check_name("part of a match", name, ("quantity", "by", "multiple"))
    if request.match:
        check_match(**{"quantity": None, "by": None, "multiple": None, **request.match})
    if not 0 < request.budget_s < float("inf"):
        raise UsageError(f"a budget of {request.budget_s:g} s must be above 0 and finite")
    for axis, values in request.axes.items():
        if not values:
            raise UsageError(f"no {axis} was given")
        if len(set(map(str, values))) < len(values):
            raise UsageError(f"a {axis} is given twice in {','.join(map(str, values))}")
    if len(set(request.measure)) < len(request.measure):
        raise UsageError(f"a workload is named twice in {','.join(request.measure)}")
