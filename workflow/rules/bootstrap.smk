# How sure an AP is, as far as the images are concerned; claims and tables take their intervals from here.
rule bootstrap:
    input:
        manifest=lambda wildcards: paths.manifest(experiment.run(wildcards.run).dataset),
        detections=paths.detections("{run}", "{split}"),
        code=stages.code("bootstrap"),
    output:
        paths.bootstrap("{run}", "{split}"),
    log:
        paths.log("bootstrap", "{run}.{split}"),
    benchmark:
        paths.benchmark("bootstrap", "{run}.{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(4000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(2, attempt),
    params:
        experiment=paths.resolved,
    message:
        "Resample the images of {wildcards.split} under {wildcards.run}"
    shell:
        "iou-aware bootstrap {params.experiment:q} {wildcards.run:q} --split {wildcards.split:q} > {log:q} 2>&1"
