rule table:
    input:
        metrics=paths.metrics,
        per_class=paths.per_class,
        missing=paths.missing,
        resamples=resamples,
        paper=stages.paper_files(paths),
        statements=paths.statements,
        code=stages.code("tables"),
    output:
        csv=paths.table("{table}", "csv"),
        md=paths.table("{table}", "md"),
        tex=paths.table("{table}", "tex"),
        html=report(
            paths.table("{table}", "html"),
            caption="../report/table.rst",
            category=lambda wildcards: experiment.tables[wildcards.table].title,
            labels={"table": "{table}"},
        ),
    log:
        paths.log("table", "{table}"),
    benchmark:
        paths.benchmark("table", "{table}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        experiment=paths.resolved,
        caption=lambda wildcards: experiment.tables[wildcards.table].caption,
        values=lambda wildcards: f"{experiment.comparison}: {experiment.tables[wildcards.table]}",
    message:
        "Write {wildcards.table}"
    shell:
        "iou-aware table {params.experiment:q} {wildcards.table:q} > {log:q} 2>&1"
