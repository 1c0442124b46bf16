"""Models from folders and from a models.config: which versions, which labels, which mistakes."""

import shutil

import pytest
from tensorflow_serving.apis.model_pb2 import ModelSpec

from tfmedcai.serving.catalog import Catalog
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.sources import ModelSource, chosen_versions, read_config, versions_in


@pytest.fixture
def two_versions(model_folder, tmp_path):
    folder = tmp_path / "two"
    for version in ("1", "00000002"):
        shutil.copytree(model_folder / "1", folder / version)
    for other in ("3x", "0", "-5", ".exporting-4"):
        (folder / other).mkdir()
    (folder / "9").touch()
    return folder


def served(catalog, **spec) -> int:
    with catalog.lease(ModelSpec(name="m", **spec)) as servable:
        return servable.version


def states(catalog) -> dict[int, str]:
    found = catalog.status(ModelSpec(name="m"))
    return {status.version: type(status).State.Name(status.state) for status in found}


def test_only_numbers_above_zero_are_versions(two_versions):
    assert versions_in(two_versions) == {1: two_versions / "1", 2: two_versions / "00000002"}


def test_newest_version_answers_unless_a_label_or_number_is_given(two_versions):
    source = ModelSource("m", two_versions, latest=2, labels={"stable": 1})
    catalog = Catalog([source])
    assert str(catalog) == "m version 1, m version 2"
    assert served(catalog) == 2
    assert served(catalog, version_label="stable") == 1
    assert served(catalog, version={"value": 1}) == 1
    assert [status.version for status in catalog.status(ModelSpec(name="m"))] == [2, 1]
    catalog.close()


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", [2]),
        ("model_version_policy { latest { num_versions: 5 } }", [1, 2]),
        ("model_version_policy { all {} }", [1, 2]),
        ("model_version_policy { specific { versions: 1 } }", [1]),
    ],
)
def test_version_policies(two_versions, tmp_path, policy, versions):
    config = tmp_path / "models.config"
    model = f'config {{ name: "m" base_path: "{two_versions}" model_platform: "tensorflow" {policy} }}'
    config.write_text(f"model_config_list {{ {model} }}")
    (source,) = read_config(config)
    assert list(chosen_versions(source)) == versions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "must be the text of a ModelServerConfig"),
        ("", "It lists none"),
        (
            'config { name: "m" base_path: "m" model_platform: "tensorflow" }',
            r"absolute path or URI; got base_path\(\)=m",
        ),
        (
            'config { name: "m" base_path: "/m" model_platform: "pytorch" }',
            "Model m requests unsupported platform pytorch",
        ),
        ('config { name: "m" base_path: "/m" }', "nor ModelServerConfig::model_platform, model name is m"),
    ],
)
def test_config_that_tensorflow_serving_refuses_is_refused(tmp_path, text, message):
    path = tmp_path / "models.config"
    path.write_text(f"model_config_list {{ {text} }}" if text != "nonsense" else text)
    with pytest.raises(ValueError, match=message):
        read_config(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"versions": (1, 7)}, r"must hold the versions \[7\].*Found \[1, 2\]"),
        ({"labels": {"stable": 1}}, "label to version 1 of model m, which is not currently available"),
    ],
)
def test_version_or_label_that_is_not_there_is_refused(two_versions, changes, message):
    with pytest.raises(ValueError, match=message):
        Catalog([ModelSource("m", two_versions, **changes)])


def test_folder_that_is_absent_or_empty_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no such folder"):
        Catalog([ModelSource("m", tmp_path / "absent")])
    with pytest.raises(ValueError, match=r"must hold a version .* Found none"):
        Catalog([ModelSource("m", tmp_path)])


def test_name_may_stand_once_only(model_folder):
    with pytest.raises(ValueError, match="Illegal to list model m multiple times"):
        Catalog([ModelSource("m", model_folder)] * 2)


def test_a_new_version_is_served_when_its_files_rest_and_the_old_one_unloaded(model_folder, tmp_path):
    shutil.copytree(model_folder / "1", tmp_path / "1")
    catalog = Catalog([ModelSource("m", tmp_path)])
    with catalog.lease(ModelSpec(name="m")) as servable:
        shutil.copytree(model_folder / "1", tmp_path / "2")
        catalog.refresh()
        assert served(catalog) == 1
        catalog.refresh()
        assert served(catalog) == 2
        assert states(catalog) == {2: "AVAILABLE", 1: "UNLOADING"}
        assert servable.signatures
    assert states(catalog) == {2: "AVAILABLE", 1: "END"}
    shutil.rmtree(tmp_path / "2")
    catalog.refresh()
    catalog.refresh()
    assert states(catalog) == {2: "END", 1: "AVAILABLE"}
    catalog.close()


def test_a_corrupt_new_version_leaves_the_old_one_and_says_why(model_folder, tmp_path):
    shutil.copytree(model_folder / "1", tmp_path / "1")
    catalog = Catalog([ModelSource("m", tmp_path)], ServerOptions(max_num_load_retries=0))
    shutil.copytree(model_folder / "1", tmp_path / "2")
    pieces = sorted((tmp_path / "2" / "variables").glob("variables.data*"))
    pieces[0].write_bytes(pieces[0].read_bytes()[:10])
    for _ in range(3):
        catalog.refresh()
    assert served(catalog) == 1
    assert states(catalog) == {2: "END", 1: "AVAILABLE"}
    (status,) = catalog.status(ModelSpec(name="m", version={"value": 2}))
    assert status.status.error_code != 0 and str(tmp_path / "2") in status.status.error_message
    shutil.copytree(model_folder / "1", tmp_path / "2", dirs_exist_ok=True)
    for _ in range(3):
        catalog.refresh()
    assert served(catalog) == 2
    catalog.close()
