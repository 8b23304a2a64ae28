"""Results documents read back from files, to stand beside what is measured today."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archcmp.errors import UsageError
from archcmp.report.differences import differences
from archcmp.results import SCHEMA, Comparison, ModelResult, Throughput

_ADAPTER = TypeAdapter(Comparison)

ENVIRONMENT_KEYS = ("device_name", "threads", "thread_binding", "torch", "python", "archcmp", "compiled")
"""What can explain a difference in speed."""


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UsageError if there is none."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"'{path}' is not JSON") from None
    if not isinstance(data, dict):
        raise UsageError(f"'{path}' is no results document")
    return data


def comparison_from(data: Any, source: str) -> Comparison:
    """The records that a parsed results document holds. Raises UsageError, naming the first thing that is
    not as it should be."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"'{source}' is no results document: it has no 'schema': '{SCHEMA}'")
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"'{source}' is no valid results document: {where}: {first['msg']}") from None


def read_comparison(path: Path) -> Comparison:
    """The results document in `path`, as `--export` wrote it. Raises UsageError if it cannot be read."""
    return comparison_from(read_document(path), str(path))


def is_saved(reference: str) -> bool:
    """Whether a reference on the command line means a results file."""
    return reference.endswith(".json")


def beside(documents: Sequence[tuple[str, Comparison]]) -> Comparison:
    """One document with the models of several, each as (label, document), in their order. The first
    document measured gives the environment; where another's differs, `environment.saved` says how.
    Ratios of paired readings do not carry over to another run. Raises UsageError where the documents were
    made for different workloads."""
    _check_settings(documents)
    _, first = documents[0]
    models = [
        _apart(model, label) if len(documents) > 1 and label else model
        for label, doc in documents
        for model in doc.models
    ]
    base = next((doc for label, doc in documents if not label), first)
    changes = {label: _changes(base, doc) for label, doc in documents if doc is not base}
    return replace(
        base,
        environment=base.environment | {"saved": changes},
        models=models,
        differences=differences([model.choices for model in models]),
    )


def _check_settings(documents: Sequence[tuple[str, Comparison]]) -> None:
    (_, first), *others = documents
    for label, doc in others:
        for key, value in vars(first.settings).items():
            other = getattr(doc.settings, key)
            if other != value:
                named = f" in {label}" if label else ""
                raise UsageError(f"{key} is {value} in {documents[0][0] or 'this run'}, but {other}{named}")


def _apart(model: ModelResult, label: str) -> ModelResult:
    def unpaired(result: Throughput | None) -> Throughput | None:
        return None if result is None else replace(result, speedup=None)

    throughput = {workload: unpaired(result) for workload, result in model.throughput.items()}
    return replace(model, name=f"{model.name} ({label})", throughput=throughput)


def _changes(base: Comparison, doc: Comparison) -> dict[str, list[Any]]:
    """Keys of the environment that differ, each with the base's value and this one's."""
    pairs = {key: [base.environment.get(key), doc.environment.get(key)] for key in ENVIRONMENT_KEYS}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
