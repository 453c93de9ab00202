"""Labeled clips: lists, annotation files, and the frame folders cut from videos."""
