"""Writes the report of a run folder again."""

from dataclasses import dataclass
from pathlib import Path

from tfmedcai.cli import main
from tfmedcai.runs import open_run


@dataclass(frozen=True)
class ReportOptions:
    """Write the HTML report of a run from what its folder holds now."""

    run: Path
    """run folder"""
    traceback: bool = False
    """show where an error was raised"""


def report(options: ReportOptions) -> Path:
    """Writes the report and says where it lies.

    Returns:
        The report's file.

    Raises:
        ValueError: if the folder is no run or a file of it is damaged.
    """
    run, settings = open_run(options.run)
    from tfmedcai.tasks.report import write_run_report

    write_run_report(run, settings)
    print(run.report)
    return run.report


if __name__ == "__main__":
    main(ReportOptions, report)
