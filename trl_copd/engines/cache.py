"""A cache of keys and values that is written to, and not copied, when a token is added."""

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


MARGIN = 64  # tokens, or a quarter of what is there, for which room is left


class RoomyLayer(DynamicLayer):
    """
    A [`~transformers.cache_utils.DynamicLayer`] with room behind its tokens.

    transformers' own makes a new tensor of all keys and values for each token. That is a sixteenth of the time at 24
    tokens and grows with their number, and it leaves the heap in pieces that no later block fits into.

    Args:
        layer ([`~transformers.cache_utils.DynamicLayer`]): Whose keys and values it goes on from, `(N, heads, L, d)`.
    """

    def __init__(self, layer: DynamicLayer):
        super().__init__()
        vars(self).update(vars(layer))
        self._rooms: dict[str, torch.Tensor] = {}

    def update(self, key_states, value_states, *args, **kwargs):
        self.keys = self._with("keys", key_states)
        self.values = self._with("values", value_states)
        return self.keys, self.values

    def _with(self, name: str, new: torch.Tensor) -> torch.Tensor:
        old, room = getattr(self, name), self._rooms.get(name)
        length = old.size(-2)
        needed = length + new.size(-2)
        # keys are a view of the room unless rows have been selected or reordered since
        if room is None or room.data_ptr() != old.data_ptr() or room.size(0) != old.size(0) or room.size(-2) < needed:
            room = old.new_empty(*old.shape[:-2], needed + max(MARGIN, needed // 4), old.size(-1))
            room[..., :length, :] = old
            self._rooms[name] = room
        room[..., length:needed, :] = new
        return room[..., :needed, :]


def make_room(cache: DynamicCache) -> None:
    """Give layers that keep all tokens room for more; those with a sliding window stay as they are."""
    cache.layers = [RoomyLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]
