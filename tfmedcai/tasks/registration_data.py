"""Volumes of the registration task, simulated or of a CT, and the X-ray images and poses that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfmedcai.config import RegistrationSettings
from tfmedcai.data.anatomy import Anatomy, read_anatomy
from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose_samples import sample_moving, sample_targets
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.simulators import pelvis
from tfmedcai.simulators.domain_randomisation import DomainRandomisation
from tfmedcai.simulators.materials import attenuation_from_hu
from tfmedcai.simulators.varied_patient import varied
from tfmedcai.tasks.registration_network import Cases, normalised

AIR_HU = -1000.0


def camera_of(registration: RegistrationSettings) -> Camera:
    """Returns the camera of training and evaluation."""
    return Camera.from_c_arm(
        registration.source_detector_mm,
        registration.pixel_mm,
        registration.image_size,
        source_isocentre_mm=registration.source_isocentre_mm,
    )


def read_subjects(registration: RegistrationSettings) -> list[Anatomy]:
    """Makes all subjects: those that are learnt from, then those held back, then those of the evaluation.

    Returns:
        Anatomies on one grid; labels other than those that are registered are 0.

    Raises:
        ValueError: if the CT or its labels do not fit.
        OSError: if a file is missing.
    """
    count = registration.subjects + registration.held_back + registration.evaluation_subjects
    spacing = (registration.spacing_mm,) * 3
    if registration.dataset == "simulated":
        scene = pelvis.PelvisScene(registration.size, spacing)
        found = [
            Anatomy(*pelvis.simulate(scene, number), spacing, np.eye(4), f"pelvis {number}") for number in range(count)
        ]
    else:
        found = _of_patients(registration)
    return [_chosen(subject, registration.labels) for subject in found]


def patients_of(registration: RegistrationSettings, patients: int) -> list[int]:
    """Returns which patient each subject stems from.

    Of three or more, the last fifth is evaluated on alone, as many before are held back alone. Of fewer each is in all
    parts.

    >>> patients_of(RegistrationSettings(subjects=4, held_back=1, evaluation_subjects=2), 5)
    [0, 1, 2, 0, 3, 4, 4]
    >>> patients_of(RegistrationSettings(subjects=4, held_back=1, evaluation_subjects=2), 2)
    [0, 1, 0, 1, 0, 1, 0]
    """
    sizes = registration.subjects, registration.held_back, registration.evaluation_subjects
    if patients < 3:
        return [number % patients for number in range(sum(sizes))]
    apart = max(1, patients // 5)
    ends = 0, patients - 2 * apart, patients - apart, patients
    return [
        first + number % (last - first)
        for first, last, size in zip(ends, ends[1:], sizes, strict=False)
        for number in range(size)
    ]


def _of_patients(registration: RegistrationSettings) -> list[Anatomy]:
    """Returns CTs with labels.

    The first subject of a patient is the patient, the others are variations. Of patients who are in all parts all are.
    """
    spacing = (registration.spacing_mm,) * 3
    if not registration.ct or len(registration.ct) != len(registration.segmentation):
        raise ValueError(
            "`registration.ct` and `registration.segmentation` must name as many files, CTs and their labels. "
            f"Received {len(registration.ct)} and {len(registration.segmentation)}."
        )
    patients = [
        _chosen(read_anatomy(*files), registration.labels).fitted(registration.size, spacing, "labels")
        for files in zip(registration.ct, registration.segmentation, strict=True)
    ]
    found, seen = [], set() if len(patients) > 2 else set(range(len(patients)))
    for number, place in enumerate(patients_of(registration, len(patients))):
        patient, name = patients[place], f"{patients[place].name} {number}"
        assert patient.labels is not None  # noqa: S101 (it was read with labels)
        made = varied(patient.hu, patient.labels, spacing, number) if place in seen else (patient.hu, patient.labels)
        found.append(Anatomy(*made, spacing, np.eye(4), name))
        seen.add(place)
    return found


def _chosen(subject: Anatomy, labels: Sequence[int]) -> Anatomy:
    """Leaves the labels of what is registered, and the CT as it is."""
    kept = subject.masked(labels) if labels else subject
    return Anatomy(subject.hu, kept.labels, subject.spacing_mm, subject.patient_from_volume, subject.name)


def attenuations(subjects: Sequence[Anatomy], part: str) -> tf.Tensor:
    """Returns `(subjects, depth, height, width, 1)` float32, 1/mm, of all or of the "segmented" part."""
    kept = [np.where(s.labels > 0, s.hu, AIR_HU) if part == "segmented" else s.hu for s in subjects]
    return attenuation_from_hu(np.stack(kept).astype(np.float32))[..., tf.newaxis]


def case_maker(
    subjects: Sequence[Anatomy], registration: RegistrationSettings, count: int, *, randomised: bool
) -> Callable[[tf.Tensor, tf.Tensor], Cases]:
    """Returns a function of a subject's number and a seed `(2,)` that makes cases, fit for a graph.

    Args:
        subjects: the patients.
        registration: camera, ranges of poses, randomisation.
        count: poses of each call.
        randomised: whether target images are changed at random.
    """
    spacing = (registration.spacing_mm,) * 3
    project = ProjectiveSpatialTransformer(camera_of(registration), spacing, differentiable=False)
    changes = DomainRandomisation(**registration.randomisation.model_dump())
    moving, shown = (attenuations(subjects, part) for part in (registration.moving, registration.target))
    spread = [*np.radians([registration.moving_deg] * 3), *registration.moving_mm]
    reach = [*np.radians([registration.target_deg] * 3), *[registration.target_mm] * 3]

    def make(subject: tf.Tensor, seed: tf.Tensor) -> Cases:
        seeds = tf.random.split(seed, 3, alg="philox")
        start, truth = sample_moving(count, seeds[0], spread), sample_targets(count, seeds[1], reach)
        target = normalised(project([shown[subject : subject + 1], truth]))
        if randomised:
            target = changes(tf.ensure_shape(target, (count, *registration.image_size, 1)), seeds[2])
        return Cases(moving[subject : subject + 1], target, start, truth)

    return make


def training_cases(
    subjects: Sequence[Anatomy], registration: RegistrationSettings, batch_size: int, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """Returns endless batches of cases, those of an epoch from one volume drawn at random.

    Args:
        subjects: patients to learn from.
        registration: steps of an epoch and what cases are like.
        batch_size: poses in a batch.
        seed: seed of everything; what comes depends on it and the epoch alone.
        first_epoch: epoch to begin with.
    """
    make = case_maker(subjects, registration, batch_size, randomised=True)
    steps, count = registration.steps, len(subjects)

    def batch(number: tf.Tensor) -> Cases:
        of_epoch = tf.stack([seed, -1 - number // steps])
        subject = tf.random.stateless_uniform((), of_epoch, 0, count, tf.int32, alg="philox")
        return make(subject, tf.stack([seed, number]))

    numbers = tf.data.Dataset.range(first_epoch * steps, np.iinfo(np.int32).max, output_type=tf.int32)
    return numbers.map(batch, num_parallel_calls=2).prefetch(2)
