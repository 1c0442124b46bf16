"""What layers that do the same must agree in: output and gradients."""

import tensorflow as tf


def output_and_gradients(layer, x, **options):
    """Output, and gradients of a weighted sum of it with respect to input and weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **options)
        weighted = tf.reduce_sum(y * tf.cos(tf.reshape(tf.range(tf.size(y), dtype=y.dtype), tf.shape(y))))
    return [y, *tape.gradient(weighted, [x, *layer.trainable_variables])]
