# Where jobs run there is often no network: this one runs where Snakemake does.
rule backbone:
    input:
        paths.backbone("{backbone}"),
    output:
        paths.pretrained("{backbone}"),
    log:
        paths.log("backbone", "{backbone}"),
    benchmark:
        paths.benchmark("backbone", "{backbone}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="1h",
    params:
        experiment=paths.resolved,
    message:
        "Fetch the ImageNet weights of {wildcards.backbone}"
    shell:
        "iou-aware backbone {params.experiment:q} {wildcards.backbone:q} > {log:q} 2>&1"
