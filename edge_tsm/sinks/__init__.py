"""Where answers go: terminals, JSON lines, windows, videos, functions, web servers, folders."""

from edge_tsm.sinks.answer import answer_schema
from edge_tsm.sinks.base import Cancellable, FrameSink, Sink
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.jsonlines import JsonLines
from edge_tsm.sinks.overlay import draw_panel
from edge_tsm.sinks.retention import Shelf
from edge_tsm.sinks.snapshots import Clips, Snapshots
from edge_tsm.sinks.terminal import LiveTerminal, Terminal
from edge_tsm.sinks.video import AnnotatedVideo, SavedVideo, check_video_path, write_annotated
from edge_tsm.sinks.webhook import Webhook
from edge_tsm.sinks.window import Screen, check_window

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
