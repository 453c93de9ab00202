"""Events that last: kept in a file, told to every destination at least once, with their media."""

from typing import TYPE_CHECKING

from edge_tsm.system.lazy import lazily

if TYPE_CHECKING:
    from edge_tsm.events.database import DiskFullError
    from edge_tsm.events.limits import Limits
    from edge_tsm.events.query import EventQuery, Feedback
    from edge_tsm.events.record import Message
    from edge_tsm.events.store import EventStore
else:  # most runs keep none
    __getattr__ = lazily(
        __name__,
        {
            "database": ("DiskFullError",),
            "limits": ("Limits",),
            "query": ("EventQuery", "Feedback"),
            "record": ("Message",),
            "store": ("EventStore",),
        },
    )

__all__ = ["DiskFullError", "EventQuery", "EventStore", "Feedback", "Limits", "Message"]
