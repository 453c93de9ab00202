"""The reference network as ONNX and OpenVINO IR."""
