"""A search space of one's own, and its network: how wide and deep a plain stack should be, and with which kernels."""

import argparse
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfmedcai import registry
from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.search_spaces.space import SearchSpace

CHOICES = {"width": (4, 8, 16), "depth": (1, 2, 3), "kernel": (3, 5, 7)}


class Stack(NamedTuple):
    """What a search finds: a value that can be hashed, printed and read back."""

    width: int
    depth: int
    kernel: int
    space = "stack"  # type: ignore[misc]

    def __str__(self):
        return " ".join(map(str, self))

    @property
    def key(self):
        """Two descriptions with one key are one architecture; here no two texts mean the same."""
        return str(self)


ALL = {str(stack): stack for stack in map(Stack._make, product(*CHOICES.values()))}


class StackSpace(SearchSpace[Stack]):
    """All stacks. A token is the number of a choice."""

    name, network = "stack", "stack_net"
    vocabulary_size, sequence_length = 3, len(CHOICES)

    def sample(self, rng):
        """Draws one."""
        return ALL[str(rng.choice(list(ALL)))]

    def neighbours(self, architecture):
        """Changes one choice."""
        return [near for near in ALL.values() if sum(a != b for a, b in zip(near, architecture, strict=True)) == 1]

    def parse(self, text):
        """Reads `str(architecture)`."""
        if text not in ALL:
            raise ValueError(f"A stack must be a number out of each of {CHOICES}. Received {text!r}.")
        return ALL[text]

    def declare(self, hp):
        """Tells KerasTuner's oracles what there is to choose."""
        return Stack(*(hp.Choice(name, list(values)) for name, values in CHOICES.items()))

    def values(self, architecture):
        """Gives what `declare` makes the architecture from."""
        return architecture._asdict()

    def encode(self, architecture):
        """Writes tokens for the latent oracle."""
        return np.array([CHOICES[name].index(value) for name, value in self.values(architecture).items()], np.int32)

    def decode(self, tokens):
        """Reads them."""
        choices = zip(CHOICES.values(), self.checked_tokens(tokens), strict=True)
        return Stack(*(values[token] for values, token in choices))

    def draw(self, architecture, axes):
        """Draws a bar for each choice, for the report."""
        axes.barh(list(CHOICES), list(architecture))


def stack_net(architecture, *, input_shape, outputs, per_pixel=False):
    """Builds the Keras network of a stack; the task says what goes in and how many values come out."""
    from keras import Input, Model, layers

    if per_pixel:
        raise ValueError("`per_pixel` must be False: a stack gives one vector for an image.")
    image = x = Input(input_shape)
    for _ in range(architecture.depth):
        x = layers.Conv2D(architecture.width, architecture.kernel, strides=2, padding="same", activation="relu")(x)
    return Model(image, layers.Dense(outputs)(layers.Flatten()(x)), name="stack_net")


# A package writes `stack = my_package:StackSpace` under `tfmedcai.spaces` of its entry points instead.
registry.register("spaces", StackSpace.name, StackSpace)
registry.register("networks", StackSpace.network, stack_net)


def main(argv: list[str] | None = None) -> None:
    """Searches stacks for the pose of a screw in simulated X-ray images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oracle", default="local", help="any of `python -m tfmedcai.search --list`")
    parser.add_argument("--trials", type=int, default=8, help="stacks to score")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for the run")
    given = parser.parse_args(argv)
    settings = Settings().smoke().updated({"space": StackSpace.name, "oracle": given.oracle})
    settings = settings.updated({"pose": {"images": 40}, "search": {"trials": given.trials, "baseline": "none"}})
    search(SearchOptions(settings=settings, output=given.output, fresh=True))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
