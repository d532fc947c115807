"""The search service on one machine: ``python -m services.search.local``."""
