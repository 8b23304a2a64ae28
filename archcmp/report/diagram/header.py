"""The head of a column: the name, the parameters, and a strip with a cell for each layer."""

from __future__ import annotations

from archcmp.report.diagram.metrics import wrapped
from archcmp.report.diagram.rows import Column
from archcmp.report.diagram.shapes import Box, Scene, height_of, lines_of_text
from archcmp.units import Count

HEADER_SIZE = 15
SMALL = 11
STRIP = 22.0
LAYERS = "\u2588\u2584\u2591\u2593\u2581\u25c6\u25cb\u2592"
"""The letters of kinds of layers."""


def _title(column: Column, width: float) -> list[str]:
    return wrapped(column.subject.name, HEADER_SIZE, width, bold=True)


def facts(column: Column) -> list[str]:
    """What stands below the name: parameters, layers, and how often they run."""
    subject = column.subject
    texts = []
    if subject.params is not None:
        sparse = subject.active not in (None, subject.params)
        active = f", {Count(subject.active or 0)} active" if sparse else ""
        texts.append(f"{Count(subject.params)} parameters{active}")
    return texts + [note.marked for note in column.notes]


def _lines(column: Column, width: float) -> list[str]:
    return [line for text in facts(column) for line in wrapped(text, SMALL, width)]


def kinds(column: Column) -> list[str]:
    """The names of the blocks in the order of first use."""
    return list(dict.fromkeys(column.layers))


def letter(kind: int) -> str:
    """What stands for a layer of a kind in a strip of text."""
    return LAYERS[kind % len(LAYERS)]


def _key_lines(column: Column, width: float) -> list[str]:
    """The key of the strip: which cell is which block."""
    names = kinds(column)
    if len(names) == 1:
        return []
    return [
        line
        for name in names
        for line in wrapped(f"{name} \u00d7 {column.layers.count(name)}", SMALL, width - 22)[:1]
    ]


def header_height(column: Column, width: float) -> float:
    height = height_of(len(_title(column, width)), HEADER_SIZE) + height_of(len(_lines(column, width)), SMALL)
    keys = _key_lines(column, width)
    return height + (STRIP + 8 + height_of(len(keys), SMALL) if keys else 0) + 14


def draw_header(scene: Scene, column: Column, x: float, y: float, width: float) -> None:
    title, lines = _title(column, width), _lines(column, width)
    scene.texts += lines_of_text(title, x, y, HEADER_SIZE, bold=True)
    y += height_of(len(title), HEADER_SIZE)
    scene.texts += lines_of_text(lines, x, y, SMALL)
    y += height_of(len(lines), SMALL) + 4
    keys = _key_lines(column, width)
    if not keys:
        return
    names = kinds(column)
    cell = min(width / len(column.layers), 14.0)
    for i, name in enumerate(column.layers):
        scene.boxes.append(
            _layer(x + i * cell, y, cell * 0.86, names.index(name), len(names), f"layer {i + 1}: {name}")
        )
    y += STRIP + 4
    for i, line in enumerate(keys):
        scene.boxes.append(_layer(x, y + i * (SMALL + 3), 10, i, len(keys), "", 12))
        scene.texts += lines_of_text([line], x + 18, y + i * (SMALL + 3), SMALL)


def _layer(
    x: float, y: float, width: float, kind: int, n_kinds: int, about: str, height: float = STRIP
) -> Box:
    """A cell of the strip. Kinds differ in height, too, not by colour alone."""
    tall = height * (1 - 0.7 * kind / max(n_kinds - 1, 1))
    return Box(
        round(x, 2),
        round(y + height - tall, 2),
        round(width, 2),
        round(tall, 2),
        str(kind),
        "layer",
        about=about,
    )
