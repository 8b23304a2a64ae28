"""Errors a user can cause and mend. Each prints as one line; none is ever shown as a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

LONGEST_LINE = 390
"""Characters of a message. With the name of the program before it a message stays under 400."""

LONGEST_WORD = 160
"""Characters of a word in a message: whole names of files, but not 50,000 digits."""

LONGEST_LIST = 200
"""Characters of the allowed names in a message."""


def _cut(text: str, longest: int) -> str:
    """The text, without its middle where it is longer. A message begins with the place of the mistake, and
    ends with the remedy."""
    if len(text) <= longest:
        return text
    half = (longest - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def one_line(text: str) -> str:
    """The text as a user may see it: one line of bounded length. Characters that a terminal would obey or
    hide are escaped."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    words = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0], LONGEST_WORD), text)
    return _cut(words, LONGEST_LINE)


class ArchcmpError(Exception):
    """Base of all errors that archcmp raises on purpose. `str()` is the one line a user reads."""

    exit_code = 2

    def __str__(self) -> str:
        return one_line(super().__str__())


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
        return one_line(f"{text}. {self.hint}" if self.hint else text)


def nearest(wrong: str, names: Iterable[str]) -> list[str]:
    """Up to three names that look like a wrong one, the most alike first."""
    lower = {name.lower(): name for name in names}
    return [lower[match] for match in get_close_matches(wrong.lower(), lower, n=3, cutoff=0.6)]


def did_you_mean(wrong: str, allowed: Iterable[str], label: str = "Allowed") -> str:
    """A hint for a mistyped name: the nearest allowed one if any is near, then the list, nearest first."""
    names = list(allowed)
    near = nearest(wrong, names)
    listed = f"{label}: {_listed(near + [name for name in names if name not in near])}"
    return f"Did you mean {near[0]}? {listed}" if near else listed


def _listed(names: list[str]) -> str:
    """The names, or the first of them and how many there are."""
    text = ", ".join(names)
    if len(text) <= LONGEST_LIST:
        return text
    whole, _, _ = text[:LONGEST_LIST].rpartition(", ")
    return f"{whole}, ... ({len(names)} in all)"
