"""What an unattended run needs beside the pipeline."""

__all__ = ["config", "stats", "supervisor", "systemd"]
