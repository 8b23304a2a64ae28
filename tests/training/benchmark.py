"""How many runs a minute the lab makes, against plain eager loops: `python -m tests.training.benchmark`.

The lab trains the four variants of the 2 x 2 at five rates from three seeds, 300 steps each, by the released
command; its time has everything in it: starting, timing, compiling, probing. The peers train the same sizes
in the loop that one would write by hand, a process per core on one thread: archcmp's model, and transformers'
OLMo 2, each with torch's default AdamW and clipping, without probes. One follows the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

RATES, SEEDS, STEPS = "0.03,0.1,0.3,1,3", 3, 300
N_RUNS = 4 * 5 * SEEDS
PEERS = ("archcmp, plain loop", "transformers, plain loop")
N_TIMED = 2


def plain_loop(peer: str) -> None:
    """One process of a peer: runs of OLMo 2's proxy, of which all but the first are timed."""
    from archcmp import build_model, load_spec
    from archcmp.oracle.models import transformers_model
    from archcmp.spec.scale import proxy
    from archcmp.training.text import load_text

    torch.set_num_threads(1)
    spec, text = proxy(load_spec("olmo2")), torch.frombuffer(bytearray(load_text().train), dtype=torch.uint8)
    for run in range(N_TIMED + 1):
        start = time.perf_counter()
        ours = peer == PEERS[0]
        model: nn.Module = build_model(spec) if ours else transformers_model(spec, "cpu", torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.03, betas=(0.9, 0.95))
        for _ in range(STEPS):
            at = torch.randint(len(text) - 65, (8, 1)) + torch.arange(65)
            tokens = text[at].long()
            output = model(tokens[:, :-1])
            logits = output if ours else output.logits
            nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        if run:
            print(time.perf_counter() - start, flush=True)


def runs_per_minute(peer: str, n_processes: int) -> float:
    command = [sys.executable, "-m", "tests.training.benchmark", peer]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(n_processes)]
    seconds = [float(line) for process in processes for line in process.communicate()[0].split()]
    return 60 * n_processes / (sum(seconds) / len(seconds))


def lab_runs_per_minute() -> float:
    """The whole command, which compiles anew, as on the first day."""
    command = [sys.executable, "-m", "archcmp", "stability", "olmo2", "--lr", RATES, "--seeds", str(SEEDS)]
    command += ["--vary", "residual=pre_norm,reordered_norm", "--vary", "qk_norm=null,all_heads"]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--steps", str(STEPS), "--output", str(Path(folder) / "runs.json")]
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
        start = time.perf_counter()
        subprocess.run(
            command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return 60 * N_RUNS / (time.perf_counter() - start)


def main() -> None:
    n_processes = torch.get_num_threads()
    peers = {peer: runs_per_minute(peer, n_processes) for peer in PEERS}
    rate = lab_runs_per_minute()
    print(f"lab: {rate:.1f} runs a minute, {N_RUNS} in {60 * N_RUNS / rate:.0f} s")
    for peer, theirs in peers.items():
        print(f"{rate / theirs:.2f} times {peer} ({theirs:.1f} runs a minute)")


if __name__ == "__main__":
    plain_loop(sys.argv[1]) if len(sys.argv) > 1 else main()
