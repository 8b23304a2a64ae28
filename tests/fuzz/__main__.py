"""`python -m tests.fuzz KIND N SEED`: try N cases, and tell what escaped and which were slowest."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.cases import CASES

SLOW_S = 2.0

kind, n, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
found: Counter[str] = Counter()
with tempfile.TemporaryDirectory() as folder:
    for i in range(n):
        start = time.perf_counter()
        try:
            found[CASES[kind](Random(f"{kind} {seed} {i}"), Path(folder))] += 1
        except Exception as error:
            found["escaped"] += 1
            print(f"case {i}: {type(error).__name__}: {str(error)[:300]}")
            traceback.print_exc(limit=-2)
        if (took := time.perf_counter() - start) > SLOW_S:
            found["slow"] += 1
            print(f"case {i} took {took:.1f} s")
print(kind, dict(found))
