# The study; `snakemake` finds it here, and the workflow catalogue in workflow/.


include: "workflow/Snakefile"
