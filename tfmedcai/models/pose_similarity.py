"""Registration networks: what projects a volume at a pose, compares the image with an X-ray, and is trained as a whole.

The answer is a similarity, whose gradient with respect to the pose is what training shapes (ProST), or what a network
regresses from both images: a step (DeepIM) or a gradient (DMW).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers

from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.layers.sample_normalisation import WHOLE, SampleNormalisation
from tfmedcai.layers.tokens import TokenNormalisation

VOLUME, IMAGES, PROJECTOR = "volume_net", "image_net", "projector"


@keras.saving.register_keras_serializable("tfmedcai")
class PoseSimilarity(keras.Model):
    """A functional model whose training compares its gradient with respect to the pose with targets.

    Inputs are a list of volumes, target images and poses `(poses, 6)`. The loss that it is compiled with takes true and
    predicted gradients `(poses, 6)`; its own gradient to the weights is a gradient of a gradient.

    Reference:
        Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, section II-C.
    """

    def pose_gradient(self, x: Any, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes similarities and their gradients.

        Args:
            x: list of `(volumes, depth, height, width, 1)`, `(poses, rows, columns, 1)` and `(poses, 6)`; poses are a
                multiple of the volumes.
            training: whether normalisations take the statistics of the batch, and dropout drops.

        Returns:
            `(poses,)` and `(poses, 6)`: a rad, then a mm.
        """
        volume, target, pose = x
        with tf.GradientTape() as tape:
            tape.watch(pose)
            similarity = self([volume, target, pose], training=training)
        return similarity, tape.gradient(similarity, pose)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Descends the loss of the gradients."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            _, predicted = self.pose_gradient(x, training=True)
            loss: Any = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weight)
        slopes = tape.gradient(loss, self.trainable_variables)
        # A weight that only shifts a similarity has no part in its gradient. (TensorFlow's own zeros fail here.)
        slopes = [tf.zeros(v.shape) if s is None else s for s, v in zip(slopes, self.trainable_variables, strict=True)]
        self.optimizer.apply_gradients(zip(slopes, self.trainable_variables, strict=True))
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(predicted)[0])
        return self.compute_metrics(x, y, predicted, weight)


class Parts(NamedTuple):
    """The parts of a registration network.

    Attributes:
        volume_net: `(volumes, depth, height, width, 1)` -> the same with channels; None where volumes are projected as
            they are.
        projector: [volumes, poses] -> moving images.
        image_net: moving channels and, as last one, the target image -> `(poses, values)`.
    """

    volume_net: keras.Model | None
    projector: ProjectiveSpatialTransformer
    image_net: keras.Model


def pose_similarity(
    projector: ProjectiveSpatialTransformer,
    image_net: keras.Model,
    volume_net: keras.Model | None = None,
    *,
    volume_shape: tuple[int, int, int],
) -> keras.Model:
    """Puts a registration network together.

    Args:
        projector: layer with the camera that moving images are made with.
        image_net: takes moving channels and, as last one, the target image, and gives a vector of each case: one number
            is a similarity, lower for images that are more alike.
        volume_net: applied to volumes before they are projected; None projects them as they are.
        volume_shape: depth, height and width in voxels.

    Returns:
        Functional model of a list: "volume" `(volumes, *volume_shape, 1)`, "target" `(poses, rows, columns, 1)` and
        "pose" `(poses, 6)`, rad and mm. A `PoseSimilarity` -> `(poses,)` where the image network gives one number, else
        a model -> `(poses, values)`.

    Raises:
        ValueError: if the image network does not fit to what is projected.
    """
    volume = keras.Input((*volume_shape, 1), name="volume")
    target = keras.Input((*projector.camera.image_size, 1), name="target")
    pose = keras.Input((6,), name="pose")
    seen = volume if volume_net is None else _named(volume_net, VOLUME)(volume)
    moving = projector([seen, pose])
    expected = (*projector.camera.image_size, moving.shape[-1] + 1)
    if image_net.input_shape[1:] != expected or len(image_net.output_shape) != 2:
        raise ValueError(
            f"`image_net` must take images of the shape {expected} and give a vector. "
            f"Received {image_net.input_shape} -> {image_net.output_shape}."
        )
    values = _named(twice_differentiable(image_net), IMAGES)(layers.Concatenate(name="images")([moving, target]))
    inputs = [volume, target, pose]
    if values.shape[-1] == 1:
        return PoseSimilarity(inputs, values[:, 0], name=image_net.name)
    return keras.Model(inputs, values, name=image_net.name)


def parts_of(model: keras.Model) -> Parts:
    """Takes a registration network apart, so that features of a volume are computed once, or another camera is used."""
    found = {layer.name: layer for layer in model.layers}
    return Parts(found.get(VOLUME), found[PROJECTOR], found[IMAGES])


def twice_differentiable(network: keras.Model) -> keras.Model:
    """Builds a network anew with normalisations whose second derivatives are right, which Keras's are not.

    In place of batch normalisation each image is normalised for itself.

    Args:
        network: functional model.

    Returns:
        An untrained model of the same name and layers.

    >>> image = keras.Input((8, 8, 1))
    >>> copy = twice_differentiable(keras.Model(image, layers.BatchNormalization()(image)))
    >>> type(copy.layers[-1]).__name__
    'SampleNormalisation'
    """
    return keras.models.clone_model(network, clone_function=_right, recursive=True)


def _right(layer: layers.Layer) -> layers.Layer:
    if isinstance(layer, layers.BatchNormalization):
        return SampleNormalisation(groups=WHOLE, epsilon=layer.epsilon, name=layer.name, dtype=layer.dtype_policy)
    kind = TokenNormalisation if isinstance(layer, layers.LayerNormalization) else type(layer)
    return kind.from_config(layer.get_config())


def _named(network: keras.Model, name: str) -> keras.Model:
    return keras.Model(network.inputs[0], network.outputs[0], name=name)
