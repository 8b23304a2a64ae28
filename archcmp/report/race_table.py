"""Races as tables: against another library, and of composed figures against whole models."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archcmp.report.tables import BLANK, Table
from archcmp.units import Seconds

if TYPE_CHECKING:
    from archcmp.experiments.contests.composed import CompositionResult
    from archcmp.experiments.contests.masked import WindowResult
    from archcmp.experiments.contests.transformers import RaceResult, RaceSettings
    from archcmp.results import PairedRatio


def _ratio(speedup: PairedRatio | None) -> str:
    if speedup is None:
        return BLANK
    return f"{speedup.median:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def composition_table(
    title: str, settings: RaceSettings, environment: dict[str, Any], results: Sequence[CompositionResult]
) -> Table:
    """A row per workload: median times, and composed over whole with its interval."""
    rows = [
        [
            result.workload,
            f"{result.seq_len:,}",
            str(Seconds(statistics.median(result.whole_s))),
            str(Seconds(statistics.median(result.composed_s))),
            _ratio(result.ratio),
        ]
        for result in results
    ]
    notes = [
        "Composed: count x time, summed over parts timed alone, in the same rounds as the whole model.",
        "The ratio, composed over whole, is the median over rounds, with its 95 % interval.",
        f"Measured on {environment['device_name']}, {environment['threads']} threads, "
        f"torch {environment['torch']}.",
    ]
    title = f"{title}, whole and composed: batch {settings.batch_size:,}, {settings.dtype}"
    return Table(title, ["", "tokens", "whole", "composed", "ratio"], rows, notes)


def windows_table(
    title: str, settings: RaceSettings, environment: dict[str, Any], results: Sequence[WindowResult]
) -> Table:
    """A row per windowed block: median times, and how many times as long the alternatives take."""
    rows = [
        [
            f"{result.block}, window {result.window:,}",
            str(Seconds(statistics.median(result.ours_s))),
            f"{Seconds(statistics.median(result.masked_s))}; {_ratio(result.over_masked)}",
            f"{Seconds(statistics.median(result.global_s))}; {_ratio(result.over_global)}",
        ]
        for result in results
    ]
    notes = [
        "One layer's attention, without its projections. Masked: the window as a mask over all keys, in one "
        "call of scaled_dot_product_attention. Global: the same layer without a window.",
        "Ratios: theirs over ours, the median over rounds, with its 95 % interval.",
        f"Measured on {environment['device_name']}, {environment['threads']} threads, "
        f"torch {environment['torch']}.",
    ]
    shape = f"batch {settings.batch_size:,} x {settings.seq_len:,} tokens, {settings.dtype}"
    header = ["", "windowed", "masked", "global"]
    return Table(f"Attention of {title}: {shape}", header, rows, notes)


def _row(result: RaceResult) -> list[str]:
    return [
        result.workload,
        f"{result.seq_len:,}",
        str(Seconds(statistics.median(result.ours_s))),
        str(Seconds(statistics.median(result.theirs_s))),
        _ratio(result.speedup),
        f"{100 * result.logits_difference / result.logits_std:.2g} % of std",
    ]


def race_table(
    title: str, settings: RaceSettings, environment: dict[str, Any], results: Sequence[RaceResult]
) -> Table:
    """A row per workload: median times, how many times as fast archcmp is, how far the logits lie apart."""
    mode = "compiled" if settings.compiled else "eager"
    if settings.compiled and "decode" in settings.workloads:
        mode += " (transformers decodes with its StaticCache)"
    env = environment
    notes = [
        "Above 1x: archcmp is faster. The ratio is the median over rounds, with its 95 % interval.",
        "Tokens in a sequence; decoding, those in the caches at first. Logits: the largest difference.",
        f"The same weights and tokens in both, {mode}. Measured on {env['device_name']} ({env['device']}), "
        f"{env['threads']} threads, torch {env['torch']}, transformers {env['transformers']}.",
    ]
    title = f"{title} in archcmp and transformers: batch {settings.batch_size:,}, {settings.dtype}"
    header = ["", "tokens", "archcmp", "transformers", "ratio", "logits differ"]
    return Table(title, header, [_row(result) for result in results], notes)
