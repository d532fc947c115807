"""What a job of a given size needs: time, disk, tokens, machines and money, from measured and cited coefficients."""
