"""How good a model's answers are: protocols, metrics, journals, reports."""

__all__ = [
    "charts",
    "evaluate",
    "html",
    "journal",
    "metrics",
    "models",
    "output",
    "page",
    "prefetch",
    "stills",
    "svg",
    "views",
]
