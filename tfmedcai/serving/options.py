"""The settings of a server, in a file of their own so that the command line reads them without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

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
