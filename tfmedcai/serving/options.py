"""The settings of a server, in a file of their own so that the command line reads them without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

HIGHEST_PORT = 65535  # of a higher one gRPC takes what is left modulo this and one, without a word
ShapePolicy = Literal["auto", "off", "rank", "full"]


@dataclass(frozen=True)
class ServerOptions:
    """How a server listens and answers; the names are tensorflow_model_server's where it has one."""

    port: int = 8500
    """port for gRPC; 0 chooses a free one and prints it"""
    host: str = "127.0.0.1"
    """address to listen on; others than 127.0.0.1 open the server to the network, without encryption"""
    shape_policy: ShapePolicy = "auto"
    """inputs refused before the graph runs. off: none, as TensorFlow Serving; rank: wrong number of dimensions;
    full: also wrong sizes; auto: rank where the graph convolves or pools (there a wrong rank can end the process)"""
    enable_serialization_as_tensor_content: bool = False
    """reply with tensor_content instead of the typed fields"""
    file_system_poll_wait_seconds: float = 1.0
    """how often to look for new and removed versions; 0 looks at the start only"""
    max_num_load_retries: int = 5
    """how often to try again to load a version that could not be loaded; it is also tried when its files change"""
    load_retry_interval_micros: int = 60_000_000
    """microseconds between two tries"""
    enable_model_warmup: bool = True
    """run the requests that were exported with a version before it is served"""
    allow_version_labels_for_unavailable_models: bool = False
    """let labels name versions that are not loaded"""
    rest_api_port: int = 0
    """port for the REST interface and metrics, on the same address; 0 opens none, -1 a free one"""
    enable_grpc_healthcheck_service: bool = False
    """answer grpc.health.v1.Health"""
    enable_batching: bool = False
    """merge requests of one model, signature and shape that arrive together"""
    batching_parameters_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """TensorFlow Serving's text file with sizes and times of batches"""
    ssl_config_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """TensorFlow Serving's text file with key, certificate and, to let in only clients who show a certificate, the
    authority that signed theirs; encrypts gRPC, not REST"""
    monitoring_config_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """TensorFlow Serving's text file that moves or closes the metrics page of the REST port"""
    model_config_file_poll_wait_seconds: float = 0.0
    """how often to read --model_config_file again; 0 never"""
    workers: int = 1
    """processes that share the port: small models answer as many more requests; each holds all models"""
    tensorflow_intra_op_parallelism: int = 0
    """threads of one operation; 0 uses all cores, or an equal share for each worker"""

    def __post_init__(self) -> None:
        for name, least in (("port", 0), ("rest_api_port", -1)):
            if not least <= getattr(self, name) <= HIGHEST_PORT:
                raise ValueError(f"`{name}` must be {least} to {HIGHEST_PORT}. Received {getattr(self, name)}.")
