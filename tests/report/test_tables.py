"""Tables say what the document says: values, ratios, differences, verdicts, conventions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import archcmp
from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Table, share_text
from archcmp.report.tables import tables_of
from archcmp.report.tables.rows import rate, section_rows
from archcmp.results.counts import Breakdown
from archcmp.results.timings import PairedRatio, Rates, Throughput
from archcmp.units import Flops
from tests.report.documents import counted, measured


@pytest.fixture(scope="module")
def counts() -> archcmp.Results:
    return counted()


@pytest.fixture(scope="module")
def doc(counts: archcmp.Results) -> archcmp.Results:
    return measured(counts)


def table(doc: archcmp.Results, title: str) -> Table:
    return next(table for table in tables_of(doc) if table.title.startswith(title))


def texts(table: Table) -> dict[str, list[str]]:
    return {row.label: [figure.text() for figure in row.figures] for row in table.rows}


def test_ratios_keep_three_digits() -> None:
    assert [share_text(share) for share in (1.1, 0.001, 123.4)] == ["1.10x", "0.001x", "123x"]


def test_values_are_compared_with_the_first_model_by_difference_and_ratio(counts: archcmp.Results) -> None:
    shown = texts(table(counts, "Parameters"))
    assert shown["total"][:2] == ["7.30 B", "8.03 B (+732 M, 1.10x)"]
    assert shown["mixer"][1] == "1.34 B (-805 M, 0.62x)"
    assert texts(table(counts, "Memory"))["KV cache"][1] == "128 MiB (-384 MiB, 0.25x)"


def test_breakdowns_sum_to_the_totals_that_are_shown(counts: archcmp.Results) -> None:
    for shown in tables_of(counts)[1:]:
        for i in range(len(counts.models)):
            groups: list[list[float]] = []
            for row in shown.rows:
                value = row.figures[i].value
                if row.level == 0:
                    groups.append([value])
                elif row.level == 1 and row.label not in ("less embedding", "and less head"):
                    groups[-1].append(value)
            for total, *components in groups:
                assert not components or sum(filter(None, components)) == total


def test_scores_of_a_mixer_that_is_not_known_have_no_projections() -> None:
    """A file that someone else wrote may say so."""
    sections = [{"forward": Breakdown(5, {"mixer": 5}, 2)}, {"forward": Breakdown(5, {"ffn": 3}, 2)}]
    rows = {
        row.label: [figure.value for figure in row.figures]
        for row in section_rows(sections, "forward", Flops)
    }
    assert rows["projections"] == [3, None] and rows["scores"] == [2, 2]


def test_only_differing_choices_are_shown_and_variants_are_named_by_their_change(
    counts: archcmp.Results,
) -> None:
    choices = table(counts, "Design choices that differ")
    assert choices.header[1] == "OLMo 2 7B" and choices.header[5] == "OLMo 2 7B window=512"
    shown = texts(choices)
    assert shown["qk_norm"] == ["all_heads", "none", "per_head", "none", "all_heads"]
    assert shown["window"] == ["none", "none", "local: 1,024; global: none", "none", "512"]
    assert "sinks" not in shown


def test_the_throughput_table_is_a_line_of_rates_a_line_of_shares_and_details(doc: archcmp.Results) -> None:
    throughput = table(doc, "Throughput")
    plain = [row.label for row in throughput.rows if not row.detail]
    assert plain == ["prefill, 1,024 tokens", "MFU"]
    shown = texts(throughput)
    assert shown["prefill, 1,024 tokens"][:4] == [
        "100 tok/s",
        "100 tok/s, 1.31x faster (1.28 to 1.34) *",
        "refused: needs 16.0 GiB; 8.00 GiB are available",
        "-",
    ]
    assert shown["MFU"][0] == "50 %"
    assert shown["median time"][0] == "10.2 s" and shown["IQR"][0] == "500 ms in 3 rounds, 1 far out"
    assert shown["roofline"][0] == "5 s (compute), took 2.05x" and shown["compiled in"][0] == "12 s"


def test_every_number_comes_with_its_convention(doc: archcmp.Results) -> None:
    text = " ".join(table.title + " ".join(table.notes) for table in tables_of(doc))
    for said in ("Convention exact", "batch 1 x 1,024 tokens", "bfloat16", "composed", "--budget"):
        assert said in text
    assert "Testchip & Co, 2 threads" in text and "400 GFLOP/s" in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_tables_fit_the_terminal_and_lose_nothing(
    doc: archcmp.Results, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    tables = tables_of(doc, show_all=True)
    print_tables(tables, details=True)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    squeezed = re.sub(r"[^\w.]", "", printed)
    for shown in tables:
        for row in shown.rows:
            for figure in row.figures:
                text = "" if figure.value is None else str(figure.unit(figure.value))
                if width >= 80 and len(text) <= 20:
                    assert re.sub(r"[^\w.]", "", text) in squeezed, text


# ---- what a reader must know ----------------------------------------------------------------------------


def with_timings(doc: archcmp.Results, *timings: Throughput, workload: str = "prefill") -> str:
    """The notes of the throughput table of a document with one timing per model."""
    pairs = zip(doc.cells[0].models, timings, strict=True)
    results = [replace(result, throughput={workload: timing}) for result, timing in pairs]
    cell = replace(doc.cells[0], models=results)
    return " ".join(tables_of(replace(doc, cells=[cell]))[-1].notes)


@pytest.fixture(scope="module")
def two() -> archcmp.Results:
    return archcmp.compare(["gpt2:small", "gpt2:small+ffn.activation=relu"], measure=None)


def test_a_wide_spread_is_marked_in_every_table(two: archcmp.Results) -> None:
    steady = Throughput(512, "prefill", 1.0, median_s=1.0, iqr_s=0.1, rounds=10)
    wide = replace(steady, iqr_s=0.11)
    assert rate(wide, None).marks == "!" and rate(steady, None).marks == ""
    assert "! wide spread" in with_timings(two, steady, wide)
    assert "wide spread" not in with_timings(two, steady, steady)


def test_the_table_says_what_an_interval_is_over(two: archcmp.Results) -> None:
    first = Throughput(512, "prefill", 1.0, median_s=1.0, rounds=12, builds=[2] * 6)
    second = replace(first, speedup=PairedRatio(1.0, 0.99, 1.01))
    assert "the range of six builds' medians" in with_timings(two, first, second)
    said = with_timings(two, replace(first, builds=[12]), replace(second, builds=[12]))
    assert "bootstrap 95 % interval" in said and "fewer than six builds" in said
    few = replace(first, rounds=2, builds=[2])
    assert "~ fewer than 6 rounds fitted the time budget" in with_timings(two, few, few)


def test_a_short_training_step_is_said_to_measure_the_optimizer(two: archcmp.Results) -> None:
    short = Throughput(64, "train", 1.0, median_s=1.0, rounds=10, shortened=True)
    assert "measures the optimizer" in with_timings(two, short, short, workload="train")
    assert "measures the optimizer" not in with_timings(
        two, *[replace(short, seq_len=128)] * 2, workload="train"
    )
    asked = replace(short, shortened=False)
    assert "measures the optimizer" not in with_timings(two, asked, asked, workload="train")


def test_a_busy_machine_and_a_dtype_that_is_not_native_are_said(two: archcmp.Results) -> None:
    environment = replace(two.environment, dtype="float32")
    best, low = Rates(4e11, 2e10, 3e10), Rates(3.9e11, 1.6e10, 3e10)
    timing = Throughput(512, "prefill", 1.0, median_s=1.0, rounds=10)
    busy = replace(two, environment=environment.with_rates(best, low))
    assert busy.environment.busy
    said = with_timings(busy, timing, timing)
    assert "was busy: its calibration reached 80 % of its best" in said
    assert "Measured in float32, since bfloat16 is not native to this device" in said
    calm = replace(two, environment=environment.with_rates(best, replace(low, copy_bytes_per_s=1.8e10)))
    assert not calm.environment.busy and "busy" not in with_timings(calm, timing, timing)


def test_lengths_that_are_a_models_limit_or_beyond_it_are_said() -> None:
    flops = tables_of(archcmp.compare(["gpt2:small", "llama3:8b"], measure=None))[2]
    assert any(
        "at 1,024 tokens, the most that GPT-2 small has learned positions for" in note for note in flops.notes
    )
    flops = tables_of(archcmp.compare(["llama3:8b", "olmo2:7b"], measure=None, seq_len=8192))[2]
    assert any("8,192 tokens are beyond the context of OLMo 2 7B (4,096)." in note for note in flops.notes)


def test_choices_that_cost_no_flops_are_said_to_be_uncounted() -> None:
    for change, uncounted in (("qk_norm=per_head", True), ("n_kv_heads=1", False)):
        flops = tables_of(archcmp.compare(["llama3:8b", f"llama3:8b+{change}"], measure=None))[2]
        assert uncounted == any("All FLOPs are equal" in note for note in flops.notes)


def test_a_state_of_constant_size_is_named_by_what_it_holds() -> None:
    """DeepSeek V4 has no recurrence, and keeps tokens that wait for an entry."""
    memory = table(archcmp.compare("deepseek-v4", None, seq_len=64, convention="6n"), "Memory")
    assert texts(memory)["state of constant size"] == ["5.82 MiB"]
    assert any("tokens that wait for an entry" in note for note in memory.notes)


def test_a_length_that_is_not_found_is_told_with_the_longest_that_was_tried() -> None:
    """Windows in all layers bound the scores of Mistral 7B."""
    windowed = archcmp.compare("mistral:7b", None, seq_len=64, options={"crossover": True})
    never = "scores take more FLOPs than the feed-forward at no length up to 4,194,304 tokens."
    assert any(note.endswith(never) for note in table(windowed, "FLOPs").notes)
