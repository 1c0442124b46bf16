"""Registration of a CT to an X-ray image: a similarity whose gradient leads to the pose (ProST), DeepIM and DMW."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tfmedcai.config import Fit
from tfmedcai.config.registration import SimilaritySettings
from tfmedcai.data.anatomy import Anatomy
from tfmedcai.data.poses import write_pose
from tfmedcai.geometry.geodesic import geodesic_gradient, riemannian_gradient
from tfmedcai.geometry.pose_updates import deepim_step
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.losses.pose_gradients import PoseGradientLoss, scaled_gradient
from tfmedcai.models.pose_similarity import pose_similarity
from tfmedcai.models.prost import prost_volume_net
from tfmedcai.reports.document import Picture
from tfmedcai.reports.registration_overlay import overlay_edges
from tfmedcai.reports.series import Objective
from tfmedcai.runs import write_whole
from tfmedcai.search_spaces.space import Architecture
from tfmedcai.simulators.materials import attenuation_from_hu
from tfmedcai.tasks.fitting import Keeper, Row, Source, train_on
from tfmedcai.tasks.registration_case import read_case
from tfmedcai.tasks.registration_data import Cases, camera_of, case_maker, read_subjects, training_cases
from tfmedcai.tasks.registration_evaluation import Trials, case_in, evaluated, pictures
from tfmedcai.tasks.registration_network import (
    GRADIENT,
    STEP,
    in_source_frame,
    intrinsics_of,
    pointed,
    register,
    regresses,
    regridded,
    seen_by,
)
from tfmedcai.tasks.registration_similarity import learned_cost, similarity_stage
from tfmedcai.tasks.task import Candidate, Evaluation, Signature, Task, build_network
from tfmedcai.tasks.watch import UNWATCHED, Watch, measured_at

REGRESSING = {"deepim": STEP, "dmw": GRADIENT}  # networks that give no similarity, and how many numbers they give
MEASURED = 16  # poses of each volume that a score is measured at
HELD_BACK_SEED = 1_000_003


class RegistrationTask(Task):
    """Finds the pose of a C-arm about a patient from one X-ray image, the CT and a rough pose."""

    name = "registration"
    objective = Objective("gradient_cosine", "", "max")
    baselines = ("prost",)

    @cached_property
    def subjects(self) -> list[Anatomy]:
        """All subjects; see `read_subjects`."""
        return read_subjects(self.settings.registration)

    @property
    def _learnt(self) -> list[Anatomy]:
        return self.subjects[: self.settings.registration.subjects]

    @property
    def _held_back(self) -> list[Anatomy]:
        first = self.settings.registration.subjects
        return self.subjects[first : first + self.settings.registration.held_back]

    @property
    def _unseen(self) -> list[Anatomy]:
        return self.subjects[-self.settings.registration.evaluation_subjects :]

    def prepare(self) -> None:
        """Reads or simulates all subjects."""
        _ = self.subjects

    def describe(self) -> dict[str, Any]:
        """Sizes and sources of the data."""
        registration = self.settings.registration
        patients = f"subjects of {len(registration.ct)} CTs and their random variations"
        source = "simulated pelves" if registration.dataset == "simulated" else patients
        return {
            "subjects": f"{registration.subjects} {source} to learn from, {registration.held_back} to score "
            f"on, {registration.evaluation_subjects} to evaluate on",
            "volume": f"{' x '.join(map(str, registration.size))} voxels of {registration.spacing_mm:g} mm",
            "images": f"{registration.image_size[0]} x {registration.image_size[1]} px of {registration.pixel_mm:g} mm",
        }

    def network(self, candidate: Candidate, *, search: bool = False) -> keras.Model:
        """From a volume, a target image and a pose to a similarity, or to what DeepIM and DMW regress."""
        registration, outputs = self.settings.registration, _outputs(candidate)
        channels = registration.volume_net.channels if outputs == 1 else 1
        shape = (*registration.image_size, channels + 1)
        image_net = build_network(self.settings, candidate, search=search, input_shape=shape, outputs=outputs)
        volume_net = None
        if outputs == 1:
            form = "miccai" if candidate == "prost_miccai" else "journal"
            volume_net = prost_volume_net(
                input_shape=(*registration.size, 1),
                filters=registration.volume_net.filters,
                channels=channels,
                form=form,
            )
        spacing = (registration.spacing_mm,) * 3
        projector = ProjectiveSpatialTransformer(camera_of(registration), spacing, name="projector")
        return pose_similarity(projector, image_net, volume_net, volume_shape=registration.size)

    def score(
        self, architecture: Architecture, epochs: int, seed: int, part: int = 0, watch: Watch = UNWATCHED
    ) -> dict[str, float]:
        """Mean cosine between the gradients of similarity and geodesic distance, on volumes held back."""
        fit = self.settings.search.fit
        source = self._source(architecture, fit, seed, watch.looks | {epochs})
        keeper = watch.keeper(self.objective)
        model, rows = train_on(lambda: self.network(architecture, search=True), source, fit, epochs, seed, keeper)
        metrics = {
            self.objective.name: rows[-1][self.objective.name],
            "training_loss": rows[-1]["loss"],
        }
        metrics |= self.costs(model) | watch.course(self.objective, rows)
        keras.backend.clear_session()
        return metrics

    def train(self, candidate: Candidate, seed: int, keeper: Keeper) -> tuple[keras.Model, list[Row]]:
        """Trains on the volumes to learn from; those held back are watched, never learnt."""
        fit, epochs = self.fit_of(candidate), self.settings.training.epochs
        source = self._source(candidate, fit, seed, range(1, epochs + 1))
        return train_on(lambda: self.network(candidate), source, fit, epochs, seed, keeper)

    def fit_of(self, candidate: Candidate) -> Fit:
        """Networks that regress have a fit of their own."""
        return self.settings.registration.regression if _outputs(candidate) > 1 else super().fit_of(candidate)

    def _source(self, candidate: Candidate, fit: Fit, seed: int, looks: Collection[int]) -> Source:
        """Returns training cases, and the cosine on volumes held back after the epochs `looks`."""
        registration, outputs = self.settings.registration, _outputs(candidate)

        def batches(first_epoch: int) -> tf.data.Dataset:
            cases = training_cases(self._learnt, registration, fit.batch_size, seed, first_epoch)
            return cases.map(lambda case: (tuple(case[:3]), self._aim(case, outputs)))

        measure = measured_at(looks, self.objective, self._agreement(self._held_back))
        loss = PoseGradientLoss(registration.loss, registration.normaliser_mm) if outputs == 1 else "mse"
        return Source(batches, registration.steps, loss, measure)

    def _aim(self, case: Cases, outputs: int) -> tf.Tensor:
        """What a network is to answer: the geodesic gradient, or the step."""
        registration = self.settings.registration
        moving, target = case.moving_pose, case.target_pose
        if outputs == STEP:
            return deepim_step(*(in_source_frame(pose, registration.source_isocentre_mm) for pose in (moving, target)))
        if outputs == GRADIENT:
            return scaled_gradient(riemannian_gradient(moving, target), 1 / registration.normaliser_mm)
        return geodesic_gradient(moving, target, registration.normaliser_mm)

    def _agreement(self, subjects: Sequence[Anatomy]) -> Callable[[keras.Model], float]:
        """Returns a function of a network: the mean cosine of its gradients, or steps, and the right ones."""
        registration = self.settings.registration
        make = case_maker(subjects, registration, MEASURED, randomised=False)
        cases = [make(tf.constant(n), tf.constant([HELD_BACK_SEED, n])) for n in range(len(subjects))]

        def agree(model: keras.Model) -> float:
            answer = tf.function(lambda case: pointed(model, case, registration.normaliser_mm), autograph=False)
            found, right = (np.concatenate(parts) for parts in zip(*map(answer, cases), strict=True))
            lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(right, axis=1)
            return float(np.mean(np.sum(found * right, axis=1) / np.maximum(lengths, 1e-12)))

        return agree

    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Registers cases of unseen subjects from several distances, beside methods that learn nothing.

        Returns:
            Successes and errors by distance, and the cases to draw.

        Reference:
            Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, section III-D.
        """
        agreement = {self.objective.name: self._agreement(self._unseen)(model)}
        self._trials.followed = self.followed
        learned = None if regresses(model) else partial(learned_cost, model)
        summary, cases = evaluated(self._trials, similarity_stage(self._descent, model), learned)
        return Evaluation(agreement | summary, cases)

    @property
    def _descent(self) -> SimilaritySettings:
        """Settings of the descent of a similarity, in the unit of length that it was trained with."""
        update = {"scale_mm": self.settings.registration.normaliser_mm}
        return self.settings.registering.similarity.model_copy(update=update)

    @cached_property
    def _trials(self) -> Trials:
        settings = self.settings
        return Trials(self._unseen, settings.registration, settings.registering, settings.seed)

    @staticmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> list[Picture]:
        """The best, median and worst case: edges of the rendering over the X-ray image, at the start and at the end."""
        return pictures(cases)

    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """A CT, an X-ray image of any size, a rough pose and the camera in, the pose and its similarity out."""
        registration = self.settings.registration
        camera = camera_of(registration)
        meaning = {
            "volume": "(batch, depth, height, width) HU, -1000 outside of what is registered; depth to the back, "
            "height to the feet, width to the left, the isocentre in the middle",
            "spacing": "(3,) size of a voxel along depth, height and width [mm]",
            "image": "(batch, rows, columns) X-ray image, bone bright, as line integrals",
            "pose": "(batch, 6) in: rough, out: found: rotation vector [deg], translation [mm] of the C-arm",
            "intrinsics": "(6,) source to detector [mm], pixel pitch along x and y [mm], principal point x and y [px], "
            "source to isocentre [mm]",
            "similarity": "(batch,) at the pose found, lower is more alike; of a network that regresses, how far it "
            "would go on [rad]",
        }

        def answer(
            volume: tf.Tensor, spacing: tf.Tensor, image: tf.Tensor, pose: tf.Tensor, intrinsics: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            given = {"volume": volume, "spacing": spacing, "image": image, "pose": pose, "intrinsics": intrinsics}
            checks = [
                tf.debugging.assert_all_finite(x, f"`{k}` has values that are not numbers") for k, x in given.items()
            ]
            with tf.control_dependencies([check for check in checks if check is not None]):
                density = regridded(attenuation_from_hu(volume), spacing, registration.size, registration.spacing_mm)
            unit = tf.constant([np.pi / 180] * 3 + [1.0] * 3, tf.float32)
            volumes = density[..., tf.newaxis]
            found = register(model, volumes, [seen_by(model, image, intrinsics)], pose * unit, self._descent, xla=False)
            return {"pose": found.pose / unit, "similarity": found.similarity}

        inputs = {
            "volume": tf.TensorSpec((None, None, None, None), tf.float32, name="volume"),
            "spacing": tf.TensorSpec((3,), tf.float32, name="spacing"),
            "image": tf.TensorSpec((None, None, None), tf.float32, name="image"),
            "pose": tf.TensorSpec((None, 6), tf.float32, name="pose"),
            "intrinsics": tf.TensorSpec((6,), tf.float32, name="intrinsics"),
        }
        # Smooth, since a descent over noise makes much of roundings, in which server and example may differ.
        example = {
            "volume": 1700 * _lump(registration.size)[np.newaxis] - 1000,
            "spacing": np.full(3, registration.spacing_mm, np.float32),
            "image": 4 * _lump(camera.image_size)[np.newaxis],
            "pose": np.array([[2.0, -3.0, 1.0, 5.0, -4.0, 10.0]], np.float32),
            "intrinsics": intrinsics_of(camera).numpy(),
        }
        return {"serving_default": Signature(answer, inputs, example, meaning)}

    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Registers the case of a folder; see `case_in`."""
        case = read_case(case_in(path), self.settings.registering)
        trace = similarity_stage(self._descent, model)(case.problem, case.start)
        pose_file, picture = output / f"{path.name}_pose.json", output / f"{path.name}.png"
        write_pose(pose_file, trace.pose, case.problem.anatomy.patient_from_volume)
        radiograph = case.problem.views[0].radiograph
        drr = case.problem.level(max(radiograph.image.shape), self.settings.registration.spacing_mm).images(
            trace.pose[np.newaxis]
        )
        shown = Image.fromarray(overlay_edges(radiograph.image, drr[0][0]))
        write_whole(picture, lambda temporary: shown.save(temporary, format="png"))
        answer = {"rotation_deg": np.degrees(trace.pose[:3]).tolist(), "translation_mm": trace.pose[3:].tolist()}
        written = {"image": str(path), "pose_file": str(pose_file), "picture": str(picture)}
        return answer | {"similarity": trace.cost} | written


def _lump(shape: Sequence[int]) -> np.ndarray:
    """Returns something from 0 to 1 that is of the same size along no two axes, and off the middle."""
    ends = zip((-1.6, -1.2, -2.0), (1.4, 1.7, 1.5), shape, strict=False)
    places = np.meshgrid(*(np.linspace(first, last, size) for first, last, size in ends), indexing="ij")
    return np.exp(-2 * np.sum(np.square(places), axis=0)).astype(np.float32)


def _outputs(candidate: Candidate) -> int:
    """Returns how many numbers a network gives; one is a similarity."""
    return REGRESSING.get(candidate, 1) if isinstance(candidate, str) else 1
