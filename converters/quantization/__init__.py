"""Int8: calibration, the quantized graph, and its judgment on clips kept back."""
