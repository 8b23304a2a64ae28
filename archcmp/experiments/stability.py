"""Stability: proxies of the models trained over learning rates and seeds, and what that says together."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.core import Experiment, Run, described, matches, register
from archcmp.results.document import Cell, Document, Model, Status
from archcmp.results.match import Matched
from archcmp.results.request import Point, Request, check_name
from archcmp.results.store import MAX_CELLS
from archcmp.spec.describe import design_choices
from archcmp.spec.overrides import parse
from archcmp.spec.scale import proxy
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import NamedSpec, Reference
from archcmp.training import estimates
from archcmp.training.hypotheses import Factor, TwoByTwo, test_hypotheses
from archcmp.training.recipe import Recipe
from archcmp.training.text import VOCAB_SIZE, Text, load_text
from archcmp.units import rounded

if TYPE_CHECKING:
    from archcmp.training.laboratory import Laboratory

LEARNING_RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
"""Half decades, up to where models of this size diverge."""

HIGHEST_RATE = 1_000
N_SEEDS = 3
COMPILE = ("auto", "always", "never")
_OPTIONS = [*(field.name for field in fields(Recipe)), "stress", "text", "compile", "jobs"]


@register
class Stability(Experiment):
    """A cell is a run: a model's proxy at one learning rate from one seed. `budget_s` is for all runs.
    Options are those of Recipe, and `stress`, `text` (a path), `compile` and `jobs`."""

    kind = "stability"
    defaults: ClassVar[dict[str, Any]] = {"dtype": "float32", "budget_s": 600.0}
    changeable = ("jobs",)

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if not specs:
            raise UsageError("no spec was named")
        options = dict(request.options)
        for name in options:
            check_name("option of a stability experiment", name, _OPTIONS)
        check_name("dtype of training", str(request.dtype), ["float32", "bfloat16"])
        check_name("way to compile", options.setdefault("compile", "auto"), COMPILE)
        recipe = Recipe.of(options)
        text = load_text(options.setdefault("text", None))
        text.check_length(recipe.seq_len)
        if (jobs := options.setdefault("jobs", None)) is not None and not 1 <= jobs <= 256:
            raise UsageError(f"jobs must be a whole number from 1 to 256, not {jobs:,}")
        size = recipe.d_model, recipe.n_layers, recipe.seq_len, VOCAB_SIZE
        options |= asdict(recipe) | {"stress": bool(options.get("stress"))}
        options |= {"text_name": text.name, "text_fingerprint": text.fingerprint}
        options |= {"unigram_entropy": rounded(text.unigram_entropy)}
        options["proxies"] = {named.id: proxy(named.spec, *size).model_dump(mode="json") for named in specs}
        rates, seeds = _rates(request.axes), _seeds(request.axes)
        axes: dict[str, list[Any]] = {
            "seed": seeds,
            "learning_rate": rates,
            "model": [named.id for named in specs],
        }
        n_runs = len(seeds) * len(rates) * len(specs)
        if n_runs > MAX_CELLS:
            raise UsageError(f"{n_runs:,} runs are too many; at most {MAX_CELLS:,} are kept in one file")
        return replace(request, axes=axes, options=options)

    def with_matched(
        self, request: Request, specs: Sequence[NamedSpec]
    ) -> tuple[Request, list[NamedSpec], dict[str, Matched]]:
        """The proxies are matched, and the specs stay."""
        recipe, proxies = Recipe.of(request.options), _proxies(request)
        shape = {"batch_size": [recipe.batch_size], "seq_len": [recipe.seq_len]}
        ids = [named.id for named in specs]
        found = matches([proxies[id] for id in ids], replace(request, axes=shape))
        changed = {id: spec for id, (spec, _) in zip(ids[1:], found, strict=True)}
        kept = {id: spec.model_dump(mode="json") for id, spec in (proxies | changed).items()}
        ways = {id: way for id, (_, way) in zip(ids[1:], found, strict=True)}
        return replace(request, options=request.options | {"proxies": kept}), list(specs), ways

    def models(self, specs: Sequence[NamedSpec], request: Request) -> list[Model]:
        """The choices shown are those of the proxies."""
        proxies = _proxies(request)
        return [replace(described(named), choices=dict(design_choices(proxies[named.id]))) for named in specs]

    def uses_device(self, request: Request) -> bool:
        return True

    def settled(self, run: Run) -> Request:
        """With the number of steps that fits the budget, and whether compiling pays."""
        request, options = run.request, run.request.options
        n_runs = len(request.points()) // len(run.specs)
        laboratory = run.state["laboratory"] = self._laboratory(run)
        try:
            steps, compiled = laboratory.plan(n_runs, options["steps"], options["compile"], request.budget_s)
        except BaseException:
            laboratory.stop()
            raise
        return replace(request, compile=compiled, options=options | {"steps": steps})

    def cells(self, run: Run, points: Sequence[Point]) -> Iterator[Cell]:
        request = run.request
        steps, n_all = request.options["steps"], len(request.points())
        laboratory = run.state.pop("laboratory", None) or self._laboratory(run)
        try:
            for point, result in laboratory.runs(points, n_all, steps, request.compile):
                yield Cell(point, Status.DONE, [], run.environment, result)
        finally:
            laboratory.stop()

    def _laboratory(self, run: Run) -> Laboratory:
        """The workers of an experiment, made once. Raises UsageError for proxies that do not fit."""
        import torch

        from archcmp.timing.memory import available_bytes, shortage
        from archcmp.timing.process import ALLOWED_CPUS
        from archcmp.training.laboratory import Laboratory
        from archcmp.training.worker import Setting

        request = run.request
        assert request.device is not None and request.dtype is not None
        device, recipe = torch.device(request.device), Recipe.of(request.options)
        n_workers = request.options["jobs"] or (torch.get_num_threads() if device.type == "cpu" else 1)
        n_workers = min(n_workers, len(request.points()))
        needed = max(_bytes_of_run(spec, recipe) for spec in _proxies(request).values())
        short = shortage(n_workers * needed, available_bytes(device))
        if short is not None:
            raise UsageError(
                f"training {n_workers} proxies at a time {short}. Write fewer --jobs, or smaller sizes"
            )
        proxies, text = request.options["proxies"], self._text(request)
        setting = Setting(proxies, recipe, text, request.device, request.dtype, ALLOWED_CPUS)
        return Laboratory(setting, n_workers, run.notify, run.on_progress)

    def _text(self, request: Request) -> Text:
        """The text of the request. Raises UsageError where it is no longer what it was."""
        text = load_text(request.options["text"])
        if text.fingerprint != request.options["text_fingerprint"]:
            raise UsageError(
                f"{text.name} has changed since this experiment was begun. Begin another with a new --output"
            )
        return text

    def summary(self, doc: Document) -> dict[str, Any]:
        """Estimates per model, hypotheses, and the curves of loss over learning rate."""
        runs = [_run(cell) for cell in doc.cells if cell.status is Status.DONE]
        models = [model.id for model in doc.models]
        rates = doc.request.axes["learning_rate"]
        found = estimates.summarize(runs, models, rates)
        curves = {model: [_at(doc, runs, model, rate) for rate in rates] for model in models}
        return found | test_hypotheses(runs, models, rates, two_by_two(models)) | {"curves": curves}


def _rates(axes: dict[str, list[Any]]) -> list[Any]:
    """The learning rates, ascending. Raises UsageError."""
    rates = sorted(axes.get("learning_rate") or LEARNING_RATES)
    if len(rates) < 2:
        raise UsageError("one learning rate shows no edge; write several, such as --lr 0.03,0.3,3")
    for rate in rates:
        if not 0 < rate <= HIGHEST_RATE:
            raise UsageError(f"a learning rate must be above 0 and at most {HIGHEST_RATE:,}, not {rate:g}")
    return rates


def _seeds(axes: dict[str, list[Any]]) -> list[Any]:
    """The seeds. Raises UsageError where there is one, over which there is no interval."""
    seeds = axes.get("seed") or list(range(N_SEEDS))
    if len(seeds) < 2:
        raise UsageError("an interval over seeds needs at least 2 of them; write --seeds 3")
    return seeds


def _bytes_of_run(spec: ModelSpec, recipe: Recipe) -> int:
    """An upper bound for one process: torch itself, weights, gradients and moments in float32, and 64 values
    kept per element of the residual stream and layer, the attention scores and three copies of the logits."""
    from archcmp.analysis import count

    tokens = recipe.batch_size * recipe.seq_len
    kept = 64 * spec.n_streams * spec.d_model + spec.d_model // 16 * recipe.seq_len
    values = (
        4 * count(spec, 1, recipe.seq_len).params["total"].total
        + tokens * recipe.n_layers * spec.passes * kept
    )
    return 2**29 + 4 * (values + 3 * tokens * spec.vocab_size)


def _proxies(request: Request) -> dict[str, ModelSpec]:
    return {id: ModelSpec.model_validate(spec) for id, spec in request.options["proxies"].items()}


def _run(cell: Cell) -> estimates.Run:
    point, result = cell.point, cell.result
    return estimates.Run(
        point["model"],
        point["learning_rate"],
        point["seed"],
        result["final_loss"],
        result["initial_loss"],
        result["diverged"],
    )


def _at(doc: Document, runs: Sequence[estimates.Run], model: str, rate: float) -> dict[str, Any]:
    """What the seeds say of one model at one rate: mean, least and most of the final loss, in which a
    diverged run counts as its first loss, and the median of the largest attention logit at the last probe."""
    here = [run for run in runs if run.model == model and run.learning_rate == rate]
    scores = [run.score for run in here]
    logits = [
        largest
        for cell in doc.cells
        if cell.point["model"] == model and cell.point["learning_rate"] == rate and cell.result
        if (largest := _largest_logit(cell.result)) is not None
    ]
    return {
        "learning_rate": rate,
        "runs": len(here),
        "diverged": sum(run.diverged for run in here),
        "loss": rounded(sum(scores) / len(scores)) if scores else None,
        "least": min(scores, default=None),
        "most": max(scores, default=None),
        "max_logit": statistics.median_high(logits) if logits else None,
    }


def _largest_logit(result: dict[str, Any]) -> float | None:
    layers = (result["probes"].get("max_logit") or [[]])[-1]
    return max((value for value in layers if value is not None), default=None)


def two_by_two(models: Sequence[str]) -> TwoByTwo | None:
    """The two factors of four models that differ in two keys of two values each; None for others."""
    parsed = [Reference.parse(model) for model in models]
    if len(models) != 4 or len({(reference.family, reference.size) for reference in parsed}) > 1:
        return None
    changes = [{parse(text).key: parse(text).value for text in reference.overrides} for reference in parsed]
    keys = list(changes[0])
    values = {key: list(dict.fromkeys(str(change.get(key)) for change in changes)) for key in keys}
    varied = [key for key in keys if len(values[key]) > 1]
    if any(list(change) != keys for change in changes) or [len(values[key]) for key in varied] != [2, 2]:
        return None
    first, second = (Factor(key, *values[key]) for key in varied)
    by_level = {
        (str(change[first.key]), str(change[second.key])): model
        for change, model in zip(changes, models, strict=True)
    }
    if len(by_level) < 4:
        return None
    (a, b), (c, d) = (
        tuple(by_level[level, other] for other in (second.low, second.high))
        for level in (first.low, first.high)
    )
    return TwoByTwo(first, second, ((a, b), (c, d)))
