"""The five-minute demo: the whole path on one machine."""
