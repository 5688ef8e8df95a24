"""The training pipeline: labelled mentions from the feature store in, gated model versions out."""
