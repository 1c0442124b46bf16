"""Writes the report of a run folder again, or one that compares several."""

from dataclasses import dataclass
from pathlib import Path

from tfmedcai.cli import main
from tfmedcai.runs import comparison_beside, open_run


@dataclass(frozen=True)
class ReportOptions:
    """Write the HTML report of a run from what its folder holds now; of several runs, one that compares them."""

    run: tuple[Path, ...]
    """run folder; several are compared: their searches, networks, settings and environments"""
    output: Path | None = None
    """HTML file to write; unset: report.html in the run folder, or comparison.html beside the first of several"""
    traceback: bool = False
    """show where an error was raised"""


def report(options: ReportOptions) -> Path:
    """Writes the report and says where it lies.

    Returns:
        The report's file.

    Raises:
        ValueError: if a folder is no run, is named twice, or a file of it is damaged.
    """
    runs = [open_run(folder) for folder in options.run]
    if not runs:
        raise ValueError("nothing to report: give `--run FOLDER`, or several folders to compare.")
    if len({run.folder.resolve() for run, _ in runs}) < len(runs):
        raise ValueError(f"each run is to be named once. Received {', '.join(map(str, options.run))}.")
    from tfmedcai.tasks.report import write_comparison, write_run_report

    first = runs[0][0]
    if len(runs) == 1:
        path = options.output or first.report
        write_run_report(*runs[0], path)
    else:
        path = options.output or comparison_beside(first)
        write_comparison(runs, path)
    print(path)
    return path


if __name__ == "__main__":
    main(ReportOptions, report)
