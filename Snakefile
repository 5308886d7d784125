# The study. `snakemake` finds it here, and the workflow catalogue in workflow/.


include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file's own does not count
