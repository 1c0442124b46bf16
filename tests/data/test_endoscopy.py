"""Layouts of surgical video: the right joints at the right places, sides, masks from widths, and damaged files."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from tfmedcai.data.endoscopy import ENDOVIS_JOINTS, Widths, by_side, endovis, laparoscopy, plain, retinal
from tfmedcai.data.frames import read_frames
from tfmedcai.data.video import write_video


def pictures(folder, names, size=(20, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((*size, 3), 10 * number, np.uint8)).save(folder / name)


def test_retinal_rows_and_columns_become_x_and_y(tmp_path):
    pictures(tmp_path / "seq1", ["000004.jpg", "000008.jpg", "000012.jpg"])
    lines = ["000004 1 2 3 4 5 6 7 8", "000006 9 9 9 9 9 9 9 9", "000008" + " -1" * 8]
    (tmp_path / "seq1_joints.txt").write_text("\n".join(lines) + "\n")
    first, second = retinal(tmp_path, Widths(3.0, 1.0))
    assert first.number == 4 and first.points["shaft"] == (2, 1) and first.points["tip_2"] == (8, 7)
    assert np.isnan(second.points["joint"]).all() and not second.labels((20, 30)).any()
    assert [part.label for part in first.parts] == [1, 2, 2] and first.labels((20, 30))[3, 4] == 2
    assert retinal(tmp_path)[0].parts is None


def test_a_line_with_a_wrong_number_of_joints_is_named(tmp_path):
    pictures(tmp_path / "seq1", ["000004.jpg"])
    (tmp_path / "seq1_joints.txt").write_text("000004 1 2 3 4\n")
    with pytest.raises(ValueError, match=r"seq1_joints\.txt, line 1: .* 4 joints\. Received 5 values"):
        retinal(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"must hold files \*_joints\.txt"):
        retinal(tmp_path / "nowhere")


def test_instruments_belong_to_the_side_they_come_from(tmp_path):
    tools = "<tool> 5 10 8 0.0 </tool><tool> 7 12 8 3.14159265 </tool>"
    text = f"<tagDocument><frame><PositionIndex> 3 </PositionIndex>{tools}</frame></tagDocument>"
    (tmp_path / "train.xml").write_text(text)
    pictures(tmp_path / "train", ["000003.jpg"])
    (frame,) = laparoscopy(tmp_path, Widths(shaft=3.0))
    assert frame.points == {"left": (12.0, 7.0), "right": (10.0, 5.0)}
    assert frame.labels((20, 30))[5, 10:19].all() and frame.labels((20, 30))[7, 4:13].all()
    (tmp_path / "train.xml").write_text(text.replace("8 0.0", "8"))
    with pytest.raises(ValueError, match="must be row, column, length and angle"):
        laparoscopy(tmp_path)
    (tmp_path / "train.xml").write_text("<tagDocument>")
    with pytest.raises(ValueError, match=r"train\.xml: must have frames"):
        laparoscopy(tmp_path)


def test_sides():
    assert by_side({}) == {"left": None, "right": None}
    assert by_side({(5.0, 5.0): (0.0, 5.0)}) == {"left": (5.0, 5.0), "right": None}


def point(name, tool, x, y):
    return {"class": name, "id": tool, "x": x, "y": y} if tool else {"class": name, "x": x, "y": y}


def test_endovis_frames_or_video(tmp_path):
    tool = [point("HeadPoint", "tool1", 15, 8), point("ShaftPoint", "tool1", 20, 8), point("EndPoint", None, 28, 8)]
    entries = [{"filename": "/x/img_1.png", "annotations": []}, {"filename": "/x/img_2.png", "annotations": tool}]
    (tmp_path / "test1_labels.json").write_text(json.dumps(entries))
    pictures(tmp_path / "test1", ["img_1.png", "img_2.png"])
    (frame,) = endovis(tmp_path, Widths(3, 2))
    assert (frame.number, frame.image.name) == (1, "img_2.png")
    assert frame.points["right.EndPoint"] == (28, 8) and "right.TrackedPoint" not in frame.points
    assert all(math.isnan(frame.points[f"left.{name}"][0]) for name in ENDOVIS_JOINTS)
    labels = frame.labels((20, 30))
    assert labels[8, 26] == 1 and labels[8, 17] == 2
    write_video(tmp_path / "test1.mp4", [np.full((20, 30, 3), 100 * n, np.uint8) for n in range(2)], 25)
    ((_, image),) = read_frames(endovis(tmp_path))
    assert image.mean() == pytest.approx(100, abs=3)
    (tmp_path / "test1_labels.json").write_text("{}[")
    with pytest.raises(ValueError, match="must be a list of images"):
        endovis(tmp_path)


def test_plain_folders(tmp_path):
    pictures(tmp_path / "a", ["x.png", "y.png"])
    (tmp_path / "a.csv").write_text("frame,joint,x,y\n1,tip,3.5,4\n1,end,,\n")
    pictures(tmp_path / "a_masks", [])
    Image.fromarray(np.full((20, 30), 2, np.uint8)).save(tmp_path / "a_masks" / "y.png")
    (frame,) = plain(tmp_path)
    assert frame.image.name == "y.png" and frame.points["tip"] == (3.5, 4.0) and (frame.labels((20, 30)) == 2).all()
    assert np.isnan(frame.points["end"]).all()
    (tmp_path / "a.csv").write_text("frame,joint,x,y\n7,tip,3.5,4\n")
    with pytest.raises(ValueError, match="frame 7 is not among the 2 pictures"):
        plain(tmp_path)
    (tmp_path / "a.csv").write_text("frame,joint,x\n0,tip,3.5\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: must have frame, joint, x and y"):
        plain(tmp_path)


def test_real_frames_are_all_found(real_data):
    eyes = retinal(real_data("endoscopy/retinal_rmit"), Widths(14, 5))
    assert {name: sum(f.sequence == name for f in eyes) for name in ("seq1", "seq3")} == {"seq1": 101, "seq3": 137}
    bellies = laparoscopy(real_data("endoscopy/laparoscopy_sznitman"), Widths(26))
    assert sum(f.sequence == "train" for f in bellies) == 100 and sum(f.sequence == "test" for f in bellies) == 75
    seen = [sum(np.isfinite(point).all() for point in frame.points.values()) for frame in bellies]
    assert set(seen) <= {0, 1, 2} and np.mean(seen) > 1
    (_, image) = next(read_frames(eyes))
    assert image.shape == (480, 640, 3)


def test_real_labels_of_endovis(tmp_path, real_data):
    for file in sorted(real_data("endoscopy/endovis15_pose_labels").glob("*_labels.json")):
        (tmp_path / file.name).symlink_to(file)
    frames = endovis(tmp_path)
    assert len({frame.sequence for frame in frames}) == 10
    single = [frame for frame in frames if frame.sequence == "test2"]
    absent = [np.isnan(frame.points["left.HeadPoint"]).all() for frame in single]
    assert len(single) == 76 and (all(absent) or not any(absent))  # one instrument, that keeps its side
