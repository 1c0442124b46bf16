"""Runs the trials of a search side by side in processes of this machine, or on Ray."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.search.__main__ import SearchOptions, search


def main(argv: list[str] | None = None) -> None:
    """Searches with several workers, and says what each trial took."""
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="ADDRESS", help="address of a Ray cluster, or `local` for one on this machine")
    where.add_argument("--workers", type=int, default=2, help="processes side by side")
    parser.add_argument("--trials", type=int, default=4, help="architectures to score")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for the run")
    given = parser.parse_args(argv)
    if given.ray and find_spec("ray") is None:
        parser.error('Ray is not installed: pip install "tfmedcai[cluster]"')
    budget = {"trials": given.trials, "baseline": "none", "retries": 1, "time_limit_min": 10.0}
    settings = Settings().smoke().updated({"oracle": "local", "search": budget})
    options = SearchOptions(
        settings=settings,
        output=given.output,
        fresh=True,
        executor="ray" if given.ray else "processes",
        workers=given.workers,
        address=None if given.ray == "local" else given.ray,
    )
    run = search(options)
    for row in Journal(run.trials).read():
        outcome = row["reason"] or f"{row['score']:.3f}"
        print(f"trial {row['trial']}: {outcome} after {row['time']['seconds']:.0f} s, {row['architecture']}")
    print(f"what each of them printed: {run.log('*')}")


if __name__ == "__main__":  # the processes import this file again: without this line each would begin a search
    prepare_tensorflow()
    main()
