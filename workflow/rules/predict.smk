rule predict:
    input:
        manifest=lambda wildcards: paths.manifest(experiment.run(wildcards.run).dataset),
        config=paths.config("{run}"),
        seal=paths.seal("{run}"),
        weights=paths.weights("{run}"),
    output:
        paths.detections("{run}", "{split}"),
    log:
        paths.log("predict", "{run}.{split}"),
    benchmark:
        paths.benchmark("predict", "{run}.{split}")
    conda:
        "../../environment.yml"
    threads: needs.testing_cores
    resources:
        gpu=lambda wildcards: needs.testing_gpus(wildcards.run),
        nodes=1,
        mem_mb=lambda wildcards, attempt: needs.testing_memory(
            wildcards.run, wildcards.split, attempt
        ),
        runtime=lambda wildcards, attempt: needs.testing_time(
            wildcards.run, wildcards.split, attempt
        ),
    params:
        experiment=paths.resolved,
        rules=lambda wildcards: experiment.rules_for(
            experiment.run(wildcards.run), wildcards.split
        ),
    message:
        "Detect with {wildcards.run} on {wildcards.split}"
    # exec, so that it is the prediction which a cluster's signal reaches, and whose log then says so.
    shell:
        "exec iou-aware predict {params.experiment:q} {wildcards.run:q} --split {wildcards.split:q} > {log:q} 2>&1"
