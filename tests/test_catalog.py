"""What `list` and `choices` show."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from archcmp.analysis import count
from archcmp.cli import app
from archcmp.errors import UsageError
from archcmp.spec.describe import design_choices, differing, shown, vocabulary
from archcmp.spec.yaml.load import load_spec
from tests.known import PUBLISHED, PUBLISHED_IDS


def _listed(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["list", "--json", *arguments], catch_exceptions=False)
    models: list[dict[str, object]] = json.loads(result.stdout)
    return models


def test_list_filters_by_choices_and_parameters() -> None:
    assert [model["id"] for model in _listed()] == sorted(PUBLISHED_IDS, key=lambda i: i.split(":")[0])
    assert {model["family"] for model in _listed("--with", "mla")} == {
        "deepseek-v2",
        "deepseek-v3",
        "kimi-k2",
        "kimi-linear",
        "ling3",
    }
    both = _listed("--with", "moe", "--with", "window")
    assert _listed("--with", "moe,window") == both
    assert {model["family"] for model in both} == {"gpt-oss"}
    sizes = [model["params"] for model in _listed("--min-params", "1B", "--max-params", "7.3B")]
    assert sizes and all(isinstance(size, int) and 1e9 <= size <= 7.3e9 for size in sizes)


def test_list_takes_parts_of_names() -> None:
    assert {model["family"] for model in _listed("gemma")} == {"gemma", "gemma2", "gemma3"}
    assert {model["id"] for model in _listed("OLMo 2", "llama3.1:8")} == {
        *("olmo2:1b", "olmo2:7b", "olmo2:13b", "olmo2:32b", "llama3.1:8b")
    }
    with pytest.raises(UsageError, match=r"contains 'gemna'. Did you mean gemma"):
        CliRunner().invoke(app, ["list", "gemna"], catch_exceptions=False)


def test_list_takes_the_labels_that_tables_print() -> None:
    for label in ("MHA", "GQA", "MQA", "MLA", "GDN", "KDA", "lightning", "conv"):
        assert _listed("--with", label) == _listed("--with", label.lower()) != []


@pytest.mark.parametrize("reference", PUBLISHED)
def test_active_parameters_are_what_is_counted(reference: str) -> None:
    spec = load_spec(reference)
    params = count(spec).params
    total, active = params["total"].total, params["active"].total
    assert spec.published is not None
    assert spec.published.active == (None if active == total else active)


def test_unknown_choices_and_sizes_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no choice 'mlaa'. Did you mean mla"):
        CliRunner().invoke(app, ["list", "--with", "mlaa"], catch_exceptions=False)
    with pytest.raises(UsageError, match="'huge' is not a number of parameters"):
        CliRunner().invoke(app, ["list", "--max-params", "huge"], catch_exceptions=False)


def test_choices_say_who_makes_them() -> None:
    result = CliRunner().invoke(app, ["choices", "--json"], catch_exceptions=False)
    choices = {choice["name"]: choice for choice in json.loads(result.stdout)}
    assert choices["reordered_norm"]["used_by"] == ["olmo2", "olmo3"]
    assert choices["sinks"]["used_by"] == ["gpt-oss"]
    assert choices["post_norm"]["used_by"] == []
    printed = CliRunner().invoke(app, ["choices"], catch_exceptions=False).stdout
    assert all(choice.name in printed for choice in vocabulary())


def test_choices_are_explained_by_name() -> None:
    def named(*names: str) -> list[str]:
        result = CliRunner().invoke(app, ["choices", "--json", *names], catch_exceptions=False)
        return [choice["name"] for choice in json.loads(result.stdout)]

    assert named("GQA") == ["gqa"]
    assert named("qk_norm", "sinks") == [
        "qk_norm", "all_heads", "per_head", "each_head", "after_rope", "sinks",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"choice 'qk_nrom'. Did you mean qk_norm"):
        named("qk_nrom")


def test_models_do_not_differ_in_what_one_leaves_at_its_default_and_the_other_has_no_place_for() -> None:
    choices = [design_choices(load_spec(name)) for name in ("olmo2", "deepseek-v3")]
    keys = differing(choices)
    assert shown(choices, "mixer") == ["attention (MHA)", "mla"]
    assert shown(choices, "kv_lora_rank") == ["none", "512"]
    assert shown(choices, "router.correction_bias") == ["no", "yes"]
    assert {"mixer", "kv_lora_rank", "router.correction_bias"} <= {*keys}
    assert not {"qkv_bias", "sinks", "window", "shared.bias"} & {*keys}
