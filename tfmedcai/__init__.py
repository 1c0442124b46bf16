"""Search, train, export and serve networks for computer-assisted intervention and medical imaging."""

__version__ = "0.1.0"
