"""What a bundle holds: the card, golden clips, labels."""
