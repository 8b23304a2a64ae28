"""A file that extends another spec holds only what it changes in that spec."""

from __future__ import annotations

import os
import random
from pathlib import Path

import jsonschema
import pytest

from archcmp.errors import SpecError
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.json_schema import file_schema
from archcmp.spec.yaml.load import MAX_FILES, all_sizes, load_spec, spec_sha256
from archcmp.spec.yaml.nodes import parse, plain
from archcmp.spec.yaml.write import new_variant
from tests.each import check_each
from tests.known import (
    DELTA_NET,
    FAR,
    LATENT,
    MAIN_AND_FAR,
    MIXTURE,
    OF_A_KIND,
    PUBLISHED,
    TINY,
    attention,
    dense,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path: str, text: str) -> str:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)
    return path


def _load(text: str) -> ModelSpec:
    return load_spec(_write("mine.yaml", text))


def _refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        _load(text)
    return str(caught.value)


# ---- what is inherited ------------------------------------------------------------------------------


def test_a_file_holds_only_what_it_changes(folder: Path) -> None:
    base, mine = load_spec("olmo2:13b"), _load("extends: olmo2:13b\nname: Mine\nd_model: 4096\n")
    assert mine == base.model_copy(
        update=dict.fromkeys(ModelSpec.ABOUT) | {"name": "Mine", "sources": ()} | {"d_model": 4096}
    )


def test_the_default_size_is_extended_unless_another_is_named(folder: Path) -> None:
    for base, same in (("olmo2", "olmo2:7b"), ("olmo2:1b", "olmo2:1b")):
        assert spec_sha256(_load(f"extends: {base}\nname: Mine\n")) == spec_sha256(load_spec(same))


def test_another_kind_replaces_and_null_removes(folder: Path) -> None:
    mine = _load(
        "extends: gemma3:1b\nname: Mine\nnorm: {kind: layernorm}\n"
        "blocks: {global: null, local: {residual: post_norm, mixer: {qk_norm: null}}}\n"
        "layers: [{repeat: [local], n_layers: 3}]\n"
    )
    assert mine.norm.kind == "layernorm" and list(mine.blocks) == ["local"]
    assert mine.blocks["local"].residual.kind == "post_norm" and attention(mine, "local").qk_norm is None


def test_a_block_that_extends_another_in_the_base_keeps_what_it_had(folder: Path) -> None:
    mine = _load("extends: gemma3:1b\nname: Mine\nblocks: {local: {ffn: {d_ff: 64}}}\n")
    assert [dense(mine, block).d_ff for block in ("local", "global")] == [64, 6912]


def test_a_block_that_says_extends_starts_from_that_block(folder: Path) -> None:
    mine = _load(
        "extends: gemma3:1b\nname: Mine\n"
        "blocks: {local: {extends: global, ffn: {d_ff: 64}}, new: {extends: local, mixer: {window: 5}}}\n"
    )
    assert attention(mine, "local").rope == attention(load_spec("gemma3:1b"), "global").rope
    assert (attention(mine, "new").window, dense(mine, "new").d_ff) == (5, 64)


def test_each_size_changes_the_file_that_extends(folder: Path) -> None:
    mine = _write(
        "mine.yaml",
        "extends: olmo2\nname: Mine\nvocab_size: 64\nblocks: {main: {mixer: {window: 5}}}\n"
        "sizes: {a: {}, b: {blocks: {main: {mixer: {kind: attention, window: 7}}}}}\n",
    )
    assert all_sizes(mine) == ["mine.yaml:a", "mine.yaml:b"]
    specs = [load_spec(size) for size in all_sizes(mine)]
    assert [(spec.title, spec.vocab_size, attention(spec).window) for spec in specs] == [
        ("Mine a", 64, 5),
        ("Mine b", 64, 7),
    ]


# ---- where the base is ------------------------------------------------------------------------------


def test_a_path_starts_from_the_folder_of_the_file(folder: Path) -> None:
    _write("base.yaml", TINY.read_text() + "sizes: {a: {}, b: {d_model: 32}}\n")
    _write("sub/middle.yaml", "extends: ../base.yaml:b\nname: Middle\nvocab_size: 9\n")
    for base in ("./middle.yaml", "middle.yaml", str(folder / "sub/middle.yaml")):
        mine = load_spec(_write("sub/mine.yaml", f"extends: {base}\nname: Mine\n"))
        assert (mine.d_model, mine.vocab_size, mine.name) == (32, 9, "Mine")


def test_a_bare_name_is_searched_as_on_the_command_line(folder: Path) -> None:
    _write("specs/base.yaml", TINY.read_text())
    assert load_spec(_write("sub/mine.yaml", "extends: base\nname: Mine\n")).d_model == 16


def test_a_base_that_has_changed_is_read_again(folder: Path) -> None:
    """So the fingerprint by which results know that a spec has changed follows the base, too."""
    mine, fingerprints = _write("mine.yaml", "extends: ./base.yaml\nname: Mine\n"), set()
    for d_model, changed_s in ((16, 10), (32, 20), (64, None), (96, None)):
        _write("base.yaml", TINY.read_text().replace("d_model: 16", f"d_model: {d_model}"))
        for path in ("base.yaml", mine) if changed_s else ():
            os.utime(path, (changed_s or 0, changed_s or 0))
        assert load_spec(mine).d_model == load_spec(mine).d_model == d_model
        fingerprints.add(spec_sha256(load_spec(mine)))
    assert len(fingerprints) == 4


# ---- what is refused --------------------------------------------------------------------------------

HEAD = "name: Mine\nextends: "


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("olm2", "extends: olm2: no such spec. Did you mean olmo2?"),
        ("olmo2:8b", "no size '8b'. Sizes: 1b, 7b, 13b, 32b"),
        ("gone.yaml", "extends: gone.yaml: no such file"),
        ("./", "extends: ./ is a folder, not a spec file"),
        ("empty.yaml", "extends: empty.yaml: the file is empty"),
        ("near", "extends: near: no such spec. Write ./near.yaml"),
        ("olmo2+d_model=8", "extends must name a spec, such as olmo2:13b"),
        ("[olmo2]", "Write the changes as keys of this file"),
        ("./mine.yaml", "circle: mine.yaml -> mine.yaml. Remove one `extends`"),
    ],
)
def test_a_base_that_cannot_be_extended_is_told_where_it_is_named(base: str, said: str, folder: Path) -> None:
    _write("empty.yaml", "")
    _write("near.yaml", "")
    message = _refusal(f"{HEAD}{base}\n")
    assert message.startswith("mine.yaml:2: extends") and said in message


def test_files_that_extend_each_other_are_refused(folder: Path) -> None:
    _write("other.yaml", "\n\nextends: ./mine.yaml\nname: Other\n")
    message = _refusal(f"{HEAD}./other.yaml\n")
    assert message.startswith("other.yaml:3: ") and "mine.yaml -> other.yaml -> mine.yaml" in message


def test_a_long_row_of_files_is_refused(folder: Path) -> None:
    _write("0.yaml", TINY.read_text())
    for i in range(1, MAX_FILES + 1):
        _write(f"{i}.yaml", f"extends: ./{i - 1}.yaml\nname: {i}th\n")
    assert load_spec(f"{MAX_FILES - 1}.yaml").d_model == 16
    with pytest.raises(SpecError, match=f"more than {MAX_FILES} specs extend each other in a row"):
        load_spec(f"{MAX_FILES}.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: olmo2\n", "mine.yaml:1: name is missing. Add it to the file"),
        (
            f"{HEAD}olmo2\nd_modl: 8\n",
            "mine.yaml:3: d_modl: a model has no such option. Did you mean d_model",
        ),
        (f"{HEAD}olmo2\nblocks: 3\n", "mine.yaml:3: blocks must be a mapping"),
        (f"{HEAD}olmo2\nblocks: {{far: {{extends: man}}}}\n", "no block 'man'. Did you mean main?"),
        (f"{HEAD}olmo2\nblocks: {{far: {{}}}}\n", "mine.yaml:3: blocks.far.residual is missing"),
        (
            f"{HEAD}olmo2\nlayers: [{{repeat: [far], n_layers: 2}}]\n",
            "mine.yaml:3: layers[0].repeat[0]: no block 'far'",
        ),
        (f"{HEAD}olmo2\nsizes:\n  a: {{extends: olmo2:1b}}\n", "mine.yaml:4: extends must stand at the top"),
        ("name: Mine\nextend: olmo2\n", "Did you mean extends?"),
    ],
)
def test_a_mistake_in_the_file_is_told_there(text: str, said: str, folder: Path) -> None:
    assert said in _refusal(text)


def test_a_mistake_in_the_base_is_told_there_and_who_extends_it(folder: Path) -> None:
    text = Path(_write("base.yaml", TINY.read_text())).read_text()
    line = next(i for i, line in enumerate(text.splitlines(), 1) if "n_kv_heads" in line)
    message = _refusal(f"{HEAD}./base.yaml\nblocks: {{main: {{mixer: {{n_heads: 3}}}}}}\n")
    assert (
        message.startswith(f"base.yaml:{line}: ") and "n_kv_heads = 2 does not divide n_heads = 3" in message
    )
    assert message.endswith("mine.yaml, which extends this file, may set it")


# ---- variants as files ------------------------------------------------------------------------------

SCHEMA = jsonschema.Draft202012Validator(file_schema())
VARIANTS = [
    *("olmo2+residual=pre_norm", "olmo2+qk_norm=none", "olmo2+qk_norm=per_head", "olmo2+n_layers=7"),
    *("olmo2+norm.kind=layernorm", "olmo2+output.softcap=3", "olmo2+embedding.scale=2", "olmo2+d_model=4096"),
    *("olmo2+n_kv_heads=8+ffn.activation=relu", "olmo2+layers=3 main, then 2 main", "olmo2+name=Other"),
    *("gemma3:1b+local.window=99", "gemma3:1b+rope.scaling=none", "gemma3:1b+layers=1 global : 1 local"),
    "gemma3:1b+layers=[{repeat: [local], n_layers: 3}]+blocks.global=none",
    "gemma3:1b+blocks.far={extends: global, mixer: {window: 3}}+layers=1 far : 1 local",
    "olmo2+blocks.other={extends: main}+layers=[{repeat: [other], n_layers: 3}]+blocks.main=none",
    *(f"{TINY}+{change}" for change in (LATENT, DELTA_NET, MIXTURE, FAR, "+".join(MAIN_AND_FAR))),
    f"{TINY}+{MIXTURE}+ffn.router.scoring=sigmoid",
    "mixtral+ffn.top_k=1",
    "deepseek-v3+ffn.expert.d_ff=64",
    *(f"{family}+n_layers=99" for family in OF_A_KIND if family not in ("deepseek-v3",)),
    *(f"{family}+{change}" for family in OF_A_KIND for change in ("residual=parallel", "norm.eps=0.5")),
]


def _is_written(base: ModelSpec, variant: ModelSpec, extends: str) -> None:
    text = new_variant(base, variant, "mine", extends)
    mine = _load(text)
    assert mine.model_dump(exclude=set(ModelSpec.ABOUT)) == variant.model_dump(exclude=set(ModelSpec.ABOUT))
    assert (mine.name, mine.published, mine.organization) == ("mine", None, None)
    SCHEMA.validate(plain(parse(text, "")))


def test_a_variant_is_written_as_what_it_changes(folder: Path) -> None:
    def check(reference: str) -> None:
        base = reference.partition("+")[0]
        _is_written(load_spec(base), load_spec(reference), base)

    check_each(VARIANTS, check)


def test_any_spec_can_be_written_as_a_variant_of_any_other(folder: Path) -> None:
    for base, other in (random.Random(7).sample(PUBLISHED, 2) for _ in range(100)):
        _is_written(load_spec(base), load_spec(other), base)


def test_only_what_is_changed_is_written() -> None:
    variant = load_spec("olmo2+residual=pre_norm+qk_norm=none+n_layers=16")
    text = new_variant(load_spec("olmo2"), variant, "mine", "olmo2:7b")
    assert plain(parse(text, "")) == {
        "extends": "olmo2:7b",
        "name": "mine",
        "layers": [{"repeat": ["main"], "n_layers": 16}],
        "blocks": {"main": {"residual": "pre_norm", "mixer": {"qk_norm": None}}},
    }
