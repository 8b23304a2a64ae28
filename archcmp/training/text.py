"""What proxies learn from: bytes of text that is on every machine, or of the user's own. No torch.

A token is a byte, so no tokenizer is needed. Training and validation text come from different files.
"""

from __future__ import annotations

import codecs
import hashlib
import math
import platform
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archcmp.errors import UsageError

VOCAB_SIZE = 256
EVERY = 10
"""One file in ten is for validation; of a single file, the last tenth."""

MOST_BYTES = 2**26
FEWEST_BYTES = 20_000
"""Text of a validation part below a tenth of this says little."""

_NOT_PROSE = {"test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__", "lib2to3"}


@dataclass(frozen=True)
class Text:
    """Bytes to train on and to validate with, and where they come from."""

    name: str
    train: bytes
    validation: bytes

    @property
    def fingerprint(self) -> str:
        """A hash of all its bytes: equal for equal text."""
        return hashlib.sha256(self.train + b"\0" + self.validation).hexdigest()[:16]

    def check_length(self, seq_len: int) -> None:
        """Raises UsageError where a sequence is longer than the text."""
        longest = min(len(self.train), len(self.validation)) // 2
        if seq_len >= longest:
            raise UsageError(
                f"{self.name} has room for sequences of up to {longest - 1:,} tokens, not {seq_len:,}"
            )

    @property
    def unigram_entropy(self) -> float:
        """- sum p log p over the bytes of the validation text, in nats. A model that predicts worse than
        the frequencies of bytes has learned nothing."""
        counts, n = Counter(self.validation), len(self.validation)
        return -sum(count / n * math.log(count / n) for count in counts.values())


def load_text(path: str | None = None) -> Text:
    """The text of a file or of a folder's files, or the sources of Python's standard library. Raises
    UsageError for text that is missing, binary or too short."""
    if path is None:
        folder = Path(sysconfig.get_paths()["stdlib"])
        name = f"the sources of Python {platform.python_version()}'s standard library"
        return _split(name, list(_files(folder, "*.py")))
    place = Path(path)
    if place.is_dir():
        files = list(_files(place, "*"))
        if not files:
            raise UsageError(f"the folder '{path}' holds no text file to train on")
        return _split(str(path), files)
    content = _read(place)
    if content is None:
        raise UsageError(f"'{path}' is not text: it is not in UTF-8, or holds a null byte")
    cut = len(content) - len(content) // EVERY
    return _checked(Text(str(path), content[:cut], content[cut:]))


def _files(folder: Path, pattern: str) -> Iterator[bytes]:
    """The content of every text file below a folder in the order of their names, up to MOST_BYTES."""
    total = 0
    for path in sorted(folder.rglob(pattern)):
        inside = path.relative_to(folder).parts
        if _NOT_PROSE & set(inside[:-1]) or any(part.startswith(".") for part in inside):
            continue
        content = _read(path) if path.is_file() else None
        if content:
            yield content
            total += len(content)
        if total >= MOST_BYTES:
            return


def _read(path: Path) -> bytes | None:
    """The first MOST_BYTES of a file; None where they are not text. Raises UsageError."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"'{path}' is neither a file nor a folder")
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=len(content) < MOST_BYTES)
    except UnicodeDecodeError:
        return None
    return None if b"\0" in content else content


def _split(name: str, contents: list[bytes]) -> Text:
    if len(contents) < 2:
        content = contents[0] if contents else b""
        cut = len(content) - len(content) // EVERY
        return _checked(Text(name, content[:cut], content[cut:]))
    every = min(EVERY, len(contents))
    held_out = contents[every - 1 :: every]
    train = [content for i, content in enumerate(contents, 1) if i % every]
    return _checked(Text(name, b"\n".join(train), b"\n".join(held_out)))


def _checked(text: Text) -> Text:
    """Itself. Raises UsageError where there is too little of it."""
    train, validation = len(text.train), len(text.validation)
    enough = train >= FEWEST_BYTES // 2 and validation >= FEWEST_BYTES // (2 * EVERY)
    if not enough or train + validation < FEWEST_BYTES:
        raise UsageError(
            f"{text.name} holds {train:,} bytes to train on and {validation:,} to validate with; "
            f"a text of at least {FEWEST_BYTES:,} bytes is needed"
        )
    return text
