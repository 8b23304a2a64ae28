"""The one runner: it measures the cells that are missing, keeps each at once, and has one rule for Ctrl-C.

What is finished stays. The cell in flight is kept with what it has, marked as interrupted, and measured again
when the experiment is resumed. The library raises KeyboardInterrupt; the command line turns it into exit
code 130.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from archcmp.errors import ArchcmpError, UsageError
from archcmp.experiments.core import Experiment, OnProgress, Run, find_experiment
from archcmp.results.document import Cell, Document, Status
from archcmp.results.match import Matched
from archcmp.results.request import DEFAULT_DTYPE, Request, check_name, check_options
from archcmp.results.store import Store, read
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import NamedSpec, load_models, spec_sha256

OnDocument = Callable[[Document], None]
"""Called with the document whenever it holds more."""


class Session:
    """One experiment from its request to its document. Nothing is measured before `run`, and making one
    needs no torch: whatever is wrong with the request is told here."""

    def __init__(
        self,
        kind: str,
        specs: Sequence[str | ModelSpec],
        given: dict[str, Any],
        resume: Path | None = None,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`given` has the options that were given, by their names in Request; with `resume` there are no
        `specs`. `notify` is called with remarks for the user. Raises SpecError and UsageError."""
        self.experiment: Experiment = find_experiment(kind)
        self.notify = notify
        for name in given:
            check_name("option", name, [option.name for option in fields(Request) if option.name != "kind"])
        given = {name: value for name, value in given.items() if value is not None}
        for name in ("measure", "overrides", "vary"):
            if isinstance(given.get(name), str):
                given[name] = [given[name]]
        self.store: Store | None = None
        self.resumed = resume is not None
        if resume is not None:
            options = dict(given.get("options", {}))
            free = {name: options.pop(name) for name in self.experiment.changeable if name in options}
            self.document = _resumable(resume, kind, specs, {**given, "options": options})
            request = self.document.request
            self.document = replace(self.document, request=replace(request, options=request.options | free))
            self.specs = _specs_of(self.document)
            self.store = Store(resume)
            return
        asked = Request(kind, **self.experiment.defaults | given)
        check_options(asked)
        self.specs = load_models(specs, asked.overrides, asked.vary, notify)
        asked = replace(asked, specs=[named.id for named in self.specs], overrides=[], vary=[])
        request = self.experiment.check(asked, self.specs)
        self.experiment.check_precision(request, self.specs)
        ways: dict[str, Matched] = {}
        if request.match and len(self.specs) < 2:
            raise UsageError("--match changes the models after the first, so it needs two or more")
        if request.match:
            request, self.specs, ways = self.experiment.with_matched(request, self.specs)
        models = self.experiment.models(self.specs, request)
        self.document = Document(request, [replace(m, matched=ways.get(m.id)) for m in models])

    def keep_in(self, path: Path) -> None:
        """Create the file that every cell is written to. Raises UsageError if it is there already."""
        self.store = Store.create(path, self.document)

    def run(self, on_document: OnDocument | None = None, on_progress: OnProgress | None = None) -> Document:
        """Measure what is missing. `on_document` is called with the document whenever it holds more. Raises
        KeyboardInterrupt when interrupted; `document` has what was measured until then."""
        show = on_document or (lambda doc: None)
        try:
            if missing := self.document.missing():
                run = self._resolved(on_progress or (lambda text, share: None))
                for cell in self.experiment.cells(run, missing):
                    self._keep(cell, show)
            else:
                show(self.document)
        finally:
            if self.store is not None and not self.resumed and not self.document.cells:
                self.store.discard()
        return self.document

    def rescue(self) -> None:
        """Tell of a file that could not be written, and keep its figures elsewhere."""
        if self.store is not None and self.store.problem is not None:
            place = self.store.rescue(self.document)
            self.notify(f"{self.store.problem}; the figures are in {place}" if place else self.store.problem)

    def _resolved(self, on_progress: OnProgress) -> Run:
        """With the device and the dtype that counts and readings are made in; torch is loaded here."""
        from archcmp.timing.device import environment_of, native_dtype, resolve_device

        request = self.document.request
        runs = self.experiment.uses_device(request)
        device = resolve_device(request.device) if runs or request.device is not None else None
        timed = device if runs else None
        environment = environment_of(timed, self.experiment.packages(request))
        if timed is not None:
            known = self.document.environment.dtype if self.document.cells else None
            dtype = known or request.dtype or native_dtype(timed)
            environment = replace(environment, compiled=request.compile, dtype=dtype)
        request = replace(
            request, device=str(device) if device else None, dtype=request.dtype or DEFAULT_DTYPE
        )
        if self.document.cells:
            for name, (before, now) in self.document.environment.changes(environment).items():
                self.notify(f"cells measured earlier had another environment: {name} was {before}, now {now}")
        run = Run(request, self.specs, environment, on_progress, self.notify)
        if not self.document.cells:
            run.request = self.experiment.settled(run)
            run.environment = replace(environment, compiled=run.request.compile if timed else None)
        models = self.experiment.counted(run, self.document.models)
        self.document = replace(self.document, request=run.request, models=models)
        return run

    def _keep(self, cell: Cell, show: OnDocument) -> None:
        """Show first, then write: a file that cannot be written costs no figure, nor does a pipe that nobody
        reads."""
        others = [other for other in self.document.cells if other.point != cell.point]
        ended = any(other.status is not Status.INTERRUPTED for other in others)
        if not ended and cell.environment is not None:
            self.document = replace(self.document, environment=cell.environment)
        if cell.environment == self.document.environment:
            cell = replace(cell, environment=None)
        self.document = self.document.with_cell(cell)
        self.document = replace(self.document, summary=self.experiment.summary(self.document))
        try:
            show(self.document)
        finally:
            if self.store is not None:
                self.store.write(self.document)


def _resumable(path: Path, kind: str, specs: Sequence[str | ModelSpec], given: dict[str, Any]) -> Document:
    """The saved document, if it can be continued with the options given. Raises UsageError."""
    doc = read(path)
    if doc.kind != kind:
        shown = shlex.join(["archcmp", "compare", str(path)])
        raise UsageError(f"'{path}' holds results of kind {doc.kind}, not {kind}. Show it: {shown}")
    if doc.missing() and any(model.spec is None for model in doc.models):
        raise UsageError(f"'{path}' was written by version 1; it can be shown, but not continued")
    asked = dict(given)
    overrides, vary = asked.pop("overrides", ()), asked.pop("vary", ())
    differing = [
        f"{name} was {_shown(known)}, now {_shown(value)}"
        for name, known, value in _then_and_now(doc.request, asked)
        if known != value
    ]
    if specs or overrides or vary:
        ids = [named.id for named in load_models(specs, overrides, vary)]
        ways = {model.id: f"+{model.matched.override}" for model in doc.models if model.matched}
        known = [id.removesuffix(ways.get(id, "")) for id in doc.request.specs]
        if ids != known:
            differing.append(f"specs were {_shown(known)}, now {_shown(ids)}")
    if differing:
        raise UsageError(f"cannot continue '{path}' with other options: {'; '.join(differing)}")
    return doc


def _then_and_now(request: Request, given: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Every option that is given, what was asked for under its name, and what is given now."""
    for name, value in given.items():
        known = getattr(request, name)
        if isinstance(value, dict):
            yield from ((key, (known or {}).get(key), value[key]) for key in value)
        else:
            yield name, known, value


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def _specs_of(doc: Document) -> list[NamedSpec]:
    """The specs that a document began with, as it holds them. Raises UsageError where the file that a
    reference names has changed since."""
    models = {model.id: model for model in doc.models}
    found = []
    for reference in doc.request.specs:
        try:
            model = models[reference]
            spec = ModelSpec.model_validate(model.spec)
        except (KeyError, ValidationError):
            raise UsageError(
                f"the results hold no spec of {reference}, so they cannot be continued"
            ) from None
        try:
            changed = spec_sha256(load_models([reference])[0].spec) != model.spec_sha256
        except ArchcmpError:
            changed = False
        if changed:
            raise UsageError(
                f"{reference} has changed since these results were begun. Begin others with another --output"
            )
        found.append(NamedSpec(reference, model.name, spec))
    return found
