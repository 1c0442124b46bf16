"""Speed of searches by relaxation beside MONAI and the original DARTS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measures import Case, Peers, beside, line, median_seconds

# Billions of multiply-accumulates of a network of MONAI for a patch of 64^3 voxels.
PEER_GMAC = {"monai_ahnet:train": 6.57, "monai_dynunet:train": 59.07}


def supernet(runs: int, peers: Peers) -> Iterator[Case]:
    """Training steps of V-NAS and of its search at 64^3 beside MONAI, and of the search of DARTS, on one thread."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    yield from darts_steps(runs, peers)
    yield from volumetric_steps(runs, peers)


def volumetric_steps(runs: int, peers: Peers, filters: int = 64) -> Iterator[Case]:
    """The code found on NIH Pancreas, then the supernet: weights alone, and weights and kernels in turn."""
    import keras

    from tfmedcai import presets
    from tfmedcai.metrics.complexity import multiply_accumulates
    from tfmedcai.models.volumetric_net import volumetric_net
    from tfmedcai.models.volumetric_supernet import volumetric_supernet
    from tfmedcai.search_spaces.volumetric import VolumetricCode

    def measure() -> dict[str, float]:
        found = [peers.measure("net_peers.py", [name.partition(":")[0]], runs) for name in PEER_GMAC]
        return {name: seconds for cases in found for name, seconds in cases.items() if name in PEER_GMAC}

    code = VolumetricCode.parse(presets.read("vnas_nih_pancreas")["architecture"])
    network = volumetric_net(code, filters=filters)
    network.compile(keras.optimizers.SGD(0.01, 0.9), _cross_entropy(), jit_compile=False)
    data = _batch((1, 64, 64, 64, 1), (1, 64, 64, 64), 2)
    train = {"vnas:train": lambda: network.train_on_batch(*data)}
    giga = multiply_accumulates(network) / 1e9
    theirs = []
    for case in beside(train, dict.fromkeys(PEER_GMAC, "vnas:train"), measure, runs):
        theirs.append((case["peer"], case["peer_s"]))  # without peers None, None
        yield _per_gmac(case, giga)
    relaxed = volumetric_supernet(filters=filters)
    for name, moves in (("weights", False), ("first_order", True)):
        seconds = median_seconds(_search_step(relaxed, (data, data), moves=moves), max(1, runs // 3))
        giga = (1 + moves) * multiply_accumulates(relaxed) / 1e9
        for peer, peer_s in theirs:
            compared = {"peer": peer, "peer_s": peer_s, "ratio": round(peer_s / seconds, 2)} if peer else {}
            yield _per_gmac(line(f"vnas_supernet:{name}", seconds, **compared), giga)


def _per_gmac(case: Case, giga: float) -> Case:
    """Adds what a case costs for a billion multiply-accumulates, and the ratio of that to the peer's."""
    share = giga / PEER_GMAC[case["peer"]] if case["peer"] else None
    ratio = round(case["ratio"] * share, 2) if share else None
    return case | {"gmac": round(giga, 2), "s_per_gmac": round(case["ours_s"] / giga, 4), "ratio_per_gmac": ratio}


def darts_steps(runs: int, peers: Peers, filters: int = 16, cells: int = 8) -> Iterator[Case]:
    """A step of the search of DARTS, of both orders, at 16 features, 8 cells, batches of 8."""
    from tfmedcai.models.darts_supernet import darts_supernet

    data = _batch((8, 32, 32, 3), (8,), 10)
    ours = {}
    for order in ("first", "second"):
        relaxed = darts_supernet(input_shape=(32, 32, 3), outputs=10, filters=filters, cells=cells)
        ours[f"darts:{order}_order"] = _search_step(relaxed, (data, data), second_order=order == "second")
    names = {f"original:{name}": name for name in ours}

    def measure() -> dict[str, float]:
        program = Path(__file__).parents[1] / "peers" / "darts_step.py"
        return peers.measure(program, [str(peers.darts)], runs) if peers.darts is not None else {}

    yield from beside(ours, names, measure, runs)


def _search_step(network: Any, data: Any, *, second_order: bool = False, moves: bool = True) -> Callable[[], object]:
    """Returns a step of a search with the optimisers of the settings, compiled."""
    import tensorflow as tf

    from tfmedcai.config import SupernetSettings
    from tfmedcai.search.relaxed_search import compiled
    from tfmedcai.tasks.fitting import Source
    from tfmedcai.tasks.relaxed import Relaxed

    source = Source(lambda epoch: tf.data.Dataset.from_tensors(data[0]), 1, _cross_entropy())
    model = compiled(Relaxed(lambda: network, source, source), SupernetSettings(second_order=second_order), seed=0)
    model.architecture_moves = moves
    step = tf.function(model.train_step, autograph=False)
    return lambda: float(step(data)["loss"])


def _cross_entropy() -> Any:
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _batch(inputs: tuple[int, ...], targets: tuple[int, ...], classes: int) -> Any:
    import tensorflow as tf

    return tf.random.normal(inputs), tf.random.uniform(targets, 0, classes, tf.int32)
