# SPDX-License-Identifier: Apache-2.0
"""DISK, a detector and descriptor of image keypoints, as a numpy forward pass.

Source: Tyszkiewicz et al., "DISK: Learning local features with policy gradient" (NeurIPS 2020):
a U-Net of four levels below the image, 5 x 5 convolutions, instance norm and PReLU before each
but the first. Images are float32 [H, W, channels].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVELS = 4
WINDOW = 5
"""Side of the square in which a keypoint is the only largest value of the heat map."""


@dataclass(frozen=True)
class Features:
    """Keypoints (x, y) in pixels [N, 2], unit descriptors [N, D], both float32, and the image's
    (width, height)."""

    keypoints: np.ndarray
    descriptors: np.ndarray
    size: tuple[int, int]


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolution with zeros around: x [H, W, in], weight [out, in, n, n] -> [H, W, out]."""
    height, width, _ = x.shape
    n = weight.shape[2]
    padded = np.pad(x, ((n // 2,) * 2, (n // 2,) * 2, (0, 0)))
    out = np.zeros((height, width, len(weight)), np.float32)
    for i in range(n):
        for j in range(n):
            tap = np.ascontiguousarray(weight[:, :, i, j].T)
            out += padded[i : i + height, j : j + width] @ tap
    return out + bias


def gate(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Instance norm over the pixels of each channel, then PReLU with a slope for each channel."""
    x = x - x.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    variance = (x * x).mean(axis=(0, 1), dtype=np.float64)
    x = x / np.sqrt(variance + 1e-5).astype(np.float32)
    return np.where(x >= 0, x, x * slope)


def halve(x: np.ndarray) -> np.ndarray:
    """Means of blocks of 2 x 2 pixels."""
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def double(x: np.ndarray) -> np.ndarray:
    """Bilinear enlargement by 2; new pixels lie at quarters between old ones, edges repeat."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        before = np.concatenate([x[:1], x[:-1]])
        after = np.concatenate([x[1:], x[-1:]])
        out = np.empty((2 * len(x), *x.shape[1:]), x.dtype)
        out[0::2], out[1::2] = (3 * x + before) / 4, (3 * x + after) / 4
        x = np.moveaxis(out, 0, axis)
    return x


def maxima(heat: np.ndarray, limit: int | None) -> np.ndarray:
    """Pixels (row, column) [N, 2] in raster order, above 0 and above all others in their WINDOW,
    which has to lie within the image; of more than limit the strongest."""
    edge = WINDOW // 2
    inner = heat[edge:-edge, edge:-edge]
    peak = inner > 0
    for i in range(WINDOW):
        for j in range(WINDOW):
            if (i, j) != (edge, edge):
                peak &= inner > heat[i : i + inner.shape[0], j : j + inner.shape[1]]
    found = np.argwhere(peak) + edge
    if limit is not None and len(found) > limit:
        order = np.argsort(-heat[tuple(found.T)], kind="stable")[:limit]
        found = found[np.sort(order)]
    return found


class Disk:
    """DISK from the weights by name of its checkpoint."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights = weights

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        """Norm, PReLU and convolution of the named block."""
        w = self.weights
        return convolve(gate(x, w[f"{name}.1.weight"]), w[f"{name}.3.weight"], w[f"{name}.3.bias"])

    def trunk(self, image: np.ndarray) -> np.ndarray:
        """What enters the last convolution; H and W are multiples of 16."""
        w = self.weights
        first = "unet.path_down.0.1.3"
        maps = [image, convolve(image, w[f"{first}.weight"], w[f"{first}.bias"])]
        for level in range(1, LEVELS + 1):
            maps.append(self.block(f"unet.path_down.{level}.1", halve(maps[-1])))
        x = maps.pop()
        for level in range(LEVELS):
            x = np.concatenate([double(x), maps.pop()], axis=2)
            if level < LEVELS - 1:
                x = self.block(f"unet.path_up.{level}.conv", x)
        return gate(x, w[f"unet.path_up.{LEVELS - 1}.conv.1.weight"])

    def detect(self, image: np.ndarray, limit: int | None = None) -> Features:
        """Keypoints of an RGB image [H, W, 3] in 0..1, at most limit of them.

        The last convolution makes the heat map, its last channel, everywhere, and the descriptors
        at the keypoints only.
        """
        height, width, _ = image.shape
        fill = [(0, -n % 2**LEVELS) for n in (height, width)]
        x = self.trunk(np.pad(image, (*fill, (0, 0))).astype(np.float32))
        last = f"unet.path_up.{LEVELS - 1}.conv.3"
        weight, bias = self.weights[f"{last}.weight"], self.weights[f"{last}.bias"]
        heat = convolve(x, weight[-1:], bias[-1:])[:height, :width, 0]
        found = maxima(heat, limit)
        n = weight.shape[2]
        padded = np.pad(x, ((n // 2,) * 2, (n // 2,) * 2, (0, 0)))
        around = np.stack([
            padded[found[:, 0] + i, found[:, 1] + j] for i in range(n) for j in range(n)
        ], axis=1)
        kernel = weight[:-1].transpose(2, 3, 1, 0).reshape(-1, len(weight) - 1)
        described = around.reshape(len(found), -1) @ kernel + bias[:-1]
        described /= np.linalg.norm(described, axis=1, keepdims=True)
        return Features(found[:, ::-1].astype(np.float32), described, (width, height))
