"""From the outputs of a network to the answer of a task."""
