"""What `tools/benchmark.py` measures, a topic a file."""
