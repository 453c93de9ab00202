"""Events that last: kept in a file, told to every destination at least once, with their media."""

from edge_tsm.events.database import DiskFullError
from edge_tsm.events.query import EventQuery, Feedback
from edge_tsm.events.record import Message
from edge_tsm.events.store import EventStore, Limits

__all__ = ["DiskFullError", "EventQuery", "EventStore", "Feedback", "Limits", "Message"]
