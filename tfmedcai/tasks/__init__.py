"""Tasks: data, network, loss, metrics, serving signature and pictures, put together."""
