"""Processes that train: each takes runs one after the other, on one thread.

A worker is started as `python -m archcmp.training.worker` and talks in pickles over its standard streams. It
ends when the stream of tasks does, so that none stays behind, however its parent ends.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from archcmp.errors import MeasureError
from archcmp.training.recipe import Recipe
from archcmp.training.text import Text

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_BINDING = ("OMP_PLACES", "OMP_PROC_BIND")
"""Would keep all workers on the first core."""


@dataclass(frozen=True)
class Setting:
    """What all runs share: the proxies by the id of their model, as plain data."""

    specs: dict[str, dict[str, Any]]
    recipe: Recipe
    text: Text
    device: str
    dtype: str
    cpus: list[int] = field(default_factory=list)
    """The processors that all workers share; [] leaves each where it is started."""


@dataclass(frozen=True)
class Task:
    """A run, or, without a learning rate, the timing of a variant."""

    model: str
    compiled: bool
    learning_rate: float | None = None
    seed: int = 0
    steps: int = 0


class Worker:
    """A process that trains. `ask` blocks until the answer is there; `stop` may be called from elsewhere."""

    def __init__(self, setting: Setting) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archcmp.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={name: value for name, value in os.environ.items() if name not in _BINDING} | _ONE_THREAD,
        )
        self._send(setting)

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def ask(self, task: Task) -> Any:
        """What the task gives. Raises MeasureError where it fails or the process ends."""
        assert self._process.stdout is not None
        try:
            self._send(task)
            answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise MeasureError(f"a process that trained {task.model} ended: {self._last_words()}") from None
        if isinstance(answer, str):
            raise MeasureError(f"cannot train {task.model}: {answer}")
        return answer

    def _last_words(self) -> str:
        self._process.wait(timeout=10)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def stop(self) -> None:
        """End the process at once; a run in flight is lost."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]


class Crew:
    """Several workers, which take tasks as they become free."""

    def __init__(self, setting: Setting, n_workers: int) -> None:
        self._workers = [Worker(setting) for _ in range(n_workers)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def answers(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """Each task with what it gave, in the order in which they end. Raises MeasureError where one fails;
        those that were not begun are dropped then, or when the caller stops asking."""
        with ThreadPoolExecutor(len(self._workers)) as pool:
            futures = {pool.submit(self._ask, task): task for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                self.stop()
                raise

    def _ask(self, task: Task) -> Any:
        worker = self._free.get()
        try:
            return worker.ask(task)
        finally:
            self._free.put(worker)

    def stop(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.stop()


def _serve() -> None:
    """Answer tasks until there are no more. What libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setting: Setting = pickle.load(sys.stdin.buffer)
    if setting.cpus:
        os.sched_setaffinity(0, setting.cpus)
    trainers: dict[tuple[str, bool], Any] = {}
    while True:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(setting, task, trainers), answers)
        answers.flush()


def _answer(setting: Setting, task: Task, trainers: dict[tuple[str, bool], Any]) -> Any:
    """The result of a run or of a timing, or the reason why there is none, as text."""
    import torch

    from archcmp.spec.schema.model import ModelSpec
    from archcmp.training.loop import Trainer

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        key = task.model, task.compiled
        if key not in trainers:
            spec = ModelSpec.model_validate(setting.specs[task.model])
            device, dtype = torch.device(setting.device), getattr(torch, setting.dtype)
            trainers[key] = Trainer(spec, setting.recipe, setting.text, device, dtype, task.compiled)
        if task.learning_rate is not None:
            return trainers[key].run(task.learning_rate, task.seed, task.steps)
        return trainers[key].measured(time.perf_counter)
    except (MeasureError, RuntimeError, MemoryError) as error:
        return str(error).splitlines()[0] or type(error).__name__


if __name__ == "__main__":
    _serve()
