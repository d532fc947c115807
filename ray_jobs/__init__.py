"""Entry points that run on a Ray cluster: thin, over the scot library."""
