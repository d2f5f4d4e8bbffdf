"""The architectures of both papers, one file each."""
