"""The measuring pipeline: calibrate, plan, time interleaved piece by piece, sum to models, report."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from archcmp.results.request import Request
from archcmp.results.timings import PartTimes, Rates, Throughput
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.calibrate import best, calibrate, remember
from archcmp.timing.clock import Budget, DeviceTimer, OnProgress, Timer, Work
from archcmp.timing.device import settled
from archcmp.timing.memory import is_out_of_memory
from archcmp.timing.pieces import Piece
from archcmp.timing.plan import Planner, Task
from archcmp.timing.rounds import interleave
from archcmp.timing.runnable import Runnable
from archcmp.timing.stats import throughput
from archcmp.timing.workloads import WORKLOADS

Key = tuple[int, Piece, bool]
"""What is built once: a model's index, the piece, and whether for training. Weights packed for inference do
not train."""


class Measurement:
    """Every workload of a request on every spec, at one batch size and length, in one run.

    `timer` and `available` (bytes for all models together) are for tests; None is the device's own clock and
    memory. `rates` are the device's best known rates, `fresh_rates` the best of this run.
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
    ) -> None:
        self.request, self.batch_size, self.seq_len = request, batch_size, seq_len
        self.device, _ = settled(request)
        self.timer = timer or DeviceTimer(self.device)
        self._remembers = timer is None
        keep_freed_memory()
        self._budget = Budget(request.budget_s, self.timer, on_progress)
        self._built: dict[Key, Runnable] = {}
        self._budget.report("calibrating the device")
        self.fresh_rates = self.rates = Rates(0.0, 0.0)
        self._calibrate()
        self._planner = Planner(specs, request, batch_size, seq_len, self.rates, available)
        self.tasks = [task for name in request.measure for task in self._planner.tasks(WORKLOADS[name])]

    def run(self) -> Iterator[str]:
        """Time workload after workload, and yield each one's name when it is finished. Within a workload,
        every model's first piece is timed, then every model's second. The device is calibrated again at the
        end, in case it was busier at the start. An interruption leaves every whole round in `results`."""
        try:
            for name in self.request.measure:
                tasks = [task for task in self.tasks if task.workload.name == name]
                for index in range(max(len(task.pieces) for task in tasks)):
                    self._run_or_refuse(tasks, index)
                yield name
            self._give_back()
            try:
                self._calibrate()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
        finally:
            self._give_back()

    def _calibrate(self) -> None:
        """Only what the device's own clock says is remembered for other runs."""
        assert self.request.dtype is not None
        self.fresh_rates = best(self.fresh_rates, calibrate(self.device, self.request.dtype, self.timer))
        fresh = self.fresh_rates
        self.rates = remember(fresh, self.device, self.request.dtype) if self._remembers else fresh

    def _run_or_refuse(self, tasks: Sequence[Task], index: int) -> None:
        """Time a piece of each task. Where there is less room than was estimated, those models are refused
        and the rest goes on."""
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
        works = [self._prepare(task, index) for task in tasks]
        budget_s = self._budget_s(tasks, index)
        for task in tasks:
            task.readings.append([])
        for seconds in interleave(works, self.timer, budget_s, partial(self._budget.report, text)):
            for task, reading in zip(tasks, seconds, strict=True):
                task.readings[index].append(reading / task.pieces[index].runs(task.workload))
        if not self._have_room_together():
            self._give_back()

    def _prepare(self, task: Task, index: int) -> Work:
        """Build and, if asked, compile what is timed; that time is kept apart from the readings."""
        start = self.timer.now()
        work = task.workload.prepare(self._runnable(task, index), self.batch_size, task.seq_len)
        task.build_s += self.timer.now() - start
        if self.request.compile:
            task.compile_s += self.timer.time(work)
        return work

    def _runnable(self, task: Task, index: int) -> Runnable:
        """The task's piece in memory. What was built for inference is dropped before training."""
        piece, trains = task.pieces[index], task.workload.trains
        if trains and not all(for_training for _, _, for_training in self._built):
            self._give_back()
        key = (task.model_index, piece, trains)
        if key not in self._built:
            self._built[key] = piece.build(self.device, trains, self.request.compile)
        return self._built[key]

    def _give_back(self) -> None:
        self._built.clear()
        gc.collect()
        give_back_memory()

    def _have_room_together(self) -> bool:
        """Whether the weights of all pieces that will be timed fill no more than a quarter of the memory."""
        pieces = {(task.model_index, piece) for task in self.tasks for piece in task.pieces}
        weights = sum(piece.copies * piece.weights_bytes for _, piece in pieces)
        return weights <= self._planner.n_models * self._planner.available / 4

    def _budget_s(self, tasks: Sequence[Task], index: int) -> float:
        """These tasks' part of the time left, in proportion to what the unread pieces should take."""

        def cost_s(task: Task, pieces: Sequence[Piece]) -> float:
            return self._planner.estimate_s(pieces, task.workload, task.seq_len)

        going = [task for task in self.tasks if not task.refused]
        unread_s = sum(cost_s(task, task.pieces[len(task.readings) :]) for task in going)
        return self._budget.left_s * sum(cost_s(task, [task.pieces[index]]) for task in tasks) / unread_s

    def results(self) -> list[dict[str, Throughput]]:
        """Workload -> figures, or why there are none, for each spec. A workload that was not reached is left
        out."""
        results: list[dict[str, Throughput]] = [{} for _ in range(self._planner.n_models)]
        for task in self.tasks:
            if (figures := self._figures(task)) is not None:
                shortened = task.seq_len < self.seq_len
                results[task.model_index][task.workload.name] = replace(figures, shortened=shortened)
        return results

    def _figures(self, task: Task) -> Throughput | None:
        label = task.workload.label(task.seq_len)
        if task.refused:
            return Throughput(task.seq_len, label, refused=task.refused)
        if not (rounds := task.rounds()):
            return None
        first = next(other for other in self.tasks if other.workload is task.workload)
        tokens = task.workload.tokens(self.batch_size, task.seq_len)
        others = None if first is task else first.rounds()
        figures = throughput(label, task.seq_len, tokens, rounds, others)
        (model,) = self._planner.whole[task.model_index]
        bound = model.bound(task.workload, self.batch_size, task.seq_len, self.rates)
        median_s, limit = statistics.median(rounds), task.workload.limit
        compute_s = bound.flops / self.rates.matmul_flops_per_s
        memory_s = bound.moved_bytes / self.rates.copy_bytes_per_s
        return replace(
            figures,
            composed=len(task.pieces) > 1,
            mfu=compute_s / median_s if limit == "mfu" else None,
            bandwidth_use=memory_s / median_s if limit == "bandwidth_use" else None,
            roofline=bound,
            build_s=task.build_s,
            compile_s=task.compile_s if self.request.compile else None,
            parts=[
                PartTimes(piece.name, piece.count, times)
                for piece, times in zip(task.pieces, task.readings, strict=True)
            ],
        )
