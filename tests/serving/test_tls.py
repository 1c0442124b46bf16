"""Encryption: who has no certificate is not let in, and wrong files are one clear line."""

import grpc
import numpy as np
import pytest
import trustme

from tfmedcai.serving.client import Client
from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server
from tfmedcai.serving.tls import channel_credentials, server_credentials


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """PEM files of the authority and of a client, and the server's configuration."""
    folder = tmp_path_factory.mktemp("pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    client = authority.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    server = authority.issue_cert("127.0.0.1", "localhost")
    texts = {
        "server_key": server.private_key_pem.bytes().decode(),
        "server_cert": server.cert_chain_pems[0].bytes().decode(),
        "custom_ca": authority.cert_pem.bytes().decode(),
    }
    lines = [f"{name}: {text!r}" for name, text in texts.items()]
    (folder / "ssl.config").write_text("\n".join([*lines, "client_verify: true"]))
    (folder / "open.config").write_text("\n".join(lines[:2]))
    return folder


@pytest.fixture(scope="module")
def image():
    return {"image": np.ones((1, 8, 8, 1), np.float32)}


def test_only_clients_with_a_certificate_are_let_in(files, model_folder, image):
    options = ServerOptions(port=0, ssl_config_file=files / "ssl.config")
    with Server({"tiny": model_folder}, options) as server:
        own = channel_credentials(files / "authority.pem", files / "client.pem", files / "client.key")
        with Client(server.address, own) as client:
            assert client.predict("tiny", image)["score"].shape == (1, 2)
        for stranger in (None, channel_credentials(files / "authority.pem")):
            with Client(server.address, stranger) as client, pytest.raises(RequestError) as refused:
                client.predict("tiny", image, timeout=3)
            assert refused.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_encryption_alone_asks_for_no_certificate(files, model_folder, image):
    options = ServerOptions(port=0, ssl_config_file=files / "open.config")
    with (
        Server({"tiny": model_folder}, options) as server,
        Client(server.address, channel_credentials(files / "authority.pem")) as client,
    ):
        assert client.predict("tiny", image)["score"].shape == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server_keys: 'x'", "must be the text of a SSLConfig"),
        ("server_key: 'x'", "must have `server_key`, a PEM text"),
        (
            "server_key: '-----BEGIN' server_cert: '-----BEGIN' client_verify: true",
            "`client_verify` needs `custom_ca`",
        ),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "ssl.config"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        server_credentials(path)


def test_certificate_and_key_belong_together(files):
    with pytest.raises(ValueError, match="belong together"):
        channel_credentials(files / "authority.pem", files / "client.pem")
