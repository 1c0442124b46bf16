"""Pose of a surgical instrument in an X-ray image: patches, landmarks, iterative refinement (i3PosNet, AutoSNAP)."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfmedcai.data.folds import split
from tfmedcai.data.images import read_image
from tfmedcai.geometry.crop import PatchGeometry, disturb, inside_image, sample_disturbance
from tfmedcai.geometry.landmarks import project_landmarks
from tfmedcai.inference.iterative_pose import refine
from tfmedcai.metrics.pose import pose_errors
from tfmedcai.metrics.statistics import fingerprint, summary_of
from tfmedcai.reports.document import Picture
from tfmedcai.reports.overlay import Marks, overlay
from tfmedcai.reports.series import Objective
from tfmedcai.runs import write_whole
from tfmedcai.search_spaces.space import Architecture
from tfmedcai.tasks.fitting import Arrays, Keeper, Row, array_source, mean_squared_error, train, train_on
from tfmedcai.tasks.pose_data import cut_patches, evaluation_images, training_images
from tfmedcai.tasks.relaxed import Relaxed, halves
from tfmedcai.tasks.task import (
    MEASURED_ON,
    OF_ALL,
    Candidate,
    Evaluation,
    Signature,
    Task,
    build_network,
    build_supernet,
)
from tfmedcai.tasks.watch import UNWATCHED, Watch, measured_at

# A start pose has no tilt and the usual resolution of a C-arm (i3PosNet's evaluation protocol).
START_TILT, START_RESOLUTION = 0.0, 0.15
CASE_ARRAYS = (
    *("label", "images", "true", "start", "predicted", "landmarks_true", "landmarks_predicted"),
    *("position_error_mm", "angle_error_deg"),
)
COLUMNS = "x [px], y [px], forward angle [deg, counter-clockwise from +x], tilt [deg], resolution [mm/px]"


class PoseTask(Task):
    """Finds the pose of an instrument in a full X-ray image from a rough pose."""

    name = "pose"
    objective = Objective("value", "-log10 of the regression MSE", "max")
    baselines = ("i3posnet",)

    @property
    def geometry(self) -> PatchGeometry:
        """Size and normalisation of the patches."""
        return PatchGeometry(self.settings.pose.instrument)

    @cached_property
    def samples(self) -> dict[str, Arrays]:
        """Patches split by image: training 70 %, online validation 10 %, test and model selection 20 %."""
        images = training_images(self.settings.pose, self.settings.seed)
        patches, targets = cut_patches(images, self.geometry, self.settings.pose.augmentation, self.settings.seed)
        chosen = split(len(patches), seed=self.settings.seed)._asdict()
        return {
            part: Arrays(patches[index].reshape(-1, *patches.shape[2:]), targets[index].reshape(-1, targets.shape[-1]))
            for part, index in chosen.items()
        }

    def prepare(self) -> None:
        """Reads or simulates the images and cuts the patches."""
        _ = self.samples

    def describe(self) -> dict[str, Any]:
        """Sizes and sources of the data."""
        pose = self.settings.pose
        return {
            "instrument": pose.instrument,
            "images": f"{pose.images} {pose.dataset}, split 70/10/20 by image",
            "patches": f"{pose.images * pose.augmentation} of {self.geometry.height} x {self.geometry.width} px",
            "evaluation": f"{pose.evaluation_images} images of other subjects x {pose.draws} start poses",
        }

    def network(self, candidate: Candidate, *, search: bool = False) -> keras.Model:
        """From a patch to the normalised virtual landmarks."""
        return build_network(self.settings, candidate, search=search, **self._ends())

    def _ends(self) -> dict[str, Any]:
        geometry = self.geometry
        return {"input_shape": (geometry.height, geometry.width, 1), "outputs": 2 * len(geometry.landmarks_mm)}

    def score(
        self, architecture: Architecture, epochs: int, seed: int, part: int = 0, watch: Watch = UNWATCHED
    ) -> dict[str, float]:
        """-log10 of the mean squared error of the normalised landmarks on the model-selection images."""
        fit, samples = self.settings.search.fit, self.samples
        measure = measured_at(watch.looks, self.objective, lambda model: self._value(model)[0])
        source = array_source(samples["training"], fit.batch_size, seed, measure)
        keeper = watch.keeper(self.objective)
        model, rows = train_on(lambda: self.network(architecture, search=True), source, fit, epochs, seed, keeper)
        value, error = self._value(model)
        metrics = {self.objective.name: value, "regression_mse": error, "training_loss": rows[-1]["loss"]}
        metrics |= self.costs(model) | watch.course(self.objective, rows)
        keras.backend.clear_session()
        return metrics

    def _value(self, model: keras.Model) -> tuple[float, float]:
        """Returns the objective and the error that it is made of."""
        error = mean_squared_error(model, self.samples["test"])
        return -math.log10(error), error

    def relaxed(self, seed: int, part: int = 0) -> Relaxed:
        """The training images, split between weights and architecture; the others stay unseen."""
        search = self.settings.supernet
        one, other = halves(self.samples["training"], self.settings.pose.augmentation, search.share, seed)
        sources = (array_source(samples, search.batch_size, seed) for samples in (one, other))
        return Relaxed(lambda: build_supernet(self.settings, **self._ends()), *sources)

    def train(self, candidate: Candidate, seed: int, keeper: Keeper) -> tuple[keras.Model, list[Row]]:
        """Trains on the training part; the validation part is watched, never learnt."""
        training = self.settings.training
        fit = self.fit_of(candidate)
        samples = self.samples
        return train(
            lambda: self.network(candidate),
            samples["training"],
            samples["validation"],
            fit,
            training.epochs,
            seed,
            keeper,
        )

    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Errors in the image plane after each number of iterations, from disturbed start poses (AutoSNAP, 3.5)."""
        counts = self.settings.pose.iterations
        refined = tf.function(
            lambda image, start, count: refine(model, image[tf.newaxis], start, self.geometry, count)[0],
            autograph=False,
        )
        images, truths, starts, results = [], [], [], {count: [] for count in counts}
        samples = evaluation_images(self.settings.pose, self.settings.seed)
        for index, sample in enumerate(self.followed(samples, "images")):
            truth = tf.repeat(sample["image_pose"][tf.newaxis], self.settings.pose.draws, axis=0)
            start = start_poses(truth, (self.settings.seed, index))
            images.append(sample["image"].numpy())
            truths.append(truth.numpy())
            starts.append(start.numpy())
            for count in counts:
                results[count].append(refined(sample["image"], start, count).numpy())
        truth, start = np.concatenate(truths), np.concatenate(starts)
        found = {count: np.concatenate(poses) for count, poses in results.items()}
        errors = {count: pose_errors(poses, truth) for count, poses in found.items()}
        report = {
            "images": len(images),
            "draws": self.settings.pose.draws,
            MEASURED_ON: fingerprint(truth, start, [image.mean() for image in images]),
            "groups": {
                f"{count} iteration{'s' * (count > 1)}": {
                    metric: summary_of(values) for metric, values in errors[count].items()
                }
                for count in sorted(counts, reverse=True)
            },
        }
        return Evaluation(report, self._cases(images, truth, start, found[counts[-1]], errors[counts[-1]]))

    def _cases(
        self, images: list[np.ndarray], truth: np.ndarray, start: np.ndarray, found: np.ndarray, errors: dict[str, Any]
    ) -> dict[str, np.ndarray]:
        order = np.argsort(errors["position_error_mm"])
        chosen = order[[0, len(order) // 2, -1]]
        table = self.geometry.landmarks_mm
        return {
            "label": np.array(["best", "median", "worst"]),
            "images": np.stack([images[index // self.settings.pose.draws] for index in chosen]),
            "true": truth[chosen],
            "start": start[chosen],
            "predicted": found[chosen],
            "landmarks_true": project_landmarks(truth[chosen], table).numpy(),
            "landmarks_predicted": project_landmarks(found[chosen], table).numpy(),
            **{metric: values[chosen] for metric, values in errors.items()},
            **{OF_ALL + metric: values for metric, values in errors.items()},
        }

    @staticmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> list[Picture]:
        """The best, median and worst case by position, zoomed to the instrument."""
        return [
            _case_picture({name: cases[name][index] for name in CASE_ARRAYS}) for index in range(len(cases["label"]))
        ]

    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """A full image and rough poses in, refined poses and landmarks out."""
        height, width = self.settings.pose.image_size
        grey = np.random.default_rng(0).integers(256, size=(1, height, width))
        pose = np.array([[width / 2, height / 2, 20.0, START_TILT, START_RESOLUTION]], np.float32)
        meaning = {
            "image": "(batch, height, width) grey values, any scale, metal dark; or a batch of 1 for all poses",
            "pose": f"(batch, 5) in: rough, out: refined: {COLUMNS}",
            "landmarks": f"(batch, {len(self.geometry.landmarks_mm)}, 2) virtual landmarks, x and y [px] of the image",
        }

        def entrance(iterations: int, dtype: tf.DType = tf.float32) -> Signature:
            def answer(image: tf.Tensor, pose: tf.Tensor) -> dict[str, tf.Tensor]:
                image = tf.cast(image, tf.float32)
                with tf.control_dependencies(_checks(image, pose)):
                    refined, landmarks = refine(model, image, _radians(pose), self.geometry, iterations)
                return {"pose": _degrees(refined), "landmarks": landmarks}

            inputs = {
                "image": tf.TensorSpec((None, None, None), dtype, name="image"),
                "pose": tf.TensorSpec((None, 5), tf.float32, name="pose"),
            }
            example = {"image": grey.astype(dtype.as_numpy_dtype), "pose": pose}
            return Signature(answer, inputs, example, meaning)

        return {"serving_default": entrance(3), "one_iteration": entrance(1), "uint8_image": entrance(3, tf.uint8)}

    def predict(
        self, model: keras.Model, image: np.ndarray, pose: Sequence[float], iterations: int = 3
    ) -> dict[str, Any]:
        """Refines one rough pose in one image.

        Args:
            model: a trained network.
            image: `(height, width)` grey values.
            pose: x px, y px, angle deg, and, where known, tilt deg and resolution mm/px.
            iterations: of crop, network and pose.

        Returns:
            Lists `pose` and `start` (x px, y px, angle deg, tilt deg, resolution mm/px) and `landmarks` (6 pairs, px).

        Raises:
            ValueError: if the image is not a finite grey image, or the pose has a wrong length or lies outside it.
        """
        image = np.asarray(image)
        if image.ndim != 2 or not np.issubdtype(image.dtype, np.number) or not np.isfinite(image).all():
            raise ValueError(
                "`image` must be (height, width) finite numbers. "
                f"Received shape {image.shape}, type {image.dtype}; look for NaN or colour channels."
            )
        if not 3 <= len(pose) <= 5 or not np.isfinite(pose).all():
            raise ValueError(f"`pose` must be 3 to 5 numbers: {COLUMNS}. Received {list(pose)}.")
        start = np.array([[*pose, *(START_TILT, START_RESOLUTION)[len(pose) - 3 :]]], np.float32)
        if not inside_image(start, image.shape).numpy()[0]:
            raise ValueError(
                f"`pose` must lie in the image of {image.shape[1]} x {image.shape[0]} px. "
                f"Received x {pose[0]}, y {pose[1]}."
            )
        refined, landmarks = refine(model, tf.constant(image[np.newaxis]), _radians(start), self.geometry, iterations)
        return {
            "pose": _degrees(refined)[0].numpy().tolist(),
            "start": start[0].tolist(),
            "landmarks": landmarks[0].numpy().tolist(),
        }

    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Refines the rough pose asked about in a radiograph, and draws it."""
        image = read_image(path)
        answer = self.predict(model, image, asked["pose"], asked["iterations"])
        picture, figure = output / f"{path.stem}.png", self.picture(image, answer)
        write_whole(picture, lambda temporary: figure.savefig(temporary, dpi=150, format="png"))
        return answer | {"image": str(path), "picture": str(picture)}

    def picture(self, image: np.ndarray, answer: dict[str, Any]) -> Figure:
        """Draws what `predict` answered on the image `(height, width)`: red the prediction, dotted grey the start."""
        predicted, start = (_radians(np.array([answer[name]], np.float32))[0].numpy() for name in ("pose", "start"))
        title = f"angle {answer['pose'][2]:.1f} deg, tilt {answer['pose'][3]:.1f} deg"
        return overlay(image, None, predicted, start, Marks(predicted=np.array(answer["landmarks"])), title)


def start_poses(truth: tf.Tensor, seed: tuple[int, int]) -> tf.Tensor:
    """Disturbs true image poses (n, 5) as the published evaluation does; tilt and resolution are not given away."""
    count = tf.shape(truth)[0]
    rotation, displacement = sample_disturbance(seed, count)
    start = disturb(truth, rotation, displacement)
    given = tf.repeat(tf.constant([[START_TILT, START_RESOLUTION]]), count, axis=0)
    return tf.concat([start[:, :3], given], axis=1)


def _case_picture(case: Mapping[str, np.ndarray]) -> Picture:
    title = f"{case['label']}: {case['position_error_mm']:.3f} mm, {case['angle_error_deg']:.2f} deg"
    marks = Marks(predicted=case["landmarks_predicted"], true=case["landmarks_true"])
    return Picture(
        overlay(case["images"], case["true"], case["predicted"], case["start"], marks, title),
        f"{title}. Dashed red and crosses: prediction; green and circles: truth; dotted grey: the rough pose.",
        f"X-ray image of the {case['label']} case with predicted, true and start pose.",
        bitmap=True,
    )


def _checks(image: tf.Tensor, pose: tf.Tensor) -> list[tf.Operation]:
    """Returns what must have run in the graph before an answer is computed."""
    checks = [
        tf.debugging.assert_all_finite(image, "`image` has values that are not numbers"),
        tf.debugging.assert_all_finite(pose, "`pose` has values that are not numbers"),
        tf.debugging.Assert(
            tf.reduce_all(inside_image(pose, tf.shape(image)[1:])), ["a `pose` lies outside the image", pose]
        ),
    ]
    return [check for check in checks if check is not None]


def _radians(pose: tf.Tensor | np.ndarray) -> tf.Tensor:
    return pose * tf.constant([1, 1, math.pi / 180, math.pi / 180, 1], tf.float32)


def _degrees(pose: tf.Tensor) -> tf.Tensor:
    return pose * tf.constant([1, 1, 180 / math.pi, 180 / math.pi, 1], tf.float32)
