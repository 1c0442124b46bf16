"""Building blocks of networks, written with Keras layers."""
