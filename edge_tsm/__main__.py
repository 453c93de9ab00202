"""`edge-tsm`, also as `python -m edge_tsm`."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from edge_tsm.cli import main


def entry() -> None:
    """Run the command, and end at once where a thread of ours still is inside a library.

    When such a thread comes back from C++, as from a read of OpenCV, while Python ends, it aborts
    the process (SIGABRT): a service that was stopped would count as failed.
    """
    try:
        main(prog_name="edge-tsm")
    except SystemExit as leaving:
        if any(thread.name.startswith("edge-tsm ") for thread in threading.enumerate()):
            with suppress(OSError):  # the reader of a pipe may have gone
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(leaving.code if isinstance(leaving.code, int) else 0)
        raise


if __name__ == "__main__":
    entry()
