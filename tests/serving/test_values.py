"""Inputs as people write them."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from tfmedcai.serving.values import VolumeInput, read_input, to_json, write_outputs


def info(dtype: int, *sizes: int) -> TensorInfo:
    return TensorInfo(dtype=dtype, tensor_shape={"dim": [{"size": size} for size in sizes]})


EXPECTED = {
    "image": info(types_pb2.DT_FLOAT, -1, -1, -1, 1),
    "colour": info(types_pb2.DT_UINT8, -1, -1, -1, 3),
    "float_colour": info(types_pb2.DT_FLOAT, -1, -1, -1, 3),
    "grey": info(types_pb2.DT_FLOAT, -1, -1, -1),
    "number": info(types_pb2.DT_INT32),
    "text": info(types_pb2.DT_STRING, -1),
    "any": TensorInfo(dtype=types_pb2.DT_FLOAT, tensor_shape={"unknown_rank": True}),
}


def test_picture_becomes_a_batch_of_one_in_the_signatures_type(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "colour.png")
    _, image = read_input(f"image={tmp_path / 'grey.png'}", EXPECTED)
    assert (image.shape, image.dtype) == ((1, 3, 4, 1), np.float32)
    np.testing.assert_allclose(image[0, :, :, 0], pixels / 255, rtol=1e-6)
    assert read_input(f"image={tmp_path / 'colour.png'}", EXPECTED)[1].shape == (1, 3, 4, 1)
    assert read_input(f"grey={tmp_path / 'grey.png'}", EXPECTED)[1].shape == (1, 3, 4)
    _, colour = read_input(f"colour={tmp_path / 'colour.png'}", EXPECTED)
    assert np.array_equal(colour[0, :, :, 1], pixels)
    _, colour = read_input(f"float_colour={tmp_path / 'colour.png'}", EXPECTED)
    np.testing.assert_allclose(colour[0, :, :, 2], pixels / 255, rtol=1e-6)


def test_sixteen_bit_picture_is_scaled_by_its_own_range(tmp_path):
    Image.fromarray(np.full((2, 2), 65535, np.uint16)).save(tmp_path / "deep.png")
    assert read_input(f"image={tmp_path / 'deep.png'}", EXPECTED)[1].max() == 1.0


def test_array_numbers_and_text(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 6, 1)))
    assert read_input(f"image={tmp_path / 'a.npy'}", EXPECTED)[1].shape == (1, 5, 6, 1)
    number = read_input("number=3", EXPECTED)[1]
    assert (number.shape, number.dtype, int(number)) == ((), np.int32, 3)
    assert read_input("text=a=b", EXPECTED)[1].tolist() == [b"a=b"]
    assert read_input("any=1,2", EXPECTED)[1].shape == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope=1", "NAME one of"),
        ("image", "NAME=VALUE"),
        ("number=abc", r"a file \(\.npy, .*or numbers. Received 'abc'"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_input(text, EXPECTED)


def test_json_of_half_precision_and_bytes():
    assert to_json(np.array([[0.5]], np.float16)) == [[0.5]]
    assert to_json(np.array(b"a", object)) == {"b64": "YQ=="}


def test_volumes_become_channels_with_the_axes_of_the_patient(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for name in ("t1", "t2"):
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, 1.0, 1.0, 1.0])), tmp_path / f"{name}.nii.gz")
    info = TensorInfo(dtype=types_pb2.DT_FLOAT, tensor_shape={"dim": [{"size": -1}] * 3 + [{"size": 2}]})
    name, volume = read_input(f"image={tmp_path / 't1.nii.gz'},{tmp_path / 't2.nii.gz'}", {"image": info})
    assert (name, volume.shape, volume.dtype) == ("image", (2, 3, 4, 2), np.float32)
    np.testing.assert_array_equal(volume[..., 0], array[::-1])


def test_answers_about_a_volume_are_written_on_its_grid(tmp_path):
    affine = np.array([[0, 2.0, 0, 5], [-1.5, 0, 0, 7], [0, 0, 3.0, -4], [0, 0, 0, 1]])  # first axis to the back
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), affine), tmp_path / "flair.nii.gz")
    volume = VolumeInput.among(["number=3", f"image={tmp_path / 'flair.nii.gz'},other.nii.gz"])
    np.testing.assert_allclose(volume.spacing, [2.0, 1.5, 3.0])
    classes = np.zeros((4, 5, 3), np.uint8)
    classes[1, 0, 2] = 1  # second to the right, last to the back, top
    outputs = {"classes": classes, "score": np.float32([0.5]), "names": np.array([b"a"], object)}
    written = write_outputs(outputs, tmp_path / "answers", volume)
    assert {name: path.name for name, path in written.items()} == {
        "classes": "classes.nii.gz", "names": "names.npy", "score": "score.npy",
    }  # fmt: skip
    answer = nib.load(written["classes"])
    np.testing.assert_allclose(answer.affine, affine)
    assert np.argwhere(answer.get_fdata()).tolist() == [[4, 1, 2]]
    assert np.load(written["score"]).tolist() == [0.5]
    assert VolumeInput.among(["image=a.png", "number=2"]) is None
    assert set(write_outputs({"score": np.float32([1.0])}, tmp_path / "more", None)) == {"score"}
