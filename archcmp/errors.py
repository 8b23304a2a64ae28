"""Errors a user can cause and mend. Each prints as one line; none is ever shown as a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class ArchcmpError(Exception):
    """Base of all errors that archcmp raises on purpose. `str()` is the one line a user reads."""

    exit_code = 2


class UsageError(ArchcmpError):
    """Bad input that is not in a spec file: an unknown device, an unwritable path, a length of 0."""


class CountingError(ArchcmpError):
    """The model runs an operator whose FLOPs archcmp does not know, so no total would be true."""

    exit_code = 1


class MeasureError(ArchcmpError):
    """What was asked cannot be measured here: too little memory, or two models that should agree do not."""

    exit_code = 1


class WeightsError(ArchcmpError):
    """A checkpoint does not hold exactly the tensors that the model needs."""

    exit_code = 1


class ConfigError(ArchcmpError):
    """A Hugging Face configuration that cannot be turned into a spec, or a spec that has none."""


@dataclass(eq=False)
class SpecError(ArchcmpError):
    """Something is wrong in a spec: where (file, line, dotted key path), what, and what to write instead.
    `others` are further mistakes of the same spec, none of which follows from this one."""

    file: str
    line: int | None
    key: str
    problem: str
    hint: str = ""
    others: tuple[SpecError, ...] = ()

    PREDICATES = ("must ", "cannot ", "is ", "has ")
    """A problem that starts so says something of the key; any other is a sentence of its own."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        joint = " " if self.problem.startswith(self.PREDICATES) else ": "
        text = f"{place}: {self.key}{joint if self.key else ''}{self.problem}"
        return f"{text}. {self.hint}" if self.hint else text


def did_you_mean(wrong: str, allowed: Iterable[str], label: str = "Allowed") -> str:
    """A hint for a mistyped name: the nearest allowed one if any is near, then the list, nearest first."""
    names = list(allowed)
    lower = {name.lower(): name for name in names}
    near = [lower[match] for match in get_close_matches(wrong.lower(), lower, n=3, cutoff=0.6)]
    listed = f"{label}: {', '.join(near + [name for name in names if name not in near])}"
    return f"Did you mean {near[0]}? {listed}" if near else listed
