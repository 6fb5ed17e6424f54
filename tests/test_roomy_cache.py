"""Keys and values with room behind them: transformers' own layer is the reference, operation by operation."""

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from trl_copd.engines.cache import MARGIN, RoomyLayer, make_room


def states(rows, tokens):
    return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)


OPERATIONS = {
    "select": lambda layer: layer.batch_select_indices(torch.tensor([0, 0, 2, 2])),
    "fewer rows": lambda layer: layer.batch_select_indices(torch.tensor([0, 1])),
    "reorder": lambda layer: layer.reorder_cache(torch.arange(len(layer.keys)).flip(0)),
    "repeat": lambda layer: layer.batch_repeat_interleave(2),
    "crop": lambda layer: layer.crop(-3),
}


def test_it_holds_what_the_layer_of_transformers_holds():
    torch.manual_seed(0)
    own, theirs = DynamicLayer(), DynamicLayer()
    keys, values = states(3, 7)
    for layer in (own, theirs):
        layer.update(keys, values)
    own = RoomyLayer(own)
    for operation in OPERATIONS.values():
        for tokens in (1, 1, 3, MARGIN):
            keys, values = states(len(theirs.keys), tokens)
            for ours, reference in zip(own.update(keys, values), theirs.update(keys, values), strict=True):
                assert ours.equal(reference)
            assert own.get_seq_length() == theirs.get_seq_length() and own.get_mask_sizes(1) == theirs.get_mask_sizes(
                1
            )
        operation(own)
        operation(theirs)
        assert own.keys.equal(theirs.keys) and own.values.equal(theirs.values)
    own.reset()
    assert own.get_seq_length() == 0


def test_a_token_is_added_without_a_copy_of_the_others():
    layer = DynamicLayer()
    layer.update(*states(2, 5))
    layer = RoomyLayer(layer)
    places = set()
    for _ in range(MARGIN + 1):
        layer.update(*states(2, 1))
        places.add(layer.keys.data_ptr())
    assert len(places) == 1
    for _ in range(2 * MARGIN):
        layer.update(*states(2, 1))
        places.add(layer.keys.data_ptr())
    assert len(places) <= 4


def test_layers_that_forget_tokens_stay_as_they_are():
    cache = DynamicCache()
    cache.layers = [DynamicLayer(), DynamicSlidingWindowLayer(4)]
    for index in range(2):
        cache.update(*states(2, 3), index)
    make_room(cache)
    assert [type(layer) for layer in cache.layers] == [RoomyLayer, DynamicSlidingWindowLayer]
    assert cache.get_seq_length() == 3
