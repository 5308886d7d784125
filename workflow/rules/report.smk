# What a page may show; each shows what there is of it.
shown = dict(
    metrics=paths.metrics,
    per_class=paths.per_class,
    missing=paths.missing,
    seals=[paths.seal(run) for run in experiment.runs],
    manifests=[paths.manifest(dataset) for dataset in experiment.datasets],
    tables=[
        paths.table(name, suffix)
        for name in experiment.tables
        for suffix in ("csv", "html")
    ],
    claims=paths.claims,
    checks=paths.checks,
    template=stages.page_template(paths),
)


rule notebook:
    input:
        **shown,
        premise=paths.premise,
        paper=stages.paper_files(paths),
        notebook=paths.notebook("{notebook}"),
        code=stages.code("report"),
    output:
        report(
            paths.page("{notebook}"),
            caption="../report/notebook.rst",
            category="Notebooks",
            labels={"notebook": "{notebook}"},
        ),
    log:
        paths.log("notebook", "{notebook}"),
    benchmark:
        paths.benchmark("notebook", "{notebook}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="10m",
    params:
        experiment=paths.resolved,
        title=lambda wildcards: experiment.title,
    message:
        "Execute the notebook {wildcards.notebook}"
    shell:
        "iou-aware notebook {params.experiment:q} {wildcards.notebook:q} > {log:q} 2>&1"


rule report:
    input:
        **shown,
        figures=paths.figures,
        gallery=paths.gallery,
        sources=[paths.notebook(name) for name in ("report", *paths.notebooks)],
        notebooks=[paths.page(notebook) for notebook in paths.notebooks],
        code=stages.code("report"),
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
        title=lambda wildcards: experiment.title,
    message:
        "Write the report"
    shell:
        "iou-aware report {params.experiment:q} > {log:q} 2>&1"
