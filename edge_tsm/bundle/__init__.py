"""What a bundle holds: the card, golden clips, labels."""

__all__ = ["card", "golden", "labels", "schema"]
