from iou_aware.analysis.figures.captions import figure_section


rule figures:
    input:
        metrics=paths.metrics,
        per_class=paths.per_class,
        missing=paths.missing,
        resamples=resamples,
        statements=paths.statements,
        histories=[paths.history(run) for run in experiment.trained],
        premise=paths.premise,
        paper=stages.paper_files(paths),
        code=stages.code("figures"),
    output:
        report(
            directory(paths.figures),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category=lambda wildcards: figure_section(wildcards.figure),
            labels={"figure": "{figure}"},
        ),
    log:
        paths.log("figures"),
    benchmark:
        paths.benchmark("figures")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        experiment=paths.resolved,
        comparison=experiment.comparison,
        noise_in=experiment.noise_in,
    message:
        "Draw the figures"
    shell:
        "iou-aware figures {params.experiment:q} > {log:q} 2>&1"
