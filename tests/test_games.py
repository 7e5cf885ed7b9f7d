"""Games: MAgent2's own environments step for step, and the promises of `Game`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from magent2.environments import adversarial_pursuit_v4, battle_v4

from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS
from marlrobust.games.game import Decisions, Game, Outcome
from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.pursuit import Pursuit
from marlrobust.metrics import METRICS

# (dx, dy) of a soldier's actions: 13 moves, then 8 attacks
MOVES = np.array([(x, y) for y in range(-2, 3) for x in range(-2, 3) if x * x + y * y <= 4])
HITS = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x, y) != (0, 0)])
STAY = 6


def fight(states: np.ndarray, map_size: int, rng: np.random.Generator) -> np.ndarray:
    """Actions (n,) of soldiers that go for the nearest opponent and hit it, one in ten at random.

    Random actions alone would hardly ever kill. Channels 4 and 6 of the view: opponents near, and all of them
    on a coarse map of the arena; the last two numbers of a state: the soldier's own place.
    """
    n, cell = len(states), -(-map_size // 13)
    view = states[:, : 13 * 13 * 7].reshape(n, 13, 13, 7)
    y, x = np.mgrid[-6:7, -6:7]
    distance = np.where(view[..., 4] > 0, x * x + y * y, 999).reshape(n, -1)
    nearest, crowd = distance.argmin(1), view[..., 6].reshape(n, -1).argmax(1)
    near = np.stack([nearest % 13, nearest // 13], 1) - 6
    far = np.stack([crowd % 13, crowd // 13], 1) * cell + cell / 2 - states[:, -2:] * map_size
    target = np.where(distance.min(1, keepdims=True) < 999, near, far)
    hit = 13 + ((HITS - target[:, None]) ** 2).sum(2).argmin(1)
    move = (((MOVES - target[:, None]) ** 2).sum(2) + 4 * rng.random((n, 13))).argmin(1)
    actions = np.where(distance.min(1) <= 2, hit, move)
    return np.where(rng.random(n) < 0.1, rng.integers(0, 21, n), actions)


class Seen(NamedTuple):
    """An observation as it was, which the game's next step does not overwrite."""

    states: np.ndarray
    mean_actions: np.ndarray
    round: np.ndarray
    agent: np.ndarray


class Step(NamedTuple):
    """One step: what each group observed, what it did, what came of it."""

    seen: list[Seen]
    actions: list[np.ndarray]
    outcomes: Sequence[Outcome]


def play(
    game: Game, seeds: list[int], *, swap: list[bool] | None = None, map_size: int = 25, steps: int = 400
) -> list[Step]:
    """Rounds to their end: battle's soldiers fight, others act at random.

    What an agent does depends on its round's seed, its side, the step, and what it sees: on no other round.
    """
    swap = swap or [False] * len(seeds)
    game.reset(np.array(seeds), np.array(swap))
    played: list[Step] = []
    while game.active.any() and len(played) < steps:
        seen, actions = [], []
        for team, spec in enumerate(game.groups):
            shown = game.observe(team)
            now = Seen(shown.dense.numpy(), shown.mean_actions.numpy(), shown.round, shown.agent)
            chosen = np.zeros(len(now.agent), np.int64)
            for r in np.unique(now.round):
                rng = np.random.default_rng((seeds[r], team ^ swap[r], len(played)))
                rows = now.round == r
                if spec.role == "soldier":
                    chosen[rows] = fight(now.states[rows], map_size, rng)
                else:
                    chosen[rows] = rng.integers(0, spec.n_actions, np.count_nonzero(rows))
            seen.append(now)
            actions.append(chosen)
        played.append(Step(seen, actions, game.step(actions)))
    return played


def same(a: Any, b: Any) -> bool:
    """Whether two tuples of arrays are equal bit for bit."""
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    )


def make_peer(kind: str) -> tuple[Game, Any, list[str]]:
    """A game, MAgent2's environment of the same settings, and what that calls its teams."""
    options = {"max_cycles": 400, "minimap_mode": True, "extra_features": True}
    if kind == "pursuit":  # whose numbers of predators and prey follow from the map
        environment = adversarial_pursuit_v4.parallel_env(map_size=45, **options)
        return Pursuit(predators=25, prey=50, tagged_penalty=-1).make(1), environment, ["predator", "prey"]
    size = 40 if kind == "battle" else 25
    return Battle(map_size=size).make(1), battle_v4.parallel_env(map_size=size, **options), ["red", "blue"]


@pytest.mark.parametrize("kind", ["battle", "small battle", "pursuit"])
def test_a_round_is_the_parallel_apis(kind: str) -> None:
    """Same seed and actions: the same states, rewards and deaths, from the start to the end of the round."""
    game, environment, names = make_peer(kind)
    observations, _ = environment.reset(seed=7)
    # The API's reset() counts the teams before it has placed them. Left so, its first step would cut the list
    # of actions at the wrong place, and the second team would play the first one's actions.
    environment.unwrapped.team_sizes = [group.size for group in game.groups]
    deaths: int = 0
    for step in play(game, [7], map_size=40 if kind == "battle" else 25):
        rows = [(f"{names[team]}_{agent}", team, i) for team in (0, 1) for i, agent in enumerate(step.seen[team].agent)]
        assert [name for name, _, _ in rows] == environment.agents
        for name, team, i in rows:
            # the API spreads the features over the cells of the view, behind its channels
            theirs, v = observations[name], game.groups[team].view_size
            channels = v // (theirs.shape[0] * theirs.shape[1])
            ours = step.seen[team].states[i]
            assert np.array_equal(theirs[..., :channels].ravel(), ours[:v])
            assert np.array_equal(theirs[0, 0, channels:], ours[v:])
        actions = {name: int(step.actions[team][i]) for name, team, i in rows}
        observations, rewards, terminated, truncated, _ = environment.step(actions)
        for name, team, i in rows:
            assert np.float32(rewards[name]) == step.outcomes[team].rewards[i]
            if environment.agents:  # at the end of a round the API calls everybody terminated
                assert terminated[name] == step.outcomes[team].dead[i]
        deaths += sum(int(outcome.dead.sum()) for outcome in step.outcomes)
    assert not environment.agents
    assert game.ended[0] == (not any(truncated.values()))
    assert deaths >= {"battle": 20, "small battle": 20, "pursuit": 0}[kind]


def test_a_batch_is_its_rounds_one_by_one() -> None:
    seeds, swap = [5, 6, 7], [False, True, False]
    together = play(Battle(map_size=25).make(3), seeds, swap=swap)
    for r, seed in enumerate(seeds):
        alone = play(Battle(map_size=25).make(1), [seed], swap=[swap[r]])
        assert len(alone) == sum(r in step.seen[0].round for step in together)
        for one, all_of_them in zip(alone, together, strict=False):
            for team in (0, 1):
                rows = all_of_them.seen[team].round == r
                for mine, theirs in (
                    (one.seen[team], all_of_them.seen[team]),
                    (one.outcomes[team], all_of_them.outcomes[team]),
                ):
                    parts = [part[rows] for part in theirs]
                    if isinstance(theirs, Seen):
                        parts[2] -= r
                    assert same(mine, parts)


def test_rounds_repeat_and_seeds_differ() -> None:
    game = Pursuit().make(2)
    first, again = (play(game, [3, 4], steps=20) for _ in range(2))
    assert all(same(a.seen[1], b.seen[1]) for a, b in zip(first, again, strict=True))
    start = first[0].seen[1]
    assert not np.array_equal(start.states[start.round == 0], start.states[start.round == 1])


def test_swapped_teams_play_the_same_round_from_the_other_side() -> None:
    """The engine moves one side first: in a swapped round that must be the other team."""
    straight = play(Battle(map_size=25).make(1), [11])
    swapped = play(Battle(map_size=25).make(1), [11], swap=[True])
    assert len(straight) == len(swapped)
    assert not np.array_equal(straight[0].seen[0].states, straight[0].seen[1].states)
    for a, b in zip(straight, swapped, strict=True):
        for team in (0, 1):
            assert same(a.seen[team], b.seen[1 - team])
            assert same(a.outcomes[team], b.outcomes[1 - team])


def test_only_teams_of_one_role_swap() -> None:
    with pytest.raises(ValueError, match="same roles"):
        Pursuit().make(2).reset(np.array([1, 2]), np.array([False, True]))


def test_the_dead_are_gone_for_good() -> None:
    game = Battle(map_size=25).make(3)
    steps = play(game, [1, 2, 3])
    for team in (0, 1):
        living: set[tuple[int, int]] = {(r, a) for r in range(3) for a in range(game.groups[team].size)}
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            seen, dead = step.seen[team], step.outcomes[team].dead
            rows = list(zip(seen.round.tolist(), seen.agent.tolist(), strict=True))
            assert rows == sorted(living)
            living -= {row for row, died in zip(rows, dead, strict=True) if died}
            over = set(seen.round) - set(following.seen[team].round if following else ())
            for r in over:
                assert game.alive[r, team] == len([row for row in living if row[0] == r])
            living = {row for row in living if row[0] not in over}
        assert not living
    assert (game.alive.min(1) < 20).all()


def test_mean_actions_are_the_teams_share_of_each_action() -> None:
    game = Battle(map_size=25).make(2)
    steps = play(game, [1, 2], swap=[False, True])
    for team in (0, 1):
        assert not steps[0].seen[team].mean_actions.any()
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            shown = step.outcomes[team].mean_actions
            for r in np.unique(step.seen[team].round):
                rows = step.seen[team].round == r
                mean = np.eye(21)[step.actions[team][rows]].mean(0)
                np.testing.assert_allclose(shown[rows], np.tile(mean, (rows.sum(), 1)), atol=1e-6)
                if following:  # who died in this step was part of its mean
                    later = following.seen[team]
                    assert (later.mean_actions[later.round == r] == shown[rows][0]).all()


def test_a_round_ends_when_a_team_is_extinct_or_at_the_step_limit() -> None:
    game = Battle(map_size=25, max_steps=60).make(3)
    steps = play(game, [1, 2, 3])
    assert set(game.ended) == {True, False}  # both ends are among these rounds
    assert np.array_equal(game.ended, game.alive.min(1) == 0)
    assert ((game.steps == 60) | game.ended).all()
    assert np.array_equal(game.steps, [sum(r in s.seen[0].round for s in steps) for r in range(3)])
    assert not game.active.any()
    assert [len(game.observe(team)) for team in (0, 1)] == [0, 0]


def test_nobody_fights_and_the_round_is_a_tie() -> None:
    game = Battle(map_size=16, max_steps=5).make(1)
    game.reset(np.array([0]), np.array([False]))
    for _ in range(5):
        assert game.active[0]
        stay = [np.full(len(game.observe(team).agent), STAY) for team in (0, 1)]
        game.step((stay[0], stay[1]))
    assert (game.active[0], game.ended[0], game.steps[0]) == (False, False, 5)
    assert game.alive[0, 0] == game.alive[0, 1] == game.groups[0].size


@pytest.mark.parametrize(
    "setting", ["step_reward", "attack_opponent_reward", "kill_reward", "attack_penalty", "dead_penalty"]
)
def test_a_reward_goes_to_those_it_is_for(setting: str) -> None:
    """One more of it, in the same round: their rewards grow by one, and nobody else's."""
    base = {"step_reward": -0.005, "attack_opponent_reward": 0.2, "kill_reward": 5.0}
    more = {setting: base.get(setting, -0.1) + 1}
    plain = play(Battle(map_size=25).make(2), [1, 2])
    changed = play(Battle(map_size=25, **more).make(2), [1, 2])
    gained, attack, dead = [], [], []
    for a, b in zip(plain, changed, strict=True):
        for team in (0, 1):
            assert np.array_equal(a.actions[team], b.actions[team])
            gained.append(b.outcomes[team].rewards - a.outcomes[team].rewards)
            attack.append(a.actions[team] >= len(MOVES))
            dead.append(a.outcomes[team].dead)
    gain, attacks, died = (np.concatenate(part) for part in (gained, attack, dead))
    paid = np.abs(gain - 1) < 1e-5
    assert (paid | (np.abs(gain) < 1e-5)).all()
    # the engine drops what an agent earned before it died in a step, save for hits
    exactly = {"step_reward": ~died, "attack_penalty": attacks & ~died, "dead_penalty": died}
    if setting in exactly:
        assert np.array_equal(paid, exactly[setting])
    else:
        assert not (paid & ~attacks).any()
        kills, deaths = np.count_nonzero(paid), np.count_nonzero(died)
        assert 0.9 * deaths <= kills <= deaths if setting == "kill_reward" else kills > deaths


@pytest.mark.parametrize(
    ("setting", "team", "change"),
    [("tag_reward", 0, 1.0), ("tagged_penalty", 1, -1.0), ("attack_penalty", 0, -1.0)],
)
def test_pursuits_rewards_are_settings(setting: str, team: int, change: float) -> None:
    base = {"tag_reward": 1.0, "tagged_penalty": -0.1, "attack_penalty": -0.2}[setting]
    plain, changed = (
        np.concatenate([step.outcomes[team].rewards for step in play(game, [4], steps=60)])
        for game in (Pursuit().make(1), Pursuit(**{setting: base + change}).make(1))
    )
    gain = (changed - plain) / change
    assert np.allclose(gain, np.rint(gain), atol=1e-4)
    assert (np.rint(gain) >= 0).all()
    assert gain.sum() > 10


def test_tags_are_paid_on_both_sides() -> None:
    """Every tag is a +1 of a predator and a -0.1 of a prey: the default numbers are the paper's."""
    steps = play(Pursuit(attack_penalty=0.0).make(1), [4], steps=100)
    earned, lost = (sum(float(step.outcomes[team].rewards.sum()) for step in steps) for team in (0, 1))
    assert earned > 0
    assert lost == pytest.approx(-0.1 * earned, rel=1e-4)


def test_the_papers_sizes() -> None:
    soldiers = Battle().make(1).groups
    predators, prey = Pursuit().make(1).groups
    assert [(t.role, t.size, t.state_size, t.n_actions) for t in soldiers] == [("soldier", 64, 1217, 21)] * 2
    assert (predators.role, predators.size, predators.state_size) == ("predator", 32, 726)
    assert (prey.role, prey.size, prey.state_size) == ("prey", 64, 589)
    few = Pursuit(predators=5, prey=9, map_size=20).make(1)
    assert [group.size for group in few.groups] == [5, 9]
    assert [len(few.observe(team).agent) for team in (0, 1)] == [0, 0]  # before the first reset
    few.reset(np.array([1]), np.array([False]))
    assert [len(few.observe(team).agent) for team in (0, 1)] == [5, 9]


def test_1024_a_side_play() -> None:
    game = Battle(map_size=160, max_steps=3).make(1)
    assert [group.size for group in game.groups] == [1024, 1024]
    assert len(play(game, [1], map_size=160)) == 3


def test_actions_must_be_one_for_each_agent_seen() -> None:
    game = Battle(map_size=16).make(1)
    game.reset(np.array([1]), np.array([False]))
    n = game.groups[0].size
    with pytest.raises(ValueError, match=f"{n - 1} actions for {n} agents of group 1"):
        game.step((np.zeros(n, np.int64), np.zeros(n - 1, np.int64)))


@pytest.mark.parametrize(
    ("scenario", "settings", "sentence"),
    [
        ("battle", {"kil_reward": 1.0}, "kil_reward"),
        ("battle", {"prey": 3}, "prey"),
        ("battle", {"map_size": 8}, "map_size"),
        ("battle", {"map_size": "large"}, "map_size"),
        ("pursuit", {"prey": 3000}, "map"),
        ("pursuit", {"map_size": 7}, "map"),
    ],
)
def test_a_setting_that_cannot_be_is_a_users_error(scenario: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve(SCENARIOS[scenario], settings).make(1)


def test_settings_reach_the_game() -> None:
    game = Pursuit(predators=4, prey=6, map_size=20, max_steps=7).make(2)
    assert (game.rounds, game.max_steps, [group.size for group in game.groups]) == (2, 7, [4, 6])


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario_says_what_its_game_is(name: str) -> None:
    scenario = SCENARIOS[name]
    assert scenario.summary
    game = scenario(max_steps=2).make(1)
    told = [tuple(g.role for g in game.groups if g.team == i) for i in range(len(scenario.teams))]
    assert told == list(scenario.teams.values())
    play(game, [1], map_size=40)
    measured = {"reward", *game.results(0)}
    assert {m.column for m in scenario.metrics} == {m.column for m in METRICS if m.column in measured}


def test_results_are_counted_from_who_is_left() -> None:
    game = Battle(map_size=25).make(3)
    steps = play(game, [1, 2, 3])
    died = np.zeros((2, 3), int)
    for step in steps:
        for team in (0, 1):
            died[team] += np.bincount(step.seen[team].round[step.outcomes[team].dead], minlength=3)
    results, theirs = game.results(0), game.results(1)
    assert np.array_equal(results["losses"], died[0])
    assert np.array_equal(results["kills"], died[1])
    assert np.array_equal(results["win"], died[0] < died[1])
    assert np.array_equal(results["draw"], died[0] == died[1])
    assert np.array_equal(theirs["win"], died[1] < died[0])
    assert np.array_equal(theirs["kills"], results["losses"])


def test_decisions_say_whose_they_are_and_take_some() -> None:
    game = Battle(map_size=16).make(2)
    game.reset(np.array([1, 2]), np.array([False, False]))
    stay = [np.full(len(game.observe(team)), STAY) for team in (0, 1)]
    game.step((stay[0], stay[1]))
    seen = game.observe(0)
    assert (seen.step == 1).all()
    rows = torch.tensor([0, 7, 11])
    some, first = seen.take(rows), seen.take(slice(0, 2))
    assert torch.equal(some.dense, seen.dense[rows])
    assert some.round.tolist() == [0, 1, 1]
    assert some.agent.tolist() == [0, 1, 5]
    assert torch.equal(first.dense, seen.dense[:2])
    by_mask = seen.take(torch.arange(12) % 5 == 0)
    assert by_mask.agent.tolist() == [0, 5, 4]
    assert torch.equal(by_mask.dense, seen.dense[::5])
    assert torch.equal(some.showing(some.dense + 1).dense, some.dense + 1)


@pytest.mark.parametrize("states", [torch.zeros(3, 4, dtype=torch.float64), torch.zeros(4), np.zeros((3, 4))])
def test_states_of_another_type_are_refused_with_a_sentence(states: Any) -> None:
    with pytest.raises(UserError, match="float32 tensor of shape"):
        Decisions.of(states)
