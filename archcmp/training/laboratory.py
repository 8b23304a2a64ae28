"""Where runs are made: how many steps fit a budget, whether compiling pays, and the runs themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from archcmp.errors import MeasureError, UsageError
from archcmp.training.recipe import FEWEST_STEPS
from archcmp.training.worker import Crew, Setting, Task

Point = dict[str, Any]

MOST_CHOSEN = 1_000
"""Steps that are chosen at most where none are given."""

EXTRA_STEPS = 20
"""What a run takes besides its steps, in steps: two validation losses and the probes."""

WORTH_COMPILING_S = 15.0
"""Compiling is tried where the runs of a model take longer on each worker; it takes about as long itself."""

MARGIN = 0.92
"""The share of the budget that is planned for: runs on all cores at once are slower than a reading."""


class Laboratory:
    """A crew and what it is told. `notify` is called with remarks, `on_progress` with what is being done and
    the share that is done."""

    def __init__(
        self,
        setting: Setting,
        n_workers: int,
        notify: Callable[[str], None],
        on_progress: Callable[[str, float], None],
    ) -> None:
        self.models, self.n_workers = list(setting.specs), n_workers
        self.notify, self.on_progress = notify, on_progress
        self.crew = Crew(setting, n_workers)

    def stop(self) -> None:
        """End the crew at once."""
        self.crew.stop()

    def _timed(self, compiled: bool) -> float:
        """Seconds of a step, summed over the models."""
        what = "compiling" if compiled else "timing"
        n_models = len(self.models)
        self.on_progress(f"{what} {n_models} model{'s' * (n_models > 1)}", 0.0)
        tasks = [Task(model, compiled) for model in self.models]
        seconds: list[float] = [step_s for _, step_s in self.crew.answers(tasks)]
        return sum(seconds)

    def plan(
        self, runs_per_model: int, steps: int | None, compiling: str, budget_s: float
    ) -> tuple[int, bool]:
        """The number of steps of every run, and whether their code is compiled: whichever gives more steps
        within the budget, or less time for the `steps` that are given. Raises UsageError for a budget that
        is too small and MeasureError where compiling is asked for and fails."""
        start = time.perf_counter()
        step_s = self._timed(False) if compiling != "always" else float("inf")
        eager = runs_per_model * step_s / self.n_workers
        left_s = MARGIN * budget_s - (time.perf_counter() - start)
        whole_s = eager * (steps + EXTRA_STEPS) if steps is not None else left_s
        each_s = whole_s / len(self.models)
        compiled = compiling == "always" or (compiling == "auto" and each_s > WORTH_COMPILING_S)
        per_step = eager
        if compiled:
            per_step, compiled = self._compiled(runs_per_model, eager, compiling == "always")
            left_s = MARGIN * budget_s - (time.perf_counter() - start)
        if steps is None:
            steps = min(MOST_CHOSEN, int(left_s / per_step - EXTRA_STEPS) // 10 * 10)
        if steps < FEWEST_STEPS:
            needed = (FEWEST_STEPS + EXTRA_STEPS) * per_step + budget_s - left_s
            raise UsageError(
                f"a budget of {budget_s:g} s is too small for {runs_per_model * len(self.models)} runs of "
                f"{FEWEST_STEPS} steps; write --budget {needed:.0f}, or fewer rates or seeds"
            )
        seconds = (steps + EXTRA_STEPS) * per_step
        self.notify(
            f"{runs_per_model * len(self.models)} runs of {steps} steps, {self.n_workers} at a time, "
            f"{'compiled' if compiled else 'eager'}: about {_duration(seconds)}"
        )
        return steps, compiled

    def _compiled(self, runs_per_model: int, eager: float, asked: bool) -> tuple[float, bool]:
        """Seconds per step of all runs and whether they are compiled: the faster of both, unless `asked`."""
        try:
            step_s = self._timed(True)
        except MeasureError as error:
            if asked:
                raise
            self.notify(f"torch.compile cannot be used here, so runs are eager: {error}")
            return eager, False
        compiled = runs_per_model * step_s / self.n_workers
        return (compiled, True) if asked or compiled < eager else (eager, False)

    def runs(
        self, points: Sequence[Point], n_all: int, steps: int, compiled: bool
    ) -> Iterator[tuple[Point, Any]]:
        """Each point with the result of its run, in the order in which runs end."""
        tasks = {
            Task(point["model"], compiled, point["learning_rate"], point["seed"], steps): point
            for point in points
        }
        start, n_ended = time.perf_counter(), n_all - len(points)
        self.on_progress(f"run {n_ended + 1} of {n_all}", n_ended / n_all)
        for n, (task, result) in enumerate(self.crew.answers(tasks), 1):
            yield tasks[task], result
            left_s = (time.perf_counter() - start) / n * (len(points) - n)
            self.on_progress(
                f"{n_ended + n} of {n_all} runs, about {_duration(left_s)} left", (n_ended + n) / n_all
            )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
