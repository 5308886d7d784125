# The study, from an experiment's YAML to the report. Every stage is a plain command as well: see `iou-aware --help`.
#
#   snakemake --cores 2                                          the default experiment, configs/experiments/micro.yaml
#   snakemake --cores 2 --configfile configs/experiments/bccd.yaml --config roots="{bccd: some/folder}"
#   snakemake --profile slurm                                    on a cluster
#   snakemake --profile workstation                              on one machine with GPUs
#   snakemake --profile slurm --sdm apptainer                    on one that has containers only: docs/cluster.md, step 1

from iou_aware.common.documents import NAME
from iou_aware.workflow import stages
from iou_aware.workflow.attempts import retry_no_wrong_input
from iou_aware.workflow.needs import Needs
from iou_aware.workflow.relay import relay_sigterm
from snakemake.jobs import GroupJob, Job
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.utils import min_version

min_version("9.0")

if "experiment" not in config:

    configfile: "configs/experiments/micro.yaml"


# Everything that can be checked without data is checked here, before anything is trained.
experiment = stages.load(workflow.configfiles, config)
paths = experiment.paths
# The resources that jobs request: shared out on a laptop, allocated on a cluster.
needs = Needs(experiment)
# A stage that finds its input wrong would find it wrong again.
retry_no_wrong_input(Job, GroupJob)
# In a cluster's job, which gets SIGTERM when its time is up or its node is needed.
if workflow.remote_exec:
    relay_sigterm(JobScheduler)


# Made from the Dockerfile, or a link to where that is; nothing is asked of it without --sdm apptainer.
container: "iou-aware.sif"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    backbone=NAME.pattern,
    dataset=NAME.pattern,
    notebook="|".join(paths.notebooks),
    run=stages.RUN,
    split=NAME.pattern,
    table=NAME.pattern,


localrules:
    all,
    backbone,
    release,
    collect,
    table,
    figures,
    claims,
    notebook,
    report,


include: "workflow/rules/prepare.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/collect.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/bootstrap.smk"
include: "workflow/rules/premise.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        [paths.table(name, "csv") for name in experiment.tables],
        paths.figures,
        paths.claims,
        paths.gallery,
        paths.report,


onstart:
    experiment.write_resolved()
    # Where jobs run in the environment of this process: fail now rather than on every GPU, after hours in a queue.
    rules = {job.rule.name for job in workflow.dag.needrun_jobs()}
    elsewhere = workflow.deployment_settings.deployment_method
    if (
        experiment.settings.get("device") == "cuda"
        and rules & {"train", "predict"}
        and not elsewhere
    ):
        shell("iou-aware check {paths.resolved:q}")


onsuccess:
    print(
        f"Tables:  {paths.table('*', '*')}\nFigures: {paths.figures}\nReport:  {paths.report}"
    )
