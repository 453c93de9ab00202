"""Training and fine-tuning of TSM networks."""

__all__ = ["dataset", "finetune", "qat", "run_folder", "trainer"]
