#!/bin/bash
# Train on the nodes of a SLURM cluster, in as many jobs as it takes.
#
#     sbatch --nodes=4 --time=12:00:00 scripts/slurm.sh CONFIG RUN_DIR [key=value ...]
#
# CONFIG and key=value are what `atmorep-lite train` takes; RUN_DIR is on a file system that all nodes see.
# Ten minutes before the time limit the run saves a checkpoint, and the job puts itself back into the queue.
# The next one goes on from there, exactly.  After a crash: submit the same line again.
#
# To be adapted to your cluster: the lines #SBATCH (or the same options of sbatch, which override them), and
# the environment below.

#SBATCH --job-name=atmorep-lite
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1        # one torchrun on each node, which starts one process for each GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32         # for all processes of a node together
#SBATCH --mem=0                    # all memory of the node
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@600        # tell this script 600 s before the limit
#SBATCH --requeue                  # also after a node has failed
#SBATCH --open-mode=append         # all jobs of a run write into one file
#SBATCH --output=slurm-%j.out

set -euo pipefail

# The environment: uncomment what your cluster needs.
# module load cuda
# source .venv/bin/activate

if (($# < 2)); then
    echo "usage: sbatch scripts/slurm.sh CONFIG RUN_DIR [key=value ...]" >&2
    exit 2
fi
config=$1 run_dir=$2
shift 2

newest_checkpoint() { # its name, 0-000200, or nothing
    find "$run_dir/checkpoints" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' -printf '%f\n' 2>/dev/null |
        sort --version-sort | tail --lines=1 || true # there may be no such folder yet
}

begun=$(newest_checkpoint)
resume=()
if [[ -n $begun ]]; then
    resume=(--resume)
    echo "going on from checkpoint $begun"
fi

# Processes find each other at the first node; the port differs between jobs that share it.
processes=${PROCESSES_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000))
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-processes} / processes))
((OMP_NUM_THREADS > 0)) || OMP_NUM_THREADS=1
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun asks for itself since Slurm 22.05
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=540 # seconds that torchrun gives its processes to save

# srun hands the signal on to every torchrun, and torchrun (because of the option) to its processes.
srun torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" \
    --nproc-per-node="$processes" \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="${nodes[0]}:$port" \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    -m atmorep_lite.training "$config" --run-dir "$run_dir" ${resume[@]+"${resume[@]}"} "$@" &
launched=$!

limit_near=no
trap 'limit_near=yes; kill -USR1 "$launched" 2>/dev/null || true' USR1
trap 'kill -TERM "$launched" 2>/dev/null || true' TERM

status=0
while true; do # a signal ends "wait" before srun has ended
    status=0
    wait "$launched" || status=$?
    if ((status <= 128)) || ! kill -0 "$launched" 2>/dev/null; then break; fi
done

if [[ -f $run_dir/model.safetensors ]]; then
    echo "the run is finished: $run_dir"
elif [[ $limit_near == no ]]; then
    echo "the run ended before its time with exit code $status; look above for the reason" >&2
    exit "$((status == 0 ? 1 : status))"
elif [[ $(newest_checkpoint) == "$begun" ]]; then
    echo "no checkpoint was written in this job, so the next one would get no further; give it more time" >&2
    exit 1
else
    echo "saved at checkpoint $(newest_checkpoint); back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
fi
