"""Racing `transformers`: who is raced, both compute the same, what is reported. No speed is asserted."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from typer.testing import CliRunner

from archcmp.cli import race as race_command
from archcmp.cli.app import INTERRUPTED, app
from archcmp.errors import MeasureError, UsageError
from archcmp.experiments.contests import transformers as race
from archcmp.experiments.contests.transformers import Race, RaceResult, RaceSettings
from archcmp.model.decoder import Decoder
from archcmp.model.hf import load_hf_weights
from archcmp.oracle.models import transformers_model
from archcmp.settings import WORKLOADS
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.rounds import MAX_ROUNDS, MAX_WARM_UPS, MIN_ROUNDS
from tests.known import TINY, tiny
from tests.timing.test_measure import FakeTimer

HEADS = ("mixer.n_heads=2", "mixer.n_kv_heads=2", "mixer.head_dim=8", "ffn.d_ff=24")
SHRUNK = ("d_model=16", "vocab_size=61", "layers[0].n_layers=2")
MAIN = tuple(f"blocks.main.{change}" for change in HEADS)


def _families() -> dict[str, ModelSpec]:
    local_global = [f"blocks.{block}.{change}" for block in ("local", "global") for change in HEADS]
    layers = ("layers=[{repeat: [local, global], n_layers: 2}]", "blocks.local.mixer.window=8")
    return {
        "GPT2LMHeadModel": load_spec("gpt2", (*SHRUNK, *MAIN)),
        "LlamaForCausalLM": tiny(),
        "Olmo2ForCausalLM": load_spec("olmo2", (*SHRUNK, *MAIN)),
        "Gemma3ForCausalLM": load_spec("gemma3", (*SHRUNK, *local_global, *layers)),
    }


FAMILIES = _families()


def _settings(**options: object) -> RaceSettings:
    defaults: dict[str, object] = {
        "device": "cpu",
        "dtype": "float32",
        "seq_len": 20,
        "batch_size": 2,
        "budget_s": 1e4,
        "workloads": WORKLOADS,
    }
    return RaceSettings(**(defaults | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_all_workloads_agree_and_are_timed_alike(name: str) -> None:
    for result in Race(FAMILIES[name], _settings(), timer=FakeTimer(lambda i: 0.5)).run():
        assert len(result.ours_s) == len(result.theirs_s) >= MIN_ROUNDS
        assert result.speedup is not None and result.speedup.median == 1.0
        assert result.logits_difference <= 1e-4 * result.logits_std
        assert result.seq_len == 20


@pytest.mark.parametrize("name", FAMILIES)
def test_the_peer_is_chosen_by_design_not_by_name(name: str) -> None:
    spec = FAMILIES[name]
    blocks = {f"b{i}": block for i, block in enumerate(spec.blocks.values())}
    renamed = dict(zip(spec.blocks, blocks, strict=True))
    runs = tuple(
        run.model_copy(update={"repeat": tuple(renamed[block] for block in run.repeat)})
        for run in spec.layers
    )
    other = spec.model_copy(update={"name": "Mine", "size": None, "blocks": blocks, "layers": runs})
    peer = transformers_model(other, "meta", torch.bfloat16)
    assert type(peer).__name__ == name
    assert {parameter.dtype for parameter in peer.parameters()} == {torch.bfloat16}
    assert next(peer.parameters()).is_meta


@pytest.mark.parametrize(
    "change",
    [
        "blocks.main.residual=post_norm",
        "blocks.main.mixer.sinks=true",
        "blocks.main.mixer.output_gate=true",
        "blocks.main.ffn={kind: mlp, d_ff: 24, activation: relu}",
        "output.softcap=30.0",
        "output.norm=false",
    ],
)
def test_a_design_without_a_peer_is_refused_with_those_that_have_one(change: str) -> None:
    with pytest.raises(UsageError, match=r"no model of transformers with these choices.*Known.*: cohere, "):
        Race(tiny(change), _settings())


def test_times_are_told_apart() -> None:
    """With constant readings of 1 s and 3 s in the order A B B A, ours is 3 times as fast."""
    warm_up = [1.0, 1.0, 3.0, 3.0]
    readings = warm_up + [1.0, 3.0, 3.0, 1.0] * MAX_ROUNDS
    (result,) = Race(tiny(), _settings(workloads=("prefill",)), timer=FakeTimer(lambda i: readings[i])).run()
    assert set(result.ours_s) == {1.0} and set(result.theirs_s) == {3.0}
    assert result.speedup is not None and result.speedup.median == 3.0


def test_models_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_and_spoil(model: Decoder, weights: dict[str, torch.Tensor]) -> None:
        load_hf_weights(model, weights)
        with torch.no_grad():
            next(model.parameters())[:, 0] += 0.1

    monkeypatch.setattr(race, "load_hf_weights", load_and_spoil)
    monkeypatch.setattr(race, "interleave", lambda *_: pytest.fail("timed models that differ"))
    for workload in WORKLOADS:
        with pytest.raises(MeasureError, match=f"{workload}: the two do not compute the same"):
            list(Race(tiny(), _settings(workloads=(workload,))).run())


def test_decoding_stays_within_learned_positions() -> None:
    spec = FAMILIES["GPT2LMHeadModel"].model_copy(update={"context_length": 40})
    noisy = FakeTimer(lambda i: 1.0 + i % 2)
    (result,) = Race(spec, _settings(seq_len=40, workloads=("decode",)), timer=noisy).run()
    assert result.seq_len == 20 and len(result.ours_s) == 20 - race.CHECKED_STEPS - MAX_WARM_UPS
    short = spec.model_copy(update={"context_length": 20})
    with pytest.raises(UsageError, match="too few to decode"):
        list(Race(short, _settings(workloads=("decode",))).run())


def test_what_does_not_fit_is_refused_with_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "available_bytes", lambda device: 10_000)
    with pytest.raises(MeasureError, match=r"needs .* KiB; 9\.77 KiB are available"):
        Race(tiny(), _settings())


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'archcmp\[dev\]'"):
        list(Race(tiny(), _settings()).run())


def _run(*arguments: str) -> str:
    command = ["race", str(TINY), "--seq-len", "16", "--budget", "0.01", "--device", "cpu", *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_prints_a_table_or_json() -> None:
    table = _run("--measure", "prefill,decode")
    assert "archcmp is faster" in table and "prefill" in table and "decode" in table and "train" not in table
    document = json.loads(_run("--json", "--measure", "train", "--set", "layers[0].n_layers=1"))
    assert document["schema"] == race_command.SCHEMA
    assert document["settings"]["workloads"] == ["train"]
    assert document["results"][0]["speedup"]["low"] <= document["results"][0]["speedup"]["high"]


def test_ctrl_c_keeps_the_workloads_that_were_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    raced = Race._race

    def interrupted_when_decoding(self: Race, workload: str, contenders: list[race.Contender]) -> RaceResult:
        if workload == "decode":
            raise KeyboardInterrupt
        return raced(self, workload, contenders)

    monkeypatch.setattr(Race, "_race", interrupted_when_decoding)
    command = ["race", str(TINY), "--seq-len", "16", "--budget", "0.01", "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, [*command, "--measure", "prefill,decode"])
    assert result.exit_code == INTERRUPTED
    assert [raced["workload"] for raced in json.loads(result.stdout)["results"]] == ["prefill"]


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean transformers"):
        CliRunner().invoke(app, ["race", str(TINY), "--against", "transformer"], catch_exceptions=False)
