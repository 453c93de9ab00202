"""What an unattended run needs beside the pipeline."""

__all__ = ["stats", "supervisor", "systemd"]
