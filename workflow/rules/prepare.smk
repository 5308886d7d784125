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
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime="2h",
    params:
        experiment=paths.resolved,
        root=lambda wildcards: experiment.roots.get(wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}"
    shell:
        "iou-aware prepare {params.experiment} {wildcards.dataset} > {log} 2>&1"
