"""What trained the packaged composer in ``scot/composers/tiny-1``."""
