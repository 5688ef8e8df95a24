"""The evaluation: what is measured of the exported files, on rows that the model has not seen."""
