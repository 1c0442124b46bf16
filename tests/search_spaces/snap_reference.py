"""An independent reading of SNAP programs: nested tensors instead of numbered nodes, sizes by hand-derived formulas."""

import itertools

PARAMETERS = {  # trainable parameters of a layer with F channels, batch normalisation included
    "conv1x1": lambda f: 2 * f + f * f,
    "conv3x3": lambda f: 2 * f + 9 * f * f,
    "dw3x3": lambda f: 2 * f + 9 * f,
    "dws3x3": lambda f: 2 * f + 9 * f + f * f,
    "maxpool3x3": lambda f: 0,
}


def merge_parameters(tensors, filters):
    return 2 * tensors * filters + tensors * filters * filters


def tensors_of(symbols):
    """Runs a program; a tensor is (operation, serial number of its weights or None, tensors it is made from)."""
    serial = itertools.count()
    stack = [("p1",), ("p2",)]  # the top is the first one
    for symbol in symbols:
        if symbol == "branch":
            stack = [stack[0], *stack]
        elif symbol in ("switch", "merge") and len(stack) == 1:
            continue
        elif symbol == "switch":
            stack = [stack[1], stack[0], *stack[2:]]
        elif symbol == "merge":
            stack = [("merge", next(serial), (stack[0], stack[1])), *stack[2:]]
        else:
            weights = None if symbol == "maxpool3x3" else next(serial)
            stack = [(symbol, weights, (stack[0],)), *stack[1:]]
    output = stack[0] if len(stack) == 1 else ("merge", next(serial), tuple(stack))
    found = {}

    def visit(tensor):
        for source in tensor[2] if len(tensor) > 1 else ():
            visit(source)
        found.setdefault(tensor, len(found))

    visit(output)
    return list(found)


def program_parameters(symbols, filters):
    total = 0
    for tensor in tensors_of(symbols):
        if tensor[0] == "merge":
            total += merge_parameters(len(tensor[2]), filters)
        elif len(tensor) > 1:
            total += PARAMETERS[tensor[0]](filters)
    return total


def block_parameters(snap, filters):
    return program_parameters(snap.symbols, filters)


def network_parameters(snap, filters=24, blocks=(2, 2), outputs=12, channels=1, cells=1):
    """Trainable parameters: stem, blocks, two poolings with normalised 1x1 convolutions, head over so many cells."""
    stem = 9 * channels * filters
    pooling = 2 * (2 * filters + filters * 2 * filters)
    head = 2 * 2 * filters + cells * 2 * filters * outputs + outputs
    before, behind = block_parameters(snap, filters), block_parameters(snap, 2 * filters)
    return stem + blocks[0] * before + pooling + blocks[1] * behind + head


def least_numbering(symbols):
    """Tries all numberings of the tensors made by equal operations: equal results are isomorphic graphs."""
    tensors = sorted(tensors_of(symbols), key=lambda tensor: tensor[0])
    groups = [list(group) for _, group in itertools.groupby(tensors, key=lambda tensor: tensor[0])]
    forms = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        number = {tensor: at for at, tensor in enumerate(itertools.chain(*orders))}
        rows = [(t[0], tuple(sorted(number[s] for s in t[2])) if len(t) > 1 else ()) for t in number]
        forms.append(tuple(rows))
    return min(forms)
