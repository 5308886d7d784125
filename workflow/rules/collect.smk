rule collect:
    input:
        evaluations=[
            paths.evaluation(run, split) for run, split in experiment.evaluations()
        ],
        seals=[paths.seal(run) for run in experiment.runs],
        code=stages.code("collect"),
    output:
        metrics=paths.metrics,
        per_class=paths.per_class,
        missing=paths.missing,
        checks=paths.checks,
    log:
        paths.log("collect"),
    benchmark:
        paths.benchmark("collect")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        experiment=paths.resolved,
    message:
        "Collect the evaluations"
    shell:
        "iou-aware collect {params.experiment:q} > {log:q} 2>&1"
