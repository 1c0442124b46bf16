"""Takes a trained network into a Keras program that does not have tfmedcai: as it is, and as a part of a larger model.

Give the `model.keras` of a run (`RUN/best/seed_0/model.keras`): a network for images, made of plain Keras layers. Copy
this file; it needs keras and numpy alone.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np


def with_head(network: keras.Model, classes: int) -> keras.Model:
    """Builds a classifier on what a trained network sees before its last layer, whose weights stay as they are.

    Args:
        network: maps `(batch, height, width, channels)` to values.
        classes: of the new model.

    Returns:
        Maps the same images to `(batch, classes)` probabilities.
    """
    features = keras.Model(network.input, network.layers[-2].output, name="features")
    features.trainable = False
    image = keras.Input(network.input_shape[1:])
    x = keras.layers.Flatten()(features(image, training=False))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x), name="classifier")


def main(argv: list[str] | None = None) -> None:
    """Loads, predicts, builds a larger model around the network, trains its head and saves it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model.keras of a trained network")
    parser.add_argument("--output", type=Path, default=Path("classifier.keras"), help="file of the larger model")
    given = parser.parse_args(argv)
    network = keras.saving.load_model(given.model, compile=False)
    print(f"{network.name}: {network.input_shape} -> {network.output_shape}, {network.count_params()} weights")

    rng = np.random.default_rng(0)
    images = rng.uniform(size=(16, *network.input_shape[1:])).astype(np.float32)  # your images, your classes
    bright = images.mean(axis=(1, 2, 3)) > images.mean()
    print("as it is:", np.array2string(network.predict(images[:1], verbose=0)[0].ravel()[:6], precision=3))

    model = with_head(network, classes=2)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    history = model.fit(images, bright.astype(int), epochs=30, verbose=0).history["loss"]
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    print(f"as a part: loss {history[0]:.3f} -> {history[-1]:.3f}, {trained} of {model.count_params()} weights trained")
    model.save(given.output)
    again = keras.saving.load_model(given.output)
    print("saved and loaded:", bool(np.allclose(again.predict(images, verbose=0), model.predict(images, verbose=0))))
    print("tfmedcai was imported:", "tfmedcai" in sys.modules)


if __name__ == "__main__":
    main()
