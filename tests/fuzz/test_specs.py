"""Whatever a spec file holds, loading gives a valid spec or a SpecError, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archcmp.errors import ArchcmpError, SpecError
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.find import bundled_folder
from archcmp.spec.yaml.load import load_spec
from archcmp.spec.yaml.write import to_yaml
from tests.known import TINY

TEXTS = [path.read_text() for path in sorted(bundled_folder().glob("*.yaml"))]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(allow_nan=False),
    st.sampled_from(["", "main", "local", "1e-6", "no", "pre_norm", "rmsnorm", "*x", "{", "é\u0000"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["kind", "extends", "d_model", "x"]), st.just("glu"), max_size=2),
)
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))][
        bool(not path) :
    ]


@st.composite
def mutated_trees(draw: st.DrawFn) -> str:
    """A bundled spec with a few values replaced, removed or added anywhere in its tree."""
    tree = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(_places(tree)))
        holder = tree
        for key in parents:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            holder[last] = draw(ODD)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["extends", "kind", "window", "softcap", "zzz", "qkv_bias"]))] = draw(
                ODD
            )
        if not _places(tree):
            break
    return yaml.safe_dump(tree, allow_unicode=True)


@st.composite
def mutated_texts(draw: st.DrawFn) -> str:
    """A bundled spec with a slice of its characters replaced by others."""
    text = draw(st.sampled_from(TEXTS))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 20)))
    return text[:start] + draw(st.text(max_size=8)) + text[end:]


def _loads_or_says_why(text: str, folder: Path) -> None:
    path = folder / "mutated.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        spec = load_spec(str(path))
    except SpecError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert isinstance(spec, ModelSpec) and len(layer_blocks(spec)) > 0
        path.write_text(to_yaml(spec, comments=True))
        assert load_spec(str(path)) == spec.model_copy(update={"size": None})


@QUICK
@given(text=mutated_trees())
def test_mutated_trees(text: str, tmp_path: Path) -> None:
    _loads_or_says_why(text, tmp_path)


@QUICK
@given(text=mutated_texts())
def test_mutated_texts(text: str, tmp_path: Path) -> None:
    _loads_or_says_why(text, tmp_path)


@QUICK
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(data)
    try:
        load_spec(str(path))
    except SpecError:
        return
    raise AssertionError("random bytes are no spec")


SHOWN = ["none", "no", "1,024", "main: 3; main: none", "1 main : 1 main", "2 main, then 1 main", "9 (4 main)"]
KEYS = st.lists(
    st.sampled_from(
        [
            "blocks",
            "main",
            "mixer",
            "norm",
            "layers",
            "n_layers",
            "window",
            "rope",
            "0",
            "9",
            "[0]",
            "²",
            "kind",
            "",
        ]
    ),
    max_size=4,
).map(".".join)


@QUICK
@given(key=KEYS | st.text(max_size=6), value=st.text(max_size=8) | ODD.map(str) | st.sampled_from(SHOWN))
def test_any_override(key: str, value: str) -> None:
    try:
        load_spec(str(TINY), [f"{key}={value}"])
    except ArchcmpError as error:
        assert error.exit_code == 2 and "\n" not in str(error)


@QUICK
@given(name=st.text(min_size=1, max_size=12) | st.from_regex(r"[0-9.eE+-]{1,8}", fullmatch=True))
@example(name="\x85")
@example(name="a\u2028b")
def test_any_name_survives_being_written(name: str, tmp_path: Path) -> None:
    spec = load_spec(str(TINY)).model_copy(update={"name": name})
    path = tmp_path / "named.yaml"
    path.write_text(to_yaml(spec), encoding="utf-8", errors="surrogatepass")
    try:
        assert load_spec(str(path)).name == name
    except SpecError:
        assert not name.isprintable()
