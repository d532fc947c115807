"""The Gateway deployment: every RPC of the search and index services."""
