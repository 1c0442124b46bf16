"""Order and places of the items of a layered graph."""

from tfmedcai.search_spaces.layered_layout import layout

WIDTHS = {"node_width": 2.0, "rail_width": 0.5}


def test_crossing_is_removed():
    places = layout([[], [], [1], [0]], [0, 0, 1, 1], **WIDTHS)
    left_to_right = [item[0] for item in places.layers[1]]
    above = [item[0] for item in places.layers[0]]
    parent = {2: 1, 3: 0}
    assert [parent[node] for node in left_to_right] == above


def test_long_arrow_gets_a_straight_rail_beside_the_nodes_that_it_passes():
    places = layout([[], [0], [1], [0, 2]], [0, 1, 2, 3], **WIDTHS)
    assert (3, [(0, 0), (0, 1), (0, 2)]) in places.edges
    assert places.x[0, 1] == places.x[0, 2]
    assert abs(places.x[0, 1] - places.x[1, 1]) >= 1.25 - 1e-9


def test_arrows_of_one_node_share_a_rail():
    places = layout([[], [0], [0, 1], [0, 2]], [0, 1, 2, 3], **WIDTHS)
    assert [item for layer in places.layers for item in layer if item[0] == 0] == [(0, 0), (0, 1), (0, 2)]


def test_chain_is_straight():
    places = layout([[], [0], [1], [2]], [0, 1, 2, 3], **WIDTHS)
    assert len(set(places.x.values())) == 1


def test_nodes_of_a_layer_keep_their_widths():
    places = layout([[], [0], [0], [0]], [0, 1, 1, 1], **WIDTHS)
    x = sorted(places.x[node, 1] for node in (1, 2, 3))
    assert x[1] - x[0] >= 2 - 1e-9
    assert x[2] - x[1] >= 2 - 1e-9
