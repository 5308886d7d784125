# Where jobs run there is often no network: this one runs where Snakemake does. Its output is a receipt and not the weights,
# which somebody may have brought: Snakemake clears the outputs of a job that was interrupted before it starts it again.
rule backbone:
    input:
        paths.backbone("{backbone}"),
    output:
        paths.receipt("{backbone}"),
    log:
        paths.log("backbone", "{backbone}"),
    benchmark:
        paths.benchmark("backbone", "{backbone}")
    wildcard_constraints:
        backbone=rf"(?!({stages.pretrained_here(experiment)})\.json){NAME.pattern}",
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
