"""The rules: documents in, documents out, and nothing else."""
