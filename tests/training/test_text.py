"""Text to train on: where it is cut, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from archcmp.errors import UsageError
from archcmp.training.text import FEWEST_BYTES, MOST_BYTES, Text, load_text
from tests.training.proxies import markov_entropies, markov_text

LONG = "To be, or not to be.\n" * 2000


def test_the_last_tenth_of_a_single_file_validates(tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(LONG)
    text = load_text(str(path))
    assert text.train + text.validation == LONG.encode()
    assert len(text.validation) == len(LONG) // 10
    assert load_text(str(path)) == text


def test_every_tenth_file_of_a_folder_validates(tmp_path: Path) -> None:
    """In the order of their names, folders inside included; hidden files and tests are left out."""
    (tmp_path / "b").mkdir()
    for i in range(25):
        (tmp_path / ("b" if i % 2 else ".") / f"{i:02}.txt").write_text(f"<{i:02}>" * 500)
    for hidden in (".git", "tests"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "00.txt").write_text("hidden" * 1000)
    (tmp_path / ".notes").write_text("hidden" * 1000)
    (tmp_path / "00.bin").write_bytes(b"\0" * 5000)
    (tmp_path / "00.gz").write_bytes(b"\x1f\x8b\xff\xfe" * 500)
    text = load_text(str(tmp_path))
    even, odd = list(range(0, 25, 2)), list(range(1, 25, 2))
    order = even + odd
    held_out = order[9::10]
    assert text.validation == b"\n".join(b"<%02d>" % i * 500 for i in held_out)
    assert text.train == b"\n".join(b"<%02d>" % i * 500 for i in order if i not in held_out)


def test_a_folder_of_few_files_has_one_to_validate_with(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name * 10_000)
    text = load_text(str(tmp_path))
    assert (text.train, text.validation) == (b"a" * 10_000 + b"\n" + b"b" * 10_000, b"c" * 10_000)


def test_a_folder_of_one_file_is_cut_like_the_file(tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(LONG)
    alone, inside = load_text(str(path)), load_text(str(tmp_path))
    assert (alone.train, alone.validation) == (inside.train, inside.validation)


def test_the_standard_library_is_the_text_where_none_is_given() -> None:
    text = load_text()
    assert text == load_text()
    assert len(text.train) > 5 * len(text.validation) > 1_000_000
    assert b"import" in text.train and b"import" in text.validation


def test_one_byte_more_or_another_byte_or_cut_changes_the_fingerprint() -> None:
    texts = [
        Text("a", b"abc", b"def"),
        Text("a", b"abd", b"def"),
        Text("a", b"abc", b"deg"),
        Text("a", b"abcd", b"ef"),
        Text("a", b"abc", b"defg"),
        Text("a", b"def", b"abc"),
    ]
    assert len({text.fingerprint for text in texts}) == len(texts)
    assert Text("other name", b"abc", b"def").fingerprint == texts[0].fingerprint


@pytest.mark.parametrize(
    ("validation", "entropy"),
    [
        (b"aaaa", 0.0),
        (b"abab", math.log(2)),
        (bytes(range(256)), math.log(256)),
        (b"aaab", 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
    ],
)
def test_the_entropy_of_frequencies(validation: bytes, entropy: float) -> None:
    assert Text("", b"z" * 100, validation).unigram_entropy == pytest.approx(entropy)


def test_the_entropy_of_a_long_text_is_that_of_its_source() -> None:
    text = Text("", b"", markov_text(30_000).encode())
    assert text.unigram_entropy == pytest.approx(markov_entropies()[1], abs=0.01)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes"),
        (b"short", "5 bytes"),
        (b"x" * (FEWEST_BYTES - 1), "at least 20,000"),
        (b"\0" + b"x" * 30_000, "not text"),
        (b"\xff\xfe" * 30_000, "not text"),
        ("é".encode("latin-1") * 30_000, "not text"),
    ],
)
def test_a_file_that_is_short_or_not_text_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        load_text(str(path))


def test_the_shortest_text_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * FEWEST_BYTES)
    assert len(load_text(str(path)).train) == FEWEST_BYTES * 9 // 10


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no text file"):
        load_text(str(tmp_path))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary").write_bytes(b"\0" * 30_000)
    with pytest.raises(UsageError, match="holds no text file"):
        load_text(str(tmp_path))
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(UsageError, match="5 bytes"):
        load_text(str(tmp_path))


def test_a_folder_with_nothing_to_validate_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    (tmp_path / "b.txt").write_text("short")
    with pytest.raises(UsageError):
        load_text(str(tmp_path))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_text(str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        load_text("/dev/zero")


def test_a_folder_whose_training_part_is_tiny_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0_licence.txt").write_text("MIT\n")
    (tmp_path / "book.txt").write_text("a line\n" * 6_000)
    with pytest.raises(UsageError, match="4 bytes to train on"):
        load_text(str(tmp_path))


def test_a_sequence_longer_than_the_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a line\n" * 4_000)
    text = load_text(str(tmp_path / "file"))
    text.check_length(512)
    with pytest.raises(UsageError, match="up to 1,399 tokens, not 4,096"):
        text.check_length(4_096)


def test_all_of_a_large_file_is_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\x80" * (MOST_BYTES // 3 + 1))
    with pytest.raises(UsageError, match="not text"):
        load_text(str(tmp_path / "file"))
