"""This server beside bare onnxruntime and other ways to serve the same model."""
