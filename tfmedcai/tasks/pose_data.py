"""The images of the pose task, simulated or of the published i3PosNet data set, and the patches cut from them."""

import numpy as np
import tensorflow as tf

from tfmedcai.config import PoseSettings
from tfmedcai.data import i3posnet
from tfmedcai.geometry.crop import PatchGeometry, crop, normalise, sample_disturbance
from tfmedcai.geometry.landmarks import project_landmarks
from tfmedcai.simulators.xray_instruments import XRayScene, dataset

# Simulated patients; those of the evaluation are never trained on.
TRAINING_SUBJECTS, EVALUATION_SUBJECTS = (0, 1000), (1000, 1100)
# Patients of the published data set (AutoSNAP, section 3.1).
TRAINING_PATIENTS, EVALUATION_PATIENTS = (1, 2), (3,)
SOURCE_DETECTOR_MM = 1000.0


def training_images(pose: PoseSettings, seed: int) -> tf.data.Dataset:
    """Returns images for training, validation and model selection.

    Args:
        pose: says how many and where they come from.
        seed: seed of the simulation.

    Returns:
        A data set of dicts with "image" `(height, width)` float32 and "image_pose" `(5,)` float32.

    Raises:
        ValueError: if the folder of a data set on disk is missing or has unreadable files.
    """
    return _images(pose, seed, evaluation=False)


def evaluation_images(pose: PoseSettings, seed: int) -> tf.data.Dataset:
    """Returns the images of the evaluation, of subjects that `training_images` does not contain; as there."""
    return _images(pose, seed, evaluation=True)


def cut_patches(
    images: tf.data.Dataset, geometry: PatchGeometry, augmentation: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts disturbed patches around the instrument of each image: the static augmentation (AutoSNAP, section 3.1).

    Args:
        images: dicts with "image" and "image_pose".
        geometry: size and normalisation of the patches.
        augmentation: patches cut from each image.
        seed: seed of the disturbances; those of an image depend on its place in the data set alone.

    Returns:
        Patches `(images, augmentation, height, width, 1)` float16 in [0, 1] and normalised landmarks
        `(images, augmentation, 12)` float32.
    """

    def cut(index: tf.Tensor, sample: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        rotation, displacement = sample_disturbance(tf.stack([seed, index]), augmentation, clip_std=None)
        pose = tf.repeat(sample["image_pose"][tf.newaxis], augmentation, axis=0)
        patches, frame = crop(sample["image"][tf.newaxis], pose, geometry, rotation, displacement)
        points = frame.to_patch(project_landmarks(pose, geometry.landmarks_mm))
        return tf.cast(patches, tf.float16), normalise(points, geometry)

    # XLA fuses the gathers of a patch: six times as fast, and compiled once, as all images have one size.
    compiled = tf.function(cut, jit_compile=True, autograph=False)
    numbered = tf.data.Dataset.zip(tf.data.Dataset.range(2**31 - 1, output_type=tf.int32), images)
    pairs = list(numbered.map(compiled, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator())
    return np.stack([patches for patches, _ in pairs]), np.stack([targets for _, targets in pairs])


def _images(pose: PoseSettings, seed: int, *, evaluation: bool) -> tf.data.Dataset:
    count = pose.evaluation_images if evaluation else pose.images
    if pose.dataset == "simulated":
        return dataset(_scene(pose, EVALUATION_SUBJECTS if evaluation else TRAINING_SUBJECTS), count, seed)
    if pose.folder is None:
        raise ValueError("`pose.folder` must name the folder of the i3PosNet data set. Received none.")
    subjects = EVALUATION_PATIENTS if evaluation else TRAINING_PATIENTS
    found = [index for index in i3posnet.indices(pose.folder) if i3posnet.subject_of(index) in subjects]
    return i3posnet.dataset(pose.folder, found[:count], invert=pose.invert)


def _scene(pose: PoseSettings, subjects: tuple[int, int]) -> XRayScene:
    depth_mm = [resolution * SOURCE_DETECTOR_MM / pose.pixel_mm for resolution in pose.resolution]
    return XRayScene(
        instrument=pose.instrument,
        image_size=pose.image_size,
        pixel_mm=pose.pixel_mm,
        source_detector_mm=SOURCE_DETECTOR_MM,
        depth_mm=(depth_mm[0], depth_mm[1]),
        subjects=subjects,
        domain_randomisation=pose.domain_randomisation,
    )
