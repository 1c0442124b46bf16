"""Figures and the self-contained HTML report of a run, drawn from plain Python and numpy values."""
