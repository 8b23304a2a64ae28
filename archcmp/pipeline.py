"""The pipeline: load -> build -> count -> measure -> document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import torch

from archcmp.analysis import count
from archcmp.report.differences import differences
from archcmp.results import Comparison, ModelResult, Settings
from archcmp.settings import (
    DEFAULT_BUDGET_S,
    DEFAULT_CONVENTION,
    DEFAULT_DTYPE,
    DTYPES,
    WORKLOADS,
    check_measure,
    make_settings,
)
from archcmp.spec.describe import design_choices, text
from archcmp.spec.yaml.load import NamedSpec, load_models, spec_sha256
from archcmp.timing.calibrate import cache_file, calibrate, remember
from archcmp.timing.clock import DeviceTimer
from archcmp.timing.device import device_facts, native_dtype, resolve_device, versions
from archcmp.timing.measurement import Measurement, OnProgress
from archcmp.timing.plan import MeasureSettings


def count_subject(subject: NamedSpec, settings: Settings) -> ModelResult:
    """One model's part of the document, nothing measured."""
    spec = subject.spec
    counts = count(spec, settings.batch_size, settings.seq_len, settings.dtype, settings.flops_convention)
    return ModelResult(
        id=subject.id,
        name=spec.title,
        spec_sha256=spec_sha256(spec),
        choices={key: text(value, key) for key, value in design_choices(spec).items()},
        params=counts.params,
        flops=counts.flops,
        memory=counts.memory,
        throughput=dict.fromkeys(WORKLOADS),
    )


def count_all(subjects: Sequence[NamedSpec], settings: Settings) -> Comparison:
    """The document with everything that needs no clock."""
    models = [count_subject(subject, settings) for subject in subjects]
    return Comparison(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=versions(),
        settings=settings,
        models=models,
        differences=differences([model.choices for model in models]),
    )


def measure_all(
    doc: Comparison,
    subjects: Sequence[NamedSpec],
    settings: MeasureSettings,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """The document with throughput added. Ctrl-C ends measuring early; what was read is in the result."""
    measurement = Measurement([subject.spec for subject in subjects], settings, on_progress)
    measurement.run()
    facts = device_facts(settings.device) | {
        "matmul_flops_per_s": measurement.calibration.matmul_flops_per_s,
        "copy_bytes_per_s": measurement.calibration.copy_bytes_per_s,
        "budget_s": settings.budget_s,
        "compiled": settings.compile,
        "interrupted": measurement.interrupted,
    }
    models = [
        replace(model, throughput=throughput)
        for model, throughput in zip(doc.models, measurement.results(), strict=True)
    ]
    return replace(doc, models=models, environment=doc.environment | facts)


def plan_measuring(
    settings: Settings,
    workloads: Sequence[str],
    device: str | None,
    dtype: str | None,
    budget_s: float,
    compose: str,
    compile: bool = False,
) -> tuple[Settings, MeasureSettings | None]:
    """How to measure, None without workloads; and the settings with the dtype measured, which is what
    the device does natively unless one was asked for. Raises UsageError for an unknown device."""
    if not workloads:
        if device is not None:
            resolve_device(device)
        return settings, None
    target = resolve_device(device)
    settings = replace(settings, dtype=dtype or native_dtype(target))
    return settings, MeasureSettings(
        device=target,
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        seq_len=settings.seq_len,
        budget_s=budget_s,
        workloads=tuple(workloads),
        compose=compose,
        compile=compile,
    )


def compare(
    references: str | Sequence[str],
    measure: Sequence[str] | None = WORKLOADS,
    *,
    overrides: Sequence[str] = (),
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str | None = None,
    convention: str = DEFAULT_CONVENTION,
    device: str | None = None,
    budget_s: float = DEFAULT_BUDGET_S,
    compose: str = "auto",
    compile: bool = False,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compare specs by name or path. `measure` names the workloads to time, None for counts alone;
    `dtype` None is bfloat16, or, when measuring, what the device does natively; `compile` measures
    torch.compile's code. Raises SpecError and
    UsageError for bad input, before anything is built."""
    subjects = load_models([references] if isinstance(references, str) else references, overrides)
    specs = [subject.spec for subject in subjects]
    settings = make_settings(specs, batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    check_measure(measure or (), budget_s, compose)
    settings, measuring = plan_measuring(settings, measure or (), device, dtype, budget_s, compose, compile)
    doc = count_all(subjects, settings)
    return doc if measuring is None else measure_all(doc, subjects, measuring, on_progress)


def calibrate_device(device: torch.device) -> dict[str, Any]:
    """Facts about a device and the best rates seen on it: matmul FLOP/s per dtype, copy bytes/s."""
    timer = DeviceTimer(device)
    seen = {dtype: remember(calibrate(device, dtype, timer), device, dtype) for dtype in DTYPES}
    return (
        versions()
        | device_facts(device)
        | {
            "matmul_flops_per_s": {dtype: rates.matmul_flops_per_s for dtype, rates in seen.items()},
            "copy_bytes_per_s": max(rates.copy_bytes_per_s for rates in seen.values()),
            "native_dtype": native_dtype(device),
            "remembered_in": str(cache_file()),
        }
    )
