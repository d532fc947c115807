"""The processes of SCOT."""
