"""Writes the report of a run folder again, or one that compares several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmedcai.cli import Plan, ScriptOptions, main
from tfmedcai.runs import comparison_beside, open_run


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ScriptOptions):
    """Write the HTML report of a run from what its folder holds now; of several runs, one that compares them."""

    run: tuple[Path, ...]
    """run folder; several are compared: their searches, networks, settings and environments"""
    output: Path | None = None
    """HTML file to write; unset: report.html in the run folder, or comparison.html beside the first of several"""


def report(options: ReportOptions) -> Path | Plan:
    """Writes the report and says where it lies.

    Returns:
        The report's file; for a dry run what would be written.

    Raises:
        ValueError: if a folder is no run, is named twice, or a file of it is damaged.
    """
    runs = [open_run(folder) for folder in options.run]
    if not runs:
        raise ValueError("nothing to report: give `--run FOLDER`, or several folders to compare.")
    if len({run.folder.resolve() for run, _ in runs}) < len(runs):
        raise ValueError(f"each run is to be named once. Received {', '.join(map(str, options.run))}.")
    first = runs[0][0]
    path = options.output or (first.report if len(runs) == 1 else comparison_beside(first))
    if options.dry_run:
        networks = [str(one.model) for run, _ in runs for one in run.trained()]
        return Plan(run=[str(run.folder) for run, _ in runs], report=str(path), networks=networks)
    from tfmedcai.tasks.report import write_comparison, write_run_report

    if len(runs) == 1:
        write_run_report(*runs[0], path)
    else:
        write_comparison(runs, path)
    print(path)
    return path


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(ReportOptions, report, argv, outcome=lambda path: {"report": str(path)})


if __name__ == "__main__":
    command()
