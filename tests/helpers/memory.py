"""What this process holds in memory, by the C library's own count."""

from __future__ import annotations

import ctypes


def can_count() -> bool:
    """Return whether the C library counts: glibc 2.33 or newer."""
    return hasattr(ctypes.CDLL(None), "mallinfo2")


def in_use_kib() -> int:
    """Return what malloc has handed out and not got back: mapped, and in arenas."""

    class Counts(ctypes.Structure):
        _fields_ = [(f"of_{n}", ctypes.c_size_t) for n in range(10)]

    count = ctypes.CDLL(None).mallinfo2
    count.restype = Counts
    counts = count()
    return int(counts.of_4 + counts.of_7) // 1024
