"""Where runs live: local folders and buckets, and the names of the files in a run's directory."""
