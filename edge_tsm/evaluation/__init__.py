"""How good a model's answers are: protocols, metrics, journals, charts."""
