"""Composition networks: (reference, edit) to a query vector."""
