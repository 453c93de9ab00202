"""Labeled clips: lists, annotation files, and the frame folders cut from videos."""

__all__ = ["annotations", "catalog", "clips", "extract", "frames", "lists"]
