"""Timelines of long recordings: what happens when, by the windows and rules of live video."""

__all__ = ["ahead", "clips", "feeds", "formats", "journal", "scan", "timeline", "windows"]
