"""What a device that is not here allows, by its sheet: the shortest times, and what fits in its memory."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from archcmp.analysis.activations import passing_bytes
from archcmp.analysis.passes import PREFILL
from archcmp.analysis.precision import stored_flops
from archcmp.analysis.roofline import roofline
from archcmp.analysis.training import count_training, devices_to_train
from archcmp.hardware.sheet import Hardware
from archcmp.results.hardware import Bound, Fit
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.results.request import MAX_TOKENS
from archcmp.results.timings import Rates
from archcmp.results.training_memory import Setup
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.pieces import Piece, whole
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload

PREFILL_STEP = 8192
"""Tokens of all sequences that an engine takes at once: it cuts longer prompts into steps, as vLLM does.
https://docs.vllm.ai/en/stable/configuration/optimization.html"""


def held_bytes(model: Piece, batch_size: int, seq_len: int) -> int:
    """Bytes that a device must hold to run a model: weights, the cache, and the activations of a step of
    prefill. What frameworks and drivers keep is not counted."""
    n_tokens = min(batch_size * seq_len, PREFILL_STEP)
    n_sequences = -(-n_tokens // _positions(model))
    activations = passing_bytes(model.parts, n_sequences, -(-n_tokens // n_sequences), PREFILL)
    return model.weights_bytes + model.cache_bytes(batch_size, seq_len) + activations


def _positions(model: Piece) -> int:
    """The most tokens that one sequence may have."""
    spec = model.parts[0].spec
    return spec.context_length if spec.embedding.positions == "learned" else PREFILL_STEP


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
    setup: Setup,
    precision: Precision = IN_DTYPE,
) -> dict[str, dict[str, Bound]]:
    """Sheet -> workload -> the shortest time of one run, of training in the dtype, of others in the
    precision. A sheet without a rate of matmuls bounds only what memory limits. How many devices a workload
    takes depends on the setup, if it trains. Raises UsageError where a sheet has no bandwidth."""
    served, trained = _models(spec, dtype, precision)
    to_train = count_training(spec, batch_size, seq_len, setup, dtype).peak_bytes
    to_serve = held_bytes(served, batch_size, seq_len)
    found: dict[str, dict[str, Bound]] = {name: {} for name in sheets}
    for name, sheet in sheets.items():
        for workload in WORKLOADS.values():
            model, kept = (trained, IN_DTYPE) if workload.trains else (served, precision)
            rates, rate_of = _rates(sheet, dtype, kept)
            others = None if rate_of == dtype else sheet.rates(dtype).matmul_flops_per_s
            if workload.limit == "bandwidth_use" or math.isfinite(rates.matmul_flops_per_s):
                bound = _bound(model, workload, rates, batch_size, seq_len, others)
                memory, needed = sheet.value("memory_bytes"), to_train if workload.trains else to_serve
                devices = None if memory is None else _devices(needed, memory)
                found[name][workload.name] = replace(bound, rate_of=rate_of, devices=devices)
    return found


def _rates(sheet: Hardware, dtype: str, precision: Precision) -> tuple[Rates, str]:
    """The rates that bound a model, and the numbers that multiply at that of matmuls: the weights as they
    are stored, where the sheet has such a rate, or else the dtype, into which weights are unpacked."""
    form = precision.weight_format
    if form is None or form.rate is None or sheet.value(form.rate) is None:
        return sheet.rates(dtype), dtype
    return sheet.rates(dtype, form.rate), form.name


def _bound(
    model: Piece, workload: Workload, rates: Rates, batch_size: int, seq_len: int, others: float | None
) -> Bound:
    """The bound by `rates`. Where these are of weights that multiply as they are stored, `others` are the
    FLOP/s of everything else."""
    matmul = rates.matmul_flops_per_s
    found, dtype_flops = model.bound(workload, batch_size, seq_len, rates), 0
    if others is not None:
        n_tokens = workload.tokens(batch_size, seq_len)
        stored = sum(int(part.visits * stored_flops(part, n_tokens)) for part in model.parts)
        dtype_flops = found.flops - stored
        compute_s = stored / matmul + dtype_flops / others
        mean = found.flops / compute_s if compute_s else math.inf
        found = roofline(found.flops, found.moved_bytes, replace(rates, matmul_flops_per_s=mean))
    return Bound(
        **vars(found),
        label=workload.label(batch_size, seq_len),
        tokens_per_second=workload.tokens(batch_size, seq_len) / found.bound_s,
        flops_per_s=matmul if math.isfinite(matmul) else None,
        bytes_per_s=rates.memory_bytes_per_s,
        devices=None,
        dtype_flops=dtype_flops,
        dtype_flops_per_s=others if others is not None and math.isfinite(others) else None,
    )


def fits(
    spec: ModelSpec,
    dtype: str,
    batch_size: int,
    seq_len: int,
    sheets: Mapping[str, Hardware],
    precision: Precision = IN_DTYPE,
    setups: Sequence[Setup] = (),
) -> dict[str, Fit]:
    """Sheet -> whether a model fits in a precision, up to which context and batch, and on how many devices it
    trains in each of `setups`. Raises UsageError where a sheet has no memory."""
    model, _ = _models(spec, dtype, precision)
    found = {}
    for name, sheet in sheets.items():
        memory = int(sheet.needed("memory_bytes"))
        training: dict[str, dict[str, int]] = defaultdict(dict)
        for setup in setups:
            devices = devices_to_train(spec, batch_size, seq_len, setup, dtype, memory)
            training[setup.recipe][setup.recompute] = devices
        fit = _fit(model, spec.context_length, batch_size, seq_len, sheet)
        found[name] = replace(fit, training=dict(training))
    return found


def _fit(model: Piece, context_length: int, batch_size: int, seq_len: int, sheet: Hardware) -> Fit:
    memory = sheet.needed("memory_bytes")

    def most(limit: int, held: Callable[[int], float]) -> int:
        return bisect_right(range(1, limit + 1), memory, key=held) if held(1) <= memory else 0

    return Fit(
        memory_bytes=int(memory),
        devices=_devices(held_bytes(model, batch_size, seq_len), memory),
        longest_context=most(context_length, lambda n: held_bytes(model, batch_size, n)),
        largest_batch=most(MAX_TOKENS // seq_len, lambda n: held_bytes(model, n, seq_len)),
        step_tokens=PREFILL_STEP,
    )
