"""The main job on simulated X-ray images: search, train, evaluate, export, serve, ask, report; prints each command."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

from tfmedcai.config import read_settings

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> None:
    """Shows a command and carries it out as `python -m MODULE ARGUMENTS` does, without loading TensorFlow each time."""
    print(f"\n$ python -m {shlex.join([module, *arguments])}", flush=True)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def serve_and_ask(exported: Path, folder: Path) -> None:
    """Starts the embedded server on a free port of the loopback device, asks it about one image, and stops it."""
    import numpy as np

    from tfmedcai.simulators.xray_instruments import XRayScene, simulate

    sample = simulate(XRayScene(image_size=(256, 256), subjects=(2000, 2001)), seed=7, index=0)
    image = folder / "image.npy"
    np.save(image, sample["image"].numpy())
    x, y, angle = sample["image_pose"].numpy()[:3]
    rough = f"{x + 5:.1f},{y - 4:.1f},{np.degrees(angle) + 6:.1f},0,0.15"
    serve = ["tfmedcai.serving", "serve", "--model_name", "pose", "--model_base_path", str(exported), "--port", "0"]
    print(f"\n$ python -m {shlex.join(serve)} &", flush=True)
    with subprocess.Popen([sys.executable, "-m", *serve], stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = server.stdout.readline() if server.stdout else ""
            print(ready, end="", flush=True)
            port = re.search(r":(\d+)", ready)
            if port is None:
                raise SystemExit("the server did not start")
            inputs = ["--input", f"image={image}", "--input", f"pose={rough}"]
            run("tfmedcai.serving", "ask", "--address", f"127.0.0.1:{port[1]}", "--model", "pose", *inputs)
        finally:
            server.terminate()
    print(f"rough pose {rough}; true pose {x:.1f},{y:.1f},{np.degrees(angle):.1f}")


def main() -> None:
    """Goes the whole way and says where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder for the run")
    output = parser.parse_args().output
    settings = ROOT / "search" / "autosnap_pose_demo.toml"
    found = read_settings(settings)
    run("tfmedcai.search", "--settings", str(settings), "--output", str(output), "--fresh")
    folder = output / f"{found.task}-{found.space}-{found.oracle}-{found.digest()}"
    run("tfmedcai.train", "--run", str(folder))
    run("tfmedcai.evaluate", "--run", str(folder))
    run("tfmedcai.serving", "export", "--run", str(folder))
    serve_and_ask(folder / "export", folder)
    run("tfmedcai.report", "--run", str(folder))
    print(f"\ntrials   {folder / 'trials.jsonl'}\nnetworks {folder / 'best'}\nexport   {folder / 'export'}")
    print(f"report   {folder / 'report.html'}")


if __name__ == "__main__":
    main()
