"""From a stream of answers to actions with a start and an end."""

__all__ = ["decider", "rules", "tracker"]
