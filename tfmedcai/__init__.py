"""Search, train, export and serve networks for computer-assisted intervention and medical imaging."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfmedcai.loading import from_preset

__version__ = "0.1.0"
__all__ = ["from_preset"]


def __getattr__(name: str) -> Any:
    """Imports TensorFlow with the first name that needs it."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no `{name}`")
    from tfmedcai import loading

    return getattr(loading, name)
