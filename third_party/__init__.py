"""Pinned third-party inputs, fetched on demand: python -m third_party.fetch."""
