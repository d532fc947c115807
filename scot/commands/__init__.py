"""What the scot command does against a running service."""
