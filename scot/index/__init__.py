"""The gallery: vectors and payloads in Qdrant, embedded or on a server."""
