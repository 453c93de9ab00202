"""Training and fine-tuning of TSM networks."""
