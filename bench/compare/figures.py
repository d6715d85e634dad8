"""Medians, spreads, and ratios within a round."""

import statistics
from dataclasses import dataclass

from .peers import BY_NAME


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and their range."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values):
    """A Spread of {round: value}; None if there is no value."""
    if not values:
        return None
    numbers = list(values.values())
    return Spread(statistics.median(numbers), min(numbers), max(numbers), len(numbers))


def ratio(upper, lower):
    """The Spread of the ratios in the rounds that have both; None if there is none."""
    return spread({turn: upper[turn] / lower[turn] for turn in upper if lower.get(turn)})


class Figures:
    """What was measured, to be asked for by case, peer and metric."""

    def __init__(self, runs):
        self.runs = runs

    def values(self, case, peer, metric="ns"):
        """{round: value} of a case's key, a peer's name and a metric; empty if not measured."""
        rounds = self.runs.get(case, {}).get(peer, {})
        return {turn: result[metric] for turn, result in rounds.items() if metric in result}

    def spread(self, case, peer, metric="ns"):
        return spread(self.values(case, peer, metric))

    def best_private(self, case, metric="ns"):
        """{round: the least of the good private allocators in that round}."""
        best = {}
        for peer in BY_NAME.values():
            if peer.best:
                for turn, value in self.values(case, peer.name, metric).items():
                    best[turn] = min(value, best.get(turn, value))
        return best

    def ratio(self, case, peer, metric="ns"):
        """PSM's figure by the peer's, or by that of "private", the best of them in each round."""
        private = peer == "private"
        other = self.best_private(case, metric) if private else self.values(case, peer, metric)
        return ratio(self.values(case, "psm", metric), other)
