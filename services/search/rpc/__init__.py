"""What is done with a request before and around its handling: validation, limits, load shedding."""
