"""Runs a server in this process, in several that share a port, or as TensorFlow Serving's own program."""

import multiprocessing
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from multiprocessing.connection import wait
from pathlib import Path

from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server
from tfmedcai.serving.sources import ModelSource, read_config

PROGRAM = "tensorflow_model_server"
# What TensorFlow Serving has no flag for.
_OURS = {"host", "shape_policy", "workers"}
ReadSources = Callable[[], Sequence[ModelSource]]


def say(line: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True)


def serve(
    read_sources: ReadSources,
    options: ServerOptions,
    *,
    share_port: bool = False,
    tell: Callable[[str], object] = say,
) -> None:
    """Serves until the process is asked to end (SIGTERM, SIGINT); requests under way are finished then.

    Args:
        read_sources: reads the list of models.
        options: where to listen and how to answer.
        share_port: let other processes listen on the same port.
        tell: is told what is served where, once it is.

    Raises:
        ValueError: if a model cannot be loaded.
        OSError: if the port cannot be listened on.
    """
    asked_to_stop = threading.Event()

    def ask_to_stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # whoever asks twice does not want to wait
        asked_to_stop.set()

    with Server(read_sources(), options, read_sources, share_port=share_port) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)
        rest = f", REST on port {server.rest_port}" if server.rest_port else ""
        tell(f"serving {server.catalog} on {server.address}{rest}")
        asked_to_stop.wait()


def serve_with_workers(read_sources: ReadSources, options: ServerOptions) -> None:
    """Serves with `options.workers` processes, among which the system spreads the connections.

    Args:
        read_sources: reads the list of models; it is sent to the processes, so it must be a plain function.
        options: where to listen and how to answer.

    Raises:
        ValueError: if a model cannot be loaded.
        OSError: if the port cannot be listened on.
        RuntimeError: if a worker ends unasked.
    """
    read_sources()  # whatever is wrong with the list is said once, here
    threads = options.tensorflow_intra_op_parallelism or max(1, (os.cpu_count() or 1) // options.workers)
    context = multiprocessing.get_context("spawn")
    with _reserved(options.host, options.port) as port, _reserved(options.host, max(0, options.rest_api_port)) as rest:
        shared = replace(
            options,
            port=port.getsockname()[1],
            rest_api_port=rest.getsockname()[1] if options.rest_api_port else 0,
            tensorflow_intra_op_parallelism=threads,
        )
        told, tell = context.Pipe(duplex=False)
        workers = [
            context.Process(target=_work, args=(read_sources, shared, tell), daemon=True)
            for _ in range(options.workers)
        ]
        for worker in workers:
            worker.start()
        try:
            _supervise(workers, told)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join()


def run_tensorflow_serving(options: ServerOptions, models: Sequence[str]) -> None:
    """Becomes TensorFlow Serving's own program, with the same options.

    Args:
        options: where to listen and how to answer; only those that differ from the default are handed on.
        models: its options that name the models.

    Raises:
        FileNotFoundError: if it is not installed.
        ValueError: if an option is set that it has not, or if it would listen where it was not told to.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise FileNotFoundError(f"`{PROGRAM}` is not on the PATH. `--engine embedded` needs no other program.")
    if options.host != "0.0.0.0":
        raise ValueError(
            f"{PROGRAM} listens on all addresses of this machine. Say `--host 0.0.0.0` if that is what you want; "
            "`--engine embedded` listens on one."
        )
    default = ServerOptions()
    changed = {
        option.name: getattr(options, option.name)
        for option in fields(ServerOptions)
        if getattr(options, option.name) != getattr(default, option.name)
    }
    unknown = sorted(changed.keys() & _OURS - {"host"})
    if unknown:
        raise ValueError(f"{PROGRAM} has no option {', '.join(f'`--{name}`' for name in unknown)}: leave it out.")
    flags = [f"--{name}={_flag(value)}" for name, value in changed.items() if name not in _OURS]
    os.execv(program, [program, *flags, *models])


def sources_from(model_name: str, model_base_path: Path | None, model_config_file: Path | None) -> list[ModelSource]:
    """Returns the models that the command line names: one by its folder, or those of a file.

    Args:
        model_name: what clients call the one model.
        model_base_path: its folder.
        model_config_file: TensorFlow Serving's text file with several models instead.

    Raises:
        ValueError: if neither or both are given, or the file is wrong.
    """
    if model_config_file and not model_base_path:
        return read_config(model_config_file)
    if model_base_path and not model_config_file:
        return [ModelSource(model_name, model_base_path.absolute())]
    raise ValueError("Give either --model_base_path (with --model_name) or --model_config_file.")


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _work(read_sources: ReadSources, options: ServerOptions, tell: "multiprocessing.connection.Connection") -> None:
    try:
        serve(read_sources, options, share_port=True, tell=tell.send)
    except (ValueError, OSError) as error:
        tell.send(error)


def _supervise(workers: Sequence[multiprocessing.Process], told: "multiprocessing.connection.Connection") -> None:
    """Waits until all workers serve, says so, and waits until the process is asked to end."""
    asked_to_stop, wake = socket.socketpair()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: wake.send(b"x"))
    waiting = len(workers)
    while True:
        ready = wait([asked_to_stop, told, *(worker.sentinel for worker in workers)])
        if asked_to_stop in ready:
            return
        if told in ready:
            message = told.recv()
            if isinstance(message, Exception):
                raise message
            waiting -= 1
            if waiting == 0:
                say(f"{message}, {len(workers)} workers")
        elif any(not worker.is_alive() for worker in workers):
            raise RuntimeError("a worker ended unasked; the others are stopped.")


def _reserved(host: str, port: int) -> socket.socket:
    """Takes a port, without listening on it, so that the workers can share it; 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise OSError(f"`port` must be free on {host}. Received {port}, which cannot be listened on.") from error
    return taken
