"""An auto-encoder of token sequences whose latent space is trained to be linear in a value of the sequences."""

from collections.abc import Iterator
from typing import Protocol

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

HIDDEN_UNITS = 64  # of the dense layer between the LSTMs and the latent vector
FEATURES = 16  # that the decoder makes of a latent vector for each place of the sequence
AVERAGED_STEPS = 50  # over which the reported losses are averaged


class AutoEncoderSettings(Protocol):
    """What the auto-encoder reads of an oracle's settings."""

    latent_size: int
    lstm_units: int
    batch_size: int
    learning_rate: float


class SequenceAutoEncoder:
    """Encoder, decoder and linear value estimator, fitted together.

    The encoder takes soft symbols (a probability for each symbol at each place), so that what the decoder returns can
    be encoded again: two bidirectional LSTMs and two dense layers, the last one tanh. The decoder is its mirror image.
    All places of the sequence are flattened between LSTM and dense layer: with only the last state, as in a
    sequence-to-sequence model, the same accuracy takes about ten times the steps.

    Args:
        sequence_length: tokens in a sequence.
        vocabulary_size: tokens are integers in `[0, vocabulary_size)`.
        settings: sizes, batch size and learning rate.
        seed: seed of the first weights.

    Reference:
        AutoSNAP, section 2.3.
    """

    def __init__(self, sequence_length: int, vocabulary_size: int, settings: AutoEncoderSettings, seed: int) -> None:
        self.vocabulary_size, self.settings = vocabulary_size, settings
        # The CPU, because such small steps are no faster on a GPU and must repeat exactly for a resumed search.
        with tf.device("CPU:0"):
            seeds = iter(np.random.default_rng(seed).integers(2**31, size=100).tolist())
            shape = (sequence_length, vocabulary_size)
            self.encoder = _encoder(shape, settings.latent_size, settings.lstm_units, seeds)
            self.decoder = _decoder(shape, settings.latent_size, settings.lstm_units, seeds)
            self.estimator = keras.Sequential([keras.Input((settings.latent_size,)), _dense(1, None, seeds)])
            self.optimizer = keras.optimizers.Adam(settings.learning_rate, clipnorm=1.0)
            self.optimizer.build(self._trainable())
        tokens = tf.TensorSpec((None, sequence_length), tf.int32)
        batches = tf.TensorSpec((None, None, sequence_length), tf.int32)
        values = tf.TensorSpec((None,), tf.float32)
        self._encode = tf.function(lambda tokens: self.encoder(self._one_hot(tokens)), [tokens])
        self._decode = tf.function(
            lambda latent: tf.argmax(self.decoder(latent), -1, tf.int32),
            [tf.TensorSpec((None, settings.latent_size), tf.float32)],
        )
        self._fit = tf.function(self._steps, [batches, tokens, values, tf.TensorSpec((), tf.int32)])

    def fit(self, random: np.ndarray, known: np.ndarray, values: np.ndarray, seed: int) -> dict[str, float]:
        """Goes on training from the present weights.

        Minimises, with equal weights, the cross-entropy of decoded random sequences, the squared error of the estimated
        values of known sequences, and the squared error of random latent vectors that were decoded and encoded again.

        Args:
            random: `(steps, batch, sequence_length)` int, a batch of random sequences for each step.
            known: `(n, sequence_length)` int, sequences with a value.
            values: `(n,)` float, their values; only their order counts: they are replaced by the normal scores of their
                ranks, so that one architecture that did not train at all does not drown the differences of the rest.
            seed: seed of the random latent vectors and of the batches of known sequences.

        Returns:
            `reconstruction`, `value` and `consistency`: the three losses, averaged over the last steps.
        """
        scores = scipy.stats.norm.ppf((scipy.stats.rankdata(values) - 0.5) / len(values))
        with tf.device("CPU:0"):
            losses = self._fit(
                tf.constant(random, tf.int32),
                tf.constant(known, tf.int32),
                tf.constant(scores, tf.float32),
                tf.constant(seed % 2**31, tf.int32),
            )
        return dict(zip(("reconstruction", "value", "consistency"), losses.numpy().tolist(), strict=True))

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Encodes `(n, sequence_length)` tokens as `(n, latent_size)` float32 in [-1, 1]."""
        with tf.device("CPU:0"):
            return self._encode(tf.constant(tokens, tf.int32)).numpy()

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Decodes `(n, latent_size)` latent vectors to the most probable tokens, `(n, sequence_length)` int32."""
        with tf.device("CPU:0"):
            return self._decode(tf.constant(latent, tf.float32)).numpy()

    def value(self, latent: np.ndarray) -> np.ndarray:
        """Estimates values of `(n, latent_size)` latent vectors: `(n,)` normal scores among the fitted values."""
        kernel, bias = self.estimator.get_weights()
        return (latent @ kernel + bias)[:, 0]

    def gradient(self) -> np.ndarray:
        """Returns the gradient of the value, `(latent_size,)`, of length 1 and the same everywhere."""
        gradient = self.estimator.get_weights()[0][:, 0]
        return gradient / max(float(np.linalg.norm(gradient)), 1e-12)

    def state(self) -> list[np.ndarray]:
        """Returns all weights, those of the optimiser included."""
        return [variable.numpy() for variable in self._variables()]

    def load_state(self, state: list[np.ndarray]) -> None:
        """Sets all weights to what `state` returned.

        Raises:
            ValueError: if the state is one of another architecture.
        """
        variables = self._variables()
        if [variable.shape for variable in variables] != [array.shape for array in state]:
            raise ValueError("`state` must come from an auto-encoder of the same sizes. Received other shapes.")
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)

    def _trainable(self) -> list:
        return [
            variable for part in (self.encoder, self.decoder, self.estimator) for variable in part.trainable_variables
        ]

    def _variables(self) -> list:
        return self._trainable() + self.optimizer.variables

    def _one_hot(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tokens, self.vocabulary_size)

    def _steps(self, random: tf.Tensor, known: tf.Tensor, values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        average = tf.zeros(3)
        for step in tf.range(tf.shape(random)[0]):
            seeds = tf.stack([seed, step])
            # Without replacement: all known sequences in each step while they are few.
            chosen = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(known)[0]), seeds)
            chosen = chosen[: self.settings.batch_size]
            losses = self._step(random[step], tf.gather(known, chosen), tf.gather(values, chosen), seeds)
            average += (losses - average) / tf.cast(tf.minimum(step + 1, AVERAGED_STEPS), tf.float32)
        return average

    def _step(self, random: tf.Tensor, known: tf.Tensor, values: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        batch = tf.shape(random)[0]
        uniform = tf.random.stateless_uniform((batch, self.settings.latent_size), seeds, -1.0, 1.0)
        with tf.GradientTape() as tape:
            latent = self.encoder(self._one_hot(tf.concat([random, known], 0)))
            logits = self.decoder(tf.concat([latent[:batch], uniform], 0))
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(random, logits[:batch])
            again = self.encoder(tf.nn.softmax(logits[batch:]))
            losses = tf.stack(
                [
                    tf.reduce_mean(cross_entropy),
                    tf.reduce_mean((self.estimator(latent[batch:])[:, 0] - values) ** 2),
                    tf.reduce_mean((again - uniform) ** 2),
                ]
            )
            loss = tf.reduce_sum(losses)
        variables = self._trainable()
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return losses


def _encoder(shape: tuple[int, int], latent_size: int, units: int, seeds: Iterator[int]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            _bidirectional(units, seeds),
            _bidirectional(units, seeds),
            keras.layers.Flatten(),
            _dense(HIDDEN_UNITS, "tanh", seeds),
            _dense(latent_size, "tanh", seeds),
        ]
    )


def _decoder(shape: tuple[int, int], latent_size: int, units: int, seeds: Iterator[int]) -> keras.Model:
    sequence_length, vocabulary_size = shape
    return keras.Sequential(
        [
            keras.Input((latent_size,)),
            _dense(HIDDEN_UNITS, "tanh", seeds),
            _dense(sequence_length * FEATURES, "tanh", seeds),
            keras.layers.Reshape((sequence_length, FEATURES)),
            _bidirectional(units, seeds),
            _bidirectional(units, seeds),
            _dense(vocabulary_size, None, seeds),
        ]
    )


def _dense(units: int, activation: str | None, seeds: Iterator[int]) -> keras.layers.Layer:
    return keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)))


def _bidirectional(units: int, seeds: Iterator[int]) -> keras.layers.Layer:
    return keras.layers.Bidirectional(_lstm(units, seeds), backward_layer=_lstm(units, seeds, go_backwards=True))


def _lstm(units: int, seeds: Iterator[int], go_backwards: bool = False) -> keras.layers.Layer:
    # Unrolled, which is four times as fast on a CPU as a loop over so few places.
    return keras.layers.LSTM(
        units,
        return_sequences=True,
        unroll=True,
        go_backwards=go_backwards,
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
    )
