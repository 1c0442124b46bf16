"""Synthetic leavings of a run: trials with failures and cached rows, evaluations, cases, histories."""

import numpy as np
import pytest

from tfmedcai.reports.document import Picture
from tfmedcai.reports.overlay import Marks, overlay
from tfmedcai.reports.pages import RunData
from tfmedcai.reports.series import Objective

SYMBOLS = ("conv1x1", "conv3x3", "dw3x3", "dws3x3", "maxpool3x3", "branch", "merge", "switch")


def make_trials(seeds=3, oracles=("latent", "random"), count=30):
    rows = []
    for seed in range(seeds):
        for number, oracle in enumerate(oracles):
            rng = np.random.default_rng(100 * seed + number)
            rows += [make_trial(rng, oracle, seed, trial, count) for trial in range(count)]
    return rows


def make_trial(rng, oracle, seed, trial, count):
    parameters = int(rng.lognormal(11, 0.6))
    text = " ".join(rng.choice(SYMBOLS, rng.integers(3, 9)))
    gain = 0.6 * trial / count if oracle == "latent" else 0.0
    row = {"oracle": oracle, "seed": seed, "trial": trial, "state": "COMPLETED", "architecture": text, "key": text}
    row |= {"values": {}, "epochs": 20, "parameters": parameters, "source": "trained", "reason": None}
    row |= {"score": float(1.6 + gain + 0.08 * np.log10(parameters) + 0.15 * rng.normal())}
    row |= {"metrics": {}, "time": {"seconds": float(rng.uniform(8, 30)), "ended": "2024-01-01T00:00:00"}}
    if trial % 11 == 4:
        row |= {"state": "FAILED", "score": None, "reason": "ResourceExhaustedError: out of memory"}
    elif trial % 13 == 7:
        row |= {"source": "cache", "time": {"seconds": 0.0, "ended": "2024-01-01T00:00:00"}}
    return row


def make_rounds(seeds=3):
    fit = {"reconstruction": 0.1, "value": 0.2, "consistency": 0.05}
    return [
        {"oracle": "latent", "seed": s, "round": r, "known": 10 * r, "fit": fit, "seconds": 4.0}
        | {"rank_correlation": None if r == 0 else 0.7 * r / 5 + 0.04 * s - 0.1}
        for s in range(seeds)
        for r in range(6)
    ]


def make_evaluations(seeds=3):
    rows = []
    for model, parameters, factor in (("snapnet", 173_796, 1.0), ("i3posnet", 2_894_508, 1.5)):
        for seed in range(seeds):
            iterations = {}
            for count, scale in (("3 iterations", 1.0), ("1 iteration", 1.6)):
                mm, deg = 0.02 * factor * scale * (1 + 0.1 * seed), 0.6 * factor * scale * (1 + 0.05 * seed)
                iterations[count] = {
                    name: {
                        "mean": m,
                        "std": 0.8 * m,
                        "min": 0.0,
                        "median": 0.8 * m,
                        "p95": 2.5 * m,
                        "max": 4 * m,
                        "n": 1000,
                    }
                    for name, m in (("position_error_mm", mm), ("angle_error_deg", deg))
                }
            text = "branch dws3x3 switch conv3x3 merge" if model == "snapnet" else ""
            row = {"model": model, "architecture": text, "parameters": parameters, "seed": seed}
            rows.append(row | {"groups": iterations})
    return rows


def make_image(size=256, centre=(120.0, 140.0), angle=0.4, resolution=0.15):
    """A noisy plate with a dark screw whose head lies at `centre` and whose tip points at `angle`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size].astype(float)
    image = 0.7 + 0.1 * np.sin(x / 40) + 0.05 * np.cos(y / 23)
    along = ((x - centre[0]) * np.cos(angle) - (y - centre[1]) * np.sin(angle)) * resolution
    across = ((x - centre[0]) * np.sin(angle) + (y - centre[1]) * np.cos(angle)) * resolution
    shaft = (np.abs(across) < 0.5 + 0.1 * np.sin(8 * along)) & (along > -0.5) & (along < 4)
    image[shaft | (np.hypot(along, across) < 1.0)] *= 0.25
    return (image + 0.03 * rng.normal(size=image.shape)).astype(np.float32)


def make_cases():
    true = np.array([[120.0, 140.0, 0.4, 0.2, 0.15]] * 3)
    predicted = true + np.array([[0.05, 0.02, 0.003, 0, 0], [0.3, 0.2, 0.03, 0, 0], [6.0, -5.0, 0.5, 0, 0]])
    start = true + np.array([8.0, -6.0, 0.25, -0.2, 0.0])
    titles = ("best: 0.008 mm, 0.17 deg", "median: 0.054 mm, 1.72 deg", "worst: 1.170 mm, 28.60 deg")
    return [
        Picture(
            overlay(
                make_image(), true[i], predicted[i], start[i], Marks(landmarks(predicted)[i], landmarks(true)[i]), title
            ),
            title,
            f"X-ray image, {title}",
            bitmap=True,
        )
        for i, title in enumerate(titles)
    ]


def make_values(count=500, factor=1.0):
    rng = np.random.default_rng(1)
    return {
        "position_error_mm": factor * rng.lognormal(-4, 0.8, count),
        "angle_error_deg": factor * np.abs(rng.normal(0, 0.8, count)),
    }


def landmarks(poses):
    points = np.array([[0, 0], [1.5, 0], [3, 0], [-1.5, 0], [0, 1.5], [0, -1.5]], float)
    x, y, angle, tilt, resolution = (poses[:, i : i + 1] for i in range(5))
    along, across = points[:, 0] * np.cos(tilt), points[:, 1]
    dx = along * np.cos(angle) + across * np.sin(angle)
    dy = across * np.cos(angle) - along * np.sin(angle)
    return np.stack([x + dx / resolution, y + dy / resolution], axis=-1)


def make_histories(seeds=3, epochs=40):
    rng = np.random.default_rng(2)
    t = np.arange(epochs)
    one = {}
    for name, floor in (("snapnet", 0.004), ("i3posnet", 0.009)):
        one[name] = [
            {"epoch": t.tolist()}
            | {
                key: ((floor * up + np.exp(-t / 5 - 1)) * rng.lognormal(0, 0.06, epochs)).tolist()
                for key, up in (
                    ("loss", 1.0),
                    ("validation_loss", 1.3),
                    ("regression_mse", 0.9),
                    ("validation_regression_mse", 1.2),
                )
            }
            for _ in range(seeds)
        ]
    return one


def draw_block(axes):
    for x, text in enumerate(("block b-2", "branch", "conv3x3", "merge")):
        axes.text(x, 0, text, ha="center", va="center", bbox={"boxstyle": "round", "facecolor": "white"})
    axes.set(xlim=(-1, 4), ylim=(-1, 1))
    axes.set_axis_off()


def make_run(seeds=3):
    return RunData(
        title="pose-snap-latent-1a2b3c",
        task="pose",
        objective=Objective("value", "-log10 MSE"),
        oracle="latent",
        trials=make_trials(seeds),
        rounds=make_rounds(seeds),
        evaluations=make_evaluations(seeds),
        hand_made="i3posnet",
        cases=make_cases(),
        values={"snapnet": make_values(), "i3posnet": make_values(factor=1.5)},
        histories=make_histories(seeds),
        settings_text='task = "pose"\nspace = "snap"\n\n[training]\nepochs = 20\n',
        environment={"python": "3.11.9", "packages": {"tensorflow": "2.21.0"}, "devices": ["CPU:0"]},
        draw_best=draw_block,
    )


@pytest.fixture
def trials():
    return make_trials()


@pytest.fixture(scope="session")
def run():
    """Makes the leavings of a run of so many seeds."""
    return make_run
