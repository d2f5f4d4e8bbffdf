"""Points, fits, frontiers and rank agreement of a comparison."""
