"""Executors: where trials run. In this process, in processes of this machine, or on a Ray cluster."""
