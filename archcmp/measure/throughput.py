"""The measuring pipeline: calibrate, plan, time interleaved part by part, sum to models, report."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from functools import partial

from archcmp.analysis import count
from archcmp.measure.benchmark import interleave
from archcmp.measure.calibrate import Calibration, best, calibrate
from archcmp.measure.plan import MeasureSettings, Planner, Task
from archcmp.measure.stats import iqr
from archcmp.measure.timer import DeviceTimer, Timer
from archcmp.measure.workloads import Subject
from archcmp.results import PartTimes, Throughput
from archcmp.settings import WORKLOADS
from archcmp.spec.schema import ModelSpec

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
        self.start = self.timer.now()
        self.interrupted = False
        self._subjects: dict[int, Subject] = {}
        self.on_progress("calibrating the device", 0.0)
        self.calibration: Calibration = calibrate(settings.device, settings.dtype, self.timer)
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
                    self._run_slot([task for task in tasks if slot < len(task.parts)], slot)
            self._subjects.clear()
            again = calibrate(self.settings.device, self.settings.dtype, self.timer)
            self.calibration = best(self.calibration, again)
        except KeyboardInterrupt:
            self.interrupted = True

    def _run_slot(self, tasks: Sequence[Task], slot: int) -> None:
        """Time one part of each task. Parts stay built for the next workload where there is room."""
        works = []
        for task in tasks:
            self._report(task.workload, task.parts[slot].name)
            prepare = getattr(self._subject(task, slot), task.workload)
            works.append(prepare(self.settings.batch_size, task.seq_len))
        budget_s = self._budget_s(tasks, slot)
        for task in tasks:
            task.readings.append([])
        report = partial(self._report, tasks[0].workload, tasks[0].parts[slot].name)
        for seconds in interleave(works, self.timer, budget_s, report):
            for task, reading in zip(tasks, seconds, strict=True):
                task.readings[slot].append(reading)
        if not self.keeps_parts:
            self._subjects.clear()
            gc.collect()

    def _have_room_together(self) -> bool:
        """Whether the weights of all parts that will be timed fill no more than a quarter of the memory."""
        parts = {id(part): part for task in self.tasks for part in task.parts}
        weights = sum(part.copies * part.weights_bytes for part in parts.values())
        return weights <= len(self.specs) * self.planner.available / 4

    def _subject(self, task: Task, slot: int) -> Subject:
        """The planner hands out one Part per thing to build, so its identity is the key."""
        part = task.parts[slot]
        if id(part) not in self._subjects:
            self._subjects[id(part)] = part.build(self.settings.device)
        return self._subjects[id(part)]

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
            if task.refused or task.rounds():
                results[task.model][task.workload] = self._throughput(task)
        return results

    def _throughput(self, task: Task) -> Throughput:
        shortened = task.seq_len < self.settings.seq_len
        if task.refused:
            return Throughput(task.seq_len, shortened=shortened, refused=task.refused)
        rounds = task.rounds()
        median_s = statistics.median(rounds)
        batch_size = self.settings.batch_size
        tokens = batch_size * (1 if task.workload == "decode" else task.seq_len)
        return Throughput(
            seq_len=task.seq_len,
            tokens_per_second=tokens / median_s,
            median_s=median_s,
            iqr_s=iqr(rounds),
            rounds=len(rounds),
            raw_s=rounds,
            composed=len(task.parts) > 1,
            shortened=shortened,
            mfu=self._mfu(task, median_s),
            parts=[
                PartTimes(part.name, part.count, times)
                for part, times in zip(task.parts, task.readings, strict=True)
            ],
        )

    def _mfu(self, task: Task, seconds: float) -> float | None:
        """Counted FLOPs (exact) per second, as a share of the calibrated matmul. Decoding moves bytes."""
        if task.workload == "decode":
            return None
        flops = count(task.spec, self.settings.batch_size, task.seq_len, self.settings.dtype).flops
        return float(getattr(flops, task.workload)) / seconds / self.calibration.matmul_flops_per_s
