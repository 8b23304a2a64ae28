"""What a count or a measurement is asked for: names and bounds, checked in one place. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcmp.errors import UsageError, did_you_mean
from archcmp.results import Settings

if TYPE_CHECKING:
    from archcmp.spec.schema.model import ModelSpec

CONVENTIONS = {
    "exact": "only the (query, key) pairs that the causal mask and the window let through",
    "full": "all T x T pairs in every attention layer, as PaLM-style MFU has it",
    "window": "T x min(window, T) pairs, causality ignored",
    "6n": "6 FLOPs per non-embedding parameter and trained token, attention ignored",
}
DEFAULT_CONVENTION = "exact"

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_DTYPE = "bfloat16"
WORKLOADS = ("prefill", "decode", "train")
COMPOSE = ("auto", "never", "always")

DEFAULT_BUDGET_S = 60.0
DEFAULT_SEQ_LEN = 2048
MAX_SEQ_LEN = 2**22
MAX_TOKENS = 2**30


def default_seq_len(specs: Sequence[ModelSpec]) -> int:
    """2048 tokens, or the shortest context that learned positions allow."""
    learned = [spec.context_length for spec in specs if spec.embedding.positions == "learned"]
    return min(DEFAULT_SEQ_LEN, *learned) if learned else DEFAULT_SEQ_LEN


def _check_name(label: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"no {label} '{value}'. {did_you_mean(value, allowed)}")


def check_measure(workloads: Sequence[str], budget_s: float, compose: str) -> None:
    """Raises UsageError for a measurement that makes no sense."""
    for workload in workloads:
        _check_name("workload", workload, WORKLOADS)
    if len(set(workloads)) < len(workloads):
        raise UsageError(f"a workload is named twice in {','.join(workloads)}")
    _check_name("way to compose", compose, COMPOSE)
    if not 0 < budget_s < float("inf"):
        raise UsageError(f"a budget of {budget_s:g} s must be above 0 and finite")


def check_workload(
    specs: Sequence[ModelSpec],
    batch_size: int,
    seq_len: int,
    dtype: str,
    convention: str = DEFAULT_CONVENTION,
) -> None:
    """Raises UsageError for what cannot be counted or measured, before anything is built."""
    if not specs:
        raise UsageError("no spec was named")
    _check_name("dtype", dtype, DTYPES)
    _check_name("FLOPs convention", convention, list(CONVENTIONS))
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size:,} must be at least 1")
    if not 1 <= seq_len <= MAX_SEQ_LEN:
        raise UsageError(f"sequence length {seq_len:,} must lie between 1 and {MAX_SEQ_LEN:,}")
    if batch_size * seq_len > MAX_TOKENS:
        raise UsageError(f"batch size {batch_size:,} x {seq_len:,} tokens is above {MAX_TOKENS:,} tokens")
    for spec in specs:
        if spec.embedding.positions == "learned" and seq_len > spec.context_length:
            raise UsageError(
                f"{spec.title} has learned positions for {spec.context_length:,} tokens, "
                f"so a sequence of {seq_len:,} is beyond it. Use --seq-len {spec.context_length} or less"
            )


def make_settings(
    specs: Sequence[ModelSpec], batch_size: int, seq_len: int | None, dtype: str, convention: str
) -> Settings:
    """The settings of a count, checked; `seq_len` None is the default for these specs. Raises UsageError."""
    seq_len = default_seq_len(specs) if seq_len is None else seq_len
    check_workload(specs, batch_size, seq_len, dtype, convention)
    return Settings(batch_size, seq_len, dtype, convention)
