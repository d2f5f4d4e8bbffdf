"""Where labels go beside their marks, so that no text lies on another text or on a mark.

Each label in turn takes the best of its candidates: close by in sixteen directions, then farther and farther out with a
thin leader back to its mark. All lengths are in points (1/72 inch), from a panel's lower left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

_DIRECTIONS = 16
_DISTANCES = (1.5, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0, 46.0, 56.0, 67.0, 80.0)
# Of each candidate, how far its text is from the mark's edge, [candidates], and in which direction, [candidates, 2].
_GAPS = np.repeat(_DISTANCES, _DIRECTIONS)
_TOWARDS = np.tile(
    [(math.cos(turn * math.tau / _DIRECTIONS), math.sin(turn * math.tau / _DIRECTIONS)) for turn in range(_DIRECTIONS)],
    (len(_DISTANCES), 1),
)
_HANGS = np.clip(_TOWARDS * 1.5, -1, 1) / 2  # the text hangs on the end of the direction by its nearest side or corner
_LEADER_FROM = 4.5  # labels as close as this stand without one
_PADDING = 0.8  # that texts keep from each other, and from the frame; leaders keep half of it from texts
# What a position costs, in points of distance: each point of a line's length that the text would lie on, a leader that
# crosses another one, and one that runs over foreign marks.
_LINE, _CROSSING, _OVER_MARKS = 0.7, 30.0, 25.0
_STEP = 3.0  # between samples of a line
_ATTEMPTS, _ATTEMPTS_IN_VAIN = 8, 4


@dataclass(frozen=True)
class Label:
    """A text of a width and height that wants to stand at a mark of a radius, in (x, y).

    `is_first`: it chooses before those that are not, whatever room these find.
    """

    x: float
    y: float
    radius: float
    width: float
    height: float
    is_first: bool = False


@dataclass(frozen=True)
class Placement:
    """The middle of a text, and the two ends of its leader: at the text and at the mark."""

    x: float
    y: float
    leader: tuple[tuple[float, float], tuple[float, float]] | None


def place_labels(
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float, float]],
    lines: Sequence[Sequence[tuple[float, float]]],
    width: float,
    height: float,
) -> list[Placement | None]:
    """A placement for each label within a panel, None where there is no room for one.

    Those that are to be first choose before the others, and in both ranks those with the fewest candidates. If some
    find no room, there is another attempt, in which those that have failed most often choose first in their rank, until
    several attempts in a row are no better; the best one counts.

    Args:
        labels: what to place.
        marks: x, y and radius of everything that no text may cover.
        lines: points along each line; texts rather keep off them.
        width: of the panel; texts stay inside.
        height: of the panel.
    """
    if not labels:
        return []
    failures, in_vain = [0] * len(labels), 0
    best: list[Placement | None] = [None] * len(labels)
    panel = _Panel(marks, lines, width, height)
    candidates = [panel.candidates(label) for label in labels]
    for _ in range(_ATTEMPTS):
        room = _Room(candidates)
        ranks = [
            (not label.is_first, -failed, len(own.boxes))
            for label, failed, own in zip(labels, failures, candidates, strict=True)
        ]
        order = sorted(range(len(labels)), key=ranks.__getitem__)
        by_index = {index: room.place_label(index) for index in order}
        placements = [by_index[index] for index in range(len(labels))]
        if _unplaced(labels, placements) < _unplaced(labels, best):
            best, in_vain = placements, 0
        else:
            in_vain += 1
        if None not in placements or in_vain == _ATTEMPTS_IN_VAIN:
            break
        failures = [failed + (placement is None) for failed, placement in zip(failures, placements, strict=True)]
    return best


def _unplaced(labels: Sequence[Label], placements: Sequence[Placement | None]) -> tuple[int, int]:
    """How many labels found no room: of those that are to be first, and of all."""
    missing = [label for label, placement in zip(labels, placements, strict=True) if placement is None]
    return sum(label.is_first for label in missing), len(missing)


@dataclass(frozen=True)
class _Candidates:
    """The candidates of a label that lie within the panel and on no mark.

    Args:
        label: what is to be placed.
        centers: middles of the text, [candidates, 2].
        gaps: how far the text is from the mark's edge, [candidates].
        boxes: the text with its padding, [candidates, 4].
        leaders: [candidates, 2 ends, 2].
        lines: samples of lines in the box around all candidates and leaders, [samples, 2].
        foreign: boxes of other marks in that box, [marks, 4].
    """

    label: Label
    centers: np.ndarray
    gaps: np.ndarray
    boxes: np.ndarray
    leaders: np.ndarray
    lines: np.ndarray
    foreign: np.ndarray

    @cached_property
    def is_led(self) -> np.ndarray:
        """Whether there is to be a leader, [candidates]."""
        return np.asarray(self.gaps > _LEADER_FROM)

    @cached_property
    def costs(self) -> np.ndarray:
        """What each costs whatever other labels do, [candidates]; only labels that find room need it."""
        under = _LINE * _STEP * _holds(self.boxes, self.lines).sum(1)
        over_marks = _OVER_MARKS * self.is_led * _touch(self.leaders, self.foreign).any(1)
        return np.asarray(self.gaps + _awkwardness(self.centers, self.label) + under + over_marks)


class _Panel:
    """What is in a panel before there are labels."""

    def __init__(
        self,
        marks: Sequence[tuple[float, float, float]],
        lines: Sequence[Sequence[tuple[float, float]]],
        width: float,
        height: float,
    ) -> None:
        circles = np.array(marks, dtype=float).reshape(-1, 3)
        self._marks = np.concatenate([circles[:, :2] - circles[:, 2:], circles[:, :2] + circles[:, 2:]], axis=1)
        self._lines = np.concatenate([np.empty((0, 2)), *(_along(line) for line in lines)])
        self._size = width, height

    def candidates(self, label: Label) -> _Candidates:
        """The placements that a label could have if it were the only one."""
        size = np.array([label.width, label.height])
        centers = (label.x, label.y) + _TOWARDS * (label.radius + _GAPS)[:, None] + _HANGS * size
        half = size / 2
        left, bottom = (centers - half - _PADDING).T
        right, top = (centers + half + _PADDING).T
        inside = (left >= 0) & (bottom >= 0) & (right <= self._size[0]) & (top <= self._size[1])
        centers, gaps = centers[inside], _GAPS[inside]
        boxes = np.stack([left, bottom, right, top], axis=1)[inside]
        near = self._marks[_meet(self._marks, _around(boxes[:, :2], boxes[:, 2:]))]
        is_free = ~_overlap(boxes, near).any(1)
        centers, gaps, boxes = centers[is_free], gaps[is_free], boxes[is_free]
        leaders = _leaders(label, centers, half)
        is_own = _holds(self._marks, np.array([[label.x, label.y]]))[:, 0]
        reach = _around(boxes[:, :2], boxes[:, 2:], leaders.reshape(-1, 2))
        lines = self._lines[_meet(self._lines[:, [0, 1, 0, 1]], reach)]
        foreign = self._marks[~is_own & _meet(self._marks, reach)]
        return _Candidates(label, centers, gaps, boxes, leaders, lines, foreign)


class _Room:
    """The candidates of all labels of a panel that are still free, while one label after the other is placed."""

    def __init__(self, candidates: Sequence[_Candidates]) -> None:
        self._candidates = candidates
        self._starts = list(accumulate((len(own.boxes) for own in candidates), initial=0))
        # Boxes are kept by columns, each of which is compared as a whole.
        self._boxes = np.asfortranarray(np.concatenate([own.boxes for own in candidates]))
        self._texts = np.add(self._boxes, np.array((0.5, 0.5, -0.5, -0.5)) * _PADDING, order="F")
        self._leaders = np.concatenate([own.leaders for own in candidates])
        self._is_led = np.concatenate([own.is_led for own in candidates])
        self._around = np.asfortranarray(np.concatenate([self._leaders.min(1), self._leaders.max(1)], axis=1))
        self._is_free = np.ones(len(self._boxes), bool)
        self._crossings = np.zeros(len(self._boxes))

    def place_label(self, index: int) -> Placement | None:
        """Takes the best of a label's candidates that are still free."""
        own, start, end = self._candidates[index], self._starts[index], self._starts[index + 1]
        (free,) = self._is_free[start:end].nonzero()
        if not len(free):
            return None
        costs = own.costs[free] + _CROSSING * self._crossings[start + free]
        best = free[costs.argmin()]
        self._is_free[start:end] = False
        self._take(start + best)
        x, y = own.centers[best].tolist()
        (start_x, start_y), (end_x, end_y) = own.leaders[best].tolist()
        return Placement(x, y, ((start_x, start_y), (end_x, end_y)) if own.is_led[best] else None)

    def _take(self, chosen: int) -> None:
        """Rules out what would lie on a candidate's text or leader, or under it; counts what would cross the leader."""
        text, leader, around = self._texts[chosen], self._leaders[chosen : chosen + 1], self._around[chosen]
        self._is_free &= ~_overlap(self._boxes, self._boxes[chosen, None])[:, 0]
        (near,) = (self._is_free & self._is_led & _meet(self._around, text)).nonzero()
        self._is_free[near] = ~_touch(self._leaders[near], text[None])[:, 0]
        if self._is_led[chosen]:
            (near,) = (self._is_free & _meet(self._texts, around)).nonzero()
            self._is_free[near] = ~_touch(leader, self._texts[near])[0]
            (near,) = (self._is_free & self._is_led & _meet(self._around, around)).nonzero()
            self._crossings[near] += _cross(self._leaders[near], leader)[:, 0]


def _leaders(label: Label, centers: np.ndarray, half: np.ndarray) -> np.ndarray:
    """From the nearest point of each candidate's text to the edge of its mark, [candidates, 2 ends, 2]."""
    mark = np.array([label.x, label.y])
    starts = np.clip(mark, centers - half, centers + half)
    away = starts - mark
    length = np.linalg.norm(away, axis=1, keepdims=True)
    ends = mark + away * np.minimum(label.radius / np.maximum(length, 1e-9), 1)
    return np.stack([starts, ends], axis=1)


def _awkwardness(centers: np.ndarray, label: Label) -> np.ndarray:
    """What to prefer among candidates as close: right of the mark, then left, above, below."""
    x, y = ((centers - (label.x, label.y)) / (label.width / 2 + label.radius, label.height / 2 + label.radius)).T
    return np.where(x > 0, 0.0, 0.6) + np.where(y >= -1e-9, 0.0, 0.4) + np.abs(y).clip(0, 1) * 0.8


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes [n, 4] (left, bottom, right, top) overlap which others [m, 4]: [n, m]."""
    left, bottom, right, top = boxes.T[:, :, None]
    other_left, other_bottom, other_right, other_top = others.T[:, None]
    return (left < other_right) & (right > other_left) & (bottom < other_top) & (top > other_bottom)


def _holds(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which boxes [n, 4] hold which points [m, 2]: [n, m]."""
    left, bottom, right, top = boxes.T[:, :, None]
    x, y = points.T[:, None]
    return (left < x) & (x < right) & (bottom < y) & (y < top)


def _around(*points: np.ndarray) -> np.ndarray:
    """The box around all points [n, 2], [4]."""
    every = np.concatenate(points)
    if not len(every):
        return np.zeros(4)
    return np.concatenate([every.min(0), every.max(0)])


def _meet(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Which boxes [n, 4] touch one other box [4]: [n]."""
    left, bottom, right, top = boxes.T
    return (left <= box[2]) & (bottom <= box[3]) & (right >= box[0]) & (top >= box[1])


def _touch(segments: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which segments [n, 2 ends, 2] run over which boxes [m, 4]: [n, m]."""
    (start_x, start_y), (end_x, end_y) = segments.transpose(1, 2, 0)[..., None]
    left, bottom, right, top = boxes.T[:, None]
    are_near = (np.minimum(start_x, end_x) < right) & (np.maximum(start_x, end_x) > left)
    are_near &= (np.minimum(start_y, end_y) < top) & (np.maximum(start_y, end_y) > bottom)
    # Corners of a box are on two sides of a line unless its middle is too far from it.
    x, y = end_x - start_x, end_y - start_y
    middle = x * (bottom + top - 2 * start_y) - y * (left + right - 2 * start_x)
    return are_near & (np.abs(middle) < np.abs(y) * (right - left) + np.abs(x) * (top - bottom))


def _along(line: Sequence[tuple[float, float]]) -> np.ndarray:
    """Samples along a line, at most `_STEP` apart, [n, 2]."""
    xs, ys = np.array(line, dtype=float).T
    way = np.concatenate([[0.0], np.hypot(np.diff(xs), np.diff(ys)).cumsum()])
    count = math.ceil(way[-1] / _STEP)
    at = (np.arange(count) + 0.5) * way[-1] / max(count, 1)
    return np.stack([np.interp(at, way, xs), np.interp(at, way, ys)], axis=1)


def _cross(segments: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which segments [n, 2 ends, 2] cross which others [m, 2 ends, 2]: [n, m]."""

    def parts(line: np.ndarray, segment: np.ndarray) -> np.ndarray:
        """Whether the ends of a segment are on two sides of a line."""
        along = line[..., 1, :] - line[..., 0, :]
        ends = (segment[..., end, :] - line[..., 0, :] for end in (0, 1))
        start_is_left, end_is_left = (along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0] > 0 for to in ends)
        return start_is_left != end_is_left

    first, second = segments[:, None], others[None]
    return parts(first, second) & parts(second, first)
