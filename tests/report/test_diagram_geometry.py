"""No label of a picture is cut or covered, and lines arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from archcmp.report.diagram import Subject, picture
from archcmp.report.diagram.rows import BLOCKS
from archcmp.report.diagram.scene import AMOUNTS, placed
from archcmp.report.diagram.shapes import Box, Line, Scene
from archcmp.spec.yaml.load import load_spec
from tests.known import MAIN_AND_FAR, PUBLISHED, UNLIKE, tiny
from tests.report.pictures import subject, texts

DRAWN = PUBLISHED if os.environ.get("ARCHCMP_DRAW_ALL") else UNLIKE
"""One family of each set of choices; with ARCHCMP_DRAW_ALL every size of the zoo."""


def overlap(a: tuple[float, ...], b: tuple[float, ...], slack: float = 0.05) -> bool:
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


def _rectangle(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.right, box.bottom


def faults(scene: Scene) -> list[str]:
    """What is outside of the canvas, cut off, or covered."""
    found = [
        f"outside: {box}"
        for box in scene.boxes
        if not _inside(_rectangle(box), (0, 0, scene.width, scene.height))
    ]
    labels = [(text, None) for text in scene.texts] + [
        (text, box) for box in scene.boxes for text in box.texts
    ]
    found += [
        f"cut: {text.text}" for text, box in labels if box and not _inside(text.extent, _rectangle(box))
    ]
    found += [
        f"outside: {text.text}"
        for text, _ in labels
        if not _inside(text.extent, (0, 0, scene.width, scene.height))
    ]
    near = sorted((text.extent, text.text) for text, _ in labels)
    found += [f"crossing: {a[1]} and {b[1]}" for a, b in _pairs(near) if overlap(a[0], b[0])]
    solid = [box for box in scene.boxes if box.look not in ("frame", "panel", "card", "layer")]
    found += [
        f"covered: {text.text}"
        for text in scene.texts
        for box in solid
        if overlap(text.extent, _rectangle(box))
    ]
    found += [
        f"crossed: {box}"
        for line in scene.lines
        for start, end in pairwise(line.points)
        for box in solid
        if box.role != "scale" and overlap((*map(min, start, end), *map(max, start, end)), _rectangle(box))
    ]
    found += [f"ends nowhere: {line}" for line in scene.lines if line.arrow and not _arrives(line, scene)]
    rectangles = sorted((_rectangle(box), box.role) for box in solid)
    found += [f"covered: {a} by {b}" for a, b in _pairs(rectangles) if overlap(a[0], b[0])]
    return found


def _arrives(line: Line, scene: Scene) -> bool:
    """Whether an arrow ends at the edge of a box or of a circle."""
    x, y = line.points[-1]
    boxes = (_rectangle(box) for box in scene.boxes)
    at_box = any(
        (left <= x <= right and min(abs(y - top), abs(y - bottom)) < 0.2)
        or (top <= y <= bottom and min(abs(x - left), abs(x - right)) < 0.2)
        for left, top, right, bottom in boxes
    )
    return at_box or any(abs(abs(x - plus.x) + abs(y - plus.y) - plus.RADIUS) < 0.2 for plus in scene.pluses)


def _inside(inner: Sequence[float], outer: Sequence[float]) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _pairs(items: list[tuple[tuple[float, float, float, float], str]]) -> Iterator[tuple[Any, Any]]:
    """Neighbours from left to right, of which one begins before the other ends."""
    for i, item in enumerate(items):
        for other in items[i + 1 :]:
            if other[0][0] >= item[0][2]:
                break
            yield item, other


def test_faults_are_found() -> None:
    scene = placed(picture([subject("olmo2")]))
    box = next(box for box in scene.boxes if box.texts)
    assert not faults(scene)
    for moved in (replace(box, x=-1), replace(box, width=20), replace(box, y=box.y + 20)):
        assert faults(replace(scene, boxes=[moved if each is box else each for each in scene.boxes]))


@pytest.mark.parametrize("reference", DRAWN)
def test_no_label_is_cut_or_covered(reference: str) -> None:
    assert faults(placed(picture([subject(reference)]))) == []


def test_no_label_is_cut_or_covered_side_by_side() -> None:
    """Three neighbours of the zoo at a time; with ARCHCMP_DRAW_ALL all neighbours."""
    step = 2 if os.environ.get("ARCHCMP_DRAW_ALL") else len(UNLIKE) // 8
    for i in range(0, len(UNLIKE) - 2, step):
        assert faults(placed(picture([subject(family) for family in UNLIKE[i : i + 3]]))) == [], UNLIKE[i]


def test_a_side_of_a_sub_layer_that_is_drawn_elsewhere_takes_no_room() -> None:
    pair = picture([subject("deepseek-v3.2"), subject("deepseek-v4")])
    (row,) = [row for row in pair.rows if row.key[:4] == (BLOCKS, -1, "mixer", "main")]
    indexed, window = row.cells
    assert indexed and window and texts(indexed) == ["as in moe"]
    assert None in window.sides and faults(placed(pair)) == []


def test_long_names_stay_in_their_column() -> None:
    spec = tiny(*MAIN_AND_FAR)
    long = spec.model_copy(update={"blocks": {"main": spec.blocks["main"], "far": spec.blocks["far"]}})
    assert faults(placed(picture([Subject("a name " * 20 + "x" * 200, long)]))) == []


@pytest.mark.parametrize("scale", AMOUNTS)
def test_heights_are_in_proportion(scale: str) -> None:
    spec = load_spec("olmo2")
    counts = {"": {"embedding": 400, "head": 200}, "main": {"mixer": 1000, "ffn": 2000}}
    drawn = placed(picture([Subject("a", spec, params_of=counts, flops_of=counts)]), scale)
    tall = {box.role: box.height for box in drawn.boxes if box.texts}
    assert tall["ffn"] == pytest.approx(2 * tall["mixer"], abs=0.2)
    assert faults(drawn) == []
