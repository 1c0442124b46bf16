"""Cameras, poses, virtual landmarks and patches: pure functions without weights."""
