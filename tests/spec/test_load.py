"""How references, sizes, `extends`, null and overrides resolve."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

import archcmp
from archcmp.errors import SpecError
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.norms import LayerNorm
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import Reference, load_models, load_spec, spec_sha256
from tests.known import FAMILIES, PUBLISHED, PUBLISHED_IDS, TINY, attention, dense, tiny

SIZES_OF_GEMMA = ("gemma3:1b", "gemma3:4b", "gemma3:1b+ffn.d_ff=64")
CSV = Path(__file__).parents[1] / "published_params.csv"


def _rows() -> list[dict[str, str]]:
    with CSV.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row['family']}:{row['size']}")
def test_specs_agree_with_the_published_data_sheet(row: dict[str, str]) -> None:
    spec = load_spec(f"{row['family']}:{row['size']}")
    assert spec.published is not None and spec.published.params == int(row["total_params"])
    assert spec.source == f"https://huggingface.co/{row['checkpoint']}"
    assert (spec.vocab_size, spec.d_model) == (int(row["vocab_size"]), int(row["d_model"]))
    assert len(layer_blocks(spec)) == int(row["n_layers"])
    assert spec.output.tied == (row["tied"] == "yes")
    for name in spec.blocks:
        mixer = attention(spec, name)
        assert dense(spec, name).d_ff == int(row["d_ff"])
        assert (mixer.n_heads, mixer.n_kv_heads) == (int(row["n_heads"]), int(row["n_kv_heads"]))
        assert mixer.head_dim == int(row["head_dim"])


def test_every_size_of_the_data_sheet_is_published() -> None:
    assert {f"{row['family']}:{row['size']}" for row in _rows()} <= set(PUBLISHED_IDS)


def test_every_size_names_its_source_and_its_total_or_says_why_it_has_none() -> None:
    specs = {reference: load_spec(reference) for reference in PUBLISHED}
    assert not [name for name, spec in specs.items() if not spec.source]
    assert not [name for name, spec in specs.items() if not (spec.published or spec.note)]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("olmo2", Reference("olmo2", None, ())),
        ("olmo2:13b", Reference("olmo2", "13b", ())),
        ("dir:x/mine.yaml", Reference("dir:x/mine.yaml", None, ())),
        ("dir/mine.yaml:small", Reference("dir/mine.yaml", "small", ())),
        ("c++/mine.yaml", Reference("c++/mine.yaml", None, ())),
        ("olmo2:7b+d_model=8+norm.eps=1.0e+5", Reference("olmo2", "7b", ("d_model=8", "norm.eps=1.0e+5"))),
    ],
)
def test_references(text: str, parsed: Reference) -> None:
    assert Reference.parse(text) == parsed


def test_a_bare_family_is_its_default_size() -> None:
    assert load_spec("olmo2") == load_spec("olmo2:7b")
    assert load_models(["olmo2+d_model=8"])[0].id == "olmo2:7b+d_model=8"


def test_gemma3_layers_are_five_local_to_one_global() -> None:
    spec = load_spec("gemma3:27b")
    names = layer_blocks(spec)
    assert distinct_blocks(spec) == {"local": 52, "global": 10}
    assert [i for i, name in enumerate(names) if name == "global"] == list(range(5, 62, 6))
    local, global_ = attention(spec, "local"), attention(spec, "global")
    assert (local.window, global_.window) == (1024, None)
    assert local.rope is not None and global_.rope is not None
    assert (local.rope.theta, global_.rope.theta) == (10_000, 1_000_000)
    assert local.rope.scaling is None and global_.rope.scaling is not None


def test_a_block_that_extends_another_follows_a_size_and_a_key_of_all_blocks() -> None:
    sizes = [{dense(load_spec(name), block).d_ff for block in ("local", "global")} for name in SIZES_OF_GEMMA]
    assert sizes == [{6912}, {10240}, {64}]


def test_a_key_of_one_block_changes_that_block_alone() -> None:
    for key in ("blocks.local.ffn.d_ff", "local.ffn.d_ff"):
        spec = load_spec(f"gemma3:1b+{key}=64")
        assert [dense(spec, block).d_ff for block in ("local", "global")] == [64, 6912]


def test_null_removes_what_a_parent_or_family_says() -> None:
    ropes = [attention(load_spec(f"gemma3:{size}"), "global").rope for size in ("4b", "1b")]
    assert [rope is not None and rope.scaling is not None for rope in ropes] == [True, False]
    assert attention(tiny("blocks.main.mixer.rope=null")).rope is None


def test_another_kind_replaces_the_options_of_the_old_one() -> None:
    for change in ("norm={kind: layernorm}", "norm.kind=layernorm"):
        assert tiny("norm.eps=0.5", change).norm == LayerNorm(kind="layernorm")


def test_shorthand_is_extended_and_not_lost() -> None:
    norm = tiny("blocks.main.mixer.qk_norm=per_head", "blocks.main.mixer.qk_norm.norm={kind: layernorm}")
    qk_norm = attention(norm).qk_norm
    assert qk_norm is not None and (qk_norm.kind, qk_norm.norm) == ("per_head", LayerNorm(kind="layernorm"))


def test_a_kind_may_come_from_a_size_and_blocks_may_have_any_name(tmp_path: Path) -> None:
    text = TINY.read_text().replace("kind: glu, ", "").replace("main", "kind")
    sizes = "sizes: {a: {blocks: {kind: {ffn: {kind: glu}}}}}\n"
    (tmp_path / "mine.yaml").write_text(text + sizes)
    spec = load_spec(str(tmp_path / "mine.yaml:a"))
    assert spec.blocks["kind"].ffn == tiny().blocks["main"].ffn


def test_overrides_reach_into_lists_and_change_one_model_only() -> None:
    changed, plain = (s.spec for s in load_models(["olmo2+layers[0].n_layers=3", "olmo2"]))
    assert len(layer_blocks(changed)) == 3
    assert len(layer_blocks(plain)) == 32


def test_a_changed_spec_is_no_longer_the_published_one() -> None:
    assert load_spec("olmo2").published is not None
    assert load_spec("olmo2", ["norm.eps=1.0e-5"]).published is None


def test_fingerprint_follows_the_computation_and_not_the_name() -> None:
    assert spec_sha256(tiny()) == spec_sha256(tiny("name=Other"))
    assert spec_sha256(tiny()) != spec_sha256(tiny("norm.eps=0.5"))


def test_specs_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny().d_model = 3  # type: ignore[misc]


def test_own_folders_come_before_bundled_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    named = tmp_path / "named"
    named.mkdir()
    text = TINY.read_text()
    (tmp_path / "specs" / "mine.yaml").write_text(text.replace("Tiny", "From ./specs"))
    monkeypatch.chdir(tmp_path)
    assert load_spec("mine").name == "From ./specs"
    (named / "mine.yaml").write_text(text.replace("Tiny", "From ARCHCMP_SPECS"))
    monkeypatch.setenv("ARCHCMP_SPECS", str(named))
    assert load_spec("mine").name == "From ARCHCMP_SPECS"
    assert {"mine", *FAMILIES} <= set(known_specs())


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for d_model, changed_s in ((16, 10), (32, 20), (64, None), (96, None)):
        path.write_text(TINY.read_text().replace("d_model: 16", f"d_model: {d_model}"))
        if changed_s:
            os.utime(path, (changed_s, changed_s))
        assert load_spec(str(path)).d_model == load_spec(str(path)).d_model == d_model


def test_a_file_in_this_folder_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(TINY.read_text())
    with pytest.raises(SpecError, match=r"Write \./own\.yaml"):
        load_spec("own")


def test_public_api_loads_specs() -> None:
    spec: ModelSpec = archcmp.load_spec("olmo2:13b")
    assert spec.title == "OLMo 2 13B"
    with pytest.raises(AttributeError):
        archcmp.no_such_name  # noqa: B018
    with pytest.raises(SpecError):
        archcmp.load_spec("no-such-spec")
