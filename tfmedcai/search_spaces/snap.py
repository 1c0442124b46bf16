"""Symbolic Neural Architecture Patterns: short programs of eight symbols that describe the block of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from tfmedcai.registry import did_you_mean
from tfmedcai.search_spaces import snap_graph
from tfmedcai.search_spaces.snap_graph import SYMBOLS
from tfmedcai.search_spaces.space import SearchSpace, Value

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes

EMPTY = "(empty)"


@dataclass(frozen=True)
class Snap:
    """A program for the stack machine that builds one block of a network.

    Args:
        symbols: names out of `conv1x1 conv3x3 dw3x3 dws3x3 maxpool3x3 branch merge switch`.

    Raises:
        ValueError: if a symbol is unknown.

    Reference:
        AutoSNAP, section 2.2.

    >>> Snap.parse("branch conv3x3 merge").key
    'conv3x3(1) merge(1,2) merge(0,3)'
    >>> Snap.parse("switch switch branch switch conv3x3 merge").key == Snap.parse("branch conv3x3 merge").key
    True
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        for place, symbol in enumerate(self.symbols, start=1):
            if symbol not in SYMBOLS:
                raise ValueError(
                    f"A SNAP is made of the symbols {' '.join(SYMBOLS)}. "
                    f"Received `{symbol}` at place {place}.{did_you_mean(symbol, SYMBOLS)}"
                )

    @classmethod
    def parse(cls, text: str) -> Snap:
        """Reads symbols separated by spaces, or `(empty)` for the program without symbols.

        Returns:
            The program.

        Raises:
            ValueError: if the text is blank or a symbol is unknown.
        """
        if text.strip() == EMPTY:
            return cls(())
        if not text.strip():
            raise ValueError(
                f"A SNAP must have symbols, for example `branch conv3x3 merge`, or be `{EMPTY}`. Got none."
            )
        return cls(tuple(text.split()))

    def __str__(self) -> str:
        return " ".join(self.symbols) or EMPTY

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        return SnapSpace.name

    @cached_property
    def graph(self) -> snap_graph.Graph:
        """Canonical graph: node 0 is out(b-2), node 1 is out(b-1), the last node is the output of the block."""
        return snap_graph.canonical(snap_graph.run(self.symbols))

    @property
    def key(self) -> str:
        """The operations of the canonical graph, numbered from 2, with the numbers of their inputs in brackets."""
        return " ".join(f"{node.operation}({','.join(map(str, node.inputs))})" for node in self.graph[2:])


class SnapSpace(SearchSpace[Snap]):
    """All SNAPs of up to `max_length` symbols.

    Tokens are 0 for the end of the program and 1 to 8 for the symbols.

    Args:
        max_length: number of symbols of the longest program.
        underflow: what becomes of `merge` and `switch` where fewer than two tensors are on the stack: "noop" takes
            them as doing nothing, "reject" keeps such programs out of the space.

    Raises:
        ValueError: if `max_length` is below 1 or `underflow` is unknown.

    Reference:
        AutoSNAP, sections 2.2 and 2.3.

    >>> space = SnapSpace()
    >>> str(space.decode([6, 2, 7, 0, 5, 5, 5, 5, 5, 5, 5, 5]))
    'branch conv3x3 merge'
    >>> space.encode(space.parse("branch conv3x3 merge")).tolist()
    [6, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """

    name = "snap"
    network = "snapnet"
    vocabulary_size = 1 + len(SYMBOLS)

    def __init__(self, max_length: int = 12, underflow: Literal["noop", "reject"] = "noop") -> None:
        if max_length < 1:
            raise ValueError(f"`max_length` must be at least 1 symbol. Received {max_length}.")
        if underflow not in ("noop", "reject"):
            raise ValueError(f'`underflow` must be "noop" or "reject". Received "{underflow}".')
        self.sequence_length = max_length
        self.underflow = underflow

    def _rejects(self, symbols: Sequence[str]) -> bool:
        return self.underflow == "reject" and bool(snap_graph.underflows(symbols))

    def _valid(self, symbols: Iterable[str]) -> Snap:
        symbols = tuple(symbols)
        dropped = snap_graph.underflows(symbols) if self.underflow == "reject" else []
        return Snap(tuple(symbol for place, symbol in enumerate(symbols) if place not in dropped))

    def sample(self, rng: np.random.Generator) -> Snap:
        """Draws the length uniformly from 1 to `max_length`, then every symbol uniformly.

        With `underflow="reject"` the symbols are drawn again until no symbol underflows.

        Args:
            rng: source of randomness.

        Returns:
            A `Snap`.
        """
        length = int(rng.integers(1, self.sequence_length, endpoint=True))
        while True:
            symbols = tuple(SYMBOLS[i] for i in rng.integers(len(SYMBOLS), size=length))
            if not self._rejects(symbols):
                return Snap(symbols)

    def neighbours(self, architecture: Snap) -> list[Snap]:
        """Lists the SNAPs that one replaced, inserted, deleted or swapped symbol makes.

        Args:
            architecture: a SNAP of this space.

        Returns:
            SNAPs with distinct keys, none with the key of `architecture`, in a fixed order.
        """
        found: dict[str, Snap] = {}
        for symbols in _edits(architecture.symbols, self.sequence_length):
            if not self._rejects(symbols):
                snap = Snap(symbols)
                found.setdefault(snap.key, snap)
        found.pop(architecture.key, None)
        return list(found.values())

    def changed(self, architecture: Snap, neighbour: Snap) -> str:
        """Names the place of the edit, so that a local search tries all edits of one place, then moves on."""
        pairs = zip(architecture.symbols, neighbour.symbols, strict=False)
        equal = takewhile(lambda pair: pair[0] == pair[1], pairs)
        return f"symbol_{1 + sum(1 for _ in equal)}"

    def parse(self, text: str) -> Snap:
        """Reads symbols separated by spaces, or `(empty)`.

        Args:
            text: for example "branch conv3x3 merge".

        Returns:
            The `Snap`, so that `str(snap)` is the text with single spaces.

        Raises:
            ValueError: if a symbol is unknown, there are too many, or one underflows where this is rejected.

        >>> SnapSpace().parse("branch conv3x4")
        Traceback (most recent call last):
        ...
        ValueError: A SNAP is made of the symbols conv1x1 ... Received `conv3x4` at place 2. Did you mean `conv3x3`?
        """
        snap = Snap.parse(text)
        if len(snap.symbols) > self.sequence_length:
            raise ValueError(
                f"A SNAP of this space has at most {self.sequence_length} symbols. "
                f"Received {len(snap.symbols)}: shorten it or raise `max_length`."
            )
        if self._rejects(snap.symbols):
            place = snap_graph.underflows(snap.symbols)[0]
            raise ValueError(
                f"`{snap.symbols[place]}` at place {place + 1} needs two tensors on the stack, one is there: "
                'put a `branch` before it, or set `underflow` to "noop".'
            )
        return snap

    def declare(self, hp: keras_tuner.HyperParameters) -> Snap:
        """Declares a length and one symbol for every place, all of them always active, so any oracle can search.

        Args:
            hp: where to declare; its present values make the SNAP.

        Returns:
            The `Snap` of the first `length` symbols; with `underflow="reject"` without those that underflow.
        """
        length = cast(int, hp.Int("length", 1, self.sequence_length))
        symbols = [cast(str, hp.Choice(name, list(SYMBOLS))) for name in self._places()]
        return self._valid(symbols[:length])

    def values(self, architecture: Snap) -> dict[str, Value]:
        """Gives the values of `declare`; places behind the end hold the first symbol.

        Args:
            architecture: a SNAP of this space. The empty one is written as `merge`, which has the same graph.

        Returns:
            Name of every hyper-parameter -> value.
        """
        symbols = architecture.symbols or ("merge",)
        filled = symbols + SYMBOLS[:1] * (self.sequence_length - len(symbols))
        return {"length": len(symbols), **dict(zip(self._places(), filled, strict=True))}

    def _places(self) -> list[str]:
        return [f"symbol_{place}" for place in range(1, self.sequence_length + 1)]

    def encode(self, architecture: Snap) -> np.ndarray:
        """Writes a SNAP as tokens: 1 to 8 for the symbols, then 0 to the end.

        Args:
            architecture: a SNAP of this space.

        Returns:
            `(max_length,)` int32.
        """
        tokens = np.zeros(self.sequence_length, np.int32)
        tokens[: len(architecture.symbols)] = [1 + SYMBOLS.index(symbol) for symbol in architecture.symbols]
        return tokens

    def decode(self, tokens: Sequence[int] | np.ndarray) -> Snap:
        """Reads the tokens before the first 0; with `underflow="reject"` symbols that underflow are dropped.

        Args:
            tokens: `(max_length,)` integers from 0 to 8.

        Returns:
            A `Snap` of this space, whatever the tokens.

        Raises:
            ValueError: if the shape is another or a token is outside 0 to 8.
        """
        array = self.checked_tokens(tokens)
        end = int(np.argmin(array != 0)) if (array == 0).any() else len(array)
        return self._valid(SYMBOLS[int(token) - 1] for token in array[:end])

    def draw(self, architecture: Snap, axes: Axes) -> None:
        """Draws the graph of the block, inputs at the top and the output at the bottom.

        Args:
            architecture: a SNAP.
            axes: empty matplotlib axes.
        """
        # Imported here, since only a picture needs matplotlib.
        from tfmedcai.search_spaces.snap_drawing import draw_graph

        draw_graph(architecture.graph, axes)


def _edits(symbols: tuple[str, ...], max_length: int) -> Iterator[tuple[str, ...]]:
    places = range(len(symbols))
    for place in places:
        for symbol in SYMBOLS:
            yield (*symbols[:place], symbol, *symbols[place + 1 :])
    if len(symbols) < max_length:
        for place in range(len(symbols) + 1):
            for symbol in SYMBOLS:
                yield (*symbols[:place], symbol, *symbols[place:])
    if len(symbols) > 1:
        for place in places:
            yield symbols[:place] + symbols[place + 1 :]
    for place in places[:-1]:
        yield (*symbols[:place], symbols[place + 1], symbols[place], *symbols[place + 2 :])
