#!/bin/sh
# Run a job script of Snakemake's as a Job of Kubernetes, and print its name. What it asks for stands in the environment.
#
# A pod that is to go, for its node is drained say, gets SIGTERM, of which its first process must tell those of the job: a
# training then saves, and the script, which ignores the signal, ends with what became of it. Processes that load images
# share memory with the training, for which a pod's /dev/shm is too small.
exec kubectl create -o name -f - <<END
apiVersion: batch/v1
kind: Job
metadata:
  generateName: iou-aware-
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      restartPolicy: Never
      activeDeadlineSeconds: $((60 * MINUTES))
      terminationGracePeriodSeconds: 120
      containers:
        - name: stage
          image: "$IMAGE"
          workingDir: "$PWD"
          command:
            - sh
            - -c
            - (trap "" TERM; exec setsid sh "\$0") & trap "kill -TERM -\$!" TERM; wait \$! || wait \$!
            - "$1"
          resources:
            limits: {cpu: "$CORES", memory: "${MEMORY_MB}M", nvidia.com/gpu: "$GPUS"}
          volumeMounts:
            - {name: project, mountPath: "$MOUNT"}
            - {name: shared-memory, mountPath: /dev/shm}
      volumes:
        - {name: project, persistentVolumeClaim: {claimName: "$CLAIM"}}
        - {name: shared-memory, emptyDir: {medium: Memory}}
END
