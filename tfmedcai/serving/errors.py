"""The one error that a request ends with: a gRPC status code and a message, as TensorFlow Serving words them."""

import grpc

MESSAGE_LIMIT = 1024  # TensorFlow Serving cuts here; longer texts would not fit into gRPC's trailing metadata
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(ValueError):
    """A request that cannot be answered.

    Args:
        code: status code that the client receives.
        message: what is wrong with the request.

    >>> error = RequestError(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(pose)")
    >>> print(error)
    NOT_FOUND: Servable not found for request: Latest(pose)
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message if len(message) <= MESSAGE_LIMIT else f"{message[:MESSAGE_LIMIT]}...TRUNCATED"


def invalid(message: str) -> RequestError:
    """Returns the error of a request that is wrong whatever the server's state."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_number(number: int, message: str) -> RequestError:
    """Returns the error for a numeric code: TensorFlow and gRPC number them alike."""
    return RequestError(_CODES.get(number, grpc.StatusCode.UNKNOWN), message)
