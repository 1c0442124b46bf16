"""The commands `export`, `serve` and `ask` of `python -m tfmedcai.serving`."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tfmedcai import cli
from tfmedcai.runs import open_run, read_json
from tfmedcai.serving.options import ServerOptions

# Nothing of TensorFlow up here: `--help` answers at once.


@dataclass(frozen=True, kw_only=True)
class Export(cli.ScriptOptions):
    """Writes the best trained network of a run as the next version of its served model."""

    run: Path
    """run folder with trained networks"""
    output: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """the model's folder; `export` in the run folder by default"""
    version: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """number of the version; the next free one by default"""


@dataclass(frozen=True, kw_only=True)
class Serve(cli.CommonOptions, ServerOptions):
    """Serves exported models over gRPC, as tensorflow_model_server does. Ends on SIGTERM or Ctrl-C."""

    model_name: str = "default"
    """name that clients ask for, with --model_base_path"""
    model_base_path: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """the model's folder: the newest version in it is served"""
    model_config_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """TensorFlow Serving's text file with several models, versions and labels, instead of --model_base_path"""
    engine: Literal["auto", "embedded", "tensorflow_serving"] = "auto"
    """what answers: this package, or tensorflow_model_server, which listens on all addresses and so needs
    --host 0.0.0.0; auto takes it where that is said and it is on the PATH"""


@dataclass(frozen=True, kw_only=True)
class Ask(cli.ScriptOptions):
    """Asks a server for one prediction and prints the outputs as JSON, or the files that they were written to."""

    model: Annotated[str, tyro.conf.arg(aliases=("--model_name",))]
    """name of the model"""
    input: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME=VALUE")] = field(
        default_factory=tuple
    )
    """an input: NAME=file.npy, NAME=file.png (or DICOM), NAME=file.nii.gz (channels: commas between) or NAME=1.5,2,3;
    repeatable. Missing axes of size 1 are added. A picture for a float input is scaled to [0, 1]"""
    address: str = "127.0.0.1:8500"
    """host and port of the server"""
    signature: str = "serving_default"
    """what to ask for"""
    version: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """version of the model; the newest by default"""
    output: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """write the outputs here instead of printing them: a volume for a volume, as NIfTI on its grid, others as .npy"""
    timeout: float = 60.0
    """seconds to wait"""
    ssl_authority: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """PEM file of who signed the server's certificate: encrypts"""
    ssl_certificate: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """PEM file of an own certificate, for servers that ask for one"""
    ssl_key: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """PEM file of its key"""


@dataclass(frozen=True)
class Command:
    """Exports trained networks, serves them, and asks the server."""

    verb: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Export | Serve | Ask]]


def act(command: Command) -> dict[str, Any]:
    """Carries out a verb; returns what `--json` prints."""
    match command.verb:
        case Export() as verb:
            done = export(verb)
            return done if isinstance(done, cli.Plan) else {"version": str(done)}
        case Serve() as verb:
            return serve(verb) or {}
        case Ask() as verb:
            return ask(verb)


def export(verb: Export) -> Path | cli.Plan:
    """Exports the first trained network of a run, with its task's signatures, and prints where it lies.

    Returns:
        The version's folder; for a dry run where it would lie and what could be asked.

    Raises:
        ValueError: if the run has no trained network, or the written model fails a check.
        OSError: if a file cannot be read or the folder not be written to.
    """
    run, settings = open_run(verb.run)
    trained = run.must_be_trained()
    card = {"task": settings.task} | read_json(trained[0].card)
    if trained[0].evaluation.exists():
        card["evaluation"] = read_json(trained[0].evaluation)

    from tfmedcai.serving.export import export as write
    from tfmedcai.serving.export import next_version
    from tfmedcai.tasks.fitting import load_model
    from tfmedcai.tasks.task import make_task

    signatures = make_task(settings).signatures(load_model(trained[0].model))
    folder = verb.output or run.exported
    if verb.dry_run:
        asked = {name: list(signature.inputs) for name, signature in signatures.items()}
        version = folder / str(verb.version or next_version(folder))
        return cli.Plan(network=str(trained[0].model), version=str(version), signatures=asked)
    version = write(signatures, folder, card=card, version=verb.version)
    print(version)
    return version


def serve(verb: Serve) -> cli.Plan | None:
    """Serves models until the process is asked to end.

    Returns:
        For a dry run, which and where; else nothing.

    Raises:
        ValueError: if the options contradict each other or a model cannot be loaded.
        OSError: if a file cannot be read or the port not be listened on.
    """
    from tfmedcai.serving import processes

    read_sources = partial(processes.sources_from, verb.model_name, verb.model_base_path, verb.model_config_file)
    options = ServerOptions(**{field.name: getattr(verb, field.name) for field in fields(ServerOptions)})
    engine = verb.engine
    if engine == "auto":
        # TensorFlow Serving listens on all addresses: it is taken only where that was asked for.
        installed = shutil.which(processes.PROGRAM) is not None and options.host == "0.0.0.0"
        engine = "tensorflow_serving" if installed else "embedded"
    if verb.dry_run:
        from tfmedcai.serving.sources import chosen_versions

        models = {source.name: list(chosen_versions(source)) for source in read_sources()}
        return cli.Plan(engine=engine, host=options.host, port=options.port, models=models)
    if engine == "tensorflow_serving":
        read_sources()
        named = {name: getattr(verb, name) for name in ("model_name", "model_base_path", "model_config_file")}
        processes.run_tensorflow_serving(options, [f"--{name}={value}" for name, value in named.items() if value])
    elif options.workers > 1:
        processes.serve_with_workers(read_sources, options)
    else:
        processes.serve(read_sources, options)


def ask(verb: Ask) -> dict[str, Any]:
    """Prints the outputs of one prediction as JSON, bytes as `{"b64": ...}` as TensorFlow Serving does, or writes them.

    Returns:
        What is printed; for a dry run what the model expects and what would be sent.

    Raises:
        ValueError: if an input cannot be read, or the server refuses the request.
        RuntimeError: if no server answers.
    """
    from tfmedcai.serving.client import Client, describe
    from tfmedcai.serving.errors import RequestError
    from tfmedcai.serving.tls import channel_credentials
    from tfmedcai.serving.values import VolumeInput, read_input, to_json, write_outputs

    credentials = None
    if verb.ssl_authority or verb.ssl_certificate or verb.ssl_key:
        credentials = channel_credentials(verb.ssl_authority, verb.ssl_certificate, verb.ssl_key)
    with Client(verb.address, credentials) as client:
        try:
            signatures = client.metadata(verb.model, verb.version, verb.timeout)
        except RequestError as error:
            if error.code.name == "NOT_FOUND":
                raise ValueError(f"{error}. `--model` is what `serve --model_name` says, `default` without.") from error
            raise RuntimeError(str(error)) from error  # not the request is wrong: the server is not there, or fails
        if verb.signature not in signatures:
            raise ValueError(f"`signature` must be one of {sorted(signatures)}. Received {verb.signature!r}.")
        expected = signatures[verb.signature].inputs
        inputs = dict(read_input(text, expected) for text in verb.input)
        volume = VolumeInput.among(verb.input)
        if volume is not None and "spacing" in expected:
            inputs.setdefault("spacing", volume.spacing)
        if verb.dry_run:
            sent = {name: [str(array.dtype), *array.shape] for name, array in inputs.items()}
            return cli.Plan(expects=describe(verb.signature, signatures[verb.signature]), sent=sent)
        outputs = client.predict(verb.model, inputs, verb.signature, verb.version, verb.timeout)
    if verb.output is None:
        told = {name: to_json(array) for name, array in sorted(outputs.items())}
    else:
        told = {name: str(path) for name, path in write_outputs(outputs, verb.output, volume).items()}
    print(json.dumps(told))
    return told


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    cli.main(Command, act, argv)


if __name__ == "__main__":
    command()
