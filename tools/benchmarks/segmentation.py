"""Speed of the segmentation of volumes beside DeepMind, MONAI, MedPy and smp."""

import functools
from collections.abc import Callable, Iterator

from benchmarks.measures import Case, Peers, beside


def segmentation(runs: int, peers: Peers) -> Iterator[Case]:
    """Surface metrics, augmentation and networks on one thread, beside DeepMind, MONAI, MedPy and smp."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    yield from surface_metrics(runs, peers)
    yield from augmentation(runs, peers)
    yield from networks(runs, peers)


def surface_metrics(runs: int, peers: Peers) -> Iterator[Case]:
    """95 % Hausdorff distance and surface Dice of two ellipsoids in 256 x 256 x 128 voxels."""
    import numpy as np

    from tfmedcai.metrics.surface import surface_distances

    places = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in (256, 256, 128))]
    truth, prediction = (
        sum(((x - c) / 0.38) ** 2 for x, c in zip(places, centre, strict=True)) < 1
        for centre in ((0, 0, 0), (0.03, 0.03, 0.02))
    )
    spacing = (0.8, 0.8, 2.5)

    def both() -> None:
        found = surface_distances(prediction, truth, spacing)
        found.dice(2.0)
        found.hausdorff(95)

    ours = {
        "surface:sd2+hd95": both,
        "surface:hd95,border": lambda: surface_distances(prediction, truth, spacing, "border").hausdorff(95),
        "surface:sd2,border": lambda: surface_distances(prediction, truth, spacing, "border").dice(2.0),
    }
    names = {
        "deepmind:sd2+hd95": "surface:sd2+hd95",
        "monai:hd95": "surface:hd95,border",
        "monai:sd2": "surface:sd2,border",
        "medpy:hd95": "surface:hd95,border",
    }
    yield from beside(ours, names, lambda: peers.measure("metric_peers.py", ["metrics"], runs), runs)


def augmentation(runs: int, peers: Peers) -> Iterator[Case]:
    """Random changes of a patch of 96 x 96 x 64 voxels and its label, out of a pipeline."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.data.augmentation import Augmentation

    rng, size = np.random.default_rng(0), (96, 96, 64)
    image = tf.constant(rng.normal(size=(*size, 1)).astype(np.float32))
    label = tf.constant(rng.integers(0, 2, size).astype(np.uint8))

    def pipeline(change: Augmentation) -> Callable[[], object]:
        seeds = tf.data.Dataset.range(np.iinfo(np.int32).max, output_type=tf.int32)
        changed = iter(seeds.map(lambda index: change(image, label, tf.stack([0, index]))))
        return lambda: next(changed)

    ours = {
        "augmentation:rot90+flips": pipeline(Augmentation(flip=(True,) * 3, quarter_turns=True)),
        "augmentation:affine": pipeline(Augmentation(scale=(0.9, 1.1), rotate_deg=(17.2,) * 3)),
    }
    names = {name.replace("augmentation", "monai"): name for name in ours}
    yield from beside(ours, names, lambda: peers.measure("metric_peers.py", ["augmentation"], runs), 5 * runs)


def networks(runs: int, peers: Peers) -> Iterator[Case]:
    """Training step and inference of U-Net and ResU-Net for 8 slices of 128 x 128, one channel, three classes."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tfmedcai.losses.segmentation import CrossEntropy
    from tfmedcai.models.unet import resunet, unet

    rng = np.random.default_rng(0)
    image = rng.normal(size=(8, 128, 128, 1)).astype(np.float32)
    label = rng.integers(0, 3, (8, 128, 128)).astype(np.uint8)
    for build, peer in ((unet, "unet2d_vgg13"), (resunet, "unet2d_resnet50")):
        model = build(input_shape=image.shape[1:], outputs=3, per_pixel=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=5e-4), CrossEntropy())
        answer = tf.function(lambda x, model=model: model(x, training=False), autograph=False)
        ours = {
            f"{model.name}:train": functools.partial(model.train_on_batch, image, label),
            f"{model.name}:infer": functools.partial(answer, tf.constant(image)),
        }
        names = {f"{peer}:{what}": f"{model.name}:{what}" for what in ("train", "infer")}
        yield from beside(ours, names, functools.partial(peers.measure, "net_peers.py", peer, runs), runs)
