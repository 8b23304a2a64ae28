"""What archcmp writes about specs: resolved YAML, new specs, the JSON Schema, the list of choices."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from archcmp.spec.describe import design_choices
from archcmp.spec.yaml.find import bundled_folder
from archcmp.spec.yaml.json_schema import file_schema_text
from archcmp.spec.yaml.load import load_spec, spec_sha256
from archcmp.spec.yaml.write import new_spec, to_yaml
from tests.known import FAMILIES, PUBLISHED, PUBLISHED_IDS, tiny

SCHEMA = jsonschema.Draft202012Validator(json.loads((bundled_folder() / "schema.json").read_text()))


@pytest.mark.parametrize("comments", [False, True])
@pytest.mark.parametrize("reference", PUBLISHED, ids=PUBLISHED_IDS)
def test_resolved_yaml_loads_to_the_same_spec(reference: str, comments: bool, tmp_path: Path) -> None:
    spec = load_spec(reference)
    path = tmp_path / "written.yaml"
    path.write_text(to_yaml(spec, comments))
    assert load_spec(str(path)) == spec.model_copy(update={"size": None})


def test_a_new_spec_computes_the_same_under_its_own_name(tmp_path: Path) -> None:
    spec = load_spec("gemma3:1b")
    path = tmp_path / "mine.yaml"
    path.write_text(new_spec(spec, "mine", "gemma3:1b"))
    mine = load_spec(str(path))
    assert (mine.name, mine.published, mine.source) == ("mine", None, None)
    assert spec_sha256(mine) == spec_sha256(spec)
    assert "# or pre_norm" in path.read_text()


def test_schema_file_is_current() -> None:
    assert (bundled_folder() / "schema.json").read_text() == file_schema_text()


@pytest.mark.parametrize("family", FAMILIES)
def test_editors_accept_the_bundled_specs(family: str) -> None:
    text = (bundled_folder() / f"{family}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    SCHEMA.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [("n_kv_heads", "n_kv_head"), ("reordered_norm", "reorderd_norm"), ("silu", "swish"), ("sizes", "size")],
)
def test_editors_reject_typing_errors(old: str, new: str) -> None:
    text = (bundled_folder() / "olmo2.yaml").read_text().replace(old, new, 1)
    assert not SCHEMA.is_valid(yaml.safe_load(text))


def test_choices_say_what_the_architectures_are_known_for() -> None:
    olmo, gemma = design_choices(load_spec("olmo2")), design_choices(load_spec("gemma3:27b"))
    assert (olmo["residual"], olmo["qk_norm"], olmo["mixer"]) == (
        "reordered_norm",
        "all_heads",
        "attention (MHA)",
    )
    assert (gemma["residual"], gemma["qk_norm"]) == ("sandwich_norm", "per_head")
    assert gemma["window"] == {"local": 1024, "global": None}
    assert (gemma["n_layers"], gemma["layers"]) == ({"local": 52, "global": 10}, "5 local : 1 global")
    assert design_choices(tiny("blocks.main.mixer.n_kv_heads=1"))["mixer"] == "attention (MQA)"


def test_specs_that_compute_differently_show_different_choices() -> None:
    changes = [
        "norm.eps=0.5",
        "blocks.main.ffn.bias=true",
        "output.softcap=3",
        "layers[0].n_layers=3",
        "d_model=8",
    ]
    for change in changes:
        assert design_choices(tiny()) != design_choices(tiny(change)), change


def test_the_order_of_layers_is_a_choice() -> None:
    far = "blocks.far={extends: main, mixer: {window: 3}}"
    orders = [
        "[{repeat: [main, main, far], n_layers: 6}]",
        "[{repeat: [main, far, main], n_layers: 6}]",
        "[{repeat: [main], n_layers: 4}, {repeat: [far], n_layers: 2}]",
    ]
    shown = [design_choices(tiny(far, f"layers={order}"))["layers"] for order in orders]
    assert shown == [
        "2 main : 1 far",
        "1 main : 1 far : 1 main",
        "4 main, then 2 far",
    ]
