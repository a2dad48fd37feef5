"""Builds on a gateway's calls: batches, tools, parsed replies and gathered embeddings."""
