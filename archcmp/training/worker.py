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
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from archcmp.errors import MeasureError
from archcmp.training.recipe import Recipe
from archcmp.training.text import Text


@dataclass(frozen=True)
class Setting:
    """What all runs share: the proxies by the id of their model, as plain data."""

    specs: dict[str, dict[str, Any]]
    recipe: Recipe
    text: Text
    device: str
    dtype: str
    compiled: bool = False


@dataclass(frozen=True)
class Task:
    """A run, or, without a learning rate, the timing of a variant."""

    model: str
    learning_rate: float | None = None
    seed: int = 0


class Worker:
    """A process that trains. `ask` blocks until the answer is there; `stop` may be called from elsewhere."""

    def __init__(self, setting: Setting) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archcmp.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
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


def _serve() -> None:
    """Answer tasks until there are no more. What libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setting: Setting = pickle.load(sys.stdin.buffer)
    trainers: dict[str, Any] = {}
    while True:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(setting, task, trainers), answers)
        answers.flush()


def _answer(setting: Setting, task: Task, trainers: dict[str, Any]) -> Any:
    """The result of a run or of a timing, or the reason why there is none, as text."""
    import torch

    from archcmp.spec.schema.model import ModelSpec
    from archcmp.training.loop import Trainer

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        start = time.perf_counter()
        if task.model not in trainers:
            spec = ModelSpec.model_validate(setting.specs[task.model])
            device, dtype = torch.device(setting.device), getattr(torch, setting.dtype)
            trainers[task.model] = Trainer(
                spec, setting.recipe, setting.text, device, dtype, setting.compiled
            )
        if task.learning_rate is not None:
            return trainers[task.model].run(task.learning_rate, task.seed)
        step_s = trainers[task.model].measured(time.perf_counter)
        return {"step_s": step_s, "ready_s": time.perf_counter() - start}
    except (RuntimeError, MemoryError) as error:
        return str(error).splitlines()[0] or type(error).__name__


if __name__ == "__main__":
    _serve()
