"""What the Snakefile uses: inputs, resources, costs and the plan; retries and signals of jobs; GPUs of one machine."""
