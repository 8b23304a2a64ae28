"""Rows -> a Mermaid flowchart, which GitHub and many editors draw. https://mermaid.js.org"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from archcmp.report.diagram.beside import side_text
from archcmp.report.diagram.compared import BADGE, Cell
from archcmp.report.diagram.header import facts, kinds, letter
from archcmp.report.diagram.roles import OTHER, ROLES
from archcmp.report.diagram.rows import ABOVE, BELOW, BLOCKS, Column, Fork, Key, Picture
from archcmp.report.formats._text import printable

INDENT = "  "
DIRECTION = "BT"
"""From the bottom to the top; a subgraph that says none goes downwards."""
BREAK = "<br/>"
RULE = "\u2500" * 8
"""Between what a box is and what is inside of it."""
DIFFERS, SAME = "_differs", "same"
STREAM, SIDE = "-->", "-.->"
CODES = {
    "#": "#35;",
    '"': "#quot;",
    "<": "#lt;",
    ">": "#gt;",
    "&": "#amp;",
    "`": "#96;",
    "$": "#36;",
    "%": "#37;",
}
"""Characters that mean something in a label, and what is written instead."""


def to_mermaid(picture: Picture) -> str:
    """The text of a flowchart: a subgraph per model, and in it one per block. Mermaid draws the last subgraph
    leftmost, so that the models stand in reverse order."""
    names = " and ".join(column.subject.name for column in picture.columns)
    lines = [f"%% Architecture of {escaped(names)}, drawn by archcmp", f"flowchart {DIRECTION}"]
    models = [_Model(picture, i, column) for i, column in enumerate(picture.columns)]
    lines += [INDENT + line for model in reversed(models) for line in model.lines()]
    if picture.notes:
        lines.append(f"{INDENT}m0_notes[{_quoted(picture.notes)}]:::about")
    lines += [INDENT + line for line in _classes(set().union(*(model.used for model in models)))]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text for a label in quotes."""
    return "".join(CODES.get(char, char) for char in printable(text))


def _quoted(lines: Sequence[str]) -> str:
    return f'"{BREAK.join(map(escaped, lines))}"'


class _Model:
    """A column as statements. A box is called by its model and its row; `used` are the classes of boxes."""

    def __init__(self, picture: Picture, i: int, column: Column) -> None:
        self.name, self.column = f"m{i}", column
        self.alone = len(picture.columns) == 1
        self.cells: Mapping[Key, Cell] = {
            row.key: cell for row in picture.rows if (cell := row.cells[i]) is not None
        }
        self.used: set[str] = set()
        self.ids = {key: f"{self.name}_{n}" for n, key in enumerate(self.cells)}

    def lines(self) -> Iterator[str]:
        yield from _subgraph(self.name, self.column.subject.name)
        body = [line for key in self._zone(BELOW) for line in self._box(key)]
        for n, frame in enumerate(self.column.frames):
            title = ", ".join(note.marked for note in frame.titles)
            body += _subgraph(f"{self.name}_block{n}", title)
            inside = [key for key in self.cells if key.zone == BLOCKS and key.frame == frame.place]
            body += [INDENT + line for key in inside for line in self._box(key)]
            body.append("end")
        body += [line for key in self._zone(ABOVE) for line in self._box(key)]
        body += self._edges()
        body += self._about()
        yield from (INDENT + line for line in body)
        yield "end"
        yield f"class {self.name} model"
        if self.column.frames:
            yield f"class {','.join(f'{self.name}_block{n}' for n, _ in enumerate(self.column.frames))} block"

    def _zone(self, zone: int) -> list[Key]:
        return [key for key in self.cells if key.zone == zone]

    def _box(self, key: Key) -> Iterator[str]:
        """A box, and its side inputs with their edges."""
        cell, name = self.cells[key], self.ids[key]
        if key.region == "join":
            yield f'{name}(("+"))'
            return
        yield f"{name}[{_quoted(_label(cell))}]:::{self._class(cell)}"
        for n, side in enumerate(side for side in cell.sides if side is not None):
            badge = BADGE if side.differs and not self.alone else ""
            yield f"{name}_side{n}([{_quoted([badge + side_text(side)])}]):::{self._class(side)}"
            yield f"{name}_side{n} {SIDE} {name}"

    def _class(self, cell: Cell) -> str:
        role = cell.step.role if cell.step.role in ROLES else OTHER
        found = role if self.alone else role + DIFFERS if cell.differs else SAME
        self.used.add(found)
        return found

    def _edges(self) -> Iterator[str]:
        at: str | None = None
        ways = [item for frame in self.column.frames for item in frame.way]
        for item in (*self._zone(BELOW), *ways, *self._zone(ABOVE)):
            keys = [item] if isinstance(item, Key) else list(item.before)
            start = at
            for key in keys:
                if at is not None:
                    yield f"{at} {STREAM} {self.ids[key]}"
                at = self.ids[key]
            if isinstance(item, Fork):
                for path in (*item.paths, ()):
                    way = [at, *map(self.ids.get, path)] if path else [start, *map(self.ids.get, item.track)]
                    yield f" {STREAM} ".join(filter(None, (*way, self.ids[item.join])))
                at = self.ids[item.join]

    def _about(self) -> Iterator[str]:
        """Parameters, and which layers are which, above the topmost box."""
        names = kinds(self.column)
        texts = facts(self.column)
        if len(names) > 1:
            texts.append("".join(letter(names.index(name)) for name in self.column.layers))
            counts = [
                f"{letter(i)} {name} \u00d7 {self.column.layers.count(name)}" for i, name in enumerate(names)
            ]
            texts.append(", ".join(counts))
        if texts:
            yield f"{self.name}_about[{_quoted(texts)}]:::about"
            yield f"{[*self.ids.values()][-1]} ~~~ {self.name}_about"


def _subgraph(name: str, title: str) -> list[str]:
    return [f"subgraph {name}[{_quoted([title])}]", f"{INDENT}direction {DIRECTION}"]


def _label(cell: Cell) -> list[str]:
    """The name of a box, its call-outs, and the rows of boxes inside, the first at the bottom."""
    lines = [cell.step.label, *(note.marked for note in cell.notes)]
    if cell.inner:
        lines += [
            RULE,
            *(" | ".join(box.joined for box in row if box is not None) for row in reversed(cell.inner)),
        ]
    return lines


def _classes(used: set[str]) -> Iterator[str]:
    """The look of each class that is used: the colour of a role, with a thick outline for what differs; grey
    for what does not."""
    looks = {name: f"fill:{role.fill},stroke:{role.outline}" for name, role in ROLES.items()}
    looks |= {f"{role}{DIFFERS}": f"{look},stroke-width:4px,font-weight:bold" for role, look in looks.items()}
    looks[SAME] = "fill:#f3f3f3,stroke:#b5b5b5"
    for name, look in looks.items():
        if name in used:
            yield f"classDef {name} {look},color:#1a1a1a"
    yield "classDef about fill:none,stroke:none"
    yield "classDef model fill:none,stroke:none,font-weight:bold"
    yield "classDef block fill:none,stroke:#888,stroke-dasharray:6 4"
