rule evaluate:
    input:
        manifest=lambda wildcards: paths.manifest(experiment.run(wildcards.run).dataset),
        seal=paths.seal("{run}"),
        detections=paths.detections("{run}", "{split}"),
    output:
        paths.evaluation("{run}", "{split}"),
    log:
        paths.log("evaluate", "{run}.{split}"),
    benchmark:
        paths.benchmark("evaluate", "{run}.{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(8000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(1, attempt),
    params:
        experiment=paths.resolved,
    message:
        "Evaluate {wildcards.run} on {wildcards.split}"
    shell:
        "iou-aware evaluate {params.experiment:q} {wildcards.run:q} --split {wildcards.split:q} > {log:q} 2>&1"
