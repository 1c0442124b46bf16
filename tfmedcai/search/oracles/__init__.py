"""Oracles: what proposes the next architecture, knowing a search space and scores and nothing else."""
