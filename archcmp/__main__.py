"""The console script, and `python -m archcmp`.

Signals are taken before anything else is imported, for importing takes long enough to be interrupted. The
process ends as soon as its output is flushed: the interpreter would spend most of a second on taking torch's
modules apart, and could be interrupted there, too.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable

_caught: list[int] = []


def _take_signals(handle: Callable[[int, object], None]) -> None:
    """SIGTERM, by which schedulers end a job, is taken as Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _end_at_once(number: int, frame: object) -> None:
    """End the process while there is nothing to save. Some imports would swallow an exception."""
    _say("interrupted")
    os._exit(128 + number)


def _interrupt(number: int, frame: object) -> None:
    _caught.append(number)
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _take_signals(_end_at_once)
    # Python searches for garbage after every 700 new objects, a tenth of the time to import torch.
    gc.set_threshold(100_000)
    from archcmp.cli import INTERRUPTED
    from archcmp.cli import main as command_line

    code = _run(command_line)
    if code == INTERRUPTED and _caught:
        code = 128 + _caught[0]
    atexit._run_exitfuncs()  # coverage, temporary files, the processes of torch's compiler
    os._exit(_flush() or code)


def _run(command_line: Callable[[], None]) -> int:
    try:
        _take_signals(_interrupt)
        try:
            command_line()
        finally:
            _take_signals(_end_at_once)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if not _caught:
            raise
        # Modules that are interrupted while they are imported raise errors of their own.
        _say("interrupted")
        return 128 + _caught[0]
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
    """Print a remark to standard error at once."""
    if sys.stderr is not None:
        print(f"archcmp: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
