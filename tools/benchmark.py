"""Measures speed: one JSON line a case, ours beside a peer's where there is one; medians over several runs."""

import argparse
import importlib
import json
from pathlib import Path

from benchmarks.measures import Peers

from tfmedcai.cli import prepare_tensorflow

TOPICS = ("executors", "projector", "registration", "search", "segmentation", "serving", "snap", "supernet", "tracking")


def main() -> None:
    """Prints the cases of one topic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", choices=TOPICS)
    parser.add_argument("--runs", type=int, default=7, help="runs of each case")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument(
        "--peers", type=Path, metavar="VENV", help="environment of the peers; without it they are left out"
    )
    bench = Path(__file__).parents[2] / "shared" / "bench"
    parser.add_argument(
        "--peer_scripts", type=Path, default=bench, help="folder of the programs that measure the peers"
    )
    parser.add_argument("--darts", type=Path, metavar="FOLDER", help="`cnn` of a clone of github.com/quark0/darts")
    parser.add_argument(
        "--prost",
        type=Path,
        metavar="FOLDER",
        nargs="+",
        default=[],
        help="`src` of clones of github.com/gaocong13/Projective-Spatial-Transformers, branches master and tmi",
    )
    given = parser.parse_args()
    if given.darts and not (given.darts / "model_search.py").is_file():
        parser.error(f"{given.darts}: holds no model_search.py. Give the folder `cnn` of a clone.")
    for folder in given.prost:
        if not (folder / "posevec2mat.py").is_file():
            parser.error(f"{folder}: holds no posevec2mat.py. Give the folder `src` of a clone.")
    prepare_tensorflow()
    topic = getattr(importlib.import_module(f"benchmarks.{given.topic}"), given.topic)
    peers = Peers(
        given.peers / "bin" / "python" if given.peers else None, given.peer_scripts, given.darts, tuple(given.prost)
    )
    if not given.json:
        print(f"{given.topic}: {(topic.__doc__ or '').strip()}")
    for case in topic(given.runs, peers):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
