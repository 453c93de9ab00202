"""How good a model's answers are: protocols, metrics, journals, charts."""

__all__ = ["charts", "evaluate", "journal", "metrics", "models", "output", "prefetch", "views"]
