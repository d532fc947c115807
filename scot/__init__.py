"""SCOT: composed image search, learned without labels (Jawade et al., WACV 2025, arXiv 2501.08347)."""

__version__ = "0.1.0"
