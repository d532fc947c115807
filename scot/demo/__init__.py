"""The five-minute demo: from drawn images to a search service, on one machine."""
