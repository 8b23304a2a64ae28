"""What compare, bench and race share: run an experiment or take saved ones, show it, write it, exit."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from inspect import Signature, signature
from pathlib import Path
from typing import Any

import typer

from archcmp.cli import INTERRUPTED
from archcmp.cli import options as o
from archcmp.cli.progress import MeasuringProgress, say
from archcmp.errors import ArchcmpError, UsageError
from archcmp.experiments.runner import Session
from archcmp.report.export import check_export, export
from archcmp.report.formats.terminal import print_tables
from archcmp.report.plots.files import PlotFile
from archcmp.report.table import Table
from archcmp.report.tables import tables_of
from archcmp.results.document import Document
from archcmp.results.merge import check_alike, common_points, merged, points_of
from archcmp.results.request import DEFAULT_DTYPE, Request
from archcmp.results.store import read, to_text
from archcmp.spec.shapes import TooLongError
from archcmp.timing.process import settle_process

SAVED = ".json"
MATCHING = ("match", "by", "multiple")
"""The shared options of experiments whose models can be matched."""
PRECISION = ("weights", "kv")
"""The shared options of experiments that count memory."""


@dataclass
class Show:
    """Where a document goes: stdout, as tables or JSON, then files. A file that cannot be written is named
    and costs no other."""

    as_json: bool = False
    details: bool = False
    all_choices: bool = False
    exports: Sequence[Path] = ()
    standalone: bool = False
    plots: Sequence[PlotFile] = ()
    failed: bool = False
    _printed: set[str] = field(default_factory=set)
    _complaints: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Raises UsageError for a file that cannot be written, before anything is measured."""
        for path in self.exports:
            check_export(path)
        for plot in self.plots:
            plot.check()

    def check_asked(self, request: Request) -> None:
        """Raises UsageError for a plot that no document of this request has figures for."""
        for plot in self.plots:
            plot.check_asked(request)

    def check_drawable(self, doc: Document) -> None:
        """Raises UsageError where a saved document has no figures for a plot."""
        for plot in self.plots:
            plot.kinds_in(doc)

    def begun(self, doc: Document) -> None:
        """What needs no clock, once every cell has it; files that are not there yet hold it before, too, in
        case measuring is cut short."""
        if not self.as_json and len(doc.cells) == len(doc.request.points()):
            self._print([table for table in tables_of(doc, self.all_choices) if not table.measured])
        for path in self.exports:
            if not path.exists():
                self._write(path, doc, self._exporter(path))

    def ended(self, doc: Document) -> None:
        """Everything that is not shown yet: first on stdout, then in files, also if stdout is closed."""
        try:
            if self.as_json:
                typer.echo(to_text(doc), nl=False)
            else:
                self._print(tables_of(doc, self.all_choices))
        finally:
            self._write_all(doc)

    def _write_all(self, doc: Document) -> None:
        writers = [(path, self._exporter(path)) for path in self.exports]
        writers += [(plot.path, plot.draw) for plot in self.plots]
        self.failed = False
        for path, write in writers:
            if self._write(path, doc, write):
                typer.echo(f"wrote {path}", err=True)

    def _print(self, tables: list[Table]) -> None:
        print_tables([table for table in tables if table.title not in self._printed], self.details)
        self._printed.update(table.title for table in tables)

    def _exporter(self, path: Path) -> Callable[[Document], None]:
        return lambda doc: export(doc, path, self.standalone)

    def _write(self, path: Path, doc: Document, write: Callable[[Document], None]) -> bool:
        """Whether it could be written. A file that could not be is tried again with later figures, but
        complained about once."""
        try:
            write(doc)
        except ArchcmpError as error:
            self.failed = True
            if str(error) not in self._complaints:
                say(str(error))
            self._complaints.add(str(error))
            return False
        return True


@dataclass
class Asked:
    """What a command line asks for: references, options by their names in Request, and where results go."""

    references: list[str]
    given: dict[str, Any]
    show: Show
    output: Path | None
    resume: Path | None

    def keep(self, name: str) -> None:
        """Keep the cells of an experiment that takes long in a file of this name and the time, where none was
        named."""
        runs = self.resume is None and not all(name.endswith(SAVED) for name in self.references)
        measures = runs and self.given["measure"] != []
        if self.output is None and measures:
            self.output = Path(f"{name}-{datetime.now():%Y%m%d-%H%M%S}.json")


def _asked(
    specs: o.Specs = None,
    overrides: o.Set = None,
    vary: o.Vary = None,
    match: o.Match = None,
    by: o.By = None,
    multiple: o.Multiple = None,
    all_choices: o.AllChoices = False,
    details: o.Details = False,
    export: o.Export = None,
    standalone: o.Standalone = False,
    output: o.Output = None,
    resume: o.Resume = None,
    as_json: o.Json = False,
    batch_size: o.BatchSize = None,
    seq_len: o.SeqLen = None,
    measure: o.Measure = None,
    no_measure: o.NoMeasure = False,
    convention: o.Convention = None,
    budget_s: o.Budget = None,
    device: o.Device = None,
    dtype: o.DType = None,
    weights: o.Weights = None,
    kv: o.KV = None,
    compose: o.Compose = None,
    compile_models: o.Compile = None,
    plots: o.Plot = None,
) -> Asked:
    """The options that every experiment takes, under the same names."""
    matching = {"quantity": match, "by": by, "multiple": multiple}
    given = {
        "match": {name: value for name, value in matching.items() if value is not None} or None,
        "overrides": overrides,
        "vary": vary,
        "axes": o.axes(batch_size, seq_len),
        "measure": o.workloads(measure, no_measure),
        "convention": convention,
        "budget_s": budget_s,
        "device": "cuda:0" if device == "cuda" else device,
        "dtype": dtype,
        "weights": weights,
        "kv": kv,
        "compose": compose,
        "compile": compile_models,
    }
    drawn = [PlotFile.parse(text) for text in plots or ()]
    show = Show(as_json, details, all_choices, export or (), standalone, drawn)
    return Asked(specs or [], given, show, output, resume)


def experiment_command(kind: str, without: Sequence[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Make a command of a function that takes Asked and options of its own: the shared options, all but those
    named in `without`, come before its own, and the experiment is run with what the function leaves."""

    def decorate(adapt: Callable[..., None]) -> Callable[..., None]:
        shared = {n: p for n, p in signature(_asked, eval_str=True).parameters.items() if n not in without}
        _, *own = signature(adapt, eval_str=True).parameters.values()

        def command(**options: Any) -> None:
            asked = _asked(**{name: options[name] for name in shared})
            adapt(asked, **{parameter.name: options[parameter.name] for parameter in own})
            run_experiment(kind, asked, adapt.__module__.rpartition(".")[2])

        command.__signature__ = Signature([*shared.values(), *own])  # type: ignore[attr-defined]
        return command

    return decorate


def run_experiment(kind: str, asked: Asked, command: str) -> None:
    """Measure what is asked, or show what is saved; ends `command` with its exit code. References that end
    with .json are saved documents, which are shown beside what is measured."""
    settle_process()
    show, given = asked.show, asked.given
    show.check()
    saved = [(Path(name).name, read(name)) for name in asked.references if name.endswith(SAVED)]
    specs = [name for name in asked.references if not name.endswith(SAVED)]
    if saved and not specs and asked.resume is None:
        doc = merged(saved)
        show.check_drawable(doc)
        show.ended(doc)
        raise typer.Exit(int(show.failed))
    if saved and given["match"]:
        raise UsageError("saved results stay as they are; leave --match out, or name specs only")
    if asked.output is not None and asked.resume is not None:
        raise UsageError("--resume continues its own file; leave --output out")
    session = _session(kind, specs, saved, asked)
    _check_saved(session, saved)
    if asked.output is not None:
        session.keep_in(asked.output)
    saved_first = bool(asked.references) and asked.references[0].endswith(SAVED)
    try:
        interrupted = _measure(session, show, saved, saved_first)
    finally:
        session.rescue()
    raise typer.Exit(_interruption(session, command) if interrupted else _end(session, show))


def _session(kind: str, specs: list[str], saved: Sequence[tuple[str, Document]], asked: Asked) -> Session:
    """The experiment to run; beside saved figures, at their batch sizes and lengths."""
    given = _like(saved[0][1], asked.given) if saved else asked.given
    try:
        session = Session(kind, specs, given, asked.resume, say)
    except TooLongError as error:
        if not saved or "seq_len" in (asked.given["axes"] or {}):
            raise
        label = saved[0][0]
        remedy = f"This length is that of {label}: make {label} again with {error.most:,} tokens or fewer"
        raise UsageError(f"{error.problem}. {remedy}") from None
    if not saved:
        asked.show.check_asked(session.document.request)
    return session


def _like(saved: Document, given: dict[str, Any]) -> dict[str, Any]:
    """What is not given is taken from the saved document, beside which the new figures will stand."""
    axes = {axis: v for axis, v in saved.request.axes.items() if axis in ("batch_size", "seq_len")}
    convention = given.get("convention") or saved.request.convention
    usual = saved.request.dtype == DEFAULT_DTYPE
    dtype = given.get("dtype") or (None if usual else saved.request.dtype)
    stored = {name: given.get(name) or value for name, value in vars(saved.request.precision).items()}
    axes |= given.get("axes") or {}
    return {**given, "axes": axes, "convention": convention, "dtype": dtype, **stored}


def _check_saved(session: Session, saved: Sequence[tuple[str, Document]]) -> None:
    """Raises UsageError, before anything is measured, for documents that could not stand side by side."""
    for label, doc in saved:
        check_alike(session.document.request, "this run", doc.request, label)
    saved_points = [points_of(label, doc) for label, doc in saved]
    common_points([session.document.request.points(), *saved_points])


def _measure(session: Session, show: Show, saved: Sequence[tuple[str, Document]], saved_first: bool) -> bool:
    """Run the session and show it; whether it was interrupted."""

    def beside(doc: Document) -> Document:
        own = [("", doc)]
        return merged([*saved, *own] if saved_first else [*own, *saved]) if saved else doc

    interrupted = False
    n_missing = len(session.document.missing())
    if session.store is not None and n_missing:
        typer.echo(f"writing {session.store.path}; cells to measure: {n_missing}", err=True)
    try:
        with MeasuringProgress() as progress:

            def begun(doc: Document) -> None:
                if not saved or len(doc.cells) == len(doc.request.points()):
                    with progress.paused():
                        show.begun(beside(doc))

            session.run(begun, progress)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if session.document.cells:
            show.ended(beside(session.document))
    return interrupted


def _end(session: Session, show: Show) -> int:
    """The exit code of an experiment that was not interrupted."""
    unwritten = session.store is not None and session.store.problem is not None
    return int(session.document.refused or show.failed or unwritten)


def _interruption(session: Session, command: str) -> int:
    """Say what is finished and how to continue."""
    n_cells, n_missing = len(session.document.request.points()), len(session.document.missing())
    if not session.document.cells:
        say("interrupted before anything was measured")
        return INTERRUPTED
    said = (
        f"interrupted; {n_cells - n_missing} of {n_cells} cells are finished, the others hold what was read"
    )
    if session.store is not None:
        said += f". Continue: {shlex.join(['archcmp', command, '--resume', str(session.store.path)])}"
    say(said)
    return INTERRUPTED
