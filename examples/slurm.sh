#!/bin/bash
# Train on one node, from a copy of the shards on its local disk; requeued when the time is up, it goes on.
#
#     sbatch --export=ALL,DATA=/path/of/shards,OUT=/path/of/run examples/slurm.sh
#
#SBATCH --job-name=detector
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
: "${DATA:?the folder of the shards}" "${OUT:?the folder of the checkpoint}"
GENERATORS=${GENERATORS:-sd14} # as the folders of the dataset are called
LOCAL=${LOCAL:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/shards}

# What training reads: the index, and the shards of these generators. A copy gets its name when it is complete.
mkdir -p "$LOCAL"
for name in dataset.json index.parquet $GENERATORS; do
    if [ ! -e "$LOCAL/$name" ]; then
        rm -rf "$LOCAL/$name.part"
        cp -r "$DATA/$name" "$LOCAL/$name.part"
        mv "$LOCAL/$name.part" "$LOCAL/$name"
    fi
done

# Slurm sends USR1 to this script two minutes before the time is up. The last checkpoint is the one to go on from.
requeue() {
    kill "$run" 2>/dev/null || true
    wait "$run" || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap requeue USR1
torchrun --standalone --local-addr 127.0.0.1 --nproc-per-node "${GPUS:-${SLURM_GPUS_ON_NODE:-1}}" \
    examples/train_ddp.py "$LOCAL" --out "$OUT" --generators $GENERATORS --amp "$@" &
run=$!
wait "$run"
