"""Tracking of surgical instruments in video: joints and classes of every frame (CSL, SL, L)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfmedcai.layers.upsampling  # noqa: F401 - whoever has this task can load networks for frames of any size
from tfmedcai.data.frames import UNKNOWN
from tfmedcai.inference.landmarks import Reading, parts_of, track
from tfmedcai.losses.landmarks import SegmentationAndHeatmaps, SquaredDistance, peak
from tfmedcai.losses.segmentation import CrossEntropy
from tfmedcai.metrics.landmarks import (
    all_within,
    box_sides,
    localisation_errors,
    presence,
    relative_errors,
    threshold_scores,
)
from tfmedcai.metrics.segmentation import confusion, dice, precision_and_recall
from tfmedcai.metrics.statistics import fingerprint, summary_of
from tfmedcai.reports.document import Picture
from tfmedcai.reports.frames import frame_figure
from tfmedcai.reports.series import Objective
from tfmedcai.search_spaces.space import Architecture
from tfmedcai.tasks.fitting import Keeper, Loss, Row, Source, seed_everything, train_on
from tfmedcai.tasks.task import (
    BACKGROUND,
    CLASSES,
    CONFUSION,
    MEASURED_ON,
    OF_ALL,
    Candidate,
    Evaluation,
    Signature,
    Task,
    build_network,
)
from tfmedcai.tasks.tracking_data import (
    Samples,
    batches,
    find_frames,
    hold_back,
    load_samples,
    map_size,
    split_samples,
    unit_of,
)
from tfmedcai.tasks.tracking_video import follow
from tfmedcai.tasks.watch import UNWATCHED, Watch, measured_at

CURVE = np.arange(1, 41) / 20  # thresholds of the curve that a score is the mean of, over the quoted one
HEIGHT = 480  # px of the frames that the threshold is quoted for
AT_ONCE = 8  # frames that are evaluated together
Found = dict[str, np.ndarray]


class TrackingTask(Task):
    """Finds the joints of instruments in video frames, and the class of every pixel."""

    name = "tracking"
    objective = Objective("threshold_score", "", "max")
    baselines = ("csl", "sl", "l_net", "unet")

    @property
    def seeds_hold_out(self) -> bool:
        """Whether each seed leaves out a sequence or surgery of its own."""
        return self.settings.tracking.split != "half"

    @cached_property
    def samples(self) -> Samples:
        """All annotated frames."""
        return load_samples(self.settings.tracking, self.settings.seed)

    @property
    def reading(self) -> Reading:
        """How frames go in and answers come out."""
        tracking = self.settings.tracking
        return Reading(tracking.size, len(tracking.joints), peak(tracking.sigma) / unit_of(tracking))

    def prepare(self) -> None:
        """Reads or simulates all frames."""
        _ = self.samples

    def describe(self) -> dict[str, Any]:
        """Sizes and sources of the data."""
        tracking = self.settings.tracking
        simulated = tracking.dataset == "simulated"
        count = tracking.sequences * tracking.frames if simulated else len(find_frames(tracking))
        return {
            "frames": f"{count} {tracking.dataset}, brought to {tracking.size[0]} x {tracking.size[1]} px",
            "split": tracking.split,
            "joints": list(tracking.joints),
            "structures": {name: list(labels) for name, labels in tracking.structures.items()},
        }

    def network(self, candidate: Candidate, *, search: bool = False) -> keras.Model:
        """From a normalised frame to logits and heatmaps at the stride of the settings; SL and L give coordinates."""
        tracking = self.settings.tracking
        landmarks = len(tracking.joints)
        model = build_network(
            self.settings,
            candidate,
            search=search,
            input_shape=(*tracking.size, 3),
            outputs=tracking.classes() + landmarks,
            per_pixel=True,
            landmarks=landmarks,
            stride=tracking.stride,
        )
        maps, _ = parts_of(model.outputs)
        if maps is None or tuple(maps.shape[1:3]) == map_size(tracking):
            return model
        # A network that knows no stride gives every pixel its values.
        pooled = layers.AveragePooling2D(tracking.stride, padding="same", name="at_stride")(maps)
        return keras.Model(model.inputs, pooled, name=model.name)

    def score(
        self, architecture: Architecture, epochs: int, seed: int, part: int = 0, watch: Watch = UNWATCHED
    ) -> dict[str, float]:
        """Threshold score of the last frames of each training sequence, averaged over joints and thresholds."""
        fit = self.settings.search.fit
        learnt, held_back = hold_back(self._split(seed)[0], self.settings.tracking.held_back)

        model = self._seeded(architecture, seed, search=True)
        measure = measured_at(watch.looks, self.objective, lambda net: self._held_back_score(net, held_back)[0])
        source = replace(self._source(model, learnt, fit.batch_size, seed), measure=measure)
        model, rows = train_on(lambda: model, source, fit, epochs, seed, watch.keeper(self.objective))
        score, error = self._held_back_score(model, held_back)
        metrics = {self.objective.name: score, "localisation_error_px": error, "training_loss": rows[-1]["loss"]}
        metrics |= self.costs(model) | watch.course(self.objective, rows)
        keras.backend.clear_session()
        return metrics

    def _held_back_score(self, model: keras.Model, held_back: Samples) -> tuple[float, float]:
        """Returns the threshold score, and the median error in px."""
        errors = self._errors(held_back, self._tracked(model, held_back.images)["joints"])
        middle = float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("inf")
        return self._curve_mean(errors, held_back), middle

    def train(self, candidate: Candidate, seed: int, keeper: Keeper) -> tuple[keras.Model, list[Row]]:
        """Trains on all frames that the split does not keep for the evaluation."""
        fit, model = self.fit_of(candidate), self._seeded(candidate, seed)
        source = self._source(model, self._split(seed)[0], fit.batch_size, seed)
        return train_on(lambda: model, source, fit, self.settings.training.epochs, seed, keeper)

    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Errors, threshold and KBB scores of the joints; overlap of the classes, in the frames that are held out.

        Returns:
            Metrics of joints and classes, and the frames to draw.

        Reference:
            CSL, section 3, figure 3 and table 1.
        """
        tracking, test = self.settings.tracking, self._split(seed)[1]
        found = self._tracked(model, test.images)
        errors = self._errors(test, found["joints"])
        kept = np.where(found["confidence"][..., np.newaxis] < tracking.confidence, np.nan, found["joints"])
        groups = self._joint_groups(test, errors, kept) | self._class_groups(test, found)
        report = {"frames": len(test), "sequences": sorted(set(test.sequences.tolist())), "groups": groups}
        report[MEASURED_ON] = fingerprint(test.sequences.tolist(), test.numbers, test.points * test.scales)
        everything = {OF_ALL + "localisation_error_px": errors.ravel()} | self._confusion(test, found)
        return Evaluation(report, everything | _pictured(test, found, errors))

    def _joint_groups(self, test: Samples, errors: np.ndarray, kept: np.ndarray) -> dict[str, Any]:
        tracking = self.settings.tracking
        limits, within = self._limits(test), f"within_{tracking.threshold_px:g}_px"
        relative = relative_errors(errors, self._sizes(test))
        scores = {within: errors / limits, f"kbb_{tracking.kbb_alpha:g}": relative / tracking.kbb_alpha}
        groups = {}
        for place, name in enumerate(tracking.joints):
            told = presence(kept[:, [place]], test.points[:, [place]], test.annotated[:, [place]])
            groups[name] = {"localisation_error_px": summary_of(errors[:, place])}
            for metric, distances in scores.items():
                right = np.where(np.isnan(distances), np.nan, distances <= 1)
                groups[name][metric] = summary_of(right[:, place])
            groups[name] |= {f"presence_{key}": summary_of([value]) for key, value in told._asdict().items()}
        every = [all_within(row[np.newaxis], limit) for row, limit in zip(errors, limits[:, 0], strict=True)]
        return {"all joints": {"localisation_error_px": summary_of(errors.ravel()), within: summary_of(every)}} | groups

    def _class_groups(self, test: Samples, found: Found) -> dict[str, Any]:
        """Overlap of each structure in each frame, and of all together where there are several."""
        structures = self.settings.tracking.structures
        if "mask" not in found or not structures:
            return {}
        chosen = {name: (number,) for number, name in enumerate(structures, start=1)}
        if len(chosen) > 1:
            chosen["all structures"] = tuple(range(1, 1 + len(structures)))
        groups = {}
        for name, numbers in chosen.items():
            rows = []
            for mask, label in zip(found["mask"], test.labels, strict=True):
                known = label != UNKNOWN
                pair = [np.isin(part[known], numbers) for part in (mask, label)]
                rows.append((dice(*pair), *precision_and_recall(*pair)))
            groups[name] = {
                metric: summary_of(column)
                for metric, column in zip(("dice", "precision", "recall"), zip(*rows, strict=True), strict=True)
            }
        return groups

    def _confusion(self, test: Samples, found: Found) -> dict[str, np.ndarray]:
        """Which class was taken for which, in all pixels that somebody looked at."""
        names = np.array([BACKGROUND, *self.settings.tracking.structures])
        known = test.labels != UNKNOWN
        if "mask" not in found or len(names) < 2:
            return {}
        return {CONFUSION: confusion(found["mask"][known], test.labels[known], len(names)), CLASSES: names}

    @staticmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> list[Picture]:
        """The best, median and worst frame."""
        pictures = []
        for place, label in enumerate(cases["label"]):
            case = {name: cases[name][place] for name in ("image", "predicted", "true", "mask") if name in cases}
            title = f"{label}: {cases['id'][place]}, {cases['error_px'][place]:.1f} px"
            caption = f"{title}. Crosses and tint: prediction; green circles: truth."
            alt = f"Video frame of the {label} case with predicted and true joints."
            pictures.append(Picture(frame_figure(case, title), caption, alt, bitmap=True))
        return pictures

    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """Frames as a camera gives them in; joints, how sure they are, and masks out."""
        tracking = self.settings.tracking
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(tracking.structures, start=1))
        meaning = {
            "frame": "(batch, height, width, channels) 0 to 255: red, green, blue, or grey, with or without alpha; "
            "any size",
            "joints": f"(batch, {len(tracking.joints)}, 2) x and y [px] of the frame: {', '.join(tracking.joints)}",
            "confidence": f"(batch, {len(tracking.joints)}) from 0 to 1; below {tracking.confidence:g}: not there",
            "mask": f"(batch, height, width) 0 background, {classes}",
        }

        def answer(frame: tf.Tensor) -> dict[str, tf.Tensor]:
            return track(lambda image: model(image, training=False), frame, self.reading)

        inputs = {"frame": tf.TensorSpec((None, None, None, None), tf.uint8, name="frame")}
        example = np.random.default_rng(0).integers(256, size=(1, *tracking.size, 3), dtype=np.uint8)
        given = set(answer(tf.constant(example))) | {"frame"}
        meaning = {name: words for name, words in meaning.items() if name in given}
        return {"serving_default": Signature(answer, inputs, {"frame": example}, meaning)}

    def predict(self, model: keras.Model, frames: np.ndarray) -> Found:
        """Tracks frames of one size.

        Args:
            model: a trained network.
            frames: `(n, height, width, channels)` uint8, grey or in colour, with or without alpha.

        Returns:
            "joints" `(n, joints, 2)` px of the frames, "confidence" `(n, joints)`, "mask" `(n, height, width)`.

        Raises:
            ValueError: if the frames are not such an array.
        """
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.dtype != np.uint8 or not 1 <= frames.shape[-1] <= 4:
            raise ValueError(
                "`frames` must be (n, height, width, 1 to 4) of type uint8. "
                f"Received shape {frames.shape}, type {frames.dtype}."
            )
        return self._tracked(model, frames)

    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Tracks a video, a folder of pictures or one picture; writes a CSV of joints and what was found, drawn."""
        return follow(self._tracker(model), path, output, self.settings.tracking)

    def _split(self, seed: int) -> tuple[Samples, Samples]:
        return split_samples(self.samples, self.settings.tracking, seed)

    def _seeded(self, candidate: Candidate, seed: int, *, search: bool = False) -> keras.Model:
        """Builds the network before it is trained: what it gives decides the targets and the losses."""
        seed_everything(seed)
        return self.network(candidate, search=search)

    def _source(self, model: keras.Model, samples: Samples, batch_size: int, seed: int) -> Source:
        tracking = self.settings.tracking
        maps, vector = parts_of(model.outputs)
        form = maps is not None, vector is not None
        data, steps = batches(samples, tracking, form, batch_size, seed)
        return Source(data, steps, self.loss(form))

    def loss(self, form: tuple[bool, bool]) -> Loss:
        """Returns the loss of a network that gives maps, a vector, or both, in this order.

        It is that of the paper, whose heatmaps are `unit_of` those that networks give.
        """
        tracking = self.settings.tracking
        points, unit = SquaredDistance(tracking.point_weight), unit_of(tracking)
        losses: dict[tuple[bool, bool], Loss] = {
            (True, False): SegmentationAndHeatmaps(len(tracking.joints), tracking.heatmap_weight * unit**2),
            (True, True): [CrossEntropy(), points],
            (False, True): points,
        }
        return losses[form]

    def _tracker(self, model: keras.Model) -> Callable[[np.ndarray], Found]:
        spec = tf.TensorSpec((None, None, None, None), tf.uint8)
        answer = self.signatures(model)["serving_default"].function
        compiled = tf.function(answer, input_signature=[spec], autograph=False)
        return lambda frames: {name: value.numpy() for name, value in compiled(tf.constant(frames)).items()}

    def _tracked(self, model: keras.Model, frames: np.ndarray) -> Found:
        tracker = self._tracker(model)
        starts = self.followed(range(0, len(frames), AT_ONCE), f"batches of {AT_ONCE} frames")
        parts = [tracker(frames[start : start + AT_ONCE]) for start in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _errors(self, samples: Samples, joints: np.ndarray) -> np.ndarray:
        """Distances in px of the frames as they were read."""
        scales = samples.scales
        return localisation_errors((joints + 0.5) * scales - 0.5, (samples.points + 0.5) * scales - 0.5)

    def _limits(self, samples: Samples) -> np.ndarray:
        """The quoted threshold in px of each frame, `(n, 1)`."""
        return self.settings.tracking.threshold_px * samples.sizes[:, :1] / HEIGHT

    def _sizes(self, samples: Samples) -> np.ndarray:
        """Size of the instrument in px of each frame as it was read, `(n,)`."""
        if self.settings.tracking.kbb_size == "joints":
            return box_sides((samples.points + 0.5) * samples.scales)
        corners = []
        for label in samples.labels:
            rows, columns = np.nonzero((label > 0) & (label != UNKNOWN))
            ends = (
                [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]] if len(rows) else [[np.nan] * 2] * 2
            )
            corners.append(ends)
        return box_sides(np.array(corners, float) * samples.scales)

    def _curve_mean(self, errors: np.ndarray, samples: Samples) -> float:
        curve = threshold_scores(errors / self._limits(samples), CURVE)
        return float(np.nanmean(curve)) if np.isfinite(curve).any() else 0.0


def _pictured(test: Samples, found: Found, errors: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the best, median and worst frame by mean error."""
    there = np.flatnonzero(~np.isnan(errors).all(axis=1))
    if not len(there):
        return {"label": np.array([], str)}
    means = np.nanmean(errors[there], axis=1)
    order = there[np.argsort(means)]
    chosen = order[[0, len(order) // 2, -1]]
    arrays = {
        "label": np.array(["best", "median", "worst"]),
        "id": np.array([f"{test.sequences[place]} frame {test.numbers[place]}" for place in chosen]),
        "error_px": np.sort(means)[[0, len(order) // 2, -1]],
        "image": test.images[chosen],
        "predicted": found["joints"][chosen],
        "true": test.points[chosen],
    }
    return arrays | ({"mask": found["mask"][chosen]} if "mask" in found else {})
