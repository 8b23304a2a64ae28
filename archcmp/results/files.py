"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from archcmp.errors import UsageError


def unwritable(path: Path, error: Exception) -> UsageError:
    """Why a file cannot be written."""
    if not path.parent.is_dir() and isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return UsageError(f"cannot write '{path}': there is no folder '{path.parent}'. Make it first")
    return UsageError(f"cannot write '{path}': {getattr(error, 'strerror', error)}")


def check_named(path: Path) -> None:
    """Raises UsageError for an empty name."""
    if path == Path():
        raise UsageError("a file to write must have a name, not an empty one")


def check_writable(path: Path, suffixes: Sequence[str]) -> None:
    """Raises UsageError for another extension or a path that cannot be written, and leaves no trace."""
    check_named(path)
    if path.suffix not in suffixes:
        raise UsageError(f"cannot write '{path}'; the extension must be one of {', '.join(suffixes)}")
    try:
        if path.is_dir():
            raise UsageError(f"cannot write '{path}': it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise UsageError(f"cannot write '{path}': it is read-only")
        tempfile.TemporaryFile(dir=path.parent).close()
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `path` at once: a reader sees the old file or the new one, never half of it, whatever
    happens, a power cut included. A link's target is written. Raises UsageError for a file that cannot be
    written."""
    data = content.encode() if isinstance(content, str) else content
    try:
        _replace(path.resolve(), data)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def _replace(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:60]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
