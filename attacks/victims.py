"""Which agents of a team are attacked in a round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def draw_victims(count: int, team_size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Sorted indices (min(count, team_size),) of the agents attacked, drawn without replacement.

    The first `count` of one permutation: under the same seed the victims of a smaller count are among those
    of a larger one, so that rounds differ in the count alone. A count above the team's size is the whole
    team. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"the count of victims must not be negative: {count}")
    return np.sort(rng.permutation(team_size)[:count])
