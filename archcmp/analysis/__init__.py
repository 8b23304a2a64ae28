"""Parameters, FLOPs and memory of a spec, from the model built on the meta device, without a clock."""

from __future__ import annotations

import torch

from archcmp.analysis.decompose import MetaParts
from archcmp.analysis.flops import count_flops
from archcmp.analysis.memory import count_memory
from archcmp.analysis.params import count_params
from archcmp.results import Counts
from archcmp.settings import DEFAULT_CONVENTION, DEFAULT_DTYPE, make_settings
from archcmp.spec.schema.model import ModelSpec


def count(
    spec: ModelSpec,
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str = DEFAULT_DTYPE,
    convention: str = DEFAULT_CONVENTION,
) -> Counts:
    """Count `spec` exactly, for `batch_size` sequences of `seq_len` tokens (2048, or fewer where learned
    positions end sooner). FLOPs and memory are for the whole batch. Raises UsageError for sizes or names
    that make no sense, CountingError for an operator that archcmp cannot count."""
    seq_len = make_settings([spec], batch_size, seq_len, dtype, convention).seq_len
    parts = MetaParts(spec, getattr(torch, dtype))
    params = count_params(parts)
    return Counts(
        params=params,
        flops=count_flops(parts, params, batch_size, seq_len, convention),
        memory=count_memory(parts, params, batch_size, seq_len),
    )
