"""What a shell offers while a command is typed."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from archcmp.cli import main


def _asked(pieces: list[str]) -> list[str]:
    """What typer's script for bash is answered: the pieces are bash's, which splits at colons and equals."""
    out = StringIO()
    with redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["archcmp"])
        patch.setenv("_ARCHCMP_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", "\n".join(["archcmp", *pieces]))
        patch.setenv("COMP_CWORD", str(len(pieces)))
        with pytest.raises(SystemExit):
            main()
    return out.getvalue().split()


def _offered(line: str) -> list[str]:
    """What is offered for the last word of a line."""
    return _asked(line.split(" "))


def test_commands_and_options_are_offered() -> None:
    assert _offered("c") == ["compare", "choices", "check"]
    assert _offered("show --y") == ["--yaml"]
    assert "compare" in _offered("nonsense ")


def test_families_are_offered_and_the_sizes_of_the_only_one_that_fits() -> None:
    assert _offered("show olm") == ["olmo", "olmo-hybrid", "olmo2", "olmo3", "olmoe"]
    assert _offered("compare gpt2 olmo2") == ["olmo2", "olmo2:1b", "olmo2:7b", "olmo2:13b", "olmo2:32b"]
    assert _offered("new mine --from smollm3") == ["smollm3", "smollm3:3b"]


def test_a_word_that_bash_splits_is_completed_after_the_last_piece() -> None:
    assert _asked(["show", "olmo2", ":"]) == ["1b", "7b", "13b", "32b"]
    assert _asked(["show", "olmo2", ":", "1"]) == ["1b", "13b"]
    assert _asked(["show", "olmo2", ":", "7b+qk_norm", "=", "p"]) == ["per_head"]
    assert _asked(["compare", "olmo2", "--flops", "=", "f"]) == ["full"]


def test_keys_are_those_of_the_spec_and_values_those_of_the_key() -> None:
    assert _offered("show llama3:8b+n_k") == ["llama3:8b+n_kv_heads="]
    assert _offered("compare olmo2 --set kv_l") == []
    assert _offered("compare deepseek-v2 --set kv_l") == ["kv_lora_rank="]
    assert _offered("compare --set kv_l") == ["kv_lora_rank="]
    assert _offered("compare olmo2 --vary output.tied=y") == ["output.tied=yes"]
    assert _offered("compare olmo2 --vary qk_norm=none,all") == ["qk_norm=none,all_heads"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("compare olmo2 --measure prefill,", ["prefill,decode", "prefill,train"]),
        ("compare olmo2 --dtype b", ["bfloat16"]),
        ("show olmo2 --flops ", ["exact", "full", "window", "6n"]),
        ("race olmo2 --against ", ["composed", "masked", "transformers"]),
        ("bench olmo2 --compose a", ["auto", "always"]),
        ("device --device ", ["cpu", "cuda"]),
        ("list gem", ["gemma", "gemma2", "gemma3", "gemma4"]),
        ("list --with gq", ["gqa"]),
        ("choices qk_", ["qk_norm"]),
    ],
)
def test_names_are_offered(line: str, offered: list[str]) -> None:
    assert _offered(line) == offered


def test_a_broken_spec_offers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.yaml").write_text("d_model: [")
    monkeypatch.setenv("ARCHCMP_SPECS", str(tmp_path))
    assert _offered("show broken") == ["broken"]
    monkeypatch.setenv("ARCHCMP_SPECS", str(tmp_path / "nowhere"))
    assert _offered("show olmo2") == []
