"""Studies: many runs from one file, with the same data and seeds for each model."""
