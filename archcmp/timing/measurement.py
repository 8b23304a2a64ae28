"""The measuring pipeline: calibrate, plan, time interleaved piece by piece, sum to models, report."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import torch

from archcmp.model.ops.onednn import Layout
from archcmp.results.request import Request
from archcmp.results.timings import PartTimes, Rates, Throughput
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.calibrate import best_known, calibrate, lower
from archcmp.timing.clock import Budget, DeviceTimer, OnProgress, Timer, Work
from archcmp.timing.device import settled
from archcmp.timing.kernels import fastest_kernels
from archcmp.timing.memory import is_out_of_memory
from archcmp.timing.pieces import Piece
from archcmp.timing.plan import Planner, Task
from archcmp.timing.rounds import MIN_ROUNDS, MOST_SPENT, affordable_builds, fewest_rounds, interleave
from archcmp.timing.runnable import Runnable
from archcmp.timing.stats import throughput
from archcmp.timing.workloads import WORKLOADS


class Measurement:
    """Every workload of a request on every spec, at one batch size and length, in one run.

    `base_of` gives the place of the model with which another, by its place, is compared: the first, unless
    given. `timer` and `available` (bytes for all models together) are for tests; None is the device's own
    clock and memory. `rates` are the device's best known rates, `fresh_rates` the lower ones of the
    calibrations at the start and at the end of this run. `n_builds` is how often every model is built, and
    `needed_s` what even the fewest rounds should take.
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        request: Request,
        batch_size: int,
        seq_len: int,
        on_progress: OnProgress | None = None,
        timer: Timer | None = None,
        available: int | None = None,
        base_of: Callable[[int], int] = lambda place: 0,
    ) -> None:
        self.request, self.batch_size, self.seq_len = request, batch_size, seq_len
        self._base_of = base_of
        self.device, _ = settled(request)
        assert request.dtype is not None
        self.timer = timer or DeviceTimer(self.device)
        keep_freed_memory()
        self._budget = Budget(request.budget_s, self.timer, on_progress)
        self._built: dict[tuple[int, Piece], Runnable] = {}
        self._laid_out: tuple[bool, Layout | None] | None = None
        self._budget.report("calibrating the device")
        self.fresh_rates = self._calibrated()
        self._kernels = fastest_kernels(self.device, request.dtype, self.timer)
        self._planner = Planner(specs, request, batch_size, seq_len, self.fresh_rates, available)
        self.tasks = [task for name in request.measure for task in self._planner.tasks(WORKLOADS[name])]
        self._build = self._n_read = 0
        self._build_s = self._planner.build_s(self.tasks, self._kernels)
        run_s = self._planner.run_s(self.tasks)
        self.n_builds = 1 if request.compile else affordable_builds(self._build_s, run_s, self._budget.left_s)
        self.needed_s = self._budget.spent_s + self._build_s + (1 + MIN_ROUNDS) * run_s

    def run(self) -> Iterator[str]:
        """Build everything anew `n_builds` times, as long as the budget lasts, and each time read workload
        after workload; a name is yielded whenever its workload has more readings. Within a workload, every
        model's first piece is timed, then every model's second. The device is calibrated again at the end. An
        interruption leaves every whole round in `results`."""
        try:
            start_s = self._budget.spent_s
            while self._build < self.n_builds:
                self._give_back()
                for name in self.request.measure:
                    tasks = [task for task in self.tasks if task.workload.name == name]
                    for index in range(max(len(task.pieces) for task in tasks)):
                        self._run_or_refuse(tasks, index)
                    yield name
                self._plan_rest((self._budget.spent_s - start_s) / (self._build + 1))
                self._build += 1
            self._give_back()
            try:
                self.fresh_rates = lower(self.fresh_rates, self._calibrated())
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
        finally:
            self._give_back()

    def _plan_rest(self, pass_s: float) -> None:
        """Leave out builds that would end after the budget, each of which should take `pass_s`, as long as
        the rounds that an interval takes are read: in one build more, if need be."""
        left_s = MOST_SPENT * self.request.budget_s - self._budget.spent_s
        live = [task.builds() for task in self.tasks if not task.refused]
        self._n_read = min((sum(map(len, builds)) for builds in live), default=MIN_ROUNDS)
        still = max(int(left_s / max(pass_s, 1e-9)), int(self._n_read < MIN_ROUNDS))
        self.n_builds = min(self.n_builds, self._build + 1 + still)

    def _calibrated(self) -> Rates:
        """The rates of this moment. Only what the device's own clock says is remembered for other runs."""
        assert self.request.dtype is not None
        fresh = calibrate(self.device, self.request.dtype, self.timer)
        self.rates = (
            best_known(fresh, self.device, self.request.dtype)
            if isinstance(self.timer, DeviceTimer)
            else fresh
        )
        return fresh

    def _run_or_refuse(self, tasks: Sequence[Task], index: int) -> None:
        """Time a piece of each task. Where there is less room than was estimated, those models are refused,
        unless an earlier build was read, and the rest goes on."""
        live = [task for task in tasks if index < len(task.pieces) and not task.refused]
        if not live:
            return
        try:
            self._run_pieces(live, index)
            return
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        for task in live:
            task.refused = f"ran out of memory: {task.pieces[index].name}"
        self._give_back()

    def _run_pieces(self, tasks: Sequence[Task], index: int) -> None:
        """Pieces stay built for the next workload where there is room."""
        if self.request.compile:
            torch.compiler.reset()
        text = f"{tasks[0].workload.name}: {tasks[0].pieces[index].name}"
        self._budget.report(text)
        works = self._prepared(tasks, index)
        budget_s = self._budget_s(tasks, index)
        for task in tasks:
            task.readings[index].append([])
        report = partial(self._budget.report, text)
        fewest = fewest_rounds(self.n_builds - self._build, self._n_read)
        for seconds in interleave(works, self.timer, budget_s, report, self.n_builds, fewest):
            for task, reading in zip(tasks, seconds, strict=True):
                task.readings[index][-1].append(reading / task.pieces[index].runs(task.workload))
        if not self._have_room_together():
            self._give_back()

    def _prepared(self, tasks: Sequence[Task], index: int) -> list[Work]:
        """The works of all tasks. Every second build is in the reverse order, so that no model always has
        the memory that is allocated first."""
        if self._build % 2 == 0:
            return [self._prepare(task, index) for task in tasks]
        return [self._prepare(task, index) for task in reversed(tasks)][::-1]

    def _prepare(self, task: Task, index: int) -> Work:
        """Build and, if asked, compile what is timed; that time is kept apart from the readings."""
        start = self.timer.now()
        work = task.workload.prepare(self._runnable(task, index), self.batch_size, task.seq_len)
        task.build_s += self.timer.now() - start
        if self.request.compile:
            task.compile_s += self.timer.time(work)
        return work

    def _runnable(self, task: Task, index: int) -> Runnable:
        """The task's piece in memory, built once in every build for workloads that take one layout."""
        trains = task.workload.trains
        layout = self._kernels.layout_for(task.workload, self.batch_size, task.seq_len)
        if (trains, layout) != self._laid_out:
            self._give_back()
            self._laid_out = trains, layout
        key = (task.model_index, task.pieces[index])
        if key not in self._built:
            self._built[key] = task.pieces[index].build(self.device, trains, layout, self.request.compile)
        return self._built[key]

    def _give_back(self) -> None:
        self._built.clear()
        gc.collect()
        give_back_memory()

    def _have_room_together(self) -> bool:
        """Whether the weights of all pieces that will be timed fill no more than a quarter of the memory."""
        pieces = {(task.model_index, piece) for task in self.tasks for piece in task.pieces}
        weights = sum(piece.copies(trains=False) * piece.weights_bytes for _, piece in pieces)
        return weights <= self._planner.n_models * self._planner.available / 4

    def _budget_s(self, tasks: Sequence[Task], index: int) -> float:
        """These tasks' part of the time left for reading, in proportion to what the unread pieces of this
        build and all pieces of the builds to come should take."""

        def cost_s(task: Task, pieces: Sequence[Piece]) -> float:
            return self._planner.estimate_s(pieces, task.workload, task.seq_len)

        going = [task for task in self.tasks if not task.refused]
        unread_s = sum(
            cost_s(task, [piece])
            for task in going
            for piece, builds in zip(task.pieces, task.readings, strict=True)
            if len(builds) <= self._build
        )
        to_come = self.n_builds - 1 - self._build
        left_s = max(0.0, self._budget.left_s - to_come * self._build_s)
        own_s = sum(cost_s(task, [task.pieces[index]]) for task in tasks)
        return left_s * own_s / (unread_s + to_come * sum(cost_s(task, task.pieces) for task in going))

    def results(self) -> list[dict[str, Throughput]]:
        """Workload -> figures, or why there are none, for each spec. A workload that was not reached is left
        out."""
        results: list[dict[str, Throughput]] = [{} for _ in range(self._planner.n_models)]
        for task in self.tasks:
            if (figures := self._figures(task)) is not None:
                shortened = task.seq_len < self.seq_len
                results[task.model_index][task.workload.name] = replace(figures, shortened=shortened)
        return results

    def _base(self, task: Task) -> Task | None:
        """The same workload of the model that a task's is compared with; None for that model itself."""
        place = self._base_of(task.model_index)
        others = (other for other in self.tasks if other.workload is task.workload and other is not task)
        return next((other for other in others if other.model_index == place), None)

    def _figures(self, task: Task) -> Throughput | None:
        label = task.workload.label(self.batch_size, task.seq_len)
        builds = task.builds()
        if not builds:
            return Throughput(task.seq_len, label, refused=task.refused) if task.refused else None
        base = self._base(task)
        tokens = task.workload.tokens(self.batch_size, task.seq_len)
        figures = throughput(label, task.seq_len, tokens, builds, base.builds() if base else None)
        assert figures.median_s is not None
        (model,) = self._planner.whole[task.model_index]
        bound = model.bound(task.workload, self.batch_size, task.seq_len, self.rates)
        median_s, limit = figures.median_s, task.workload.limit
        compute_s, memory_s = self.rates.shortest_s(bound.flops, bound.moved_bytes)
        return replace(
            figures,
            composed=len(task.pieces) > 1,
            mfu=compute_s / median_s if limit == "mfu" else None,
            bandwidth_use=memory_s / median_s if limit == "bandwidth_use" else None,
            roofline=bound,
            build_s=task.build_s,
            compile_s=task.compile_s if self.request.compile else None,
            parts=[
                PartTimes(piece.name, piece.count, list(chain.from_iterable(builds)))
                for piece, builds in zip(task.pieces, task.readings, strict=True)
            ],
        )
