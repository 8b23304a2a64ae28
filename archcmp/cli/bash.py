"""bash splits words at colons and equals signs, which specs hold, and replaces only the last piece.

So the pieces are joined before typer reads them, and each answer is cut to what follows the last joint.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from os import environ

INSTRUCTION = "_ARCHCMP_COMPLETE"


def asked() -> bool:
    """Whether bash asks for completions, by what typer's script sets."""
    return environ.get(INSTRUCTION) == "complete_bash" and "COMP_WORDS" in environ


def completed(complete: Callable[[], None]) -> None:
    """Runs typer's completion on the joined words, and prints what bash may put in the place of the last."""
    separator = "\n" if "\n" in environ["COMP_WORDS"] else " "
    pieces = environ["COMP_WORDS"].split(separator)[: int(environ["COMP_CWORD"]) + 1]
    joined = re.sub(r"\n([:=]+)(?:\n(?=[^\n]))?", r"\1", "\n".join(pieces)).split("\n")
    environ["COMP_WORDS"], environ["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)
    joint = joined[-1] != pieces[-1] and re.match(r".*[:=]", joined[-1])
    before = joint[0] if joint else ""
    answers = StringIO()
    try:
        with redirect_stdout(answers):
            complete()
    finally:
        print(*(line.removeprefix(before) for line in answers.getvalue().splitlines()), sep="\n")
