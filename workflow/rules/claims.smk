rule claims:
    input:
        metrics=paths.metrics,
        missing=paths.missing,
        premise=paths.premise,
        resamples=resamples,
        statements=paths.statements,
        paper=stages.paper_files(paths),
        code=stages.code("claims"),
    output:
        data=paths.claims,
        page=paths.claims.with_suffix(".md"),
    log:
        paths.log("claims"),
    benchmark:
        paths.benchmark("claims")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        experiment=paths.resolved,
        comparison=experiment.comparison,
        noise_in=experiment.noise_in,
    message:
        "Judge the paper's claims"
    shell:
        "iou-aware claims {params.experiment:q} > {log:q} 2>&1"
