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
    threads: 1
    resources:
        mem_mb=1500,
        runtime="4h",
    params:
        experiment=paths.resolved,
        rules=lambda wildcards: experiment.rules_for(experiment.run(wildcards.run)),
    shell:
        "iou-aware predict {params.experiment} {wildcards.run} --split {wildcards.split} > {log} 2>&1"
