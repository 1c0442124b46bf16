"""Docstrings of public names say what the house asks for; ruff checks that they are there, and their Returns and Args.

A docstring of one line may stand for a function of one or two parameters. What overrides a method says what is
particular to it; the rest is said by what it overrides.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tfmedcai

AS_ANOTHER = re.compile(r"\bas (of|in) `|\bthose of `|\bsee `")
ARRAY = re.compile(r"\b(ndarray|Tensor|ArrayLike)\b")
SEVERAL = re.compile(r"\b(Mapping|Sequence|Iterable|Callable|list|dict)\b")
SHAPE = re.compile(r"\(([\w.* /+-]*,[^)]*)?\)|\bshape")
RAISED = re.compile(r"[A-Z]\w+")


def public() -> Iterator[tuple[str, Callable, bool]]:
    """Yields name, function, and whether it overrides another."""
    for found in pkgutil.walk_packages(tfmedcai.__path__, "tfmedcai."):
        module = importlib.import_module(found.name)
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(member):
                yield f"{module.__name__}.{name}", member, False
            elif inspect.isclass(member):
                for method, function in methods(member):
                    overrides = any(method in vars(base) for base in member.__mro__[1:])
                    yield f"{module.__name__}.{name}.{method}", function, overrides


def methods(owner: type) -> Iterator[tuple[str, Callable]]:
    for name, member in vars(owner).items():
        function = inspect.unwrap(getattr(member, "__func__", member))
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


@pytest.fixture(scope="module")
def functions() -> list[tuple[str, Callable, bool]]:
    return list(public())


def parameters(function: Callable) -> dict[str, str]:
    """Names and types, as they are written."""
    found = inspect.signature(function).parameters.values()
    return {one.name: str(one.annotation) for one in found if one.name not in ("self", "cls")}


def text_of(function: Callable) -> str:
    return inspect.getdoc(function) or ""


def untold_parameters(function: Callable) -> list[str]:
    """Those of a function of three or more without a section; ruff checks that a section has all of them."""
    found = list(parameters(function))
    told = len(found) < 3 or "Args:" in text_of(function) or AS_ANOTHER.search(text_of(function))
    return [] if told else found


def arrays_without_shape(function: Callable) -> list[str]:
    text = text_of(function)
    if SHAPE.search(text) or AS_ANOTHER.search(text):
        return []
    return [name for name, kind in parameters(function).items() if ARRAY.search(kind) and not SEVERAL.search(kind)]


def untold_errors(function: Callable) -> list[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    kinds = {ast.unparse(call.func) for call in calls}
    return sorted(kind for kind in kinds if RAISED.fullmatch(kind) and kind not in text_of(function))


@pytest.mark.parametrize("untold", [untold_parameters, arrays_without_shape])
def test_nothing_is_left_out_that_no_other_docstring_says(functions, untold):
    missing = {name: untold(function) for name, function, overrides in functions if not overrides}
    assert not {name: words for name, words in missing.items() if words}


def test_what_a_function_raises_itself_is_told(functions):
    missing = {name: untold_errors(function) for name, function, _ in functions}
    assert not {name: words for name, words in missing.items() if words}


def test_the_rules_see_what_is_missing():
    def bad(image: np.ndarray, weight: float, name: str) -> None:
        """Says nothing."""
        raise ValueError(name)

    def good(image: np.ndarray) -> None:
        """Says `(n,)`, and that ValueError is raised."""
        raise ValueError(image)

    assert untold_parameters(bad) == ["image", "weight", "name"]
    assert arrays_without_shape(bad) == ["image"]
    assert untold_errors(bad) == ["ValueError"]
    assert untold_parameters(good) == arrays_without_shape(good) == untold_errors(good) == []
