"""Readers of published data sets and of single images, and their splits."""
