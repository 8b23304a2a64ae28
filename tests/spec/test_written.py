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
from archcmp.spec.yaml.nodes import parse, plain
from archcmp.spec.yaml.write import new_spec, to_yaml
from tests.each import check_each
from tests.known import FILES, PUBLISHED, UNLIKE, tiny

WRITTEN = json.loads((bundled_folder() / "schema.json").read_text())
SCHEMA = jsonschema.Draft202012Validator(WRITTEN)


@pytest.mark.parametrize("comments", [False, True])
def test_resolved_yaml_loads_to_the_same_spec(comments: bool, tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"

    def check(reference: str) -> None:
        spec = load_spec(reference)
        path.write_text(to_yaml(spec, comments))
        assert load_spec(str(path)) == spec.model_copy(update={"size": None})

    check_each(UNLIKE if comments else PUBLISHED, check)


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


def test_editors_accept_the_bundled_specs() -> None:
    def check(file: str) -> None:
        text = Path(file).read_text()
        assert text.startswith("# yaml-language-server: $schema=schema.json\n")
        SCHEMA.validate(plain(parse(text, file)))

    check_each(FILES.values(), check)


@pytest.mark.parametrize(
    ("old", "new"),
    [("n_kv_heads", "n_kv_head"), ("reordered_norm", "reorderd_norm"), ("silu", "swish"), ("sizes", "size")],
)
def test_editors_reject_typing_errors(old: str, new: str) -> None:
    text = (bundled_folder() / "olmo2.yaml").read_text().replace(old, new, 1)
    assert not SCHEMA.is_valid(yaml.safe_load(text))


PATH_TO_MIXER = ["blocks", "main", "mixer"]


@pytest.mark.parametrize(
    ("old", "new", "path", "key"),
    [
        ("n_kv_heads", "n_kv_head", PATH_TO_MIXER, "n_kv_head"),
        ("kind: attention", "kind: atention", [*PATH_TO_MIXER, "kind"], "atention"),
        ("n_heads: 32", "n_heads: many", [*PATH_TO_MIXER, "n_heads"], "many"),
        ("activation: silu", "activation: swish", ["blocks", "main", "ffn", "activation"], "swish"),
        ("theta:", "thta:", [*PATH_TO_MIXER, "rope"], "thta"),
        ("reordered_norm", "reorderd_norm", ["blocks", "main", "residual"], "reorderd_norm"),
        ("mixer: {n_heads: 16", "mixer: {n_hads: 16", ["sizes", "1b", *PATH_TO_MIXER], "n_hads"),
    ],
)
def test_editors_name_the_key_that_is_wrong(old: str, new: str, path: list[str], key: str) -> None:
    text = (bundled_folder() / "olmo2.yaml").read_text()
    assert old in text
    (error,) = SCHEMA.iter_errors(yaml.safe_load(text.replace(old, new, 1)))
    assert list(error.absolute_path) == path
    assert f"'{key}'" in error.message


def test_editors_take_null_for_any_option_and_parts_of_a_mixer_without_its_kind() -> None:
    SCHEMA.validate(
        {
            "d_model": None,
            "blocks": {
                "main": {"residual": {"multiplier": 2}, "mixer": {"window": None, "rope": None}, "ffn": None},
                "far": {"extends": "main", "mixer": {"kv_lora_rank": 8}},
            },
            "sizes": {"small": None},
        }
    )


def test_editors_explain_every_option() -> None:
    properties = [
        (name, option, schema)
        for name, definition in WRITTEN["$defs"].items()
        for option, schema in definition.get("properties", {}).items()
    ]
    assert len(properties) > 100
    assert not [place[:2] for place in properties if len(place[2]["description"]) < 10]
    assert WRITTEN["properties"]["d_model"]["description"] == "Width of the residual stream."
    mixers = next(name for name in WRITTEN["$defs"] if name.startswith("AttentionOrMLA"))
    kinds = WRITTEN["$defs"][mixers]["properties"]["kind"]
    assert kinds["enum"][:3] == ["attention", "mla", "gated_delta_net"]
    assert kinds["enumDescriptions"][0].startswith("softmax(scale * q k^T) v")


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
