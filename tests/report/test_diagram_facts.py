"""Pictures say what the specs say, of every choice there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from archcmp.report.diagram import picture
from archcmp.report.diagram.metrics import text_width, wrapped
from archcmp.report.diagram.rows import BLOCKS, Fork, Key
from archcmp.report.diagram.scene import placed
from archcmp.spec import reflect
from archcmp.spec.flow import block
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.norms import RMSNorm
from archcmp.spec.schema.steps import Branch, Callout, Step, step
from archcmp.spec.yaml.load import load_spec
from tests.known import UNLIKE
from tests.report.pictures import subject, texts

SLOTS = ("mixer", "ffn", "residual")
CHOICES = [(slot, choice) for slot in SLOTS for choice in reflect.kinds(Block, slot).values()]
CHOICES += [("norm", choice) for choice in reflect.kinds(ModelSpec, "norm").values()]


def _example(owner: type[Part], option: str) -> Any:
    """A value for a required option: the first part or name that fits, or a number."""
    if parts := reflect.parts(owner, option):
        return example(parts[0])
    names = reflect.names(owner, option)
    return names[0] if names else 8


def example(choice: type[Part]) -> Part:
    """An instance of a choice with its required options."""
    required = [name for name, field in choice.model_fields.items() if field.is_required()]
    return choice.model_construct(**{name: _example(choice, name) for name in required})


# ---- every choice has a drawing ---------------------------------------------------------------------


@pytest.mark.parametrize(("slot", "choice"), CHOICES, ids=lambda value: getattr(value, "__name__", value))
def test_every_choice_has_boxes(slot: str, choice: type[Part]) -> None:
    part: Any = example(choice)
    if slot != "residual":
        box = step(part, slot)
        assert box.role == slot and box.label and all(c.texts for c in box.callouts if not c.absent)
        assert all(row and any(row) for row in box.inner)
        assert not part.NAMES or box.label in part.NAMES.values()
        return
    sublayers = [Step("mixer", "mixer"), Step("ffn", "ffn")]
    flow = part.steps(sublayers, lambda norm: step(norm or RMSNorm(kind="rmsnorm"), "norm"))
    paths = [path for item in flow if isinstance(item, Branch) for path in item.paths]
    assert [box for path in paths for box in path if box in sublayers] == sublayers
    norms = [box.role for item in flow for box in (_steps(item) if isinstance(item, Branch) else [item])]
    assert "norm" in norms


def _steps(branch: Branch) -> Iterator[Step]:
    yield from (*branch.before, *(box for path in branch.paths for box in path), *branch.track)


def test_each_box_has_the_options_of_its_choice() -> None:
    """An option of a mixer that nobody drew by hand is a call-out by existing."""
    made = example(Attention).model_copy(update={"chunk": 8192, "softcap": 50.0, "output_bias": True})
    texts = [text for callout in step(made, "mixer").callouts if not callout.quiet for text in callout.texts]
    assert {"chunk 8,192", "softcap 50", "output bias"} <= set(texts)


def _unformed(part: Part) -> Iterator[str]:
    """The options of a drawn part that say more than a default, in no words of their own."""
    drawn = {callout.form for callout in step(part, part.ROLE).callouts if not callout.quiet}
    for option in type(part).model_fields:
        value = getattr(part, option)
        if isinstance(value, Part):
            yield from _unformed(value)
        elif option not in (*part.FORMS, *getattr(part, "written", {})):
            said = option.replace("_", " ")
            yield from (f"{type(part).__name__}.{option}" for form in (said, f"{said} {{}}") if form in drawn)


def test_every_option_of_a_known_spec_has_words_of_its_own() -> None:
    for family in UNLIKE:
        spec = load_spec(family)
        parts = [spec.norm] + [
            part
            for block in spec.blocks.values()
            for part in (block.mixer, block.ffn, block.per_layer)
            if part
        ]
        assert [option for part in parts for option in _unformed(part)] == [], family


@pytest.mark.parametrize(
    ("callout", "expected"),
    [
        (Callout("{} KV heads", 8), "8 KV heads"),
        (Callout("{} KV heads", 1), "1 KV head"),
        (Callout("window {}", None), "no window"),
        (Callout("tied weights", False, without="untied"), "untied"),
        (Callout("scores \u00d7 {}", 1.0, one="scores not scaled"), "scores not scaled"),
    ],
)
def test_absence_and_one_have_words(callout: Callout, expected: str) -> None:
    assert callout.texts == [expected]


# ---- what pictures say ------------------------------------------------------------------------------


def way(reference: str, name: str | None = None) -> str:
    """The boxes on the way through a block: 'mixer norm + ffn norm +'."""
    spec = load_spec(reference)
    flow = block(spec, name or next(iter(spec.blocks)))
    return " ".join(
        item.role
        if isinstance(item, Step)
        else "("
        + " | ".join(" ".join(box.role for box in (*item.before, *path)) for path in item.paths)
        + ")"
        for item in flow
    )


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("gpt2", "(norm mixer) (norm ffn)"),
        ("llama3", "(norm mixer) (norm ffn)"),
        ("olmo2", "(mixer norm) (ffn norm)"),
        ("gemma3", "(norm mixer norm) (norm ffn norm)"),
        ("falcon", "(norm mixer | norm ffn)"),
        ("minimax-text-01", "norm (mixer) norm (ffn)"),
        ("olmo2+residual=post_norm", "(mixer) norm (ffn) norm"),
        ("nemotron3", "(norm mixer)"),
    ],
)
def test_norms_stand_where_the_residual_puts_them(reference: str, expected: str) -> None:
    assert way(reference) == expected


def cells(*references: str) -> dict[str, list[Any]]:
    """The cells of the mixer, the feed-forward and others, by slot and region."""
    rows = picture([subject(reference) for reference in references]).rows
    return {f"{row.key.slot} {row.key.region}": list(row.cells) for row in rows if row.key.zone == BLOCKS}


def test_a_picture_has_the_published_facts() -> None:
    olmo2, llama3 = cells("olmo2", "llama3")["mixer main"]
    assert olmo2.step.label == "Multi-head attention" and llama3.step.label == "Grouped-query attention"
    assert "8 KV heads, was 32" in texts(llama3) and "head_dim 128" in texts(llama3)
    assert [side and side.step.label for side in olmo2.sides] == ["QK-norm", "RoPE"]
    assert [side and side.step.label for side in llama3.sides] == [None, "RoPE"]
    (mixture,) = cells("deepseek-v3")["ffn main"]
    assert texts(mixture) == ["256 experts", "8 active"]
    (gemma3,) = cells("gemma3")["mixer main"]
    assert "local: window 1,024" in texts(gemma3)


def test_blocks_that_differ_in_numbers_are_one_drawing() -> None:
    (column,) = picture([subject("gemma3")]).columns
    (frame,) = column.frames
    assert dict(frame.layers) == {"local": 29, "global": 5}
    assert frame.titles[0].text == "\u00d7 34: local \u00d7 29, global \u00d7 5"
    (column,) = picture([subject("nemotron3")]).columns
    assert [dict(frame.layers) for frame in column.frames] == [{"mamba": 23}, {"moe": 23}, {"full": 6}]


def test_only_what_differs_is_marked() -> None:
    drawn = picture([subject("olmo2"), subject("olmo2+n_kv_heads=8")])
    marked = {
        row.key.name: row.cells for row in drawn.rows if any(cell and cell.differs for cell in row.cells)
    }
    assert list(marked) == ["mixer"]
    _, cell = marked["mixer"]
    assert cell is not None
    assert [note.text for note in cell.notes if note.differs] == ["8 KV heads, was 32"]
    inner = {box.step.label: box.differs for row in cell.inner for box in row if box is not None}
    assert inner == {"Q": False, "K": True, "V": True, "softmax(q k) v": False, "out": False}
    same = placed(picture([subject("olmo2"), subject("olmo2")]))
    assert {box.look for box in same.boxes if box.texts} == {"same"}


def by_frame(reference: str, slot: str) -> list[list[str]]:
    """The call-outs of the sub-layers of each frame."""
    rows = picture([subject(reference)]).rows
    return [texts(row.cells[0]) for row in rows if row.key.zone == BLOCKS and row.key[2:4] == (slot, "main")]


def test_a_sub_layer_that_is_drawn_elsewhere_says_what_it_lacks() -> None:
    assert ["as in local_moe", "but no window"] in by_frame("north-mini-code", "mixer")
    assert not any("as in sparse_moe" in each for each in by_frame("minimax-m3", "mixer"))
    found = [each for each in by_frame("deepseek-v4", "ffn") if each[0].startswith("as in")]
    assert found == [["as in csa_hash"], ["as in csa_moe"]]


def test_what_differs_inside_of_a_box_marks_the_box() -> None:
    _, wider = cells("olmoe", "olmoe+ffn.expert.d_ff=2048")["ffn main"]
    (expert,) = wider.inner[1]
    assert wider.differs and texts(expert)[0] == "\u2260 d_ff 2,048, was 1,024"


def test_models_are_compared_by_all_of_their_layers() -> None:
    v3, llama3 = picture([subject("deepseek-v3"), subject("llama3")]).columns
    assert [column.notes[0].text for column in (v3, llama3)] == ["61 layers", "32 layers, was 61"]
    assert not any("was" in frame.titles[0].text for frame in (*v3.frames, *llama3.frames))


def test_each_layer_takes_its_own_embedding() -> None:
    tokens = next(
        row.cells[0] for row in picture([subject("gemma4:e2b")]).rows if row.key.name == "embedding 1"
    )
    assert tokens is not None and not tokens.sides
    (cell,) = cells("gemma4:e2b")["after main"]
    assert [side.step.label for side in cell.sides] == ["table of the layer"]


def test_an_absent_part_has_no_box() -> None:
    drawn = str(picture([subject("glm-5.3")]))
    assert "head_dim 0" not in drawn and "'key'" not in drawn


def test_a_thick_outline_has_a_reason_in_the_first_model() -> None:
    (olmo2, *_), *_ = [
        row.cells for row in picture([subject("olmo2"), subject("gemma3")]).rows if row.key.name == "head 1"
    ]
    assert olmo2 is not None
    assert [(note.text, note.differs) for note in olmo2.notes] == [("untied", True)]


def test_what_no_drawing_shows_is_named_below() -> None:
    unlike = picture([subject("olmo2"), subject("olmo2+norm.eps=1e-5")])
    assert unlike.notes == ("differs, and is not drawn: norm.eps (1e-06, 1e-05)",)
    assert picture([subject("gpt2"), subject("gpt2")]).notes == ("all models are the same",)
    assert picture([subject("gpt2")]).notes == ()


def test_words_are_broken_at_hyphens() -> None:
    width = text_width("Grouped-que", 10)
    assert wrapped("Grouped-query attention", 10, width) == ["Grouped-", "query", "attention"]


def test_a_missing_norm_is_a_gap_in_its_row() -> None:
    rows = cells("olmo2", "llama3", "gemma3")
    assert [cell is not None for cell in rows["mixer before"]] == [False, True, True]
    assert [cell is not None for cell in rows["mixer after"]] == [True, False, True]


def test_each_model_goes_through_all_of_its_boxes_once() -> None:
    drawn = picture(
        [subject(family) for family in ("falcon", "deepseek-v4", "minimax-text-01", "gemma4:e2b")]
    )
    for i, column in enumerate(drawn.columns):
        keys = [key for frame in column.frames for item in frame.way for key in _keys(item)]
        there = [row.key for row in drawn.rows if row.key.zone == BLOCKS and row.cells[i] is not None]
        assert sorted(keys) == sorted(there), column.subject.name


def _keys(item: Key | Fork) -> list[Key]:
    if isinstance(item, Key):
        return [item]
    return [*item.before, *(key for path in item.paths for key in path), *item.track, item.join]
