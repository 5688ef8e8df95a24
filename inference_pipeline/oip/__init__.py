"""The Open Inference Protocol v2 face of the engine, for the ecosystem's clients."""
