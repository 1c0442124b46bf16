"""Procedural images with exact labels, so that everything runs without a download."""
