"""Recall of composed queries."""
