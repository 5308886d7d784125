"""Training: a run's complete config, the runner that survives interruption, and the sealed artefacts."""
