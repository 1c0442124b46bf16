"""The frames of the tracking task: read or simulated, brought to one size, split by sequence, batched with targets."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmedcai.config import TrackingSettings
from tfmedcai.data.endoscopy import LAYOUTS, Widths
from tfmedcai.data.folds import half_split, leave_one_out
from tfmedcai.data.frames import UNKNOWN, Frame, read_frames
from tfmedcai.data.keypoint_augmentation import KeypointAugmentation
from tfmedcai.inference.frames import moved_points, normalised, resized
from tfmedcai.inference.landmarks import as_coordinates
from tfmedcai.losses.landmarks import heatmaps
from tfmedcai.simulators.endoscopy import EndoscopyScene, simulate
from tfmedcai.simulators.endoscopy_instruments import JOINTS

SEQUENCES_OF_A_SEED = 1000  # simulated ones; seeds have none in common
ASPECT = 4 / 3  # width of simulated frames over their height, as of a camera


@dataclass(frozen=True)
class Samples:
    """Frames in memory, of one size.

    Attributes:
        images: `(n, height, width, 3)` uint8.
        labels: `(n, height, width)` uint8, class of every pixel, `UNKNOWN` where nobody looked.
        points: `(n, joints, 2)` float32, x and y in px of the images; NaN where a joint is not in the picture.
        annotated: `(n, joints)` bool, whether somebody looked for it.
        sizes: `(n, 2)` height and width in px of the frames as they were read.
        sequences: `(n,)` names.
        groups: `(n,)` names of surgeries, patients or kinds of instrument.
        numbers: `(n,)` place in time.
    """

    images: np.ndarray
    labels: np.ndarray
    points: np.ndarray
    annotated: np.ndarray
    sizes: np.ndarray
    sequences: np.ndarray
    groups: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def chosen(self, index: np.ndarray) -> "Samples":
        """Returns some of the frames; `index` is `(n,)` int or bool."""
        return Samples(*(array[index] for array in vars(self).values()))

    @property
    def scales(self) -> np.ndarray:
        """Px of the frames as they were read for one of the images along x and y, `(n, 1, 2)`."""
        return (self.sizes / self.images.shape[1:3])[:, np.newaxis, ::-1]


def find_frames(tracking: TrackingSettings) -> list[Frame]:
    """Returns the annotated frames of a data set on disk.

    Raises:
        FileNotFoundError: if folder or files are missing.
        ValueError: if no folder is named, or none of the joints is annotated.
    """
    if tracking.folder is None:
        raise ValueError(f"`tracking.folder` must name the folder of the {tracking.dataset} data set.")
    frames = LAYOUTS[tracking.dataset](tracking.folder, Widths(tracking.shaft_px, tracking.jaw_px))
    _check_joints(tracking, {name for frame in frames for name in frame.points})
    return frames


def load_samples(tracking: TrackingSettings, seed: int) -> Samples:
    """Returns all frames, read or simulated; those that cannot be read are left out with a warning.

    Raises:
        ValueError: if nothing could be read or a file fits not; the message names it.
    """
    read = _simulated(tracking, seed) if tracking.dataset == "simulated" else _read(tracking)
    rows = [_fitted(tracking, *frame) for frame in read]
    if not rows:
        raise ValueError(f"`tracking.folder` must hold frames that can be read. Received {tracking.folder}.")
    return Samples(*(np.stack(column) for column in zip(*rows, strict=True)))


def split_samples(samples: Samples, tracking: TrackingSettings, seed: int) -> tuple[Samples, Samples]:
    """Returns what a seed learns from and what it is evaluated on.

    Args:
        samples: all frames.
        tracking: says how to split.
        seed: which sequence or surgery is left out.

    Raises:
        ValueError: if there is only one sequence or surgery to leave out.
    """
    if tracking.split == "half":
        parts = half_split(samples.sequences, samples.numbers)
    else:
        folds = leave_one_out(samples.sequences if tracking.split == "sequence" else samples.groups)
        parts = folds[seed % len(folds)]
    training, test = (samples.chosen(part) for part in parts)
    return training, test


def hold_back(samples: Samples, share: float) -> tuple[Samples, Samples]:
    """Splits off the last part of every sequence, on which a search scores its candidates."""
    late = np.zeros(len(samples), bool)
    for name in np.unique(samples.sequences):
        own = np.flatnonzero(samples.sequences == name)
        own = own[np.argsort(samples.numbers[own])]
        late[own[len(own) - max(1, round(share * len(own))) :]] = len(own) > 1
    return samples.chosen(np.flatnonzero(~late)), samples.chosen(np.flatnonzero(late))


def batches(
    samples: Samples, tracking: TrackingSettings, form: tuple[bool, bool], batch_size: int, seed: int
) -> tuple[Callable[[int], tf.data.Dataset], int]:
    """Makes a data set of augmented frames and their targets.

    Args:
        samples: frames to learn from.
        tracking: augmentation and heatmaps.
        form: whether the network gives maps, and whether it gives a vector.
        batch_size: frames in a batch.
        seed: of order and augmentation.

    Returns:
        First epoch -> endless data set, what comes depends on seed and epoch alone; and the batches of an epoch.
    """
    augmentation = KeypointAugmentation(tracking.size, **tracking.augmentation.model_dump(), swapped=tracking.swaps())
    arrays = [tf.constant(array) for array in (samples.images, samples.labels, samples.points, samples.annotated)]
    steps = -(-len(samples) // batch_size)

    def indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(samples)), seed=tf.stack([seed, epoch]))
        # A whole number of batches: the first frames of the order come once more.
        order = tf.tile(order, [-(-steps * batch_size // len(samples))])[: steps * batch_size]
        places = epoch * steps * batch_size + tf.range(steps * batch_size)
        return tf.data.Dataset.from_tensor_slices((order, places))

    @tf.autograph.experimental.do_not_convert
    def sample(index: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | tuple[tf.Tensor, ...]]:
        image, label, points, annotated = (tf.gather(array, index) for array in arrays)
        draws = augmentation.draw(tf.stack([seed, place]))
        image, label, points = augmentation.apply(draws, image, label, points)
        return normalised(image), targets(label, points, annotated, tracking, form)

    def data(first_epoch: int) -> tf.data.Dataset:
        epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max, output_type=tf.int32)
        samples_of_all = epochs.flat_map(indices).map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        return samples_of_all.batch(batch_size, drop_remainder=True).prefetch(2)

    return data, steps


def targets(
    label: tf.Tensor, points: tf.Tensor, annotated: tf.Tensor, tracking: TrackingSettings, form: tuple[bool, bool]
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Returns what a network of a form shall give for one frame: `(height, width, 1 + joints)`, coordinates, or both.

    Heatmaps are in units of `unit_of`.

    Args:
        label: `(height, width)` uint8 classes.
        points: `(joints, 2)` float32 px; NaN where a joint is not in the picture.
        annotated: `(joints,)` bool.
        tracking: size, stride and sigma.
        form: whether there are maps, and a vector.
    """
    vector = as_coordinates(tf.where(annotated[:, tf.newaxis], points, np.nan), tracking.size)
    classes = tf.cast(label[:: tracking.stride, :: tracking.stride, tf.newaxis], tf.float32)
    match form:
        case (False, True):
            return vector
        case (True, True):
            return classes, vector
    drawn = heatmaps(points, map_size(tracking), tracking.sigma, tracking.stride) / unit_of(tracking)
    return tf.concat([classes, tf.where(annotated, drawn, np.nan)], axis=-1)


def map_size(tracking: TrackingSettings) -> tuple[int, int]:
    """Returns height and width of the maps."""
    height, width = (-(-edge // tracking.stride) for edge in tracking.size)
    return height, width


def unit_of(tracking: TrackingSettings) -> float:
    """Returns the root mean square of a heatmap with a joint, in which networks give their heatmaps.

    The squares of a Gaussian of the paper add up to a half, whatever its width. In its own values, 0.08 at most, the
    first steps of an optimiser that knows no scale made noise of thousands of times the loss of an empty map.
    """
    height, width = map_size(tracking)
    return math.sqrt(0.5 / (height * width))


def _read(tracking: TrackingSettings) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
    for frame, image in read_frames(find_frames(tracking)):
        try:
            yield frame, image, frame.labels(image.shape[:2])
        except ValueError as error:
            warnings.warn(f"{error} The frame is left out.", stacklevel=2)


def _simulated(tracking: TrackingSettings, seed: int) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
    height = max(16, tracking.size[0])
    scene = EndoscopyScene(tracking.place, (height, round(ASPECT * height)))
    sides = ("",) if tracking.place == "retina" else ("left.", "right.")
    _check_joints(tracking, {f"{side}{name}" for side in sides for name in JOINTS})
    for sequence in range(tracking.sequences):
        for number in range(0, tracking.frames * tracking.step, tracking.step):
            made = simulate(scene, SEQUENCES_OF_A_SEED * seed + sequence, number)
            points = {
                f"{side}{name}": place
                for side, joints in zip(sides, made.joints, strict=True)
                for name, place in zip(JOINTS, joints, strict=True)
            }
            name = f"simulated_{sequence:03d}"
            yield Frame(name, name, number, Path(name), points), made.image, made.mask


def _check_joints(tracking: TrackingSettings, known: set[str]) -> None:
    missing = [name for name in tracking.joints if name not in known]
    if missing:
        raise ValueError(f"`tracking.joints` must be annotated: {', '.join(sorted(known))}. Received {missing}.")


def _fitted(tracking: TrackingSettings, frame: Frame, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Brings one frame to the size of the network, in the order of the fields of `Samples`."""
    size = image.shape[:2]
    points, annotated = frame.places(tracking.joints, size)
    small = tf.cast(tf.round(resized(image[np.newaxis], tracking.size)[0]), tf.uint8).numpy()
    rows, columns = (
        np.minimum((np.arange(count) + 0.5) * whole / count, whole - 1).astype(int)
        for count, whole in zip(tracking.size, size, strict=True)
    )
    places = moved_points(points, tf.constant(size), tf.constant(tracking.size)).numpy()
    return (
        *(small, _classes(tracking, labels[np.ix_(rows, columns)]), places, annotated),
        *(np.array(size), np.array(frame.sequence), np.array(frame.group), np.array(frame.number)),
    )


def _classes(tracking: TrackingSettings, labels: np.ndarray) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[UNKNOWN] = UNKNOWN
    for label, number in tracking.labels().items():
        table[label] = number
    return table[labels]
