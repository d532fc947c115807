"""Requests before and around their handling: validation, limits, load shedding."""
