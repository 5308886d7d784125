# What the paper starts from and does not measure, how confidence goes with localisation; and images that show it.
rule premise:
    input:
        manifests=[paths.manifest(dataset) for dataset in experiment.datasets],
        detections=[
            paths.detections(run, split) for run, split in experiment.evaluations()
        ],
        code=stages.code("premise"),
    output:
        directory(paths.premise),
    log:
        paths.log("premise"),
    benchmark:
        paths.benchmark("premise")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(4000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(2, attempt),
    params:
        experiment=paths.resolved,
    message:
        "Measure what confidence has to do with IoU"
    shell:
        "iou-aware premise {params.experiment:q} > {log:q} 2>&1"


rule gallery:
    input:
        manifests=[paths.manifest(dataset) for dataset in experiment.datasets],
        detections=[
            paths.detections(run, split) for run, split in experiment.evaluations()
        ],
        code=stages.code("gallery"),
    output:
        directory(paths.gallery),
    log:
        paths.log("gallery"),
    benchmark:
        paths.benchmark("gallery")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(4000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(1, attempt),
    params:
        experiment=paths.resolved,
    message:
        "Draw the images on which the rule changed most"
    shell:
        "iou-aware gallery {params.experiment:q} > {log:q} 2>&1"
