"""Documents in files: every version is read, damage is refused in one line, and nothing written is half."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archcmp.errors import UsageError
from archcmp.report.export import rendered
from archcmp.report.formats import listed
from archcmp.report.tables.matched import matched_tables
from archcmp.results.document import Document
from archcmp.results.merge import merged
from archcmp.results.store import Store, read, to_text

pytestmark = pytest.mark.usefixtures("pages_without_plots")


FOLDER = Path(__file__).parents[1] / "documents"
DOCUMENTS = sorted(FOLDER.glob("*.json"))
VALUES: list[Any] = [
    None,
    0,
    -1,
    1e300,
    10**60,
    "x",
    "\ud800",
    "\x1b[31m",
    [],
    {},
    [1, 2],
    True,
    "none",
    float("nan"),
]


def show_everywhere(doc: Document) -> None:
    for suffix in listed():
        assert rendered(doc, suffix)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_documents_of_every_version_are_read_and_shown(path: Path) -> None:
    doc = read(path)
    assert doc.models and doc.cells and not doc.missing()
    show_everywhere(doc)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_read_is_written_the_same(path: Path, tmp_path: Path) -> None:
    doc = read(path)
    copied = tmp_path / "copy.json"
    copied.write_text(to_text(doc))
    assert read(copied) == doc


def test_version_1_keeps_its_figures() -> None:
    old = json.loads((FOLDER / "comparison-1.json").read_text())
    doc = read(FOLDER / "comparison-1.json")
    assert [model.name for model in doc.models] == ["GPT-2 small count=2", "Tiny"]
    for before, model, result in zip(old["models"], doc.models, doc.cells[0].models, strict=True):
        assert result.params["total"].total == before["params"]["total"]
        assert result.flops["decode"].total == before["flops"]["decode"]
        cache = result.memory["kv_cache_bytes"]
        assert cache.by_component == before["memory"]["by_component"]["kv_cache_bytes"]
        assert result.throughput["train"].raw_s == before["throughput"]["train"]["raw_s"]
        assert model.choices["d_model"] == int(before["choices"]["d_model"].replace(",", ""))


def test_a_race_of_version_1_compares_archcmp_with_transformers() -> None:
    old = json.loads((FOLDER / "race-1.json").read_text())["results"][0]
    doc = read(FOLDER / "race-1.json")
    assert [model.name for model in doc.models] == ["transformers", "archcmp"]
    timing = doc.cells[0].models[1].throughput[old["workload"]]
    assert timing.raw_s == old["ours_s"]
    assert timing.speedup is not None and timing.speedup.median == old["speedup"]["median"]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in below for place in _places(item, (*path, key)))]


def _mutated(data: Any, rng: random.Random) -> Any:
    """The data with one place removed, replaced or renamed."""
    data = copy.deepcopy(data)
    *steps, last = rng.choice([place for place in _places(data) if place])
    holder = data
    for step in steps:
        holder = holder[step]
    action = rng.choice(["remove", "replace", "replace", "unknown"])
    if action == "remove":
        del holder[last]
    elif action == "replace":
        holder[last] = rng.choice(VALUES)
    elif isinstance(holder, dict):
        holder[f"unknown {rng.random()}"] = holder[last]
    return data


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_damaged_document_is_shown_or_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    data, rng, damaged = json.loads(path.read_text()), random.Random(path.stem), tmp_path / "damaged.json"
    for i in range(250 // len(DOCUMENTS) + 1):
        mutated = _mutated(data, rng)
        damaged.write_text(json.dumps(mutated))
        try:
            doc = read(damaged)
        except UsageError as error:
            assert str(damaged) in str(error) and len(str(error).splitlines()) == 1, i
        else:
            show_everywhere(doc)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_missing_was_not_measured_and_what_is_unknown_is_ignored(path: Path, tmp_path: Path) -> None:
    data = json.loads(to_text(read(path)))
    for cell in data["cells"]:
        cell["unknown"] = 1
        for model in cell.get("models", []):
            model["throughput"] = dict(list(model["throughput"].items())[1:])
            for section in ("flops", "memory"):
                model[section] = dict(list(model[section].items())[1:]) | {}
            model["energy"] = {"prefill": 3}
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(data | {"later": True}))
    show_everywhere(read(edited))


def test_text_from_a_file_cannot_drive_the_terminal(tmp_path: Path) -> None:
    data = json.loads((FOLDER / "comparison-1.json").read_text())
    data["environment"]["device_name"] = "\x1b]0;owned\x07\ud800"
    data["models"][0]["name"] = "a\nb\u202e"
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(data))
    doc = read(path)
    for suffix in listed():
        text = rendered(doc, suffix)
        assert not {"\x1b", "\x07", "\u202e"} & {*text}
        text.encode()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "device": (_device, "not a regular file"),
    "folder": (_folder, "not a regular file"),
    "absent": (lambda path: None, "cannot read"),
    "text": (lambda path: path.write_text("hello"), "not JSON"),
    "deep": (lambda path: path.write_text("[" * 100_000), "not JSON"),
    "list": (lambda path: path.write_text("[]"), "holds no mapping"),
    "configuration": (lambda path: path.write_text('{"model_type": "llama"}'), "archcmp import"),
    "later": (lambda path: path.write_text('{"schema": "archcmp/3"}'), "by a newer archcmp: archcmp/3"),
    "another": (lambda path: path.write_text('{"schema": "other/1"}'), "'other/1', not one of archcmp/2"),
    "infinite": (lambda path: path.write_text('{"schema": 1e999}'), "not JSON"),
    "infinite when inverted": (lambda path: path.write_text('{"schema": 1e-310}'), "not JSON"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_other_files_are_refused_by_name(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    make(path)
    with pytest.raises(UsageError, match=said):
        read(path)


# ---- writing ----------------------------------------------------------------------------------------


def test_a_new_file_is_there_at_once_and_its_name_is_taken_once(tmp_path: Path) -> None:
    doc, path = read(FOLDER / "sweep-1.json"), tmp_path / "new.json"
    Store.create(path, doc)
    assert read(path) == doc
    with pytest.raises(UsageError, match="--resume"):
        Store.create(path, doc)
    assert read(path) == doc


@pytest.mark.parametrize("name", ["x" * 300 + ".json", "no/folder/x.json", "x.txt", "nul\0.json"])
def test_a_file_that_cannot_be_created_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Store.create(tmp_path / name, read(FOLDER / "sweep-1.json"))


def test_a_file_that_cannot_be_written_later_costs_nothing(tmp_path: Path) -> None:
    doc, folder = read(FOLDER / "sweep-1.json"), tmp_path / "gone"
    folder.mkdir()
    store = Store.create(folder / "x.json", doc)
    (folder / "x.json").unlink()
    folder.rmdir()
    store.write(doc)
    assert store.problem is not None and "x.json" in store.problem
    rescued = store.rescue(doc)
    assert rescued is not None and read(rescued) == doc
    rescued.unlink()
    folder.mkdir()
    store.write(doc)
    assert store.problem is None and read(folder / "x.json") == doc


def test_a_new_file_is_not_executable(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "x.json", read(FOLDER / "sweep-1.json"))
    assert not store.path.stat().st_mode & 0o111


def test_a_document_without_cells_is_compared_with_nothing(tmp_path: Path) -> None:
    doc = read(FOLDER / "grid-2.json")
    begun = Store.create(tmp_path / "begun.json", replace(doc, cells=[])).path
    with pytest.raises(UsageError, match="holds no finished cell"):
        merged([("", doc), ("begun.json", read(begun))])


@pytest.mark.parametrize("value", ["8", 0, None])
def test_axes_that_are_no_numbers_are_refused(value: object, tmp_path: Path) -> None:
    data = json.loads((FOLDER / "grid-2.json").read_text())
    data["request"]["axes"]["seq_len"] = [value]
    data["cells"] = [cell | {"point": cell["point"] | {"seq_len": value}} for cell in data["cells"][::2]]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="damaged"):
        read(path)


def test_two_runs_that_continue_one_file_keep_the_cells_of_both(tmp_path: Path) -> None:
    doc = read(FOLDER / "grid-2.json")
    store = Store.create(tmp_path / "x.json", replace(doc, cells=[]))
    for cell in doc.cells:
        store.write(replace(doc, cells=[cell]))
    assert read(store.path) == doc


@pytest.mark.parametrize("text", ["inf", "nan", "9" * 400, "3"])
def test_a_figure_that_is_text_is_refused(text: str, tmp_path: Path) -> None:
    data = json.loads((FOLDER / "race-2-masked.json").read_text())
    next(iter(data["cells"][0]["models"][0]["throughput"].values()))["median_s"] = text
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"damaged: cells\.0\.models\.0\.throughput"):
        read(path)


def test_a_quantity_of_another_version_is_shown_as_a_number(tmp_path: Path) -> None:
    text = (FOLDER / "comparison-2-matched.json").read_text()
    (tmp_path / "x.json").write_text(text.replace('"quantity": "params"', '"quantity": "carbon"'))
    (table,) = matched_tables(read(tmp_path / "x.json"))
    assert table.title.endswith(": carbon") and len(table.rows) == 1


def test_a_bound_of_no_time_is_shown_as_nothing(tmp_path: Path) -> None:
    data = json.loads((FOLDER / "comparison-2.json").read_text())
    for model in data["cells"][0]["models"]:
        for timing in model["throughput"].values():
            timing["roofline"]["bound_s"] = 0
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    show_everywhere(read(path))


def test_a_disk_that_is_full_from_the_start_is_told_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("archcmp.results.store.os.fdopen", full)
    with pytest.raises(UsageError, match="No space left"):
        Store.create(tmp_path / "x.json", read(FOLDER / "grid-2.json"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tokens", [[], [24, 16], [0, 16], [16, 24, 32, 40, 48]])
def test_a_cache_without_a_size_for_each_length_is_damage(tokens: list[int], tmp_path: Path) -> None:
    data = json.loads((FOLDER / "comparison-2-cache.json").read_text())
    data["models"][1]["cache"] = {"tokens": tokens, "stored_bytes": [8, 9]}
    damaged = tmp_path / "x.json"
    damaged.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"models\.1\.cache has no size for each length"):
        read(damaged)
