"""`tfmedcai VERB ...` is `python -m tfmedcai.VERB ...`; beside the verbs it prints what a shell completes."""

import importlib
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

import tfmedcai
from tfmedcai import cli
from tfmedcai.arguments import COMPLETION, HELP
from tfmedcai.registry import did_you_mean

# Where the command line of a verb is, and the class of its options.
VERBS = {
    "search": ("tfmedcai.search.__main__", "SearchOptions"),
    "train": ("tfmedcai.train", "TrainOptions"),
    "evaluate": ("tfmedcai.evaluate", "EvaluateOptions"),
    "predict": ("tfmedcai.predict", "PredictOptions"),
    "register": ("tfmedcai.register", "RegisterOptions"),
    "report": ("tfmedcai.report", "ReportOptions"),
    "serving": ("tfmedcai.serving.__main__", "Command"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Carries out a verb; or prints the verbs, the version, the names that `--list` knows, or completions for a shell.

    Args:
        argv: the arguments; those of the process by default.
    """
    verb, *arguments = list(sys.argv[1:] if argv is None else argv) or HELP
    if verb in VERBS:
        sys.argv = [f"tfmedcai {verb}", *arguments]
        importlib.import_module(VERBS[verb][0]).command(arguments)
    elif verb in HELP:
        print(_help())
    elif verb == "--version":
        print(tfmedcai.__version__)
    elif verb == "--list":
        cli.main(cli.ScriptOptions, lambda options: None, [verb, *arguments])
    elif verb in COMPLETION:
        named = [Annotated[options, tyro.conf.subcommand(name=name)] for name, options in _options().items()]
        commands: Any = reduce(or_, named)
        tyro.cli(commands, prog="tfmedcai", args=[verb, *arguments], use_underscores=True)
    else:
        cli.fail(ValueError(f"`{verb}` is not one of the verbs: {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}"))


def _options() -> dict[str, Any]:
    return {verb: getattr(importlib.import_module(module), name) for verb, (module, name) in VERBS.items()}


def _help() -> str:
    verbs = [f"  {verb:9} {options.__doc__.splitlines()[0]}" for verb, options in _options().items()]
    usage = "usage: tfmedcai VERB [OPTIONS]; `tfmedcai VERB --help` shows its options, `tfmedcai --list` all names"
    return "\n".join([usage, "", tfmedcai.__doc__ or "", "", *verbs])


if __name__ == "__main__":
    main()
