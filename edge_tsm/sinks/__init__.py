"""Where answers go: terminals, JSON lines, windows, videos, functions, web servers, folders."""

from edge_tsm.sinks.base import Cancellable, FrameSink, Sink
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.jsonlines import JsonLines, answer_schema
from edge_tsm.sinks.panel import draw_panel
from edge_tsm.sinks.pictures import Clips, Snapshots
from edge_tsm.sinks.screen import Screen, check_window
from edge_tsm.sinks.shelf import Shelf
from edge_tsm.sinks.terminal import LiveTerminal, Terminal
from edge_tsm.sinks.video import AnnotatedVideo, SavedVideo, check_video_path, write_annotated
from edge_tsm.sinks.webhook import Webhook

__all__ = [
    "AnnotatedVideo",
    "Callback",
    "Cancellable",
    "Clips",
    "FrameSink",
    "JsonLines",
    "LiveTerminal",
    "SavedVideo",
    "Screen",
    "Shelf",
    "Sink",
    "Snapshots",
    "Terminal",
    "Webhook",
    "answer_schema",
    "check_video_path",
    "check_window",
    "draw_panel",
    "write_annotated",
]
