"""Documents in files: written whole, created at once, read in every version that was ever written."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import tempfile
from math import prod
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archcmp.errors import UsageError
from archcmp.results.ablation import Step
from archcmp.results.document import SCHEMA, Document, Status
from archcmp.results.files import check_named, unwritable, write_whole
from archcmp.results.versions import UPGRADES
from archcmp.wrong_values import wrong_value

MAX_FILE_BYTES = 2**28
MAX_CELLS = 10_000
SMALLEST_NUMBER, LARGEST_NUMBER = 1e-300, 1e30
"""The size of every count, time and rate is 0 or lies between these. Any other number is a damaged file's."""

_ADAPTER = TypeAdapter(Document)
_RESULTS = {"ablation": Step.of}
"""What reads the `result` of a cell, for kinds whose results are a record."""


_NUMBERS = re.compile(r"\[\s+([-+.\de,\s]+?)\s+\]")
"""An indented list that holds only numbers."""


def to_text(doc: Document) -> str:
    """The document as its file holds it: indented, each list of numbers on one line."""
    text = json.dumps(doc.as_json(), indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


# ---- reading ----------------------------------------------------------------------------------------


def _number(text: str) -> float:
    value: float = int(text) if text.lstrip("-").isdigit() and len(text) < 40 else float(text)
    if value and not SMALLEST_NUMBER < abs(value) < LARGEST_NUMBER:
        raise ValueError(f"{text[:20]} is no figure")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no figure")


def _printable(value: Any) -> Any:
    """The same data with a replacement character for whatever could drive a terminal or not be written."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


def _bytes_of(path: Path) -> bytes:
    """A regular file's content. Raises UsageError for a device, a pipe and a file too large to be results."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot read '{path}': it is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"'{path}' is larger than {MAX_FILE_BYTES:,} bytes, so it is not a results document")
    return data


def _json_of(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(
            _bytes_of(path), parse_constant=_refuse_constant, parse_float=_number, parse_int=_number
        )
    except (ValueError, RecursionError):
        raise UsageError(f"'{path}' is not JSON that archcmp writes") from None
    if not isinstance(data, dict):
        raise UsageError(f"'{path}' is not a results document: it holds no mapping")
    if "model_type" in data:
        raise UsageError(f"'{path}' is a model's configuration. Turn it into a spec: archcmp import '{path}'")
    printable: dict[str, Any] = _printable(data)
    return printable


def _unknown_schema(path: Path, schema: object) -> UsageError:
    """The error that a file has a schema that is not known, or none."""
    if isinstance(schema, str) and re.fullmatch(r"archcmp/[0-9]{1,9}", schema):
        return UsageError(f"'{path}' is by a newer archcmp: {schema}, while this one reads up to {SCHEMA}")
    known = ", ".join([SCHEMA, *UPGRADES])
    what = "it has no schema. archcmp writes such documents with --output or --export"
    if schema is not None:
        what = f"its schema is {schema!r:.40}, not one of {known}"
    return UsageError(f"'{path}' is not a results document: {what}")


def read(path: str | Path) -> Document:
    """The document in a file. Unknown fields are ignored, and what is missing was not measured. Raises
    UsageError, which names the place, for a file that is not a results document or is damaged."""
    path = Path(path)
    data = _json_of(path)
    schema = data.get("schema")
    if isinstance(schema, str) and schema in UPGRADES:
        try:
            data = UPGRADES[schema](data)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise UsageError(f"'{path}' is damaged: it is not as {schema} has it ({error!r:.80})") from None
    elif schema != SCHEMA:
        raise _unknown_schema(path, schema)
    try:
        doc = _ADAPTER.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"'{path}' is damaged: {where[:80]} {wrong_value(first)[0]}") from None
    _check_consistent(doc, path)
    return doc


def _check_consistent(doc: Document, path: Path) -> None:
    """Every cell is at a point that was asked for, there once, and has a result per model."""
    for axis, values in doc.request.axes.items():
        whole = all(isinstance(value, int) and value >= 1 for value in values)
        if axis in ("batch_size", "seq_len") and not whole:
            raise UsageError(f"'{path}' is damaged: request.axes.{axis} must hold whole numbers from 1 on")
    if prod(map(len, doc.request.axes.values())) > MAX_CELLS:
        raise UsageError(f"'{path}' is damaged: it asks for more than {MAX_CELLS:,} cells")
    points = doc.request.points()
    seen: list[Any] = []
    for i, cell in enumerate(doc.cells):
        if cell.point not in points or cell.point in seen:
            raise UsageError(f"'{path}' is damaged: cells.{i}.point was not asked for, or is there twice")
        if not cell.result and len(cell.models) != len(doc.models):
            raise UsageError(
                f"'{path}' is damaged: cells.{i} has {len(cell.models)} results for {len(doc.models)} models"
            )
        seen.append(cell.point)
        if doc.kind in _RESULTS:
            try:
                _RESULTS[doc.kind](cell.result)
            except UsageError as error:
                raise UsageError(f"'{path}' is damaged: cells.{i}.result{error}") from None
    if not doc.models and doc.cells:
        raise UsageError(f"'{path}' is damaged: it names no model")
    for i, model in enumerate(doc.models):
        if model.cache is not None and not model.cache.consistent:
            raise UsageError(f"'{path}' is damaged: models.{i}.cache has no size for each length, ascending")


# ---- writing ----------------------------------------------------------------------------------------


class Store:
    """The file that an experiment is kept in. What cannot be written stays in memory and is tried again
    with the next figures; `problem` says why."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None

    @classmethod
    def create(cls, path: Path, doc: Document) -> Store:
        """A new file, there at once, so that no other run can take its name. Raises UsageError if it is
        there already or cannot be written."""
        check_named(path)
        if path.suffix != ".json":
            raise UsageError(f"cannot write '{path}': a results file ends with .json")
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            again = shlex.join(["--resume", str(path)])
            raise UsageError(f"'{path}' exists. Choose another name, or continue it: {again}") from None
        except (OSError, ValueError) as error:
            raise unwritable(path, error) from None
        store = cls(path)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(to_text(doc))
        except OSError as error:
            store.discard()
            raise UsageError(f"cannot write '{path}': {error.strerror}") from None
        return store

    def write(self, doc: Document) -> None:
        """Replace the file by the latest state; a failure is kept in `problem`, and no figure is lost."""
        try:
            write_whole(self.path, to_text(self._with_others(doc)))
            self.problem = None
        except UsageError as error:
            self.problem = str(error)

    def _with_others(self, doc: Document) -> Document:
        """With the cells that another run has finished in the same file meanwhile."""
        try:
            there = read(self.path)
        except UsageError:
            return doc
        missing = doc.missing()
        for cell in there.cells:
            if cell.status is not Status.INTERRUPTED and cell.point in missing:
                doc = doc.with_cell(cell)
        return doc

    def rescue(self, doc: Document) -> Path | None:
        """A copy in the temporary folder for a file that could not be written; None where that fails too."""
        place = Path(tempfile.gettempdir()) / f"rescued-{os.getpid()}-{self.path.name}"
        try:
            write_whole(place, to_text(doc))
        except UsageError:
            return None
        return place

    def discard(self) -> None:
        """Remove a file that was created for a run of which nothing came."""
        self.path.unlink(missing_ok=True)
