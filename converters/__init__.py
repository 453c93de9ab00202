"""From a checkpoint to a proven bundle. Needs torch; the runtime never imports this package."""
