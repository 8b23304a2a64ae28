"""What was timed -> tables of rates, intervals, spread, and how near the device's limits they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from archcmp.report.tables import BLANK, Quantity, Table, count_tables, header, row
from archcmp.results import Comparison, PairedRatio, Throughput
from archcmp.settings import WORKLOADS
from archcmp.units import Bytes, Flops, Seconds, TokensPerSecond

RESOLUTION = 0.02
"""Two builds of one model may differ by this much for where they lie in memory; less is no difference."""

Figure = Callable[[Throughput], "float | None"]


def is_clear(ratio: PairedRatio) -> bool:
    """Whether the interval keeps further from equal than two builds of one model do."""
    return ratio.low > 1 + RESOLUTION or ratio.high < 1 - RESOLUTION


def in_words(ratio: PairedRatio) -> str:
    """'1.31x faster (1.28 to 1.34)', '1.10x slower (...)', or 'no measurable difference (0.99 to 1.02)'
    where the interval comes within 2 % of equal."""
    if not is_clear(ratio):
        return f"no measurable difference ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.low > 1:
        return f"{ratio.median:.2f}x faster ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"{1 / ratio.median:.2f}x slower ({1 / ratio.high:.2f} to {1 / ratio.low:.2f})"


def _label(workload: str, seq_len: int) -> str:
    return f"{workload}, context {seq_len:,}" if workload == "decode" else f"{workload}, {seq_len:,} tokens"


def _rates(doc: Comparison, workload: str, results: Sequence[Throughput | None]) -> list[str]:
    """Tokens per second; a plain ratio only beside models whose readings are not paired, and the length of
    those that another run measured at another."""
    seq_len = next(result.seq_len for result in results if result is not None)

    def rate(result: Throughput | None) -> float | None:
        return None if result is None else result.tokens_per_second

    quantity: Quantity = lambda model: rate(model.throughput[workload])  # noqa: E731
    cells = row(_label(workload, seq_len), doc.models, quantity, TokensPerSecond)
    for i, result in enumerate(results, start=1):
        if result is None:
            continue
        if result.speedup is not None:
            cells[i] = cells[i].partition(" (")[0]
        if result.refused:
            cells[i] = f"refused: {result.refused}"
        elif result.composed:
            cells[i] = f"{cells[i]} *"
        if result.seq_len != seq_len:
            cells[i] = f"{cells[i]} at {result.seq_len:,}"
    return cells


def _time(result: Throughput) -> str:
    if result.median_s is None:
        return BLANK
    spread = "" if result.iqr_s is None else f", IQR {Seconds(result.iqr_s)}"
    far_out = f", {len(result.outliers)} far out" if result.outliers else ""
    return f"{Seconds(result.median_s)}{spread}, n={result.rounds}{far_out}"


def _share(value: float | None) -> str:
    return BLANK if value is None else f"{100 * value:.0f} %"


def _roofline(result: Throughput) -> str:
    """The bound, what binds, and how many times as long the measured run takes."""
    bound = result.roofline
    if bound is None or result.median_s is None:
        return BLANK
    return f"{Seconds(bound.bound_s)} ({bound.binds}), took {result.median_s / bound.bound_s:.2f}x"


_DETAILS: dict[str, Callable[[Throughput], str]] = {
    "against first": lambda t: BLANK if t.speedup is None else in_words(t.speedup),
    "median time": _time,
    "MFU": lambda t: _share(t.mfu),
    "bandwidth use": lambda t: _share(t.bandwidth_use),
    "roofline": _roofline,
    "compiled in": lambda t: BLANK if t.compile_s is None else str(Seconds(t.compile_s)),
}


def _workload_rows(doc: Comparison, workload: str) -> list[list[str]]:
    results = [model.throughput[workload] for model in doc.models]
    rows = [_rates(doc, workload, results)]
    for label, text in _DETAILS.items():
        cells = [BLANK if result is None else text(result) for result in results]
        if any(cell != BLANK for cell in cells):
            rows.append([f"  {label}", *cells])
    return rows


def _notes(doc: Comparison) -> list[str]:
    measured = [t for model in doc.models for t in model.throughput.values() if t is not None]
    env = doc.environment
    how = "compiled" if env.get("compiled") else "eager"
    notes = [
        f"Measured on {env.get('device_name', 'unknown device')}, {env.get('threads')} threads, "
        f"torch {env.get('torch')}, {how}."
    ]
    if any(t.speedup for t in measured):
        notes.append("Against first: median of the ratios of paired readings, bootstrap 95 % interval.")
    if any(t.composed for t in measured):
        notes.append(
            "* composed: distinct blocks, embedding and head timed alone at full width, summed by count."
        )
    if any(t.shortened for t in measured):
        notes.append(
            f"Shorter than {doc.settings.seq_len:,} tokens to fit the time budget; --budget gives more."
        )
    if any(t.roofline for t in measured):
        peak, copy = Flops(env.get("matmul_flops_per_s", 0)), Bytes(env.get("copy_bytes_per_s", 0))
        notes += [
            f"MFU: counted FLOPs (exact) against the best large matmul seen here, {peak}/s.",
            f"Bandwidth use: weights and KV cache, against the best large copy, {copy}/s read and written.",
            "Roofline: the shortest time those two rates allow, and which of them sets it.",
        ]
    return notes + _saved_notes(env.get("saved", {}))


def _saved_notes(saved: dict[str, dict[str, list[object]]]) -> list[str]:
    """How the environment of each saved document differs."""
    notes = []
    for label, changes in saved.items():
        named = "; ".join(f"{key} {there} there, {here} here" for key, (here, there) in changes.items())
        notes.append(f"{label} is from another run, without paired intervals: {named or 'same environment'}.")
    return notes


def throughput_table(doc: Comparison) -> Table:
    """Measured rates, their intervals and spread, and what kind of measurement each is."""
    rows = [
        cells
        for workload in WORKLOADS
        if any(model.throughput[workload] for model in doc.models)
        for cells in _workload_rows(doc, workload)
    ]
    title = f"Throughput, measured: batch {doc.settings.batch_size:,}, {doc.settings.dtype}"
    return Table(title, header(doc), rows, _notes(doc))


def was_refused(doc: Comparison) -> bool:
    """Whether any asked measurement was refused."""
    return any(
        t is not None and t.refused is not None for model in doc.models for t in model.throughput.values()
    )


def has_throughput(doc: Comparison) -> bool:
    return any(t is not None for model in doc.models for t in model.throughput.values())


def all_tables(doc: Comparison, show_all: bool = False) -> list[Table]:
    """Every table of a document."""
    tables = count_tables(doc, show_all)
    return [*tables, throughput_table(doc)] if has_throughput(doc) else tables


def device_table(facts: dict[str, Any]) -> Table:
    """A device's name, size and best rates."""
    rates = [[f"matmul, {dtype}", f"{Flops(rate)}/s"] for dtype, rate in facts["matmul_flops_per_s"].items()]
    rows = [
        ["device", f"{facts['device_name']} ({facts['device']})"],
        ["memory", str(Bytes(facts["memory_bytes"]))],
        ["threads", str(facts["threads"])],
        ["torch", facts["torch"]],
        ["native dtype", facts["native_dtype"]],
        *rates,
        ["copy, read and written", f"{Bytes(facts['copy_bytes_per_s'])}/s"],
    ]
    note = f"The best rates seen here, remembered in {facts['remembered_in']}."
    return Table("Device", ["", ""], rows, [note])
