"""Writes the report of a run folder again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmedcai.cli import Plan, ScriptOptions, main
from tfmedcai.runs import open_run


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ScriptOptions):
    """Write the HTML report of a run from what its folder holds now."""

    run: Path
    """run folder"""


def report(options: ReportOptions) -> Path | Plan:
    """Writes the report and says where it lies.

    Raises:
        ValueError: if the folder is no run or a file of it is damaged.
    """
    run, settings = open_run(options.run)
    if options.dry_run:
        return Plan(run=str(run.folder), report=str(run.report), networks=[str(one.model) for one in run.trained()])
    from tfmedcai.tasks.report import write_run_report

    write_run_report(run, settings)
    print(run.report)
    return run.report


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(ReportOptions, report, argv, outcome=lambda path: {"report": str(path)})


if __name__ == "__main__":
    command()
