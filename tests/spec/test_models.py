"""Several references: the models of one comparison, each with an id that loads it and a name of its own."""

from __future__ import annotations

import pytest

from archcmp.errors import UsageError
from archcmp.spec.overrides import UnknownKeyError
from archcmp.spec.yaml.load import as_spec, load_models, load_spec
from tests.known import TINY, attention, tiny


@pytest.mark.parametrize(
    ("references", "overrides", "vary"),
    [
        (["olmo2", "gemma3:1b"], [], []),
        (["olmo2", "llama3+residual=post_norm", "gqa=olmo2+n_kv_heads=8"], ["window=512"], []),
        (["olmo2", "gemma3:1b"], ["n_layers=12"], ["window=128,none", "head_dim=64,32"]),
        ([str(TINY)], ["blocks.far={extends: main, mixer: {window: 3}}"], ["layers=1 main : 1 far,2 main"]),
        (["deepseek-v3", "olmo2"], [], ["kv_lora_rank=256,512"]),
    ],
)
def test_an_id_loads_the_same_spec_and_names_are_unique(
    references: list[str], overrides: list[str], vary: list[str]
) -> None:
    models = load_models(references, overrides, vary)
    for model in models:
        assert load_spec(model.id) == model.spec
    assert len({model.name for model in models}) == len(models)


def test_a_name_is_the_title_and_what_is_changed() -> None:
    references = ["olmo2", "olmo2+blocks.main.mixer.n_kv_heads=8", "gqa=olmo2+n_kv_heads=8"]
    references += ["gemma3:1b+blocks.local.mixer.window=5", "olmo2+layers[0].n_layers=3"]
    names = [
        "OLMo 2 7B",
        "OLMo 2 7B n_kv_heads=8",
        "gqa",
        "Gemma 3 1B local.window=5",
        "OLMo 2 7B n_layers=3",
    ]
    assert [model.name for model in load_models(references)] == names


def test_models_of_one_name_are_told_apart() -> None:
    names = [model.name for model in load_models(["olmo2", "olmo2:7b", tiny(), tiny()])]
    assert names == ["OLMo 2 7B (1)", "OLMo 2 7B (2)", "Tiny (1)", "Tiny (2)"]
    both = load_models([str(TINY), tiny()])
    assert [model.name for model in both] == [f"Tiny ({TINY})", "Tiny (Tiny)"]


def test_vary_makes_the_product_of_variants_of_each_spec() -> None:
    models = load_models(["olmo2", "llama3"], vary=["n_kv_heads=8,4", "residual=pre_norm,post_norm"])
    assert [model.name for model in models[:4]] == [
        "OLMo 2 7B n_kv_heads=8 residual=pre_norm",
        "OLMo 2 7B n_kv_heads=8 residual=post_norm",
        "OLMo 2 7B n_kv_heads=4 residual=pre_norm",
        "OLMo 2 7B n_kv_heads=4 residual=post_norm",
    ]
    assert len(models) == 8


def test_a_comma_between_braces_separates_nothing() -> None:
    models = load_models([str(TINY)], vary=["norm={kind: layernorm, bias: false},{kind: rmsnorm, eps: 0.5}"])
    assert [model.spec.norm.kind for model in models] == ["layernorm", "rmsnorm"]


def test_a_key_changes_the_models_that_have_it_and_the_others_are_told() -> None:
    told: list[str] = []
    names = ["olmo2", "deepseek-v3", "kimi-k2"]
    olmo, deepseek, _ = load_models(names, ["window=512"], notify=told.append)
    assert attention(olmo.spec).window == 512
    assert (deepseek.id, deepseek.spec) == ("deepseek-v3:671b", load_spec("deepseek-v3"))
    assert told == ["no window in DeepSeek-V3 671B, Kimi K2 1T: left unchanged"]


@pytest.mark.parametrize("vary", [[], ["zzz=1,2"]])
def test_a_key_that_no_model_has_is_refused(vary: list[str]) -> None:
    with pytest.raises(UnknownKeyError):
        load_models(["olmo2", "llama3"], [] if vary else ["kv_lora_rank=4"], vary)


@pytest.mark.parametrize("vary", ["d_model", "d_model="])
def test_vary_needs_values(vary: str) -> None:
    with pytest.raises(UsageError, match="write KEY="):
        load_models(["olmo2"], vary=[vary])


def test_a_grouped_number_is_not_taken_for_two_values() -> None:
    with pytest.raises(UsageError, match="'024' is one"):
        load_models(["olmo2"], vary=["window=none,1,024"])


def test_what_is_neither_a_reference_nor_a_spec_is_refused() -> None:
    with pytest.raises(UsageError, match="such as 'olmo2:7b', or a ModelSpec, not 3"):
        as_spec(3)  # type: ignore[arg-type]


def test_a_spec_built_in_python_is_changed_like_any_other() -> None:
    (model,) = load_models([tiny()], ["d_model=8"])
    assert (model.id, model.name, model.spec.d_model) == ("Tiny+d_model=8", "Tiny d_model=8", 8)
