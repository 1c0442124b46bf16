"""A task of one's own: which instrument does an X-ray image show? Any space and any oracle then search it."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfmedcai import registry
from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.data.images import read_image
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.metrics.statistics import summary_of
from tfmedcai.reports.document import Picture
from tfmedcai.reports.series import Objective
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.simulators.xray_instruments import XRayScene, dataset
from tfmedcai.tasks.fitting import Arrays, array_source, train_on
from tfmedcai.tasks.task import OF_ALL, Evaluation, Signature, Task, build_network
from tfmedcai.tasks.watch import UNWATCHED, measured_at
from tfmedcai.train import TrainOptions, train

INSTRUMENTS = ("screw", "guide_wire", "drill")
SIZE_PX = 64
IMAGES = 100  # of each instrument
# Numbers of the first and (not included) the last simulated patient: nobody is in two parts.
PARTS = {"training": (0, 60), "held_back": (60, 80), "evaluation": (80, 100)}


class InstrumentTask(Task):
    """Data, network, loss, metric, pictures and the served function; its numbers are the constants above."""

    name = "instrument"
    objective = Objective("accuracy", "", "max")

    @cached_property
    def parts_of_data(self) -> dict[str, Arrays]:
        """Images `(n, 64, 64, 1)` in [0, 1] and one-hot instruments `(n, 3)`."""
        found = {name: ([], []) for name in PARTS}
        for row, instrument in zip(np.eye(len(INSTRUMENTS), dtype=np.float32), INSTRUMENTS, strict=True):
            scene = XRayScene(instrument, (SIZE_PX, SIZE_PX), pixel_mm=0.5, domain_randomisation=0.0)
            for sample in dataset(scene, IMAGES, self.settings.seed).as_numpy_iterator():
                part = next(name for name, (first, end) in PARTS.items() if first <= sample["subject"] < end)
                found[part][0].append(sample["image"][..., np.newaxis])
                found[part][1].append(row)
        return {name: Arrays(np.stack(images), np.stack(rows)) for name, (images, rows) in found.items()}

    def prepare(self) -> None:
        """Makes the data, before the first trial."""
        _ = self.parts_of_data

    def describe(self) -> dict[str, Any]:
        """Says in `--dry_run` what the data are."""
        return {
            "images": f"{IMAGES} of each of {', '.join(INSTRUMENTS)}",
            "patients": {name: list(numbers) for name, numbers in PARTS.items()},
        }

    def network(self, candidate, *, search=False):
        """Builds any network of any space, with a logit for each instrument."""
        ends = {"input_shape": (SIZE_PX, SIZE_PX, 1), "outputs": len(INSTRUMENTS)}
        return build_network(self.settings, candidate, search=search, **ends)

    def _source(self, batch_size, seed, measure=lambda model, epoch: {}):
        source = array_source(self.parts_of_data["training"], batch_size, seed, measure)
        return replace(source, loss=keras.losses.CategoricalCrossentropy(from_logits=True))

    def _right(self, model: keras.Model, part: str) -> np.ndarray:
        data = self.parts_of_data[part]
        return model.predict(data.inputs, verbose=0).argmax(-1) == data.targets.argmax(-1)

    def _accuracy(self, model: keras.Model) -> float:
        return float(self._right(model, "held_back").mean())

    def score(self, architecture, epochs, seed, part=0, watch=UNWATCHED):
        """Trains a candidate and measures it on patients that are held back, also on the way where a watch asks."""
        fit, keeper = self.settings.search.fit, watch.keeper(self.objective)
        source = self._source(fit.batch_size, seed, measured_at(watch.looks, self.objective, self._accuracy))
        model, rows = train_on(lambda: self.network(architecture, search=True), source, fit, epochs, seed, keeper)
        metrics = {self.objective.name: self._accuracy(model)}
        return metrics | self.costs(model) | watch.course(self.objective, rows)

    def train(self, candidate, seed, keeper):
        """Trains the full-size network."""
        fit = self.fit_of(candidate)
        source = self._source(fit.batch_size, seed)
        return train_on(lambda: self.network(candidate), source, fit, self.settings.training.epochs, seed, keeper)

    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Measures on patients that neither search nor training has seen; the first image is kept for the report."""
        right = self._right(model, "evaluation").astype(float)
        image = self.parts_of_data["evaluation"].inputs[0, ..., 0]
        return Evaluation(
            {"groups": {"all": {"accuracy": summary_of(right)}}}, {OF_ALL + "accuracy": right, "image": image}
        )

    @staticmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> list[Picture]:
        """Draws what `evaluate` kept."""
        figure = Figure()
        figure.subplots().imshow(cases["image"], cmap="gray")
        return [Picture(figure, f"A {INSTRUMENTS[0]}.", "A simulated X-ray image.", bitmap=True)]

    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answers for one file: `python -m tfmedcai.predict --image FILE` of an installed task."""
        answer = self._answer(model, tf.constant(read_image(path)[np.newaxis], tf.float32))
        return {name: round(float(p), 4) for name, p in zip(INSTRUMENTS, answer["probabilities"][0], strict=True)}

    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """Says what a server answers, with an example for the check after export."""
        image = tf.TensorSpec((None, None, None), tf.float32, name="image")
        meaning = {
            "image": "(batch, height, width) grey values in [0, 1], metal dark",
            "probabilities": f"(batch, 3) of {', '.join(INSTRUMENTS)}",
        }
        example = {"image": np.zeros((1, SIZE_PX, SIZE_PX), np.float32)}
        return {
            "serving_default": Signature(lambda image: self._answer(model, image), {"image": image}, example, meaning)
        }

    def _answer(self, model: keras.Model, image: tf.Tensor) -> dict[str, tf.Tensor]:
        resized = tf.image.resize(image[..., tf.newaxis], (SIZE_PX, SIZE_PX), antialias=True)
        return {"probabilities": tf.nn.softmax(model(resized, training=False))}


# A package writes `instrument = my_package:InstrumentTask` under `tfmedcai.tasks` of its entry points instead.
registry.register("tasks", InstrumentTask.name, InstrumentTask)


def main(argv: list[str] | None = None) -> None:
    """Searches, trains and evaluates as the commands do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="snap", help="any of `python -m tfmedcai.search --list`")
    parser.add_argument("--trials", type=int, default=4, help="architectures to score")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of candidates and of the network found")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for the run")
    given = parser.parse_args(argv)
    changes = {"task": InstrumentTask.name, "space": given.space, "oracle": "local"}
    fit = {"epochs": given.epochs, "learning_rate": 1e-2}
    budget = {"search": {"trials": given.trials, "baseline": "none", "fit": fit}, "training": fit}
    settings = Settings().smoke().updated(changes | budget)
    run = search(SearchOptions(settings=settings, output=given.output, fresh=True))
    train(TrainOptions(settings=settings, run=run.folder))
    evaluate(EvaluateOptions(settings=settings, run=run.folder))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
