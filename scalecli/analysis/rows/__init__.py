"""What a comparison holds: runs and published models as rows, and what may be compared."""
