"""Registers a CT to X-ray images: where the C-arm stood about the patient."""

import csv
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tfmedcai.cli import Plan, SettingsOptions, Unfinished, main, progress
from tfmedcai.config import CaseFiles

if TYPE_CHECKING:
    from tfmedcai.tasks.registration_stages import Stage

StageName = Literal["similarity", "cma_es", "polish", "descent"]
SimilarityName = Literal["ncc", "gradient_ncc", "patch_gradient_ncc"]
MANY = ";"  # between several paths in one cell of a batch


@dataclass(frozen=True, kw_only=True)
class RegisterOptions(SettingsOptions):
    """Register a CT to X-ray images: find the pose of the C-arm about the patient."""

    case: Annotated[CaseFiles, tyro.conf.arg(name="")] = field(default_factory=CaseFiles)
    batch: Path | None = None
    """CSV file, one registration a row: columns named as the options ct to truth, which stand in for what is empty;
    several paths with ; between; and `name`"""
    run: Path | None = None
    """run folder with a trained network of the task registration (stage similarity)"""
    method: tuple[StageName, ...] = ()
    """stages in turn; by default cma_es descent, with --run similarity before (the paper); xReg has cma_es polish"""
    similarity: SimilarityName | None = None
    """what images are compared by; by default gradient_ncc for descent, whose slopes are even, and else
    patch_gradient_ncc"""
    starts: int = 1
    """starts, all but the first disturbed; the least cost wins"""
    output: Path = Path("registration")
    """folder for results; with --batch one folder in it for each case"""
    quiet: bool = False
    """show no progress"""


def register(options: RegisterOptions) -> list[dict[str, Any]] | Plan:
    """Registers one case or a batch; writes poses and pictures and prints a JSON line for each case.

    Args:
        options: what to register, and how.

    Returns:
        For each case what `tasks.registration_output.summary_of` says, with "name" and "folder"; for a dry run which
        cases would be registered how, or in a batch what is wrong with their files.

    Raises:
        ValueError: if an input is not what is expected: the message says what is.
        Unfinished: if cases of a batch failed: the message says which.
    """
    if options.starts < 1:
        raise ValueError(f"`--starts` must be 1 or more. Received {options.starts}.")
    if options.dry_run:
        return _plan(options)
    stages = _stages(options)
    if options.batch is None:
        summary = _register_one(options, options.case, options.output, stages)
        print(json.dumps(summary), flush=True)
        return [summary]
    return _register_batch(options, stages)


def read_batch(path: Path, case: CaseFiles) -> list[tuple[str, CaseFiles]]:
    """Reads the cases of a batch.

    Args:
        path: CSV file with a header; see `RegisterOptions.batch`. Paths are relative to the working folder.
        case: stands in for columns that are missing and cells that are empty.

    Returns:
        Names, each once, and cases.

    Raises:
        ValueError: if there is no such file, it has no row, a column is unknown, or a name comes twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except OSError as error:
        raise ValueError(f"{path}: cannot read this batch ({error.strerror}). Check the path.") from error
    known = [one.name for one in fields(CaseFiles)]
    unknown = sorted({str(column) for row in rows for column in row} - {"name", *known})
    if not rows or unknown:
        raise ValueError(
            f"{path}: a batch must have a header with some of name, {', '.join(known)}, and rows as long. "
            f"Received {len(rows)} rows{' and ' + ', '.join(unknown) if unknown else ''}."
        )
    names = [row.get("name") or f"case_{number:03}" for number, row in enumerate(rows, start=1)]
    for name in names:
        if names.count(name) > 1 or Path(name).name != name:
            raise ValueError(f"{path}: each name must be there once and be no path. Received {name!r}.")
    return [(name, _row_case(row, case)) for name, row in zip(names, rows, strict=True)]


def _row_case(row: dict[str, str | None], case: CaseFiles) -> CaseFiles:
    given: dict[str, Any] = {}
    for one in fields(CaseFiles):
        text = (row.get(one.name) or "").strip()
        if text and isinstance(one.default, tuple):
            given[one.name] = tuple(Path(part.strip()) for part in text.split(MANY))
        elif text:
            given[one.name] = text if one.name in ("start", "inverted") else Path(text)
    return replace(case, **given)


def _register_batch(options: RegisterOptions, stages: "Sequence[Stage]") -> list[dict[str, Any]]:
    from tfmedcai.tasks.registration_output import write_batch

    cases = read_batch(options.batch, options.case)
    summaries, failed = [], []
    with progress(len(cases), "registrations", quiet=options.quiet) as done:
        for name, case in cases:
            try:
                summaries.append(_register_one(options, case, options.output / name, stages))
            except (ValueError, OSError, ImportError) as error:
                failed.append(name)
                summaries.append({"name": name, "folder": "", "error": str(error)})
            else:
                print(json.dumps(summaries[-1]), flush=True)
            done(name)
            # After each, so that what is done is not lost with what is not.
            write_batch(options.output / "results.csv", summaries)
    if failed:
        table = options.output / "results.csv"
        raise Unfinished(
            f"{len(failed)} of {len(cases)} cases failed: {', '.join(failed)}. {table} says why.", summaries
        )
    return summaries


def _plan(options: RegisterOptions) -> Plan:
    """Reads every case, and finds no pose."""
    from tfmedcai.tasks.registration_case import read_case

    def planned(case: CaseFiles, folder: Path) -> dict[str, Any]:
        views = len(read_case(case, options.settings.registering).problem.views)
        return {"name": folder.name, "folder": str(folder), "views": views}

    def planned_or_why(name: str, case: CaseFiles) -> dict[str, Any]:
        try:
            return planned(case, options.output / name)
        except (ValueError, OSError, ImportError) as error:
            return {"name": name, "folder": "", "error": str(error)}

    _stages(options)
    if options.batch is None:
        cases = [planned(options.case, options.output)]
    else:
        cases = [planned_or_why(*row) for row in read_batch(options.batch, options.case)]
    return Plan(cases=cases, method=list(_method(options)), starts=options.starts)


def _register_one(options: RegisterOptions, case: CaseFiles, folder: Path, stages: "Sequence[Stage]") -> dict[str, Any]:
    from tfmedcai.tasks.registration_case import read_case
    from tfmedcai.tasks.registration_output import summary_of, write_output
    from tfmedcai.tasks.registration_stages import disturbed, register_from

    settings = options.settings.registering
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        read = read_case(case, settings)
        starts = disturbed(read.start, options.starts, settings, options.settings.seed)
        found = register_from(read.problem, starts, stages)
    told = list(dict.fromkeys(str(one.message) for one in caught if one.category is UserWarning))
    for text in told:
        print(f"warning: {text}", file=sys.stderr)
    summary = {"name": folder.name, "folder": str(folder)} | summary_of(read, found, settings, told)
    write_output(folder, read, found, settings, summary)
    return summary


def _stages(options: RegisterOptions) -> "list[Stage]":
    from tfmedcai.tasks.registration_stages import descent_stage, evolution_stage, polish_stage

    settings, seed, method = options.settings.registering, options.settings.seed, _method(options)
    if "similarity" in method and options.run is None:
        raise ValueError("the stage similarity needs a trained network: give `--run`, the folder of its run.")
    makers = {
        "similarity": lambda: _similarity_stage(options),
        "cma_es": lambda: evolution_stage(settings, options.similarity or "patch_gradient_ncc", seed),
        "polish": lambda: polish_stage(settings, options.similarity or "patch_gradient_ncc"),
        "descent": lambda: descent_stage(settings, options.similarity or "gradient_ncc"),
    }
    return [makers[name]() for name in method]


def _method(options: RegisterOptions) -> tuple[StageName, ...]:
    return options.method or (("similarity",) if options.run else ()) + ("cma_es", "descent")


def _similarity_stage(options: RegisterOptions) -> "Stage":
    from tfmedcai.tasks.registration_similarity import read_network, similarity_stage

    # In the unit of length that it was trained with.
    scale = {"scale_mm": options.settings.registration.normaliser_mm}
    return similarity_stage(options.settings.registering.similarity.model_copy(update=scale), read_network(options.run))


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(RegisterOptions, register, argv, outcome=lambda cases: {"cases": cases})


if __name__ == "__main__":
    command()
