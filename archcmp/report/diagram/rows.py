"""Models -> rows of boxes, the first at the bottom, on which all models are aligned: where one has no such
box, its cell is None. Every output draws these records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from archcmp.report.diagram.alike import as_in
from archcmp.report.diagram.compared import Cell, Note, compared, was
from archcmp.report.diagram.frames import Frame, frames
from archcmp.report.diagram.subject import OUTSIDE, Components, Subject
from archcmp.report.diagram.undrawn import undrawn
from archcmp.spec.describe import merged_keys
from archcmp.spec.flow import above, below
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.steps import Branch, Step, name_of

BELOW, BLOCKS, ABOVE = range(3)
SLOTS = ("entry", "mixer", "ffn", "after")
REGIONS = ("before", "main", "after", "track", "join", "stream")


class Key(NamedTuple):
    """Where a row is. `zone` is below the blocks, in them, or above; `frame` the place of the block's frame.
    In a block, `slot` and `region` say at which sub-layer: before it, itself, after it, on the track of the
    stream beside it, where the two are added, and on the stream behind. `name` tells boxes of a region
    apart."""

    zone: int
    frame: int
    slot: str
    region: str
    name: str


@dataclass(frozen=True)
class Fork:
    """A branch by the keys of its boxes: see Branch. `join` is where it is added to the stream."""

    before: tuple[Key, ...]
    paths: tuple[tuple[Key, ...], ...]
    track: tuple[Key, ...]
    join: Key


Way = tuple["Key | Fork", ...]


@dataclass(frozen=True)
class DrawnFrame:
    """A block of a model: its residual, the layers that have it, and the way through it. The `titles` say how
    many layers, '\u00d7 34: local \u00d7 29, global \u00d7 5', and how norms are placed."""

    place: int
    residual: str
    layers: Mapping[str, int]
    way: Way
    titles: tuple[Note, ...] = ()

    @property
    def n_layers(self) -> int:
        return sum(self.layers.values())


@dataclass(frozen=True)
class Column:
    """A model: its frames from the bottom, and the block of every layer."""

    subject: Subject
    frames: tuple[DrawnFrame, ...]
    layers: tuple[str, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row, with a cell per model."""

    key: Key
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Picture:
    """All models: the columns, the rows from the bottom, and what stands below the drawing."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """Whether anything is marked as different."""
        cells = [cell for row in self.rows for cell in row.cells if cell is not None]
        titles = [note for column in self.columns for frame in column.frames for note in frame.titles]
        notes = (*titles, *(note for column in self.columns for note in column.notes))
        sides = [side for cell in cells for side in cell.sides if side is not None]
        return any(cell.differs for cell in (*cells, *sides)) or any(note.differs for note in notes)


_Counted = list[tuple[str, str, int]]
"""What the counts of a box are called: block, component, and for how many layers."""


@dataclass
class _Boxes:
    """The boxes of a model by their keys; the names of their counts; what stands in place of a sub-layer that
    another frame shows; and the names of each frame's blocks."""

    spec: ModelSpec
    steps: dict[Key, Step] = field(default_factory=dict)
    counted: dict[Key, _Counted] = field(default_factory=dict)
    same_as: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    names: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def put(self, key: Key, step: Step, counted: _Counted | None = None) -> Key:
        self.steps[key] = step
        self.counted[key] = counted or []
        return key

    def put_all(self, place: Key, steps: Sequence[Step]) -> tuple[Key, ...]:
        return tuple(self.put(key, step) for key, step in _named(place, steps))

    def put_sublayer(self, key: Key, step: Step, frame: Frame) -> Key:
        """A sub-layer. One frame shows it in full, others what they have in its place."""
        self.names[frame.place] = tuple(frame.layers)
        shown = [
            (self.names[other.frame], each)
            for other, each in self.steps.items()
            if other.region == "main" and other.zone == BLOCKS and other not in self.same_as
        ]
        if same := as_in(step, shown):
            self.same_as[key] = same
        layers = frame.layers.items() if key.slot in ("mixer", "ffn") else ()
        return self.put(key, step, [(name, key.slot, n) for name, n in layers])


def picture(subjects: Sequence[Subject]) -> Picture:
    """The models side by side."""
    boxes = [_Boxes(subject.spec) for subject in subjects]
    drawn = [_column(subject, each) for subject, each in zip(subjects, boxes, strict=True)]
    rows = []
    for key in _order([list(each.steps) for each in boxes]):
        cells = compared([each.steps.get(key) for each in boxes])
        finished = [
            None if cell is None else _finished(cell, subject, each, key)
            for cell, subject, each in zip(cells, subjects, boxes, strict=True)
        ]
        rows.append(Row(key, tuple(finished)))
    whole = Picture(_titled(drawn), tuple(rows))
    return replace(whole, notes=undrawn([subject.spec for subject in subjects], whole.marked))


def _order(models: list[list[Key]]) -> list[Key]:
    """The keys of all models, from the bottom."""
    places: dict[Key, list[list[str]]] = {}
    for keys in models:
        names: dict[Key, list[str]] = {}
        for key in keys:
            names.setdefault(key._replace(name=""), []).append(key.name)
        for place, found in names.items():
            places.setdefault(place, []).append(found)

    def rank(place: Key) -> tuple[int, int, int, int]:
        return place.zone, place.frame, SLOTS.index(place.slot), REGIONS.index(place.region)

    return [
        place._replace(name=name)
        for place in sorted(places, key=rank)
        for name in merged_keys([dict.fromkeys(names) for names in places[place]])
    ]


def _finished(cell: Cell, subject: Subject, boxes: _Boxes, key: Key) -> Cell:
    """With the parameters and FLOPs of all layers together; without what is in it where another frame shows
    it."""

    def total(of: Components, passes: int) -> int | None:
        found = [
            (of[block].get(component, 0), n) for block, component, n in boxes.counted[key] if block in of
        ]
        return sum(number * n * passes for number, n in found) if found else None

    if key in boxes.same_as:
        cell = replace(cell, notes=tuple(map(Note, boxes.same_as[key])), sides=(), inner=())
    passes = subject.spec.passes if key.zone == BLOCKS else 1
    return replace(cell, params=total(subject.params_of, 1), flops=total(subject.flops_of, passes))


def _column(subject: Subject, boxes: _Boxes) -> Column:
    spec = subject.spec
    for zone, steps in ((BELOW, below(spec)), (ABOVE, above(spec))):
        for key, step in _named(Key(zone, 0, "entry", "main", ""), steps):
            counted = [(OUTSIDE, step.role, 1)] if step.role in ("embedding", "head") else None
            boxes.put(key, step, counted)
    found = frames(spec)
    drawn = []
    for frame in sorted(found, key=lambda frame: abs(frame.place)):
        way = tuple(_ways(frame, boxes))
        residual = name_of(spec.blocks[next(iter(frame.layers))].residual)
        drawn.append(DrawnFrame(frame.place, residual, frame.layers, way))
    notes: tuple[Note, ...] = ()
    if spec.loop is not None:
        between = ", final norm between" if spec.loop.norm else ""
        notes = (Note(f"all layers {spec.loop.passes} times{between}"),)
    return Column(subject, tuple(sorted(drawn, key=lambda frame: frame.place)), layer_blocks(spec), notes)


def _named(place: Key, steps: Sequence[Step]) -> Iterator[tuple[Key, Step]]:
    """Each box with its key: boxes of one role are numbered."""
    seen: dict[str, int] = {}
    for step in steps:
        seen[step.role] = number = seen.get(step.role, 0) + 1
        yield place._replace(name=f"{step.role} {number}"), step


def _slot(path: Sequence[Step]) -> str:
    """The slot of the sub-layer on a path."""
    return next((step.role for step in path if step.role in ("mixer", "ffn")), "after")


def _ways(frame: Frame, boxes: _Boxes) -> Iterator[Key | Fork]:
    """The way through a frame; its boxes are put into `boxes`."""
    slot, n_stream = "entry", 0
    for item in frame.flow:
        if isinstance(item, Branch):
            fork = _fork(item, frame, boxes)
            slot, n_stream = fork.join.slot, 0
            yield fork
        else:
            n_stream += 1
            place = Key(BLOCKS, frame.place, slot, "stream", f"{item.role} {n_stream}")
            yield boxes.put(place, item)


def _fork(branch: Branch, frame: Frame, boxes: _Boxes) -> Fork:
    place = Key(BLOCKS, frame.place, _slot(branch.paths[0]), "before", "")
    before = boxes.put_all(place, branch.before)
    paths = []
    for path in branch.paths:
        place = place._replace(slot=_slot(path))
        main = next(i for i, step in enumerate(path) if step.role in (place.slot, "embedding"))
        ahead = boxes.put_all(place, path[:main])
        key = boxes.put_sublayer(place._replace(region="main", name=place.slot), path[main], frame)
        behind = boxes.put_all(place._replace(region="after"), path[main + 1 :])
        paths.append((*ahead, key, *behind))
    track = boxes.put_all(place._replace(region="track"), branch.track)
    residual = boxes.spec.blocks[next(iter(frame.layers))].residual
    join = boxes.put(place._replace(region="join", name="+"), Step("join", "+", part=residual))
    return Fork(before, tuple(paths), track, join)


def _titled(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns with the titles of their frames. The residuals of one place are compared, and how many
    layers the models have."""
    n_layers = [len(column.layers) for column in columns]

    def titles(column: Column, frame: DrawnFrame) -> tuple[Note, ...]:
        beside = [other for each in columns for other in each.frames if other.place == frame.place]
        first = next((other for other in columns[0].frames if other.place == frame.place), frame)
        named = ", ".join(f"{name} \u00d7 {n}" for name, n in frame.layers.items())
        text = f"\u00d7 {frame.n_layers}"
        if len(column.frames) > 1 or len(frame.layers) > 1:
            text = named if len(frame.layers) == 1 else f"{text}: {named}"
        kind = frame.residual + was(frame.residual, first.residual)
        return Note(text, strong=True), Note(kind, _differ([other.residual for other in beside]))

    def marked(column: Column) -> Column:
        n = len(column.layers)
        layers = Note(f"{n} layer{'s' * (n != 1)}{was(str(n), str(n_layers[0]))}", _differ(n_layers))
        drawn = tuple(replace(frame, titles=titles(column, frame)) for frame in column.frames)
        return replace(column, frames=drawn, notes=(layers, *column.notes))

    return tuple(map(marked, columns))


def _differ(values: Sequence[object]) -> bool:
    return len(set(values)) > 1
