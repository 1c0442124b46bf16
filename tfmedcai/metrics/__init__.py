"""Figures of merit: what a model costs and how far its answers are from the truth."""
