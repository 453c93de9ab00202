"""Every artifact against the torch reference."""

__all__ = ["clips", "online", "reference"]
