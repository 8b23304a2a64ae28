"""The pipeline: load -> build -> count -> measure -> document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from archcmp.analysis import count
from archcmp.measure.device import device_facts, native_dtype, resolve_device, versions
from archcmp.measure.plan import MeasureSettings
from archcmp.measure.throughput import Measurement, OnProgress
from archcmp.report.differences import differences
from archcmp.results import Comparison, ModelResult, Settings
from archcmp.settings import (
    DEFAULT_CONVENTION,
    DEFAULT_DTYPE,
    WORKLOADS,
    check_measure,
    check_workload,
    default_seq_len,
)
from archcmp.spec.choices import design_choices
from archcmp.spec.load import Subject, load_subjects, spec_sha256


def count_subject(subject: Subject, settings: Settings) -> ModelResult:
    """One model's part of the document, nothing measured."""
    spec = subject.spec
    counts = count(spec, settings.batch_size, settings.seq_len, settings.dtype, settings.flops_convention)
    return ModelResult(
        id=subject.id,
        name=spec.title,
        spec_sha256=spec_sha256(spec),
        choices=design_choices(spec),
        params=counts.params,
        flops=counts.flops,
        memory=counts.memory,
        throughput=dict.fromkeys(WORKLOADS),
    )


def count_all(subjects: Sequence[Subject], settings: Settings) -> Comparison:
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
    subjects: Sequence[Subject],
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
        "interrupted": measurement.interrupted,
    }
    models = [
        replace(model, throughput=throughput)
        for model, throughput in zip(doc.models, measurement.results(), strict=True)
    ]
    return replace(doc, models=models, environment=doc.environment | facts)


def compare(
    references: Sequence[str],
    measure: Sequence[str] | None = WORKLOADS,
    *,
    overrides: Sequence[str] = (),
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str | None = None,
    convention: str = DEFAULT_CONVENTION,
    device: str | None = None,
    budget_s: float = 20.0,
    compose: str = "auto",
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compare specs by name or path. `measure` names the workloads to time, None for counts alone;
    `dtype` None is bfloat16, or, when measuring, what the device does natively. Raises SpecError and
    UsageError for bad input, before anything is built."""
    subjects = load_subjects(references, overrides)
    specs = [subject.spec for subject in subjects]
    seq_len = default_seq_len(specs) if seq_len is None else seq_len
    measured = resolve_device(device) if measure else None
    dtype = dtype or (native_dtype(measured) if measured else DEFAULT_DTYPE)
    check_workload(specs, batch_size, seq_len, dtype, convention)
    check_measure(measure or (), budget_s, compose)
    doc = count_all(subjects, Settings(batch_size, seq_len, dtype, convention))
    if not measure or measured is None:
        return doc
    settings = MeasureSettings(measured, dtype, batch_size, seq_len, budget_s, tuple(measure), compose)
    return measure_all(doc, subjects, settings, on_progress)
