"""How speed is measured and told: medians, one row a case, the peers in an environment of their own."""

import json
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Case = dict[str, Any]
ROUNDS = 3  # ours and the peers' in turn, so that both see the same machine


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Returns the median time of `run` over several runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_mb() -> int:
    """Returns the most memory that this process has held, where Linux tells; else that of the one it stems from too."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // 1024


def line(case: str, seconds: float, **more: Any) -> Case:
    """One case without a peer; `more` holds rates and sizes."""
    return {
        "case": case,
        "ours_s": round(seconds, 5),
        "peer": None,
        "peer_s": None,
        "ratio": None,
        "peak_mb": peak_mb(),
    } | more


@dataclass(frozen=True)
class Peers:
    """Programs that measure other packages in an environment of their own and print a JSON line a case.

    Attributes:
        python: of that environment; None measures no peers.
        scripts: folder of the programs.
        darts: folder `cnn` of a clone of github.com/quark0/darts; None leaves the original of DARTS out.
        prost: folders `src` of clones of github.com/gaocong13/Projective-Spatial-Transformers, of its branches master
            (projector, network of MICCAI 2020) and tmi (network of the journal); none leaves the original of ProST out.
    """

    python: Path | None
    scripts: Path
    darts: Path | None = None
    prost: tuple[Path, ...] = ()

    def measure(self, script: str | Path, groups: Sequence[str], runs: int, threads: int = 1) -> dict[str, float]:
        """Runs a program; returns the median time of each of its cases, none without an environment."""
        if self.python is None:
            return {}
        command = [self.python, self.scripts / script, *groups, "--threads", str(threads), "--runs", str(runs)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        cases = [json.loads(row) for row in printed.stdout.splitlines() if row.startswith("{")]
        return {case["case"]: case["median_s"] for case in cases}


def beside(
    ours: dict[str, Callable[[], object]], names: dict[str, str], measure: Callable[[], dict[str, float]], runs: int
) -> Iterator[Case]:
    """Measures our cases and the peers' in turn; `names` says which of our cases does what a peer's case does."""
    rounds = [({name: median_seconds(run, runs) for name, run in ours.items()}, measure()) for _ in range(ROUNDS)]
    for name in ours:
        seconds = statistics.median(mine[name] for mine, _ in rounds)
        compared = [peer for peer, same in names.items() if same == name and peer in rounds[0][1]]
        if not compared:
            yield line(name, seconds)
        for peer in compared:
            peer_s = statistics.median(theirs[peer] for _, theirs in rounds)
            yield line(name, seconds, peer=peer, peer_s=round(peer_s, 5), ratio=round(peer_s / seconds, 2))
