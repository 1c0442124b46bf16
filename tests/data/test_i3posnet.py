import json
import math

import numpy as np
import pytest
from PIL import Image

from tfmedcai.data import i3posnet

LABEL = {"HeadX": 20.5, "HeadY": 11.25, "HeadAngle": 90.0, "HeadTilt": 30.0, "ResolutionAtHead": 0.15}


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "tracked"):
        (tmp_path / name).mkdir()
    for index, suffix in ((140_000, "png"), (145_001, "npy")):
        image = np.full((30, 40), 51, np.uint8)
        path = tmp_path / "images" / f"drr{index:08d}.{suffix}"
        Image.fromarray(image).save(path) if suffix == "png" else np.save(path, image)
        (tmp_path / "tracked" / f"tracked{index:08d}.JSON").write_text(json.dumps({"Image": LABEL}))
    return tmp_path


def label_file(folder):
    return folder / "tracked" / "tracked00140000.JSON"


def test_a_case_is_read_in_radians_and_with_its_subject(folder):
    case = i3posnet.read_case(folder, 140_000)
    np.testing.assert_allclose(case["image"], 0.2)
    np.testing.assert_allclose(case["image_pose"], [20.5, 11.25, math.pi / 2, math.pi / 6, 0.15], rtol=1e-6)
    assert case["subject"] == 1


def test_intensities_can_be_inverted(folder):
    np.testing.assert_allclose(i3posnet.read_case(folder, 140_000, invert=True)["image"], 0.8)


def test_the_data_set_holds_all_or_the_chosen_images_in_order(folder):
    assert i3posnet.indices(folder) == [140_000, 145_001]
    assert [int(case["subject"]) for case in i3posnet.dataset(folder)] == [1, 2]
    cases = list(i3posnet.dataset(folder, [145_001]))
    assert len(cases) == 1 and cases[0]["image"].shape == (30, 40) and cases[0]["image_pose"].shape == (5,)


def test_a_missing_folder_prefix_or_image_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold the folders `images` and `tracked`"):
        i3posnet.indices(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Check `prefix`"):
        i3posnet.indices(folder, "xray")
    with pytest.raises(FileNotFoundError, match=r"holds no image drr00000003 \(1 of the chosen"):
        i3posnet.dataset(folder, [140_000, 3])
    with pytest.raises(FileNotFoundError, match=r"no image file .*drr00000003\.dcm"):
        i3posnet.read_case(folder, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON with HeadX"),
        ("[]", "must be JSON with HeadX"),
        (json.dumps({"Image": {"HeadX": 1}}), "KeyError.*HeadY"),
        (json.dumps({"Image": LABEL | {"HeadTilt": None}}), "must be JSON with HeadX"),
        (json.dumps({"Image": LABEL | {"HeadX": float("nan")}}), "must hold finite numbers"),
        (json.dumps({"Image": LABEL | {"ResolutionAtHead": 0}}), "ResolutionAtHead above 0"),
    ],
)
def test_a_broken_label_is_named(folder, content, message):
    label_file(folder).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        i3posnet.read_case(folder, 140_000)
    assert str(label_file(folder)) in str(error.value)


def test_a_missing_label_is_named(folder):
    label_file(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"There is no label .*tracked00140000\.JSON"):
        i3posnet.read_case(folder, 140_000)


def test_an_image_with_nan_is_named(folder):
    np.save(folder / "images" / "drr00145001.npy", np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match=r"drr00145001\.npy must hold finite numbers"):
        i3posnet.read_case(folder, 145_001)
