"""The measuring pipeline: calibrate, plan, time interleaved part by part, sum to models, report."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch

from archcmp.analysis import count
from archcmp.analysis.traffic import least_bytes
from archcmp.results import PairedRatio, PartTimes, Roofline, Throughput
from archcmp.settings import WORKLOADS
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.calibrate import Calibration, best, calibrate, remember
from archcmp.timing.clock import DeviceTimer, Timer, Work
from archcmp.timing.plan import MeasureSettings, Planner, Task
from archcmp.timing.rounds import interleave
from archcmp.timing.stats import iqr, outliers, paired_ratio
from archcmp.timing.workloads import Subject

OnProgress = Callable[[str, float], None]
"""Called with what is being measured and the share of the budget that is spent."""


class Measurement:
    """Every workload of every spec on one device, in one run."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        settings: MeasureSettings,
        on_progress: OnProgress | None = None,
        timer: Timer | None = None,
    ) -> None:
        self.settings, self.specs = settings, specs
        self.on_progress = on_progress or (lambda text, share: None)
        self.timer = timer or DeviceTimer(settings.device)
        self._remembers = timer is None
        keep_freed_memory()
        self.start = self.timer.now()
        self.interrupted = False
        self._subjects: dict[tuple[int, bool], Subject] = {}
        self.on_progress("calibrating the device", 0.0)
        self.calibration: Calibration = self._calibrated()
        self.planner = Planner(specs, settings, self.calibration)
        self.tasks = [task for workload in settings.workloads for task in self.planner.tasks(workload)]
        self.keeps_parts = self._have_room_together()

    def run(self) -> None:
        """Time workload after workload, each a slot of parts at a time: every model's first part, then
        every model's second. The device is calibrated again at the end, in case it was busier at the
        start. Ctrl-C ends early and keeps every whole round that was read."""
        try:
            for workload in self.settings.workloads:
                tasks = [task for task in self.tasks if task.workload == workload]
                for slot in range(max((len(task.parts) for task in tasks), default=0)):
                    self._run_or_refuse(tasks, slot)
            self._give_back()
            self.calibration = best(self.calibration, self._calibrated())
        except KeyboardInterrupt:
            self.interrupted = True

    def _calibrated(self) -> Calibration:
        """The device's best; what another clock than the device's says is not remembered."""
        device, dtype = self.settings.device, self.settings.dtype
        fresh = calibrate(device, dtype, self.timer)
        return remember(fresh, device, dtype) if self._remembers else fresh

    def _run_or_refuse(self, tasks: Sequence[Task], slot: int) -> None:
        """Time a slot; where a GPU has less room than was estimated, its models are refused and the rest
        goes on."""
        live = [task for task in tasks if slot < len(task.parts) and not task.refused]
        if not live:
            return
        try:
            self._run_slot(live, slot)
        except torch.OutOfMemoryError:
            for task in live:
                task.refused = f"ran out of memory: {live[0].parts[slot].name}"
            self._give_back()

    def _run_slot(self, tasks: Sequence[Task], slot: int) -> None:
        """Time one part of each task. Parts stay built for the next workload where there is room."""
        if self.settings.compile:
            torch.compiler.reset()
        works = [self._prepare(task, slot) for task in tasks]
        budget_s = self._budget_s(tasks, slot)
        for task in tasks:
            task.readings.append([])
        report = partial(self._report, tasks[0].workload, tasks[0].parts[slot].name)
        for seconds in interleave(works, self.timer, budget_s, report):
            for task, reading in zip(tasks, seconds, strict=True):
                task.readings[slot].append(reading / task.parts[slot].runs(task.workload))
        if not self.keeps_parts:
            self._give_back()

    def _prepare(self, task: Task, slot: int) -> Work:
        """Build and, if asked, compile what is timed; that time is kept apart from the readings."""
        self._report(task.workload, task.parts[slot].name)
        start = self.timer.now()
        subject = self._subject(task, slot)
        work: Work = getattr(subject, task.workload)(self.settings.batch_size, task.seq_len)
        task.build_s += self.timer.now() - start
        if self.settings.compile:
            task.compile_s += self.timer.time(work)
        return work

    def _give_back(self) -> None:
        self._subjects.clear()
        gc.collect()
        give_back_memory()

    def _have_room_together(self) -> bool:
        """Whether the weights of all parts that will be timed fill no more than a quarter of the memory."""
        parts = {id(part): part for task in self.tasks for part in task.parts}
        weights = sum(part.copies * part.weights_bytes for part in parts.values())
        return weights <= len(self.specs) * self.planner.available / 4

    def _subject(self, task: Task, slot: int) -> Subject:
        """The planner hands out one Part per thing to build, so its identity is the key; weights packed for
        inference do not train, so the two are built apart, and inference's are dropped before training."""
        part, trains = task.parts[slot], task.workload == "train"
        if trains and not all(for_training for _, for_training in self._subjects):
            self._give_back()
        key = (id(part), trains)
        if key not in self._subjects:
            self._subjects[key] = part.build(self.settings.device, task.workload, self.settings.compile)
        return self._subjects[key]

    def _report(self, workload: str, part: str) -> None:
        spent = (self.timer.now() - self.start) / self.settings.budget_s
        self.on_progress(f"{workload}: {part}", min(spent, 1.0))

    def _budget_s(self, tasks: Sequence[Task], slot: int) -> float:
        """These tasks' part of the time left, in proportion to what the unread parts should take."""

        def cost_s(task: Task, slot: int) -> float:
            return self.planner.estimate_s(task.parts[slot : slot + 1], task.workload, task.seq_len)

        unread = [cost_s(task, i) for task in self.tasks for i in range(len(task.readings), len(task.parts))]
        left_s = max(0.0, self.settings.budget_s - (self.timer.now() - self.start))
        return left_s * sum(cost_s(task, slot) for task in tasks) / sum(unread)

    def results(self) -> list[dict[str, Throughput | None]]:
        """Workload -> figures, for each spec; None for a workload that was not asked for or not reached."""
        results: list[dict[str, Throughput | None]] = [dict.fromkeys(WORKLOADS) for _ in self.specs]
        for task in self.tasks:
            if task.refused:
                shortened = task.seq_len < self.settings.seq_len
                refusal = Throughput(task.seq_len, shortened=shortened, refused=task.refused)
                results[task.model][task.workload] = refusal
            elif rounds := task.rounds():
                results[task.model][task.workload] = self._throughput(task, rounds)
        return results

    def _throughput(self, task: Task, rounds: list[float]) -> Throughput:
        median_s = statistics.median(rounds)
        tokens = self.settings.batch_size * (1 if task.workload == "decode" else task.seq_len)
        bound = self._roofline(task)
        seconds_at_peak = bound.flops / self.calibration.matmul_flops_per_s
        moved_s = bound.moved_bytes / self.calibration.copy_bytes_per_s
        decodes = task.workload == "decode"
        return Throughput(
            seq_len=task.seq_len,
            tokens_per_second=tokens / median_s,
            median_s=median_s,
            iqr_s=iqr(rounds),
            rounds=len(rounds),
            raw_s=rounds,
            composed=len(task.parts) > 1,
            shortened=task.seq_len < self.settings.seq_len,
            speedup=self._speedup(task, rounds),
            outliers=outliers(rounds),
            mfu=None if decodes else seconds_at_peak / median_s,
            bandwidth_use=moved_s / median_s if decodes else None,
            roofline=bound,
            build_s=task.build_s,
            compile_s=task.compile_s if self.settings.compile else None,
            parts=[
                PartTimes(part.name, part.count, times)
                for part, times in zip(task.parts, task.readings, strict=True)
            ],
        )

    def _speedup(self, task: Task, rounds: list[float]) -> PairedRatio | None:
        """Against the first model in the same workload, round by round."""
        first = next(other for other in self.tasks if other.workload == task.workload)
        return None if first is task else paired_ratio(rounds, first.rounds())

    def _roofline(self, task: Task) -> Roofline:
        """Counted under the exact convention, at the length that was measured."""
        counts = count(task.spec, self.settings.batch_size, task.seq_len, self.settings.dtype)
        flops = getattr(counts.flops, task.workload)
        n_tokens = self.settings.batch_size * (1 if task.workload == "decode" else task.seq_len)
        moved = least_bytes(task.spec, counts, task.workload, n_tokens)
        compute_s = flops / self.calibration.matmul_flops_per_s
        memory_s = moved / self.calibration.copy_bytes_per_s
        binds = "compute" if compute_s >= memory_s else "memory"
        return Roofline(flops, moved, max(compute_s, memory_s), binds)
