"""Attack a team that comes with marlrobust: the same rounds with growing numbers of attacked agents.

python examples/attack_a_team.py
"""

import statistics

import marlrobust
from marlrobust.games.magent.battle import Battle

ROUNDS = 4

team = marlrobust.load_policy("zoo:battle/mfac")
opponent = marlrobust.load_policy("zoo:battle/a2c")
game = Battle().make(rounds=ROUNDS)
attack = marlrobust.attack("pgd", epsilon=0.075, steps=10)

for count in (0, 32, 64):
    adversary = marlrobust.Adversary(attack, count=count)
    rounds = marlrobust.play_rounds(game, team, opponent, seed=0, adversary=adversary)
    reward = statistics.mean(played.reward for played in rounds)
    print(f"{count:2} of 64 attacked: reward {reward:6.1f}, {sum(bool(p.win) for p in rounds)} of {ROUNDS} rounds won")
