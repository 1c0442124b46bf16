"""Settings: validated, explained in one line, the same after writing and reading."""

import pytest

from tfmedcai.config import Settings, read_settings
from tfmedcai.runs import write_settings


def file_with(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[training]\nepohcs = 3\n", "unknown setting `training.epohcs`. Did you mean `epochs`?"),
        ("sead = 3\n", "unknown setting `sead`. Did you mean `seed`?"),
        ("[search.fit]\nepoch = 3\n", "unknown setting `search.fit.epoch`. Did you mean `epochs`?"),
        ("[training]\nepochs = 0\n", "setting `training.epochs`: Input should be greater than 0. Received 0."),
        ('[pose]\ninstrument = "hammer"\n', "setting `pose.instrument`"),
        ('oracle = "latnet"\n', "`latnet` is not one of the oracles"),
        ('[training]\nbaselines = ["i3posnt"]\n', "Did you mean `i3posnet`?"),
        ("epochs = = 3\n", "not a TOML file"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_file(tmp_path, text, says):
    path = file_with(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        read_settings(path)
    message = str(caught.value)
    assert says in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot read this settings file"):
        read_settings(tmp_path / "nowhere.toml")


def test_settings_survive_writing_and_reading(tmp_path):
    settings = Settings(seed=4).updated({"training": {"epochs": 7, "baselines": []}, "pose": {"image_size": (64, 96)}})
    write_settings(tmp_path / "settings.toml", settings)
    read = read_settings(tmp_path / "settings.toml")
    assert read == settings
    assert read.pose.image_size == (64, 96)


def test_every_number_tells_settings_apart():
    assert Settings().digest() != Settings().updated({"latent": {"step_size": 0.06}}).digest()
    assert Settings().digest() == Settings().digest()
