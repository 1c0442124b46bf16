"""Sets of architectures that a search walks, written without TensorFlow."""
