"""What the Snakefile and people ask before anything runs: inputs, resources, costs, the plan; and what jobs hear."""
