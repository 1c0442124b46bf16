"""Encryption of the gRPC port, from TensorFlow Serving's file of keys and certificates."""

from pathlib import Path

import grpc

from tfmedcai.serving.config_files import read


def server_credentials(path: Path) -> grpc.ServerCredentials:
    """Reads key and certificate of a server, and whose certificates it asks its clients for.

    Args:
        path: text of an `SSLConfig`: `server_key`, `server_cert`, `custom_ca` (PEM texts), `client_verify`.

    Returns:
        What gRPC's server takes.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it lacks a key, a certificate, or the authority that clients are checked with.
    """
    config = read(path, "SSLConfig")
    for name in ("server_key", "server_cert"):
        if "-----BEGIN" not in getattr(config, name):
            raise ValueError(f"`{path}` must have `{name}`, a PEM text. It has none.")
    if config.client_verify and "-----BEGIN" not in config.custom_ca:
        raise ValueError(f"`{path}`: `client_verify` needs `custom_ca`, the PEM text of who signed the clients.")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def channel_credentials(
    authority: Path | None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Reads what a client needs to trust a server, and to be let in where a server asks for a certificate.

    Args:
        authority: PEM file of who signed the server's certificate; None trusts the well-known ones.
        certificate: PEM file of the client's own certificate.
        key: PEM file of its key.

    Returns:
        What gRPC's clients take.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if only one of certificate and key is given.
    """
    if (certificate is None) != (key is None):
        raise ValueError("A client's certificate and its key belong together. Received only one of them.")
    root, own, secret = (path.read_bytes() if path is not None else None for path in (authority, certificate, key))
    return grpc.ssl_channel_credentials(root, secret, own)
