"""Where labels go beside their marks, so that no text lies on another text or on a mark.

Each label in turn takes the best of its candidates: close by in sixteen directions, then farther and farther out with a
thin leader back to its mark. All lengths are in points (1/72 inch), from a panel's lower left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

_GAPS = (1.5, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0, 46.0, 56.0, 67.0, 80.0)
_DIRECTIONS = 16
_LEADER_FROM = 4.5  # labels as close as this stand without one
_PADDING = 0.8  # that texts keep from each other, and from the frame
# What a position costs, in points of distance: each point of a line's length that the text would lie on, a leader that
# crosses another one, and one that runs over foreign marks.
_LINE, _CROSSING, _OVER_MARKS = 0.7, 30.0, 25.0
_SAMPLES = np.linspace(0.0, 1.0, 16)
_ATTEMPTS, _ATTEMPTS_IN_VAIN = 8, 2


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

    Those that are to be first choose first, then the others in their order. If some find no room, there is another
    attempt, in which those choose before others of their rank that have failed more often, until two in a row are no
    better; the best attempt counts.

    Args:
        labels: what to place.
        marks: x, y and radius of everything that no text may cover.
        lines: points along each line; texts rather keep off them.
        width: of the panel; texts stay inside.
        height: of the panel.
    """
    failures, in_vain = [0] * len(labels), 0
    best: list[Placement | None] = [None] * len(labels)
    panel = _Panel(marks, lines, width, height)
    candidates = [panel.candidates(label) for label in labels]
    for _ in range(_ATTEMPTS):
        room = _Room()
        order = sorted(range(len(labels)), key=lambda index: (not labels[index].is_first, -failures[index]))
        by_index = {index: room.place_label(candidates[index]) for index in order}
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
        reach: the box around all texts and leaders, [4].
        lines: points of lines within reach, [points, 2].
        foreign: boxes of other marks within reach, [marks, 4].
    """

    label: Label
    centers: np.ndarray
    gaps: np.ndarray
    boxes: np.ndarray
    leaders: np.ndarray
    reach: np.ndarray
    lines: np.ndarray
    foreign: np.ndarray

    @cached_property
    def is_led(self) -> np.ndarray:
        """Whether there is to be a leader, [candidates]."""
        return np.asarray(self.gaps > _LEADER_FROM)

    @cached_property
    def costs(self) -> np.ndarray:
        """What each costs whatever other labels do, [candidates]; only labels that find room need it."""
        under = _LINE * _holds(self.boxes, self.lines).sum(1)
        over_marks = _OVER_MARKS * self.is_led * _touch(self.leaders, self.foreign)
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
        centers, gaps = _candidate_centers(label)
        half = np.array([label.width, label.height]) / 2
        boxes = np.concatenate([centers - half - _PADDING, centers + half + _PADDING], axis=1)
        is_free = np.asarray((boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= self._size).all(1))
        is_free[is_free] = ~_overlap(boxes[is_free], self._marks).any(1)
        centers, gaps, boxes = centers[is_free], gaps[is_free], boxes[is_free]
        leaders = _leaders(label, centers, half)
        is_own = _holds(self._marks, np.array([[label.x, label.y]]))[:, 0]
        reach = _around(boxes[:, :2], boxes[:, 2:], leaders.reshape(-1, 2))
        lines = self._lines[_meet(self._lines[:, [0, 1, 0, 1]], reach)]
        foreign = self._marks[~is_own & _meet(self._marks, reach)]
        return _Candidates(label, centers, gaps, boxes, leaders, reach, lines, foreign)


class _Room:
    """The labels of a panel that have their placements, one after the other."""

    def __init__(self) -> None:
        self._texts = np.empty((0, 4))
        self._leaders = np.empty((0, 2, 2))
        self._leaders_around = np.empty((0, 4))

    def place_label(self, candidates: _Candidates) -> Placement | None:
        """Takes the best of the candidates that are still free."""
        if not len(candidates.boxes):
            return None
        texts = self._texts[_meet(self._texts, candidates.reach)]
        leaders = self._leaders[_meet(self._leaders_around, candidates.reach)]
        free = np.flatnonzero(~_overlap(candidates.boxes, texts).any(1))
        free = free[~_holds(candidates.boxes[free], _points_on(leaders)).any(1)]
        is_led = candidates.is_led[free]
        is_blocked = is_led & _touch(candidates.leaders[free], texts)
        free, is_led = free[~is_blocked], is_led[~is_blocked]
        if not len(free):
            return None
        crossings = is_led * _cross(candidates.leaders[free], leaders).sum(1)
        costs = candidates.costs[free] + _CROSSING * crossings
        best = int(costs.argmin())
        chosen = free[best : best + 1]
        self._keep(candidates.boxes[chosen], candidates.leaders[chosen[is_led[best : best + 1]]])
        ((x, y),) = candidates.centers[chosen].tolist()
        (((start_x, start_y), (end_x, end_y)),) = candidates.leaders[chosen].tolist()
        return Placement(x, y, ((start_x, start_y), (end_x, end_y)) if is_led[best] else None)

    def _keep(self, boxes: np.ndarray, leaders: np.ndarray) -> None:
        """Adds texts [n, 4] and leaders [m, 2 ends, 2]."""
        self._texts = np.concatenate([self._texts, boxes])
        self._leaders = np.concatenate([self._leaders, leaders])
        around = np.concatenate([leaders.min(1), leaders.max(1)], axis=1)
        self._leaders_around = np.concatenate([self._leaders_around, around])


def _candidate_centers(label: Label) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the label's candidates, [candidates, 2], and how far each is from its mark's edge, [candidates]."""
    angles = np.arange(_DIRECTIONS) * 2 * math.pi / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The text hangs on the end of the direction by its nearest side or corner.
    hangs = np.clip(directions * 1.5, -1, 1) * (label.width / 2, label.height / 2)
    gaps = np.repeat(_GAPS, _DIRECTIONS)
    directions, hangs = np.tile(directions, (len(_GAPS), 1)), np.tile(hangs, (len(_GAPS), 1))
    return (label.x, label.y) + directions * (label.radius + gaps)[:, None] + hangs, gaps


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
    return np.asarray(((boxes[:, :2] <= box[2:]) & (boxes[:, 2:] >= box[:2])).all(1))


def _touch(segments: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which segments [n, 2 ends, 2] run over any of the boxes [m, 4]: [n]."""
    points = _points_on(segments).reshape(len(segments), len(_SAMPLES), 2)
    around = np.concatenate([points.min(1), points.max(1)], axis=1)
    segment, box = np.nonzero(_overlap(around, boxes))
    left, bottom, right, top = boxes[box].T[:, :, None]
    x, y = points[segment, :, 0], points[segment, :, 1]
    over = ((left < x) & (x < right) & (bottom < y) & (y < top)).any(1)
    touched = np.zeros(len(segments), bool)
    touched[segment[over]] = True
    return touched


def _points_on(segments: np.ndarray) -> np.ndarray:
    """Sixteen points on each segment, [n, 2 ends, 2] -> [16 n, 2]."""
    return (segments[:, None, 0] + (segments[:, 1] - segments[:, 0])[:, None] * _SAMPLES[:, None]).reshape(-1, 2)


def _along(line: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points a point apart along a line, [n, 2]."""
    corners = np.array(line, dtype=float)
    parts = []
    for start, end in pairwise(corners):
        steps = np.linspace(0.0, 1.0, max(2, math.ceil(float(np.linalg.norm(end - start)))))
        parts.append(start + (end - start) * steps[:, None])
    return np.concatenate([np.empty((0, 2)), *parts])


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
