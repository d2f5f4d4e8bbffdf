"""Where labels go beside their marks, so that no text lies on another text or on a mark.

Each label in turn takes the best of its candidate places: close by in sixteen directions, then farther and farther out
with a thin leader back to its mark. All lengths are in points (1/72 inch), from a panel's lower left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_GAPS = (1.5, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0, 46.0, 56.0, 67.0, 80.0)
_DIRECTIONS = 16
_LEADER_FROM = 4.5  # labels as close as this stand without one
_PADDING = 0.8  # that texts keep from each other, and from the frame
# What a place costs, in points of distance: each point of a line's length that the text would lie on, a leader that
# crosses another one, and one that runs over foreign marks.
_LINE, _CROSSING, _OVER_MARKS = 0.7, 30.0, 25.0
_SAMPLES = np.linspace(0.0, 1.0, 16)
_ATTEMPTS = 8


@dataclass(frozen=True)
class Label:
    """A text of a width and height that wants to stand at a mark of a radius, in (x, y)."""

    x: float
    y: float
    radius: float
    width: float
    height: float


@dataclass(frozen=True)
class Place:
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
) -> list[Place | None]:
    """A place for each label within a panel, None where there is no room for one.

    The first labels choose first. If some find no room, there is another attempt, in which those choose before the
    others that have failed more often; the best attempt counts.

    Args:
        labels: what to place.
        marks: x, y and radius of everything that no text may cover.
        lines: points along each line; texts rather keep off them.
        width: of the panel; texts stay inside.
        height: of the panel.
    """
    failures = [0] * len(labels)
    best: list[Place | None] = [None] * len(labels)
    for _ in range(_ATTEMPTS):
        room = _Room(marks, lines, width, height)
        order = sorted(range(len(labels)), key=lambda index: -failures[index])
        found = {index: room.take(labels[index]) for index in order}
        places = [found[index] for index in range(len(labels))]
        if places.count(None) < best.count(None):
            best = places
        if None not in places:
            break
        failures = [failed + (place is None) for failed, place in zip(failures, places, strict=True)]
    return best


class _Room:
    """What is free in a panel while labels are placed one after the other."""

    def __init__(
        self,
        marks: Sequence[tuple[float, float, float]],
        lines: Sequence[Sequence[tuple[float, float]]],
        width: float,
        height: float,
    ) -> None:
        circles = np.array(marks, dtype=float).reshape(-1, 3)
        self._marks = np.concatenate([circles[:, :2] - circles[:, 2:], circles[:, :2] + circles[:, 2:]], axis=1)
        self._texts = np.empty((0, 4))
        self._under = np.concatenate([np.empty((0, 2)), *(_along(line) for line in lines)])
        self._leaders = np.empty((0, 2, 2))
        self._size = width, height

    def take(self, label: Label) -> Place | None:
        """The best free place for a label, which is not free afterwards."""
        centres, gaps = _candidates(label)
        half = np.array([label.width, label.height]) / 2
        boxes = np.concatenate([centres - half - _PADDING, centres + half + _PADDING], axis=1)
        is_free = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= self._size).all(1)
        is_free &= ~_overlap(boxes, np.concatenate([self._marks, self._texts])).any(1)
        is_free &= ~_holds(boxes, _points_on(self._leaders)).any(1)
        centres, gaps, boxes = centres[is_free], gaps[is_free], boxes[is_free]
        leaders, is_led = _leaders(label, centres, half), gaps > _LEADER_FROM
        costs = gaps + _awkwardness(centres, label) + _LINE * _holds(boxes, self._under).sum(1)
        costs += _CROSSING * is_led * _cross(leaders, self._leaders).sum(1)
        is_own = _holds(self._marks, np.array([[label.x, label.y]]))[:, 0]
        costs += _OVER_MARKS * is_led * _touch(leaders, self._marks[~is_own])
        costs[is_led & _touch(leaders, self._texts)] = math.inf
        if not np.isfinite(costs).any():
            return None
        best = int(costs.argmin())
        self._texts = np.concatenate([self._texts, boxes[best : best + 1]])
        x, y = centres[best].tolist()
        if not is_led[best]:
            return Place(x, y, None)
        self._leaders = np.concatenate([self._leaders, leaders[best : best + 1]])
        (start_x, start_y), (end_x, end_y) = leaders[best].tolist()
        return Place(x, y, ((start_x, start_y), (end_x, end_y)))


def _candidates(label: Label) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the label's candidate places, [places, 2], and how far each is from its mark's edge, [places]."""
    angles = np.arange(_DIRECTIONS) * 2 * math.pi / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The text hangs on the end of the direction by its nearest side or corner.
    hangs = np.clip(directions * 1.5, -1, 1) * (label.width / 2, label.height / 2)
    gaps = np.repeat(_GAPS, _DIRECTIONS)
    directions, hangs = np.tile(directions, (len(_GAPS), 1)), np.tile(hangs, (len(_GAPS), 1))
    return (label.x, label.y) + directions * (label.radius + gaps)[:, None] + hangs, gaps


def _leaders(label: Label, centres: np.ndarray, half: np.ndarray) -> np.ndarray:
    """From the nearest point of each candidate's text to the edge of its mark, [places, 2 ends, 2]."""
    mark = np.array([label.x, label.y])
    starts = np.clip(mark, centres - half, centres + half)
    away = starts - mark
    length = np.linalg.norm(away, axis=1, keepdims=True)
    ends = mark + away * np.minimum(label.radius / np.maximum(length, 1e-9), 1)
    return np.stack([starts, ends], axis=1)


def _awkwardness(centres: np.ndarray, label: Label) -> np.ndarray:
    """What to prefer among places as close: right of the mark, then left, above, below."""
    x, y = ((centres - (label.x, label.y)) / (label.width / 2 + label.radius, label.height / 2 + label.radius)).T
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


def _touch(segments: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which segments [n, 2 ends, 2] run over any of the boxes [m, 4]: [n]."""
    touched = _holds(boxes, _points_on(segments)).any(0)
    return np.asarray(touched.reshape(len(segments), len(_SAMPLES)).any(1))


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

    def side(line: np.ndarray, points: np.ndarray) -> np.ndarray:
        along, to = line[:, 1] - line[:, 0], points - line[:, 0]
        return along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0] > 0

    first = np.broadcast_to(segments[:, None], (len(segments), len(others), 2, 2)).reshape(-1, 2, 2)
    second = np.broadcast_to(others[None], (len(segments), len(others), 2, 2)).reshape(-1, 2, 2)
    parted = side(first, second[:, 0]) != side(first, second[:, 1])
    parting = side(second, first[:, 0]) != side(second, first[:, 1])
    return (parted & parting).reshape(len(segments), len(others))
