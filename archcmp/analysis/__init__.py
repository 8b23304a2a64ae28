"""Parameters, FLOPs and memory of a spec, from the model built on the meta device, without a clock.

Importing this package loads no torch; `count` loads it when it is called.
"""

from __future__ import annotations

from archcmp.results.counts import Counts
from archcmp.results.precision import Precision
from archcmp.results.request import CONVENTIONS, DEFAULT_CONVENTION, DEFAULT_DTYPE, DTYPES, check_name
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import check_shapes, default_seq_len
from archcmp.spec.yaml.load import as_spec


def count(
    spec: ModelSpec | str,
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str = DEFAULT_DTYPE,
    convention: str = DEFAULT_CONVENTION,
    weights: str | None = None,
    kv: str | None = None,
) -> Counts:
    """Count a spec (a ModelSpec, or a reference to one) exactly, for `batch_size` sequences of `seq_len`
    tokens (by default 2048, or all learned positions if they are fewer). FLOPs and memory are for the whole
    batch. `weights` (int8, int4, fp8 or mxfp4; "int4:experts" is of experts alone) and `kv` (fp8 or int8) are
    the formats in which weights and the KV cache are stored, None for the dtype. Raises UsageError for
    impossible sizes and unknown names, CountingError for an operator that archcmp cannot count."""
    spec = as_spec(spec)
    if seq_len is None:
        seq_len = default_seq_len([spec])
    check_shapes([spec], batch_size, seq_len)
    check_name("dtype", dtype, DTYPES)
    check_name("FLOPs convention", convention, list(CONVENTIONS))
    precision = Precision(weights, kv)
    precision.check()

    import torch

    from archcmp.analysis.decompose import decompose
    from archcmp.analysis.parts import count_parts

    parts = decompose(spec, getattr(torch, dtype), precision=precision)
    return count_parts(parts, batch_size, seq_len, convention)


def count_blocks(spec: ModelSpec, batch_size: int = 1, seq_len: int | None = None) -> dict[str, Counts]:
    """The counts of one layer of each distinct block, by the block's name, and, by "", of what is outside the
    blocks. The arguments, units and errors are those of `count`."""
    seq_len = seq_len or default_seq_len([spec])
    check_shapes([spec], batch_size, seq_len)

    import torch

    from archcmp.analysis.decompose import decompose
    from archcmp.analysis.parts import count_parts

    parts = [part.once() for part in decompose(spec, getattr(torch, DEFAULT_DTYPE))]
    shape = batch_size, seq_len, DEFAULT_CONVENTION
    return {part.block or "": count_parts([part], *shape) for part in parts}
