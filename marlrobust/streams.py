"""Named streams of random numbers: what one part draws never shifts what another does."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream(seed: int, name: str, *index: int) -> np.random.Generator:
    """The generator of `name` ("game", "policy", "attack", "victims" …) under `seed`, one for each index."""
    return np.random.default_rng(_sequence(seed, name, *index))


def torch_stream(seed: int, name: str, *index: int, device: str = "cpu") -> torch.Generator:
    """The same for torch, on `device`."""
    state = int(_sequence(seed, name, *index).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(state)


def _sequence(seed: int, name: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), *index))
