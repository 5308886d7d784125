rule report:
    input:
        metrics=paths.metrics,
        per_class=paths.per_class,
        seals=[paths.seal(run) for run in experiment.runs],
        manifests=[paths.manifest(dataset) for dataset in experiment.datasets],
        tables=[paths.table(name, "html") for name in experiment.tables],
        figures=paths.figures,
        claims=paths.claims,
        premise=paths.premise,
        gallery=paths.gallery,
        notebook=paths.notebook,
        code=study.sources("report", "page*", "claims_page"),
    output:
        paths.report,
    log:
        paths.log("report"),
    benchmark:
        paths.benchmark("report")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="10m",
    params:
        experiment=paths.resolved,
        title=experiment.title,
    message:
        "Write the report"
    shell:
        "iou-aware report {params.experiment} > {log} 2>&1"
