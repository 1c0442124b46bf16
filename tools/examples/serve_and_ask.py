"""Exports a trained network, serves it on this machine, and asks in Python, over gRPC and over REST.

Without a run, a small network for the pose of a screw is trained on simulated X-ray images.
"""

import argparse
import json
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.serving.__main__ import Export, export
from tfmedcai.train import TrainOptions, train

MODEL = "pose"


def train_one(output: Path, images: int) -> Path:
    """Trains a small SNAPNet on simulated images, to have something to serve; returns its run folder."""
    changes = {
        "pose": {"images": images, "augmentation": 10, "domain_randomisation": 0.0},
        "snapnet": {"filters": 16, "head": "grid"},
        "training": {"baselines": (), "epochs": 6, "learning_rate": 1e-2},
    }
    settings = Settings().smoke().updated(changes)
    options = TrainOptions(settings=settings, architecture="conv3x3 branch dw3x3 merge", output=output, fresh=True)
    return train(options).folder


def example_request() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns an image `(1, 192, 192)`, a rough pose `(1, 5)` and the true one: px, px, deg, deg, mm/px."""
    from tfmedcai.simulators.xray_instruments import XRayScene, simulate

    sample = simulate(
        XRayScene(image_size=(192, 192), subjects=(2000, 2001), domain_randomisation=0.0), seed=7, index=0
    )
    true = sample["image_pose"].numpy() * np.array([1, 1, 180 / np.pi, 180 / np.pi, 1], np.float32)
    rough = np.array([[true[0] + 5, true[1] - 4, true[2] + 6, 0, 0.15]], np.float32)
    return sample["image"].numpy()[np.newaxis], rough, true[np.newaxis]


def ask(address: str, rest_port: int, image: np.ndarray, rough: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Asks for a pose over gRPC and over REST.

    Args:
        address: host and port of gRPC.
        rest_port: port of REST, on the same host.
        image: `(batch, height, width)` grey values.
        rough: `(batch, 5)` poses to start from.

    Returns:
        The poses `(batch, 5)` that each of them answered.
    """
    from tfmedcai.serving.client import Client

    with Client(address) as client:
        print("versions", client.status(MODEL))
        for name, signature in client.metadata(MODEL).items():
            print(f"signature {name}: {', '.join(signature.inputs)} -> {', '.join(signature.outputs)}")
        answer = client.predict(MODEL, {"image": image, "pose": rough})
    body = json.dumps({"inputs": {"image": image.tolist(), "pose": rough.tolist()}}).encode()
    with urlopen(f"http://127.0.0.1:{rest_port}/v1/models/{MODEL}:predict", body) as reply:
        outputs = json.load(reply)["outputs"]
    return answer["pose"], np.array(outputs["pose"], np.float32)


def main(argv: list[str] | None = None) -> None:
    """Trains or takes a run, exports, serves, asks, stops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder of the task pose with trained networks")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for a run")
    parser.add_argument("--images", type=int, default=60, help="images that it is trained on")
    given = parser.parse_args(argv)
    run = given.run or train_one(given.output, given.images)
    version = export(Export(run=run))

    from tfmedcai.serving.options import ServerOptions
    from tfmedcai.serving.server import Server

    image, rough, true = example_request()
    # Ports 0 and -1: free ones. Nothing but this machine reaches the server.
    with Server({MODEL: version.parent}, ServerOptions(port=0, rest_api_port=-1)) as server:
        over_grpc, over_rest = ask(server.address, server.rest_port or 0, image, rough)
    for name, pose in (("rough", rough), ("gRPC", over_grpc), ("REST", over_rest), ("true", true)):
        print(f"{name:6} x, y [px], angle, tilt [deg], resolution [mm/px]: {np.array2string(pose[0], precision=2)}")


if __name__ == "__main__":
    prepare_tensorflow()
    main()
