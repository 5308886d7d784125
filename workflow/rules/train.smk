# Checkpoints lie in results/<experiment>/checkpoints, which no rule declares: Snakemake clears what it knows of before
# it starts a job again, and an interrupted training is to go on where it stopped.
rule train:
    input:
        manifest=lambda wildcards: paths.manifest(experiment.run(wildcards.run).dataset),
        configs=lambda wildcards: stages.config_files(
            paths, experiment.run(wildcards.run)
        ),
        pretrained=lambda wildcards: stages.pretrained(
            paths, experiment.run(wildcards.run)
        ),
    output:
        config=paths.config("{run}"),
        history=report(
            paths.history("{run}"),
            caption="../report/history.rst",
            category="Training",
            subcategory="Histories",
            labels={"run": "{run}"},
        ),
        seal=paths.seal("{run}"),
        weights=paths.weights("{run}"),
    log:
        paths.log("train", "{run}"),
    benchmark:
        paths.benchmark("train", "{run}")
    wildcard_constraints:
        run=stages.TRAINED_RUN,
    priority: lambda wildcards: needs.training_priority(wildcards.run)
    conda:
        "../../environment.yml"
    threads: lambda wildcards: needs.training_cores(wildcards.run)
    resources:
        gpu=lambda wildcards: needs.training_gpus(wildcards.run),
        nodes=1,
        mem_mb=lambda wildcards, attempt: needs.training_memory(wildcards.run, attempt),
        runtime=lambda wildcards: needs.training_time(wildcards.run),
    params:
        experiment=paths.resolved,
        values=lambda wildcards: experiment.training_values(wildcards.run),
    message:
        "Train {wildcards.run}; how it goes: {log}"
    # exec, so that it is the training which a cluster's signal reaches: the shell would die of it at once.
    shell:
        "exec iou-aware train {params.experiment:q} {wildcards.run:q} > {log:q} 2>&1"
