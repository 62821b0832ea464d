# SPDX-License-Identifier: Apache-2.0
"""DISK and LightGlue on tiny random weights against plain loops; known geometry."""

import math

import numpy as np
import pytest

from models.nets import LightGlue, disk, lightglue
from models.nets.common import dense
from models.nets.disk import Disk, Features

WIDTHS = (3, 2, 3, 4, 4, 4)
"""Channels of the image and of the five levels of the tiny U-Net."""

DESCRIPTOR = 6


def random(rng, *shape, scale=0.5):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def tiny_disk():
    rng = np.random.default_rng(1)
    w = {}

    def conv(name, out, into):
        w[f"{name}.weight"], w[f"{name}.bias"] = random(rng, out, into, 5, 5), random(rng, out)

    for level in range(5):
        into, out = WIDTHS[level : level + 2]
        conv(f"unet.path_down.{level}.1.3", out, into)
        if level:
            w[f"unet.path_down.{level}.1.1.weight"] = random(rng, into)
    below = WIDTHS[5]
    for level in range(4):
        into = below + WIDTHS[4 - level]
        below = DESCRIPTOR + 1 if level == 3 else 4
        conv(f"unet.path_up.{level}.conv.3", below, into)
        w[f"unet.path_up.{level}.conv.1.weight"] = random(rng, into)
    return Disk(w)


def tiny_lightglue():
    """Two layers, width 8, two heads of d = 4, descriptors of 6."""
    rng = np.random.default_rng(2)
    w = {"posenc.Wr.weight": random(rng, 2, 2, scale=2)}

    def linear(name, out, into):
        w[f"{name}.weight"], w[f"{name}.bias"] = random(rng, out, into), random(rng, out)

    linear("input_proj", 8, DESCRIPTOR)
    for i in range(2):
        linear(f"self_attn.{i}.Wqkv", 24, 8)
        linear(f"self_attn.{i}.out_proj", 8, 8)
        for name in ("to_qk", "to_v", "to_out"):
            linear(f"cross_attn.{i}.{name}", 8, 8)
        for kind in ("self_attn", "cross_attn"):
            linear(f"{kind}.{i}.ffn.0", 16, 16)
            w[f"{kind}.{i}.ffn.1.weight"] = random(rng, 16)
            w[f"{kind}.{i}.ffn.1.bias"] = random(rng, 16)
            linear(f"{kind}.{i}.ffn.3", 8, 16)
        linear(f"log_assignment.{i}.final_proj", 8, 8)
        linear(f"log_assignment.{i}.matchability", 1, 8)
    return LightGlue(parts=(2, w))


def tiny_pair():
    """Five and seven keypoints in an image of 40 x 30 pixels."""
    rng = np.random.default_rng(3)
    places = (rng.uniform(0, 30, (n, 2)).astype(np.float32) for n in (5, 7))
    return tuple(Features(xy, random(rng, len(xy), DESCRIPTOR), (40, 30)) for xy in places)


# ---- DISK -------------------------------------------------------------------------------------


def plain_convolve(x, weight, bias):
    """Pixel by pixel, in float64."""
    height, width, _ = x.shape
    out = np.tile(bias.astype(np.float64), (height, width, 1))
    for y in range(height):
        for c in range(width):
            for i in range(-2, 3):
                for j in range(-2, 3):
                    if 0 <= y + i < height and 0 <= c + j < width:
                        out[y, c] += weight[:, :, i + 2, j + 2] @ x[y + i, c + j]
    return out


def test_convolution_equals_plain():
    rng = np.random.default_rng(4)
    x, weight, bias = random(rng, 6, 9, 3), random(rng, 4, 3, 5, 5), random(rng, 4)
    np.testing.assert_allclose(disk.convolve(x, weight, bias), plain_convolve(x, weight, bias),
                               atol=1e-5)


def test_halve_and_double_by_hand():
    x = np.array([[1.0, 3, 5, 7], [2, 4, 6, 8]], np.float32)[:, :, None]
    assert disk.halve(x)[..., 0].tolist() == [[2.5, 6.5]]
    row = disk.double(np.array([[[0.0], [4]]], np.float32))[..., 0]
    assert row.tolist() == [[0, 1, 3, 4]] * 2


def test_gate_by_hand():
    x = np.array([[1.0, 3], [1, 3]], np.float32)[:, :, None]
    out = disk.gate(x, np.array([0.25], np.float32))[..., 0]
    np.testing.assert_allclose(out, [[-0.25, 1]] * 2, atol=1e-5)


def test_maxima_by_hand():
    heat = np.zeros((12, 14))
    heat[3, 4] = 5  # alone
    heat[3, 6] = 4  # two pixels from a larger one
    heat[8, 4] = heat[9, 5] = 3  # equal neighbours
    heat[1, 11] = 9  # its window reaches beyond the image
    heat[9, 11] = 2
    heat[5, 10] = 3
    assert disk.maxima(heat, None).tolist() == [[3, 4], [5, 10], [9, 11]]
    assert disk.maxima(heat, 2).tolist() == [[3, 4], [5, 10]]
    assert disk.maxima(-np.ones((12, 14)), None).shape == (0, 2)


def plain_gate(x, slope):
    """Channel by channel."""
    out = np.empty(x.shape)
    for c in range(x.shape[2]):
        y = (x[..., c] - x[..., c].mean()) / math.sqrt(x[..., c].var() + 1e-5)
        out[..., c] = np.where(y < 0, slope[c] * y, y)
    return out


def plain_double(x):
    """A new pixel lies at (i + 1/2) / 2 - 1/2 of the old ones, kept within them."""
    height, width, _ = x.shape
    out = np.empty((2 * height, 2 * width, x.shape[2]))
    for i, j in np.ndindex(out.shape[:2]):
        y, c = (min(max((p + 0.5) / 2 - 0.5, 0), n - 1) for p, n in ((i, height), (j, width)))
        y0, c0 = int(y), int(c)
        y1, c1 = min(y0 + 1, height - 1), min(c0 + 1, width - 1)
        upper = x[y0, c0] * (1 - c + c0) + x[y0, c1] * (c - c0)
        lower = x[y1, c0] * (1 - c + c0) + x[y1, c1] * (c - c0)
        out[i, j] = upper * (1 - y + y0) + lower * (y - y0)
    return out


def test_trunk_equals_plain():
    net = tiny_disk()
    image = np.random.default_rng(6).random((16, 32, 3)).astype(np.float32)
    w = {name.removeprefix("unet."): array for name, array in net.weights.items()}

    def conv(name, x):
        return plain_convolve(x, w[f"{name}.weight"], w[f"{name}.bias"])

    down = [image, conv("path_down.0.1.3", image)]
    for level in range(1, 5):
        x = down[-1]
        x = (x[0::2, 0::2] + x[0::2, 1::2] + x[1::2, 0::2] + x[1::2, 1::2]) / 4
        x = plain_gate(x, w[f"path_down.{level}.1.1.weight"])
        down.append(conv(f"path_down.{level}.1.3", x))
    x = down[5]
    for level in range(4):
        x = np.concatenate([plain_double(x), down[4 - level]], axis=2)
        x = plain_gate(x, w[f"path_up.{level}.conv.1.weight"])
        if level < 3:
            x = conv(f"path_up.{level}.conv.3", x)
    np.testing.assert_allclose(net.trunk(image), x, atol=1e-3)


def test_detection_equals_the_whole_map():
    net = tiny_disk()
    image = np.random.default_rng(5).random((29, 45, 3)).astype(np.float32)
    found = net.detect(image)
    assert found.size == (45, 29) and len(found.keypoints) > 3
    padded = np.zeros((32, 48, 3), np.float32)
    padded[:29, :45] = image
    w = net.weights
    full = disk.convolve(net.trunk(padded), w["unet.path_up.3.conv.3.weight"],
                         w["unet.path_up.3.conv.3.bias"])[:29, :45]
    places = disk.maxima(full[..., -1], None)
    assert np.array_equal(found.keypoints, places[:, ::-1])
    for (row, column), described in zip(places, found.descriptors, strict=True):
        vector = full[row, column, :-1].astype(np.float64)
        np.testing.assert_allclose(described, vector / math.sqrt((vector**2).sum()), atol=1e-5)
    strongest = net.detect(image, limit=2)
    kept = {tuple(point) for point in strongest.keypoints.tolist()}
    heat = {tuple(point): full[int(point[1]), int(point[0]), -1]
            for point in found.keypoints.tolist()}
    assert kept == set(sorted(heat, key=heat.get)[-2:])


# ---- LightGlue --------------------------------------------------------------------------------


def plain_lightglue(net, pair):
    """Log-assignment [N0, N1], head by head and row by row in float64."""
    w = {name: array.astype(np.float64) for name, array in net.weights.items()}

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def attention(q, k, v):
        out = np.zeros((len(q), v.shape[1]))
        for i, row in enumerate(q):
            p = np.exp([row @ key / math.sqrt(4) for key in k])
            out[i] = (p / p.sum()) @ v
        return out

    def update(block, x, message):
        h = linear(f"{block}.ffn.0", np.hstack([x, message]))
        h = np.array([(r - r.mean()) / math.sqrt(r.var() + 1e-5) for r in h])
        h = h * w[f"{block}.ffn.1.weight"] + w[f"{block}.ffn.1.bias"]
        h = np.array([[t * (1 + math.erf(t / math.sqrt(2))) / 2 for t in r] for r in h])
        return x + linear(f"{block}.ffn.3", h)

    def turn(x, features):
        place = (features.keypoints.astype(np.float64) - [20, 15]) / 20
        pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * place @ w["posenc.Wr.weight"].T)
        return np.stack([pairs.real, pairs.imag], axis=2).reshape(x.shape)

    xs = [linear("input_proj", features.descriptors) for features in pair]
    for i in range(2):
        for side in (0, 1):
            qkv = linear(f"self_attn.{i}.Wqkv", xs[side])
            heads = []
            for head in (0, 1):
                q, k, v = (qkv[:, 12 * head + part : 12 * head + 12 : 3] for part in range(3))
                heads.append(attention(turn(q, pair[side]), turn(k, pair[side]), v))
            message = linear(f"self_attn.{i}.out_proj", np.hstack(heads))
            xs[side] = update(f"self_attn.{i}", xs[side], message)
        qk = [linear(f"cross_attn.{i}.to_qk", x) for x in xs]
        v = [linear(f"cross_attn.{i}.to_v", x) for x in xs]
        messages = [
            np.hstack([attention(qk[a][:, s], qk[b][:, s], v[b][:, s])
                       for s in (slice(0, 4), slice(4, 8))])
            for a, b in ((0, 1), (1, 0))
        ]
        xs = [update(f"cross_attn.{i}", x, linear(f"cross_attn.{i}.to_out", m))
              for x, m in zip(xs, messages, strict=True)]
    p0, p1 = (linear("log_assignment.1.final_proj", x) for x in xs)
    score = p0 @ p1.T / math.sqrt(8)
    match0, match1 = (1 / (1 + np.exp(-linear("log_assignment.1.matchability", x))) for x in xs)
    rows = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    columns = np.exp(score) / np.exp(score).sum(axis=0, keepdims=True)
    return np.log(rows * columns * match0 * match1.T)


def test_assignment_equals_plain():
    net, pair = tiny_lightglue(), tiny_pair()
    np.testing.assert_allclose(net.forward(pair), plain_lightglue(net, pair), atol=1e-4)


def test_hook_sees_four_attentions_a_layer():
    net, pair = tiny_lightglue(), tiny_pair()
    calls = []
    out = net.forward(pair, lambda call: (calls.append(call), dense(call))[1])
    assert np.array_equal(out, net.forward(pair))
    assert [call.layer for call in calls] == [0] * 4 + [1] * 4
    assert {call.layers for call in calls} == {2} and net.n_layers == 2
    shapes = [(call.q.shape[1], call.k.shape[1], call.v.shape[1]) for call in calls]
    assert shapes == [(5, 5, 5), (7, 7, 7), (5, 7, 7), (7, 5, 5)] * 2
    assert not any(call.causal or call.projection for call in calls)


def test_images_without_keypoints_are_refused():
    first, second = tiny_pair()
    empty = Features(second.keypoints[:0], second.descriptors[:0], second.size)
    with pytest.raises(ValueError, match="image 1 has 0 keypoints, legal: 1 or more"):
        tiny_lightglue().forward((first, empty))


def test_streams_are_sessions():
    seen = []

    def start():
        mine = []
        seen.append(mine)
        return lambda call: (mine.append(call), dense(call))[1]

    tiny_lightglue().forward(tiny_pair(), lightglue.streams(start))
    assert len(seen) == lightglue.STREAMS
    for mine, shape in zip(seen, [(5, 5), (7, 7), (5, 7), (7, 5)], strict=True):
        assert [call.layer for call in mine] == [0, 1]
        assert {(call.q.shape[1], call.k.shape[1]) for call in mine} == {shape}


def test_match_is_mutual_and_likely(monkeypatch):
    p = np.array([[0.9, 0.2, 0.0], [0.5, 0.1, 0.8], [0.3, 0.05, 0.1], [0.1, 0.09, 0.2]])
    net = tiny_lightglue()
    monkeypatch.setattr(net, "forward", lambda pair, attend: np.log(p + 1e-9))
    assert net.match(None).tolist() == [[0, 0], [1, 2]]
    p[0, 0] = 0.05  # row 0 now likes column 1, whose best is row 0
    assert net.match(None).tolist() == [[0, 1], [1, 2]]
    p[0, 1] = 0.095  # likeliest of both, but below the threshold
    assert net.match(None).tolist() == [[1, 2]]


# ---- geometry ---------------------------------------------------------------------------------


def test_second_view_moves_pixels_as_the_homography_says():
    image = np.zeros((427, 640, 3), np.float32)
    places = np.array([[200.0, 150], [420, 300], [330, 90]])
    y, x = np.mgrid[:427, :640]
    for channel, (px, py) in enumerate(places):
        image[..., channel] = np.exp(-((x - px) ** 2 + (y - py) ** 2) / 50)
    view = lightglue.second_view(image)
    assert view.shape == image.shape and view.dtype == np.float32
    for channel, want in enumerate(lightglue.project(lightglue.WARP, places)):
        row, column = divmod(view[..., channel].argmax(), 640)
        assert abs(column - want[0]) <= 1 and abs(row - want[1]) <= 1
    grey = lightglue.second_view(np.full((427, 640, 3), 0.25, np.float32))
    np.testing.assert_allclose(grey, 0.25**lightglue.DARKER, atol=1e-6)


def test_view_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="homography: the view shows"):
        lightglue.second_view(np.zeros((20, 30, 3), np.float32), np.diag([0.5, 0.5, 1]))


def test_correct_and_agreement_by_hand():
    shift = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    first = Features(np.array([[0.0, 0], [5, 5]], np.float32), None, (40, 30))
    second = Features(np.array([[10.0, 3], [15, 8.5], [0, 0]], np.float32), None, (40, 30))
    matches = np.array([[0, 0], [1, 1], [1, 2]])
    assert lightglue.correct(matches, (first, second), shift).tolist() == [True, False, False]
    assert lightglue.agreement(matches, np.array([[0, 0], [1, 0]])) == (1 / 3, 1 / 2)
    none = np.zeros((0, 2), int)
    assert lightglue.agreement(none, matches) == (0, 0)
