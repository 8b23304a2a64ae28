"""Every broken spec is refused in one line that names file, line, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcmp.errors import ArchcmpError, SpecError, UsageError
from archcmp.spec.yaml.load import load_spec
from tests.known import INDEX_SHARED, tiny

GOOD = """\
name: Mine
vocab_size: 100
context_length: 64
d_model: 32
norm: {kind: rmsnorm, eps: 1.0e-6}
output: {tied: false}
blocks:
  main:
    residual: pre_norm
    mixer:
      kind: attention
      n_heads: 8
      n_kv_heads: 8
      head_dim: 4
      qk_norm: all_heads
      rope: {theta: 100}
    ffn: {kind: glu, d_ff: 64, activation: silu}
  other:
    extends: main
layers: [{repeat: [main, other], n_layers: 4}]
default_size: small
sizes:
  small: {}
  big: {d_model: 64}
"""

# what is replaced, by what, line of the complaint, what the message must say
BROKEN = {
    "unknown key": (
        "n_kv_heads: 8",
        "n_kv_head: 8",
        13,
        ["blocks.main.mixer.n_kv_head", "Did you mean n_kv_heads?"],
    ),
    "unknown key in a size": ("{d_model: 64}", "{d_modl: 64}", 24, ["d_modl", "Did you mean d_model?"]),
    "text for a number": (
        "1.0e-6",
        "1e-6",
        5,
        ["norm.eps must be a number, not the text '1e-6'. YAML wants 1.0e-6"],
    ),
    "quoted number": (
        "d_model: 32",
        "d_model: '32'",
        4,
        ["d_model", "must be a whole number, not the text '32'"],
    ),
    "list for a number": (
        "d_model: 32",
        "d_model: [32]",
        4,
        ["d_model", "must be a whole number, not a list"],
    ),
    "fraction for a size": ("d_model: 32", "d_model: 3.5", 4, ["d_model", "whole number"]),
    "text for yes or no": (
        "tied: false",
        "tied: off",
        6,
        ["output.tied", "must be true or false, not the text 'off'", "Write false"],
    ),
    "number for a name": ("name: Mine", "name: 7", 1, ["name", "must be text, not 7"]),
    "zero size": ("d_model: 32", "d_model: 0", 4, ["d_model must be above 0, not 0"]),
    "negative size": ("vocab_size: 100", "vocab_size: -5", 2, ["vocab_size must be above 0, not -5"]),
    "absurd size": ("d_model: 32", f"d_model: {10**30}", 4, ["d_model", "must be at most"]),
    "number past float": (
        "theta: 100",
        "theta: 1.0e999",
        16,
        ["rope.theta", "must be a finite number, not inf"],
    ),
    "no layers": ("n_layers: 4", "n_layers: 0", 20, ["layers[0].n_layers must be above 0, not 0"]),
    "empty run": ("repeat: [main, other]", "repeat: []", 20, ["layers[0].repeat must not be empty"]),
    "unknown block": (
        "[main, other]",
        "[main, othr]",
        20,
        ["layers[0].repeat[1]: no block 'othr'", "main, other"],
    ),
    "unknown kind": (
        "kind: glu",
        "kind: gluu",
        17,
        ["blocks.main.ffn", "no such kind 'gluu'", "Did you mean glu?"],
    ),
    "unknown residual": (
        "pre_norm",
        "prenorm",
        9,
        ["blocks.main.residual", "Did you mean pre_norm?", "parallel"],
    ),
    "unknown activation": (
        "silu",
        "swish",
        17,
        ["activation cannot be 'swish'", "gelu, gelu_tanh, quick_gelu, silu"],
    ),
    "no kind": (
        "{kind: rmsnorm, eps: 1.0e-6}",
        "{eps: 1.0e-6}",
        5,
        ["norm has no kind", "rmsnorm, layernorm"],
    ),
    "missing key": ("vocab_size: 100\n", "", 1, ["vocab_size is missing"]),
    "several missing keys": (
        "vocab_size: 100\ncontext_length: 64\n",
        "",
        1,
        ["vocab_size is missing, and so is context_length. Add them to the file"],
    ),
    "a tab": ("    extends", "\textends", 19, ["not valid YAML", "spaces, not tabs"]),
    "missing key in a block": ("      head_dim: 4\n", "", 10, ["blocks.main.mixer.head_dim is missing"]),
    "heads that do not divide": (
        "n_kv_heads: 8",
        "n_kv_heads: 3",
        13,
        ["n_kv_heads = 3 does not divide n_heads = 8; 1, 2, 4 or 8 do"],
    ),
    "odd rotary dimension": ("head_dim: 4", "head_dim: 5", 14, ["head_dim", "pairs of dimensions"]),
    "bias without weight": ("kind: rmsnorm, eps: 1.0e-6", "kind: layernorm, weight: false", 5, ["norm.bias"]),
    "duplicate key": (
        "d_model: 32",
        "d_model: 32\nd_model: 33",
        5,
        ["d_model: written twice, first on line 4"],
    ),
    "extends nothing": ("extends: main", "extends: mian", 19, ["blocks.other.extends", "Did you mean main?"]),
    "extends in a circle": ("residual: pre_norm", "extends: other", 19, ["circle", "main -> other -> main"]),
    "unknown default size": (
        "default_size: small",
        "default_size: smal",
        21,
        ["no size 'smal'", "small, big"],
    ),
    "a default size that is no name": (
        "default_size: small",
        "default_size: {small: 1}",
        21,
        ["default_size must be the name of a size"],
    ),
    "size is no mapping": ("small: {}", "small: 3", 23, ["sizes.small"]),
    "aliases": ("{d_model: 64}", "&a {d_model: 64}\n  more: *a", 25, ["aliases", "extends"]),
    "control characters": ("name: Mine", 'name: "a\\nb"', 1, ["name must be one line"]),
    "yarn ramp": (
        "{theta: 100}",
        "{theta: 100, scaling: {kind: yarn, factor: 2, original_context_length: 9, beta_fast: 0.5}}",
        16,
        ["rope.scaling.beta_fast: beta_fast must be at least beta_slow = 1"],
    ),
    "sparsemixer without jitter": (
        "{kind: glu, d_ff: 64, activation: silu}",
        "{kind: moe, n_experts: 4, top_k: 2, router: {scoring: sparsemixer}, expert: {kind: glu, d_ff: 6, "
        "activation: silu}}",
        17,
        ["router.jitter: scoring: sparsemixer needs jitter", "Add jitter: 0.01"],
    ),
    "streams in one block": (
        "    extends: main",
        "    extends: main\n    residual: hyper_connections",
        9,
        ["blocks.main.residual", "all blocks need them, with the same options"],
    ),
    "an average of one": (
        "{kind: glu, d_ff: 64, activation: silu}",
        "{kind: moe, n_experts: 4, top_k: 2, router: {scoring: softmax}, combine: average, "
        "expert: {kind: glu, d_ff: 6, activation: silu}}",
        17,
        ["ffn.combine: combine needs a shared expert"],
    ),
    "python object": ("name: Mine", "name: !!python/object:os.system x", 1, ["tag", "not allowed"]),
    "not YAML": ("{tied: false}", "{tied: false", 7, ["not valid YAML"]),
}


@pytest.mark.parametrize(("old", "new", "line", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_message_names_place_and_remedy(
    old: str, new: str, line: int, said: list[str], tmp_path: Path
) -> None:
    assert old in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load_spec(f"{path}:big" if "d_modl" in new else str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:{line}: ")
    for phrase in said:
        assert phrase in message, message


def _mistakes(text: str, folder: Path) -> list[str]:
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(str(folder / "mine.yaml"))
    return [str(error).partition("mine.yaml:")[2] for error in (caught.value, *caught.value.others)]


def test_all_mistakes_are_told_at_once_and_none_that_follows_from_another(tmp_path: Path) -> None:
    text = GOOD.replace("1.0e-6", "1e-6").replace("n_kv_heads: 8", "n_kv_head: 8").replace("silu", "swish")
    text = text.replace("vocab_size: 100\n", "")
    told = _mistakes(text, tmp_path)
    expected = [
        "12: blocks.main.mixer.n_kv_head: attention has no such option",
        "4: norm.eps must be a number",
        "16: blocks.main.ffn.activation cannot be 'swish'",
        "1: vocab_size is missing",
    ]
    assert len(told) == len(expected)
    assert all(one.startswith(start) for one, start in zip(told, expected, strict=True)), told


def test_a_mistake_that_blocks_share_is_told_once() -> None:
    """Each override sets an option in both blocks of Gemma 3."""
    with pytest.raises(SpecError) as caught:
        load_spec("gemma3", ["ffn.activation=siluu", "head_dim=x"])
    assert [each.file for each in (caught.value, *caught.value.others)] == [
        "override head_dim=x",
        "override ffn.activation=siluu",
    ]


def test_pools_that_an_indexer_chose_are_not_shared() -> None:
    with pytest.raises(SpecError, match="the layer before chose pools of tokens, which cannot be shared"):
        tiny(*INDEX_SHARED, "blocks.main.mixer.indexer.pool=3", "blocks.other.mixer.indexer.pool=null")


def test_a_run_that_is_wrong_does_not_make_the_layers_too_few(tmp_path: Path) -> None:
    (told,) = _mistakes(GOOD.replace("n_layers: 4", "count: 4"), tmp_path)
    assert "count is now n_layers" in told


def test_a_value_that_is_none_of_two_types_is_one_mistake(tmp_path: Path) -> None:
    (told,) = _mistakes(GOOD + "embedding: {scale: big}\n", tmp_path)
    assert "embedding.scale cannot be 'big'" in told and "a number above 0" in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    residual: pre_norm\n",
            "",
            "residual is pre_norm, post_norm, ",
        ),
        (", activation: silu", "", "activation is gelu, gelu_tanh, quick_gelu, silu, relu, relu2 or xielu"),
        ("norm: {kind: rmsnorm, eps: 1.0e-6}\n", "", "norm is a mapping with kind: rmsnorm or layernorm"),
        (
            "output: {tied: false}\n",
            "",
            "output is a mapping with tied and, if wanted, bias, norm, final_norm, scale, softcap",
        ),
        (
            "{kind: glu, d_ff: 64, activation: silu}",
            "{kind: moe, n_experts: 8, top_k: 2}",
            "input_norm, scaled, expert_scale, by_token, jitter. expert is a mapping with kind: mlp or glu",
        ),
        (
            "{kind: glu, d_ff: 64, activation: silu}",
            "{kind: moe, n_experts: 8, top_k: 2, router: {kind: softmax}}",
            "router.kind: router has no such option.",
        ),
        (
            "kind: glu, d_ff",
            "kind: moe, d_ff",
            "moe has no such option. Did you mean expert.d_ff or shared.d_ff?",
        ),
    ],
)
def test_a_missing_choice_could_be(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in GOOD
    assert said in "\n".join(_mistakes(GOOD.replace(old, new, 1), tmp_path))


def test_the_good_spec_is_good(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert load_spec(f"{path}:big").d_model == 64


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
FILES = {
    "empty": (b"", "empty"),
    "only comments": (b"# nothing\n", "empty"),
    "binary": (bytes(range(256)), "not a text file"),
    "huge": (b"a: " + b"x" * 2_000_000, "larger than"),
    "alias bomb": (BOMB.encode(), "aliases"),
    "deep": (b"[" * 100_000, "levels deep"),
    "a list": (b"- a\n- b\n", "mapping"),
    "two documents": (b"a: 1\n---\nb: 2\n", "several YAML documents"),
    "control characters": (b"a: \x00\x01", "not valid YAML"),
}


@pytest.mark.parametrize(("data", "said"), FILES.values(), ids=FILES.keys())
def test_files_that_are_no_specs(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    with pytest.raises(SpecError, match=said):
        load_spec(str(path))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("olm2", "Did you mean olmo2?"),
        ("olmo2:8b", "Sizes: .*13b"),
        ("no/such/file.yaml", "no such file"),
        ("", "no such spec"),
        ("olmo2+d_modl=3", "Did you mean d_model?"),
        ("olmo2+layers[7].n_layers=3", r"a list of 1, the first of them layers\[0\]; n_layers=N"),
        ("olmo2+blocks.*.mixer.window=8", "no block '\\*'. window=8 means every block"),
        ("olmo2+qk_norm=true", "must be all_heads, per_head or each_head, not true"),
        ("olmo2+d_model=[", "not valid YAML"),
        ("olmo2+d_model=-1", "must be above 0"),
        ("gemma3+blocks.main.mixer.window=5", "Gemma 3 has no block 'main'.*local, global"),
        ("OLMo2", "Did you mean olmo2?"),
        ("olmo2:7B", "Did you mean 7b?"),
        ("olmo2+norm.eps=!!float 1", "tag"),
        ("olmo2+embedding.scale=0", "embedding.scale.*number above 0"),
        ("olmo2+blocks.main.mixer.rope={theta: 1}", "theta"),
        ("olmo2+blocks.main.mixer={n_heads: 16777216, n_kv_heads: 1}", "must be at most"),
        ("x" * 5000 + ".yaml", "cannot be read"),
    ],
)
def test_references_that_name_nothing(reference: str, said: str) -> None:
    with pytest.raises(ArchcmpError, match=said) as caught:
        load_spec(reference)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["d_model", "=3", ".=3", "a\nb=3", f"{'a.' * 3000}b=3"])
def test_an_override_needs_key_and_value(override: str) -> None:
    with pytest.raises(UsageError, match="write KEY=VALUE"):
        load_spec("olmo2", [override])
