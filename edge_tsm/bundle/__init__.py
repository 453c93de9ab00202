"""What a bundle holds: the card, golden clips, labels."""

__all__ = ["arrays", "card", "golden", "integrity", "labels", "onnxfile", "schema"]
