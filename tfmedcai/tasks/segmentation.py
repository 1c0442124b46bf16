"""Segmentation of CT and MR volumes, slice by slice or patch by patch."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmedcai.data.augmentation import Augmentation
from tfmedcai.data.cases import read_case
from tfmedcai.data.folds import Fold, PatientFolds, patient_folds
from tfmedcai.data.patches import Sampling, random_patches
from tfmedcai.data.volumes import write_volume
from tfmedcai.inference.regridding import regridded
from tfmedcai.inference.sliding_window import Windows, sliding_window
from tfmedcai.losses.segmentation import CrossEntropy, DiceCrossEntropy, SoftDice
from tfmedcai.metrics.segmentation import METRICS, confusion, dice, structure_table
from tfmedcai.metrics.statistics import fingerprint, summary_of
from tfmedcai.reports.document import Stack
from tfmedcai.reports.series import Objective
from tfmedcai.reports.slices import grey_levels, slice_stack, slices_to_show
from tfmedcai.search_spaces.space import Architecture
from tfmedcai.tasks.fitting import Keeper, Row, Source, train_on
from tfmedcai.tasks.relaxed import Relaxed
from tfmedcai.tasks.segmentation_data import (
    Prepared,
    case_of,
    channels_of,
    find_cases,
    inner_fold,
    inputs_in,
    load_cases,
    patients_of,
    prepare,
    restored,
)
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
    build_supernet,
)
from tfmedcai.tasks.watch import UNWATCHED, Watch, measured_at

LOSSES = {"dice": SoftDice, "cross_entropy": CrossEntropy, "dice_cross_entropy": DiceCrossEntropy}
OUTPUTS = ("classes", "probabilities")
MOST_SLICES = 24  # of a case that a report shows
LAST = 0.2  # part of the epochs over which a score is averaged (MB-NAS, section 2.3)


class SegmentationTask(Task):
    """Finds structures in volumes: a class for every voxel."""

    name = "segmentation"
    objective = Objective("dice", "", "max")
    baselines = ("unet", "resunet")
    seeds_hold_out = True

    @property
    def parts(self) -> int:
        """Folds among the patients that a seed may learn from, times initialisations."""
        return self.settings.segmentation.search_folds * self.settings.segmentation.initialisations

    @cached_property
    def cases(self) -> list[Prepared]:
        """All labelled cases."""
        return load_cases(self.settings.segmentation, self.settings.seed)

    @cached_property
    def folds(self) -> PatientFolds:
        """The parts of the patients; seed s holds out part s."""
        segmentation = self.settings.segmentation
        return patient_folds(patients_of(self.cases), segmentation.folds, self.settings.seed)

    def keep_split(self, path: Path) -> None:
        """Writes the parts of the patients, or reads them: who was held out stays so, whatever joins the folder."""
        if path.exists():
            self.folds = PatientFolds.read(path, patients_of(self.cases))
        else:
            self.folds.write(path)

    def prepare(self) -> None:
        """Reads or simulates all cases."""
        _ = self.cases

    def describe(self) -> dict[str, Any]:
        """Sizes and sources of the data."""
        segmentation = self.settings.segmentation
        count = segmentation.cases if segmentation.dataset == "simulated" else len(find_cases(segmentation))
        return {
            "cases": f"{count} {segmentation.dataset}, {segmentation.folds} parts by patient, one held out for a seed",
            "structures": {name: list(labels) for name, labels in segmentation.structures.items()},
            "score": f"mean of {self.parts} trainings",
        }

    def network(self, candidate: Candidate, *, search: bool = False) -> keras.Model:
        """From a normalised slice or patch to the logits of its voxels."""
        return build_network(self.settings, candidate, search=search, **self._ends())

    def _ends(self) -> dict[str, Any]:
        segmentation = self.settings.segmentation
        shape = (*segmentation.patch, self.channels)
        return {"input_shape": shape, "outputs": segmentation.outputs(), "per_pixel": True}

    @cached_property
    def channels(self) -> int:
        """Channels of an image, without reading all of them."""
        segmentation = self.settings.segmentation
        if segmentation.dataset == "simulated":
            return 1
        case = find_cases(segmentation)[0]
        return channels_of(case, segmentation) or len(case.images)

    def score(
        self, architecture: Architecture, epochs: int, seed: int, part: int = 0, watch: Watch = UNWATCHED
    ) -> dict[str, float]:
        """Dice of held-back patients, averaged over structures, cases and the last fifth of the epochs."""
        training, held_back = self._inner(seed, part)
        last = range(epochs - max(1, round(LAST * epochs)) + 1, epochs + 1)
        measure = measured_at(watch.looks.union(last), self.objective, lambda net: self._mean_dice(net, held_back))
        fit = self.settings.search.fit
        weights = seed * self.parts + part
        source = self._source(training, fit.batch_size, weights, measure)
        keeper = watch.keeper(self.objective)
        model, rows = train_on(lambda: self.network(architecture, search=True), source, fit, epochs, weights, keeper)
        counted = [row for row in rows if row["epoch"] in last] or rows[-1:]  # one that ended early has its last value
        metrics = {
            self.objective.name: float(np.mean([row[self.objective.name] for row in counted])),
            "training_loss": rows[-1]["loss"],
        }
        metrics |= self.costs(model) | watch.course(self.objective, rows)
        keras.backend.clear_session()
        return metrics

    def relaxed(self, seed: int, part: int = 0) -> Relaxed:
        """The patients of a fold, split between weights and architecture as they are between training and score."""
        batch_size, order = self.settings.supernet.batch_size, seed * self.parts + part
        sources = (self._source(cases, batch_size, order) for cases in self._inner(seed, part))
        return Relaxed(lambda: build_supernet(self.settings, **self._ends()), *sources)

    def train(self, candidate: Candidate, seed: int, keeper: Keeper) -> tuple[keras.Model, list[Row]]:
        """Trains on all patients that the seed does not hold out."""
        training = self.settings.training
        fit = self.fit_of(candidate)
        source = self._source(self._chosen(self._outer(seed).training), fit.batch_size, seed)
        return train_on(lambda: self.network(candidate), source, fit, training.epochs, seed, keeper)

    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Dice, surface Dice and surface distances of the patients that the seed held out, on the grids of their files.

        Returns:
            Metrics by structure, and the cases to draw.

        Reference:
            MB-NAS, Table 1.
        """
        segmentation = self.settings.segmentation
        structures = {name: number for number, name in enumerate(segmentation.structures, start=1)}
        segment = self._segmenter(model)
        measured: list[tuple[Prepared, np.ndarray, list[dict[str, Any]]]] = []
        taken_for = np.zeros((1 + len(structures),) * 2, int)
        for case in self.followed(self._chosen(self._outer(seed).validation), "cases"):
            classes = segment(case.image)
            answer, truth = restored(classes, case), case.truth
            assert truth is not None  # noqa: S101 (the cases of a run have labels)
            rows = structure_table(answer.array, truth.array, truth.spacing, structures, segmentation.tolerance_mm)
            measured.append((case, classes, rows))
            taken_for += confusion(answer.array, truth.array, len(taken_for))
        groups = {
            name: {
                metric: summary_of([row[metric] for _, _, rows in measured for row in rows if row["structure"] == name])
                for metric in METRICS
            }
            for name in structures
        }
        # One value a patient, so that tests between networks do not take two organs of one body for two samples.
        everything = {
            OF_ALL + metric: np.array([_mean_known([row[metric] for row in rows]) for _, _, rows in measured])
            for metric in METRICS
        }
        everything |= {CONFUSION: taken_for, CLASSES: np.array([BACKGROUND, *structures])}
        voxels = [row["true_voxels"] for _, _, rows in measured for row in rows]
        ids = [case.id for case, _, _ in measured]
        report = {"cases": ids, MEASURED_ON: fingerprint(ids, voxels), "groups": groups}
        return Evaluation(report, _pictured(measured) | everything)

    @staticmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> list[Stack]:
        """The best, median and worst case, slice by slice."""
        stacks = []
        for place, label in enumerate(cases["label"]):
            title = f"{label}: {cases['id'][place]}, Dice {cases['dice'][place]:.3f}"
            volumes = {kind: cases[f"{kind}_{place}"] for kind in ("image", "truth", "predicted")}
            stacks.append(slice_stack(volumes, cases[f"slices_{place}"], float(cases["aspect"][place]), title))
        return stacks

    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """A volume of raw grey values in, classes and probabilities of its voxels out."""
        segmentation = self.settings.segmentation
        size = (*segmentation.patch, 4)[:3]
        names = ", ".join(f"{number} {name}" for number, name in enumerate(segmentation.structures, start=1))
        meaning = {
            "image": "(x, y, z, channels) grey values as in the files, x to the right, y to the front, z to the head",
            "spacing": "(3,) size of a voxel along x, y, z [mm]",
            "classes": f"(x, y, z) 0 background, {names}",
            "probabilities": "(x, y, z, classes) of each class"
            if segmentation.outputs() > 1
            else "(x, y, z, 1) of the structure",
        }
        grey = np.random.default_rng(0).integers(-200, 300, size=(*size, self.channels))
        spaced = any(segmentation.spacing)

        def answer(image: tf.Tensor, spacing: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
            finite = tf.debugging.assert_all_finite(
                tf.cast(image, tf.float32), "`image` has values that are not numbers"
            )
            on_grid, factor = self._on_grid(finite, spacing)
            probabilities = self._probabilities(model, self._normalised(on_grid))
            back = tf.shape(image)[:3], 1 / factor
            classes = regridded(_decided(probabilities)[..., tf.newaxis], *back, nearest=True)[..., 0]
            return {"classes": classes, "probabilities": regridded(probabilities, *back)}

        def entrance(dtype: tf.DType) -> Signature:
            inputs = {"image": tf.TensorSpec((None, None, None, self.channels), dtype, name="image")}
            example = {"image": grey.astype(dtype.as_numpy_dtype)}
            if spaced:
                inputs["spacing"] = tf.TensorSpec((3,), tf.float32, name="spacing")
                example["spacing"] = np.array([step or 1.0 for step in segmentation.spacing], np.float32)
            return Signature(answer, inputs, example, {name: meaning[name] for name in (*inputs, *OUTPUTS)})

        return {"serving_default": entrance(tf.float32), "int16_image": entrance(tf.int16)}

    def inputs_in(self, path: Path) -> list[Path]:
        """Returns the cases of a folder of NIfTI files, or of folders with a file a modality; else the path itself.

        Raises:
            FileNotFoundError: if the folder has none.
        """
        return inputs_in(path, self.settings.segmentation) if path.is_dir() else [path]

    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Segments one case and writes its classes as NIfTI on the grid of its (first) file."""
        segmentation = self.settings.segmentation
        found = case_of(path, segmentation)
        image, _ = read_case(found, self.channels)
        case = prepare(found.id, found.patient, image, None, segmentation)
        answer = restored(self._segmenter(model)(case.image), case)
        target = output / f"{found.id}_classes.nii.gz"
        write_volume(target, answer)
        spacing = np.prod(answer.spacing)
        millilitres = {
            name: round(float((answer.array == number).sum() * spacing / 1000), 3)
            for number, name in enumerate(segmentation.structures, start=1)
        }
        return {"image": str(path), "classes": str(target), "millilitres": millilitres}

    def _outer(self, seed: int) -> Fold:
        return self.folds.folds[seed % len(self.folds.folds)]

    def _inner(self, seed: int, part: int) -> tuple[list[Prepared], list[Prepared]]:
        """Returns the cases that a part of a score is trained on and those that it is measured on."""
        segmentation, known = self.settings.segmentation, self._chosen(self._outer(seed).training)
        return inner_fold(known, segmentation, part // segmentation.initialisations, self.settings.seed)

    def _chosen(self, ids: Sequence[str]) -> list[Prepared]:
        return [case for case in self.cases if case.id in ids]

    def _source(
        self,
        cases: list[Prepared],
        batch_size: int,
        seed: int,
        measure: Callable[[keras.Model, int], Row] = lambda model, epoch: {},
    ) -> Source:
        segmentation = self.settings.segmentation
        sampling = Sampling(segmentation.patch, batch_size, segmentation.foreground, segmentation.per_volume)
        images = [case.image for case in cases]
        labels = [case.label for case in cases if case.label is not None]
        augment = _augmentation(segmentation)

        def batches(first_epoch: int) -> tf.data.Dataset:
            return random_patches(images, labels, sampling, seed, first_epoch, augment).batches

        steps = random_patches(images, labels, sampling, seed).steps
        return Source(batches, steps, LOSSES[segmentation.loss](), measure)

    def _segmenter(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        """Returns a function from a normalised image `(x, y, z, channels)` to its classes `(x, y, z)` uint8."""
        spec = tf.TensorSpec((None, None, None, self.channels), tf.float32)
        compiled = tf.function(lambda image: _decided(self._probabilities(model, image)), [spec], autograph=False)
        return lambda image: compiled(tf.constant(image, tf.float32)).numpy()

    def _probabilities(self, model: keras.Model, image: tf.Tensor) -> tf.Tensor:
        segmentation = self.settings.segmentation
        activation = tf.sigmoid if segmentation.outputs() == 1 else tf.nn.softmax
        windows = Windows(segmentation.patch, segmentation.overlap)
        return sliding_window(
            lambda batch: activation(model(batch, training=False)), image, segmentation.outputs(), windows
        )

    def _on_grid(self, image: tf.Tensor, spacing: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """What `prepare` makes of spacing and shape, in the graph; and the size of its voxels in those of the image."""
        segmentation, factor = self.settings.segmentation, tf.ones(3)
        if spacing is not None:
            factor = tf.where(tf.constant(segmentation.spacing) > 0, segmentation.spacing / spacing, 1.0)
            shape = tf.maximum(tf.round(tf.cast(tf.shape(image)[:3], tf.float32) / factor), 1.0)
            image = regridded(image, tf.cast(shape, tf.int32), factor)
        if any(segmentation.resized):
            now = tf.shape(image)[:3]
            wanted = tf.where(tf.constant(segmentation.resized) > 0, segmentation.resized, now)
            image = regridded(image, wanted)
            factor *= tf.cast(now / wanted, tf.float32)
        return image, factor

    def _normalised(self, image: tf.Tensor) -> tf.Tensor:
        """What `segmentation_data.normalised` does, in the graph."""
        segmentation = self.settings.segmentation
        inside = _patient(image) if segmentation.inside_patient else tf.ones_like(image) > 0
        if segmentation.window is not None:
            image = tf.clip_by_value(image, *segmentation.window)
        weight = tf.cast(inside, tf.float32) * tf.ones_like(image)
        count = tf.maximum(tf.reduce_sum(weight, (0, 1, 2)), 1.0)
        mean = tf.reduce_sum(image * weight, (0, 1, 2)) / count
        deviation = tf.sqrt(tf.reduce_sum(weight * (image - mean) ** 2, (0, 1, 2)) / count)
        return weight * tf.math.divide_no_nan(image - mean, deviation)

    def _mean_dice(self, model: keras.Model, cases: list[Prepared]) -> float:
        """Mean over cases and structures that are there, on the prepared grid."""
        segment = self._segmenter(model)
        numbers = range(1, 1 + len(self.settings.segmentation.structures))
        values = []
        for case in cases:
            classes = segment(case.image)
            values += [dice(classes == number, case.label == number) for number in numbers]
        found = [value for value in values if np.isfinite(value)]
        return float(np.mean(found)) if found else 0.0


def _patient(image: tf.Tensor) -> tf.Tensor:
    """What `tfmedcai.data.intensity.foreground` finds, in the graph: `(x, y, z, 1)` bool."""
    corners = image
    for axis in range(3):
        corners = tf.gather(corners, [0, tf.shape(image)[axis] - 1], axis=axis)
    background = tf.reduce_mean(tf.sort(tf.reshape(corners, (8, -1)), axis=0)[3:5], axis=0)
    extent = tf.reduce_max(image, (0, 1, 2)) - tf.reduce_min(image, (0, 1, 2))
    return tf.reduce_any(tf.abs(image - background) > 0.01 * extent, -1, keepdims=True)


def _mean_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _decided(probabilities: tf.Tensor) -> tf.Tensor:
    if probabilities.shape[-1] == 1:
        return tf.cast(probabilities[..., 0] > 0.5, tf.uint8)
    return tf.cast(tf.argmax(probabilities, -1), tf.uint8)


def _augmentation(segmentation: Any) -> Augmentation:
    axes, random = len(segmentation.patch), segmentation.augmentation
    return Augmentation(
        scale=random.scale,
        shift=random.shift,
        # In the plane; of volumes that is the rotation about the third axis.
        rotate_deg=(random.rotate_deg,) if axes == 2 else (0.0, 0.0, random.rotate_deg),
        flip=tuple(axis in random.flip for axis in "xyz"[:axes]),
        quarter_turns=random.quarter_turns,
        contrast=random.contrast,
        brightness=random.brightness,
    )


def _pictured(measured: list[tuple[Prepared, np.ndarray, list[dict[str, Any]]]]) -> dict[str, np.ndarray]:
    """Returns the best, median and worst case by mean Dice, in slices through their structures."""
    means = [float(np.nanmean([row["dice"] for row in rows])) for _, _, rows in measured]
    order = np.argsort(means)[::-1]
    chosen = {0: "best", len(order) // 2: "median", len(order) - 1: "worst"} if len(order) > 1 else {0: "only"}
    places = [order[rank] for rank in chosen]
    arrays: dict[str, np.ndarray] = {
        "label": np.array(list(chosen.values())),
        "id": np.array([measured[place][0].id for place in places]),
        "dice": np.array([means[place] for place in places]),
        "aspect": np.array(
            [measured[place][0].grid.spacing[1] / measured[place][0].grid.spacing[0] for place in places]
        ),
    }
    for number, place in enumerate(places):
        case, classes, _ = measured[place]
        label = case.label if case.label is not None else classes
        slices = slices_to_show(label, classes, MOST_SLICES)
        arrays |= {
            f"slices_{number}": slices,
            f"image_{number}": grey_levels(case.image[:, :, slices, 0]),
            f"truth_{number}": label[:, :, slices],
            f"predicted_{number}": classes[:, :, slices],
        }
    return arrays
