"""What a device that is not here allows, by its sheet: the shortest times, and what fits in its memory."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace

import torch

from archcmp.hardware.sheet import Hardware
from archcmp.results.hardware import Bound, Fit
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.results.request import MAX_TOKENS
from archcmp.results.timings import Rates
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.pieces import Piece, whole
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload


def held_bytes(model: Piece, trains: bool, batch_size: int, seq_len: int) -> int:
    """Bytes that a device must hold at the least: weights and the cache, or the training state. Neither
    activations nor what frameworks and drivers keep are counted."""
    if trains:
        return model.train_state_bytes
    return model.weights_bytes + model.cache_bytes(batch_size, seq_len)


def _devices(needed: int, memory_bytes: float) -> int:
    """The fewest devices that hold so many bytes together, spread evenly."""
    return max(1, -(-needed // int(memory_bytes)))


def _models(spec: ModelSpec, dtype: str, precision: Precision) -> tuple[Piece, Piece]:
    """The model as it is served, in a precision, and as it is trained, in the dtype."""
    (trained,) = whole(spec, getattr(torch, dtype))
    if not precision.lowered:
        return trained, trained
    (served,) = whole(spec, getattr(torch, dtype), precision)
    return served, trained


def bounds(
    spec: ModelSpec,
    dtype: str,
    batch_size: int,
    seq_len: int,
    sheets: Mapping[str, Hardware],
    precision: Precision = IN_DTYPE,
) -> dict[str, dict[str, Bound]]:
    """Sheet -> workload -> the shortest time of one run, of training in the dtype, of others in the
    precision. A sheet without a rate of matmuls bounds only what memory limits. Raises UsageError where a
    sheet has no bandwidth."""
    served, trained = _models(spec, dtype, precision)
    found: dict[str, dict[str, Bound]] = {name: {} for name in sheets}
    for name, sheet in sheets.items():
        for workload in WORKLOADS.values():
            model, kept = (trained, IN_DTYPE) if workload.trains else (served, precision)
            rates, rate_of = _rates(sheet, dtype, kept)
            if workload.limit == "bandwidth_use" or math.isfinite(rates.matmul_flops_per_s):
                bound = _bound(model, workload, rates, batch_size, seq_len, sheet)
                found[name][workload.name] = replace(bound, rate_of=rate_of)
    return found


def _rates(sheet: Hardware, dtype: str, precision: Precision) -> tuple[Rates, str]:
    """The rates that bound a model, and the numbers that multiply at that of matmuls: the weights as they
    are, where the sheet has such a rate, or else the dtype, into which weights are unpacked."""
    form = precision.weight_format
    if form is None or form.rate is None or sheet.value(form.rate) is None:
        return sheet.rates(dtype), dtype
    return sheet.rates(dtype, form.rate), form.name


def _bound(
    model: Piece, workload: Workload, rates: Rates, batch_size: int, seq_len: int, sheet: Hardware
) -> Bound:
    memory, matmul = sheet.value("memory_bytes"), rates.matmul_flops_per_s
    found = model.bound(workload, batch_size, seq_len, rates)
    needed = held_bytes(model, workload.trains, batch_size, seq_len)
    return Bound(
        **vars(found),
        label=workload.label(seq_len),
        tokens_per_second=workload.tokens(batch_size, seq_len) / found.bound_s,
        flops_per_s=matmul if math.isfinite(matmul) else None,
        bytes_per_s=rates.memory_bytes_per_s,
        devices=None if memory is None else _devices(needed, memory),
    )


def fits(
    spec: ModelSpec,
    dtype: str,
    batch_size: int,
    seq_len: int,
    sheets: Mapping[str, Hardware],
    precision: Precision = IN_DTYPE,
) -> dict[str, Fit]:
    """Sheet -> whether a model fits in a precision, and up to which context and batch; training is in the
    dtype. Raises UsageError where a sheet has no memory."""
    models = _models(spec, dtype, precision)
    return {name: _fit(*models, spec.context_length, batch_size, seq_len, s) for name, s in sheets.items()}


def _fit(
    model: Piece, trained: Piece, context_length: int, batch_size: int, seq_len: int, sheet: Hardware
) -> Fit:
    memory = sheet.needed("memory_bytes")
    contexts, batches = range(1, context_length + 1), range(1, MAX_TOKENS // seq_len + 1)
    return Fit(
        memory_bytes=int(memory),
        devices=_devices(held_bytes(model, False, batch_size, seq_len), memory),
        longest_context=bisect_right(contexts, memory, key=lambda n: held_bytes(model, False, batch_size, n)),
        largest_batch=bisect_right(batches, memory, key=lambda n: held_bytes(model, False, n, seq_len)),
        training_devices=_devices(held_bytes(trained, True, batch_size, seq_len), memory),
    )
