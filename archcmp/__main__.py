"""The console script, and `python -m archcmp`.

Signals are taken before anything else is imported, for importing takes long enough to be interrupted. The
process ends as soon as its output is flushed: the interpreter would spend most of a second on taking torch's
modules apart, and could be interrupted there, too.
"""

import atexit
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
"""What a command exits with that was interrupted, by whichever signal."""

_caught: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM, by which schedulers end a job, is taken as Ctrl-C."""
    _caught.append(number)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        code = _run()
        for number in SIGNALS:
            signal.signal(number, _leave)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED and _caught:
        code = 128 + _caught[0]
    atexit._run_exitfuncs()  # coverage, temporary files, the processes of torch's compiler
    os._exit(_flush() or code)


def _run() -> int:
    try:
        from archcmp.cli import main as command_line

        command_line()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if not _caught:
            raise
        # Modules that are interrupted while they are imported raise errors of their own.
        _say("interrupted")
        return INTERRUPTED
    return 0


def _flush() -> int:
    """1 if standard output takes no more. A closed pipe is no news to whoever closed it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _say(f"cannot write to standard output: {error.strerror}")
        return 1
    return 0


def _say(text: str) -> None:
    """On standard error, which keeps nothing back."""
    if sys.stderr is not None:
        print(f"archcmp: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
