"""What trained the packaged encoder in ``scot/encoders/tiny``."""
