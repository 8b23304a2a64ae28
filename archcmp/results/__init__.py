"""The frozen records handed between layers: exactly what the JSON document holds, key for key.

FLOPs and memory are for the whole batch. What was not measured is null (None), never 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "archcmp.comparison/1"

COMPONENTS = ("embedding", "mixer", "ffn", "norm", "head")
"""Every breakdown is over these. Norms inside a mixer (QK-norm) count as norm, tied weights as embedding."""

ByComponent = dict[str, int]


@dataclass(frozen=True)
class Params:
    """Parameters. `active` is what one token visits; `embedding` the token and position tables."""

    total: int
    active: int
    embedding: int
    by_component: ByComponent


@dataclass(frozen=True)
class Flops:
    """FLOPs of one pass; a multiply-add is two. `by_component` breaks `forward` down."""

    forward: int
    prefill: int
    decode: int
    train: int
    by_component: ByComponent


@dataclass(frozen=True)
class Memory:
    """Bytes in the asked dtype. `train_state_bytes` is weights, gradients and both Adam moments."""

    weights_bytes: int
    kv_cache_bytes: int
    train_state_bytes: int
    by_component: dict[str, ByComponent]


@dataclass(frozen=True)
class Counts:
    """Everything that is known of an architecture without a clock."""

    params: Params
    flops: Flops
    memory: Memory


@dataclass(frozen=True)
class PartTimes:
    """Seconds of one part timed alone, `count` of which make up the model (a slice of the vocabulary
    need not divide it evenly)."""

    name: str
    count: float
    raw_s: list[float]


@dataclass(frozen=True)
class PairedRatio:
    """How many times as fast: the median over rounds of the ratio of two times read in the same round,
    and its bootstrap 95 % interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Roofline:
    """The shortest time that the calibrated device allows: counted FLOPs at its best matmul, or the bytes
    that must move at its best copy, whichever takes longer; `binds` names it, compute or memory."""

    flops: int
    moved_bytes: int
    bound_s: float
    binds: str


@dataclass(frozen=True)
class Throughput:
    """One workload of one model. `seq_len` is the sequence measured, which a small time budget may
    shorten (then `shortened`); `composed` says it was summed from blocks measured alone. If the
    workload was not run, `refused` says why and every figure is null.

    `speedup` is against the first model, null for that one and for fewer rounds than an interval takes.
    `outliers` are the positions in `raw_s` of readings far from the median; none is left out of it.
    `bandwidth_use` is the least bytes that had to move, per second, as a share of the calibrated copy.
    `build_s` and `compile_s` are not part of any reading.
    """

    seq_len: int
    tokens_per_second: float | None = None
    median_s: float | None = None
    iqr_s: float | None = None
    rounds: int | None = None
    raw_s: list[float] | None = None
    composed: bool = False
    shortened: bool = False
    speedup: PairedRatio | None = None
    outliers: list[int] = field(default_factory=list)
    mfu: float | None = None
    bandwidth_use: float | None = None
    roofline: Roofline | None = None
    build_s: float | None = None
    compile_s: float | None = None
    refused: str | None = None
    parts: list[PartTimes] = field(default_factory=list)


@dataclass(frozen=True)
class ModelResult:
    """One compared model."""

    id: str
    name: str
    spec_sha256: str
    choices: dict[str, str]
    params: Params
    flops: Flops
    memory: Memory
    throughput: dict[str, Throughput | None]


@dataclass(frozen=True)
class Settings:
    """What the numbers hold for."""

    batch_size: int
    seq_len: int
    dtype: str
    flops_convention: str


@dataclass(frozen=True)
class Difference:
    """A design choice and its value in each model, in their order."""

    choice: str
    values: list[str]


@dataclass(frozen=True)
class Comparison:
    """The results document, from which every table and export is made."""

    created: str
    environment: dict[str, Any]
    settings: Settings
    models: list[ModelResult]
    differences: list[Difference]
    schema: str = SCHEMA

    def as_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, the schema's name first."""
        return {"schema": self.schema} | asdict(self)
