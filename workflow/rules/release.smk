# Runs of the recipe zoo are not trained. Like rule backbone, this one runs where Snakemake does: where there is a network.
rule release:
    input:
        manifest=lambda wildcards: paths.manifest(experiment.run(wildcards.run).dataset),
        configs=lambda wildcards: stages.config_files(
            paths, experiment.run(wildcards.run)
        ),
    output:
        config=paths.config("{run}"),
        seal=paths.seal("{run}"),
        weights=paths.weights("{run}"),
    log:
        paths.log("release", "{run}"),
    benchmark:
        paths.benchmark("release", "{run}")
    wildcard_constraints:
        run=stages.RELEASED_RUN,
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        experiment=paths.resolved,
        origin=lambda wildcards: stages.origin(paths, experiment.run(wildcards.run)),
    message:
        "Fetch the released weights of {wildcards.run}"
    shell:
        "iou-aware release {params.experiment:q} {wildcards.run:q} > {log:q} 2>&1"
