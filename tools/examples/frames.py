"""Draws the picture of the frames that the README shows."""

from pathlib import Path

from tfmedcai.cli import prepare_tensorflow


def main() -> None:
    """Writes `tools/pictures/c_arm.png`."""
    from tfmedcai.reports.c_arm_figure import c_arm_figure
    from tfmedcai.runs import write_whole

    figure = c_arm_figure()
    write_whole(Path(__file__).parents[1] / "pictures" / "c_arm.png", lambda path: figure.savefig(path, format="png"))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
