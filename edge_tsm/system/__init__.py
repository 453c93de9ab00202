"""The machine and its libraries: clocks, processor, whole files, secrets kept out of text."""

__all__ = [
    "clock",
    "files",
    "jsontext",
    "machine",
    "opencv",
    "plugins",
    "printable",
    "redact",
    "secrets",
]
