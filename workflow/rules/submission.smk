rule submission:
    input:
        manifest=lambda wildcards: paths.manifest(
            experiment.run(packs[wildcards.pack].run).dataset
        ),
        detections=lambda wildcards: paths.detections(
            packs[wildcards.pack].run, packs[wildcards.pack].split
        ),
    output:
        paths.submission("{pack}", "zip"),
        paths.submission("{pack}", "txt"),
    log:
        paths.log("submission", "{pack}"),
    benchmark:
        paths.benchmark("submission", "{pack}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(2000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(1, attempt),
    params:
        experiment=paths.resolved,
        run=lambda wildcards: packs[wildcards.pack].run,
        split=lambda wildcards: packs[wildcards.pack].split,
        rule=lambda wildcards: packs[wildcards.pack].rule,
    message:
        "Pack {wildcards.pack}"
    shell:
        "iou-aware submission {params.experiment:q} {params.run:q} --split {params.split:q} --rule {params.rule:q} > {log:q} 2>&1"
