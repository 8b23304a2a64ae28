"""What `list` and `choices` show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archcmp.analysis import count
from archcmp.cli import app
from archcmp.cli.choices import by_name
from archcmp.errors import UsageError
from archcmp.spec.describe import design_choices, differing, shown
from archcmp.spec.vocabulary import Choice, by_place, names_of, vocabulary
from archcmp.spec.yaml.load import load_spec
from tests.known import PUBLISHED_IDS, TINY, WITH_TOTAL


def _listed(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["list", "--json", *arguments], catch_exceptions=False)
    models: list[dict[str, object]] = json.loads(result.stdout)
    return models


def test_list_filters_by_choices_and_parameters() -> None:
    assert [model["id"] for model in _listed()] == sorted(PUBLISHED_IDS, key=lambda i: i.split(":")[0])
    latent = {model["family"] for model in _listed("--with", "mla")}
    assert {"deepseek-v2", "deepseek-v3", "kimi-k2"} <= latent and "llama3" not in latent
    both = _listed("--with", "moe", "--with", "window")
    assert _listed("--with", "moe,window") == both
    families = {model["family"] for model in both}
    assert "gpt-oss" in families and not {"mixtral", "gemma3"} & families
    sizes = [model["params"] for model in _listed("--min-params", "1B", "--max-params", "7.3B")]
    assert sizes and all(isinstance(size, int) and 1e9 <= size <= 7.3e9 for size in sizes)


def test_list_takes_parts_of_names() -> None:
    assert {"gemma", "gemma2", "gemma3"} <= {model["family"] for model in _listed("gemma")}
    assert {model["id"] for model in _listed("OLMo 2", "llama3.1:8")} == {
        *("olmo2:1b", "olmo2:7b", "olmo2:13b", "olmo2:32b", "llama3.1:8b")
    }
    with pytest.raises(UsageError, match=r"contains 'gemna'. Did you mean gemma"):
        CliRunner().invoke(app, ["list", "gemna"], catch_exceptions=False)


def test_no_organization_has_two_names() -> None:
    names = {str(model["organization"]) for model in _listed("--by", "organization")}
    assert not names & {"".join(word[0] for word in name.split()) for name in names if " " in name}


def test_list_takes_the_month_from_which_on_models_count() -> None:
    recent = _listed("--since", "2025-08")
    assert recent and all(str(model["released"]) >= "2025-08" for model in recent)
    assert {model["id"] for model in recent} < {model["id"] for model in _listed("--since", "2025")}
    with pytest.raises(UsageError, match="'2025-8' is not a date; write a year or a month: 2026, 2026-03"):
        CliRunner().invoke(app, ["list", "--since", "2025-8"], catch_exceptions=False)


def test_list_sorts_from_the_largest_on_alone_or_within_groups() -> None:
    sizes = [-1 if model["params"] is None else model["params"] for model in _listed("--sort", "params")]
    assert sizes == sorted(sizes, key=lambda size: int(str(size)), reverse=True)
    dated = [str(model["released"]) for model in _listed("--by", "date")]
    assert dated == sorted(dated, reverse=True)
    grouped = [
        (str(model["organization"]), -int(str(model["params"])))
        for model in _listed("--by", "organization", "--sort", "params", "--min-params", "1")
    ]
    assert grouped == sorted(grouped)
    mixed = _listed("mixtral:", "deepseek-v3:", "olmo2:7b", "--sort", "active")
    assert [model["id"] for model in mixed] == [
        "mixtral:8x22b",
        "deepseek-v3:671b",
        "mixtral:8x7b",
        "olmo2:7b",
    ]
    with pytest.raises(UsageError, match=r"no order 'parms'. Did you mean params"):
        CliRunner().invoke(app, ["list", "--sort", "parms"], catch_exceptions=False)


def test_list_sorts_by_the_cache_of_a_token_and_shows_it() -> None:
    result = CliRunner().invoke(
        app, ["list", "olmo2:7b", "deepseek-v2:", "--sort", "kv"], catch_exceptions=False
    )
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows if "KiB" in row] == [
        "olmo2:7b", "deepseek-v2:236b", "deepseek-v2:lite",
    ]  # fmt: skip
    assert "512 KiB" in result.stdout


def test_list_marks_models_of_which_a_field_is_not_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHCMP_SPECS", str(tmp_path))
    note = "note: 'Not certain: norm.eps'\n"
    (tmp_path / "unsure.yaml").write_text(note + TINY.read_text())
    result = CliRunner().invoke(app, ["list", "unsure", "llama2"], catch_exceptions=False)
    assert "unsure ?" in result.stdout and "A ? marks a model" in result.stdout
    assert "?" not in CliRunner().invoke(app, ["list", "llama2"], catch_exceptions=False).stdout


def test_list_takes_the_labels_that_tables_print() -> None:
    for label in ("MHA", "GQA", "MQA", "MLA", "GDN", "KDA", "lightning_attention", "conv"):
        assert _listed("--with", label) == _listed("--with", label.lower()) != []


def test_active_parameters_are_what_is_counted() -> None:
    stated: dict[str, int | None] = {}
    counted: dict[str, int | None] = {}
    for reference in WITH_TOTAL:
        spec = load_spec(reference)
        params = count(spec, 1, 1, convention="6n").params
        total, active = params["total"].total, params["active"].total
        stated[reference] = spec.published.active if spec.published else None
        counted[reference] = None if active == total else active
    assert stated == counted


def test_unknown_choices_and_sizes_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no choice 'mlaa'. Did you mean mla"):
        CliRunner().invoke(app, ["list", "--with", "mlaa"], catch_exceptions=False)
    with pytest.raises(UsageError, match="'huge' is not a number of parameters"):
        CliRunner().invoke(app, ["list", "--max-params", "huge"], catch_exceptions=False)


def test_choices_say_who_makes_them() -> None:
    result = CliRunner().invoke(app, ["choices", "--json"], catch_exceptions=False)
    choices = {choice["name"]: choice for choice in json.loads(result.stdout)}
    assert {"olmo2", "olmo3"} <= {*choices["reordered_norm"]["used_by"]}
    assert "gpt-oss" in choices["sinks"]["used_by"] and "olmo2" not in choices["sinks"]["used_by"]
    assert choices["post_norm"]["used_by"] == []
    printed = CliRunner().invoke(app, ["choices"], catch_exceptions=False).stdout
    assert all(choice.name in printed for choice in vocabulary())


def test_choices_are_explained_by_name() -> None:
    def named(*names: str) -> list[str]:
        result = CliRunner().invoke(app, ["choices", "--json", *names], catch_exceptions=False)
        return [choice["name"] for choice in json.loads(result.stdout)]

    assert named("GQA") == ["gqa"]
    assert named("qk_norm", "sinks") == [
        "qk_norm", "all_heads", "per_head", "each_head", "norm", "after_rope", "sinks",
    ]  # fmt: skip
    assert {"softmax", "sigmoid", "renormalize", "groups", "top2_sum"} <= {*named("router")}
    scorings = ["softmax", "sigmoid", "sqrt_softplus", "sparsemixer"]
    assert named("router.scoring") == named("scoring") == scorings
    with pytest.raises(UsageError, match=r"choice 'qk_nrom'. Did you mean qk_norm"):
        named("qk_nrom")


def test_every_name_that_finds_models_is_explained() -> None:
    explained: dict[str, set[Choice]] = {}
    for place, choice in by_place().items():
        for name in names_of(place):
            explained.setdefault(name, set()).add(choice)
    answers = by_name()
    assert all(choices <= answers[name] for name, choices in explained.items())
    assert (
        _listed("--with", "router.scale")
        == _listed("--with", "ffn.router.scale")
        != _listed("--with", "scale")
    )


def test_models_do_not_differ_in_what_one_leaves_at_its_default_and_the_other_has_no_place_for() -> None:
    choices = [design_choices(load_spec(name)) for name in ("olmo2", "deepseek-v3")]
    keys = differing(choices)
    assert shown(choices, "mixer") == ["attention (MHA)", "mla"]
    assert shown(choices, "kv_lora_rank") == ["none", "512"]
    assert shown(choices, "router.correction_bias") == ["no", "yes"]
    assert {"mixer", "kv_lora_rank", "router.correction_bias"} <= {*keys}
    assert not {"qkv_bias", "sinks", "window", "shared.bias"} & {*keys}
