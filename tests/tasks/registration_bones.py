"""Three made-up bones, whose X-ray images tell poses apart."""

from pathlib import Path

import numpy as np
from PIL import Image

from tfmedcai.config import CaseFiles
from tfmedcai.data.anatomy import Anatomy
from tfmedcai.data.c_arm import write_camera
from tfmedcai.data.radiographs import Radiograph
from tfmedcai.data.volumes import Volume, write_volume
from tfmedcai.geometry.camera import Camera
from tfmedcai.tasks.registration_problem import HERE, Problem, View, prepared

CAMERA = Camera.from_c_arm(1000.0, 8.0, (32, 32), source_isocentre_mm=600.0)
SIDE = (0.0, 1.2, 0.0, 0.0, 0.0, 0.0)
TRUTH = np.array([0.1, -0.15, 0.2, 8.0, -6.0, 20.0])


def bones() -> Anatomy:
    """Three ellipsoids of 800 HU in water, off the middle, each with its label."""
    spacing = (6.0, 6.0, 6.0)
    places = np.stack(np.meshgrid(*(6.0 * (np.arange(28) - 13.5),) * 3, indexing="ij"), axis=-1)
    hu, labels = np.full(places.shape[:3], -1000.0, np.float32), np.zeros(places.shape[:3], np.uint8)
    hu[np.linalg.norm(places, axis=-1) < 75] = 0
    shapes = (((15, -30, 5), (18, 10, 40)), ((0, 25, -20), (30, 22, 9)), ((-20, 20, 25), (12, 25, 12)))
    for label, (centre, radii) in enumerate(shapes, start=1):
        inside = np.linalg.norm((places - centre) / radii, axis=-1) < 1
        hu[inside], labels[inside] = 800.0, label
    return Anatomy(hu, labels, spacing, np.diag([-1.0, -1.0, -1.0, 1.0])[[0, 2, 1, 3]], "bones")


def problem(truth: np.ndarray = TRUTH, relatives: tuple = (HERE,), structures: tuple[int, ...] = ()) -> Problem:
    """The bones, and images of them from a pose."""
    anatomy = prepared(bones(), structures)
    blank = Radiograph(np.zeros(CAMERA.image_size, np.float32), CAMERA)
    views = tuple(View(blank, relative) for relative in relatives)
    made = Problem(anatomy, views).level(32, 6.0).images(truth[np.newaxis])
    return Problem(
        anatomy,
        tuple(View(Radiograph(image[0], CAMERA), relative) for image, relative in zip(made, relatives, strict=True)),
    )


def write_case(folder: Path, image: np.ndarray | None = None) -> None:
    """Writes what a case is made of, the patient shifted in its CT's file; see `files_in`."""
    anatomy = bones()
    # (depth, height, width) to the back, feet and left -> (x, y, z) to the right, front and head.
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = [-70.0, -90.0, 400.0]
    for name, values in (("ct.nii.gz", anatomy.hu), ("labels.nii.gz", anatomy.labels)):
        write_volume(folder / name, Volume(np.transpose(values, (2, 0, 1))[::-1, ::-1, ::-1].copy(), affine))
    image = np.eye(32) if image is None else image
    Image.fromarray((65535 * image / image.max()).astype(np.uint16)).save(folder / "xray.png")
    write_camera(folder / "camera.json", CAMERA)


def files_in(folder: Path) -> CaseFiles:
    """The files of `write_case`."""
    ct, labels, xray, camera = (folder / name for name in ("ct.nii.gz", "labels.nii.gz", "xray.png", "camera.json"))
    return CaseFiles(ct=ct, labels=labels, xray=(xray,), camera=(camera,), inverted="no")
