#!/bin/bash
# A search on nodes of a SLURM cluster. Start: sbatch search/cluster/slurm.sh search/autosnap_pose.toml
# Hand it in again with the same settings after the time limit or a preemption: the search goes on where it was.
#SBATCH --job-name=tfmedcai
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

settings=$1
export RAY_USAGE_STATS_ENABLED=0
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))  # of this job alone: a node may have others

ray=(.venv/bin/ray start --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block)
srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
    "${ray[@]}" --head --node-ip-address="$head" --port="$port" --include-dashboard=false &
sleep 20
for node in "${nodes[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" "${ray[@]}" --address="$head:$port" &
done
.venv/bin/python -m tfmedcai.search --settings "$settings" --resume \
    --executor ray --address "$head:$port" --cpus 4 --gpus 0.5
