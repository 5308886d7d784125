# ImageNet in miniature, for backbones that nobody has published weights of. The receipt is the output, as with weights that
# are fetched, so that a training need not know which of the two it starts from.
rule pretrain:
    input:
        lambda wildcards: stages.pretraining_files(paths, wildcards.backbone),
    output:
        paths.receipt("{backbone}"),
    log:
        paths.log("pretrain", "{backbone}"),
    benchmark:
        paths.benchmark("pretrain", "{backbone}")
    wildcard_constraints:
        backbone=stages.pretrained_here(experiment),
    priority: 1000000000
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.memory(2000, attempt),
        runtime="1h",
    params:
        experiment=paths.resolved,
    message:
        "Pretrain {wildcards.backbone}"
    shell:
        "iou-aware pretrain {params.experiment:q} {wildcards.backbone:q} > {log:q} 2>&1"
