"""The Composer and Encoder deployments: both towers, and the loaded composers."""
