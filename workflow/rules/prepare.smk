rule prepare:
    input:
        paths.dataset("{dataset}"),
    output:
        paths.manifest("{dataset}"),
    log:
        paths.log("prepare", "{dataset}"),
    benchmark:
        paths.benchmark("prepare", "{dataset}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(4000, attempt),
        runtime=lambda wildcards, attempt: needs.hours(2, attempt),
    params:
        experiment=paths.resolved,
        root=lambda wildcards: experiment.roots.get(wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}"
    shell:
        "iou-aware prepare {params.experiment:q} {wildcards.dataset:q} > {log:q} 2>&1"
