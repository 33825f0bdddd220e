"""Batch normalization by its formulas, in 60 decimal digits.

Nothing here is fast and nothing is shared with the library. Gradients are central differences of
the forward pass: with this many digits they are exact for all purposes, and no formula of a
backward pass is needed.
"""

import itertools
import math
from decimal import Decimal, InvalidOperation, getcontext

getcontext().prec = 60
getcontext().traps[InvalidOperation] = False  # comparisons with NaN are false
STEP = Decimal("1e-20")  # of the differences: errors are about its square


class Array:
    """Row-major values of a shape."""

    def __init__(self, shape, values):
        self.shape = list(shape)
        self.values = [Decimal(value) for value in values]
        assert len(self.values) == math.prod(self.shape)

    def indices(self):
        return itertools.product(*(range(extent) for extent in self.shape))

    def at_broadcast(self, index):
        """The element that stands at `index` of a larger shape, by the rules of broadcasting."""
        index = index[len(index) - len(self.shape):]
        flat = 0
        for extent, i in zip(self.shape, index):
            flat = flat * extent + (i if extent > 1 else 0)
        return self.values[flat]


class Layer:
    """Options with Keras's names, and variables as lists of one value per channel."""

    def __init__(self, options, shape, variables):
        self.options = options
        axes = options["axis"] if isinstance(options["axis"], list) else [options["axis"]]
        self.axes = sorted(axis % len(shape) for axis in axes)
        self.channel_shape = [shape[axis] for axis in self.axes]
        self.num_channels = math.prod(self.channel_shape)
        self.variables = variables

    def channel_of(self, index):
        channel = 0
        for axis, extent in zip(self.axes, self.channel_shape):
            channel = channel * extent + index[axis]
        return channel

    def weight_of(self, index, inputs):
        weight = Decimal(1)
        if "batch_weights" in inputs:
            weight *= inputs["batch_weights"].values[index[0]]
        if "mask" in inputs:
            mask = inputs["mask"]
            weight *= mask.at_broadcast(index[: len(mask.shape)])
        return weight

    # What a batch is normalized by.

    def num_ghosts(self, x):
        size = self.options.get("virtual_batch_size")
        return x.shape[0] // size if size else 1

    def moments(self, x, inputs):
        """{(ghost batch, channel): (weight, mean, biased variance)}."""
        members = {(ghost, channel): [] for ghost in range(self.num_ghosts(x))
                   for channel in range(self.num_channels)}
        for index, value in zip(x.indices(), x.values):
            weight = self.weight_of(index, inputs)
            if weight != 0:  # selected, so that a weight of 0 hides what is no number
                key = (index[0] % self.num_ghosts(x), self.channel_of(index))
                members[key].append((weight, value))
        moments = {}
        for key, pairs in members.items():
            total = sum((weight for weight, _ in pairs), Decimal(0))
            mean = variance = Decimal(0)
            if total:
                mean = sum(weight * value for weight, value in pairs) / total
                variance = sum(weight * (value - mean) ** 2 for weight, value in pairs) / total
                mean += variance * 0  # NaN where a value is infinite
            moments[key] = (total, mean, variance)
        return moments

    def batch_moments(self, x, inputs):
        """Per channel (weight, mean, variance), averaged over the ghost batches that have any."""
        moments = self.moments(x, inputs)
        averages = []
        for channel in range(self.num_channels):
            every = [moments[ghost, channel] for ghost in range(self.num_ghosts(x))]
            some = [one for one in every if one[0]] or [(Decimal(0),) * 3]
            averages.append(tuple(sum(one[part] for one in some) / len(some) for part in range(3)))
        return averages

    def correction(self, x, inputs):
        """r and d of batch renormalization per channel."""
        if not self.options.get("renorm"):
            return [(Decimal(1), Decimal(0))] * self.num_channels
        clipping = self.options.get("renorm_clipping") or {}
        rmin, rmax, dmax = (None if clipping.get(key) is None else Decimal(clipping[key])
                            for key in ("rmin", "rmax", "dmax"))
        epsilon = Decimal(self.options["epsilon"])
        result = []
        for channel, (weight, mean, variance) in enumerate(self.batch_moments(x, inputs)):
            if not weight:
                result.append((Decimal(1), Decimal(0)))
                continue
            scale = max(self.variables["renorm_stddev"][channel], epsilon.sqrt())
            r = (variance + epsilon).sqrt() / scale
            d = (mean - self.variables["renorm_mean"][channel]) / scale
            r = max(r, rmin or Decimal(0))
            r = r if rmax is None else min(r, rmax)
            d = d if dmax is None else max(-dmax, min(d, dmax))
            result.append((r, d))
        return result

    # The forward pass.

    def uses_batch(self, training, trainable):
        frozen = not trainable and self.options.get("frozen_behavior", "inference") == "inference"
        return training and not frozen

    def forward(self, x, inputs, gamma, beta, correction):
        """y; `correction` is None where the moving statistics normalize."""
        epsilon = Decimal(self.options["epsilon"])
        moments = self.moments(x, inputs) if correction else None
        y = []
        for index, value in zip(x.indices(), x.values):
            channel = self.channel_of(index)
            r, d, s, b = Decimal(1), Decimal(0), Decimal(1), Decimal(0)
            if correction:
                weight, mean, variance = moments[index[0] % self.num_ghosts(x), channel]
                r, d = correction[channel]
                s = inputs["adj_scale"].at_broadcast(index) if "adj_scale" in inputs else s
                b = inputs["adj_bias"].at_broadcast(index) if "adj_bias" in inputs else b
                rho = 1 / (variance + epsilon).sqrt() if weight and variance + epsilon else 0
            else:
                mean = self.variables["moving_mean"][channel]
                rho = 1 / (self.variables["moving_variance"][channel] + epsilon).sqrt()
            result = (((value - mean) * rho * r + d) * s + b) * gamma[channel] + beta[channel]
            if self.options.get("activation") == "relu" and result < 0:
                result = Decimal(0)
            y.append(result)
        return y

    def call(self, inputs, training, trainable, momentum):
        """All results of one call; updates the moving statistics."""
        x = inputs["x"]
        is_batch = self.uses_batch(training, trainable)
        correction = self.correction(x, inputs) if is_batch else None
        gamma = self.variables.get("gamma", [Decimal(1)] * self.num_channels)
        beta = self.variables.get("beta", [Decimal(0)] * self.num_channels)

        def y_of(x=x, gamma=gamma, beta=beta):
            return self.forward(x, inputs, gamma, beta, correction)

        results = {"y": y_of()}
        if is_batch:
            moments = self.batch_moments(x, inputs)
            results["batch_mean"] = [mean for _, mean, _ in moments]
            results["batch_variance"] = [variance for _, _, variance in moments]
        if "dy" in inputs:
            self.differentiate(inputs, y_of, gamma, beta, results)
        if is_batch and trainable:
            self.update(moments, momentum)
        return results

    def differentiate(self, inputs, y_of, gamma, beta, results):
        x, dy = inputs["x"], inputs["dy"]
        channels = [self.channel_of(index) for index in x.indices()]
        # A hidden position that is no number stays out of the loss.
        counts = [value.is_finite() or self.weight_of(index, inputs) != 0
                  for index, value in zip(x.indices(), x.values)]

        def difference(name, values, position, channel, make=list):
            """Of the channel's part of the loss sum(dy * y); the other parts do not change."""
            losses = []
            for change in (STEP, -STEP):
                changed = values[:position] + [values[position] + change] + values[position + 1:]
                y = y_of(**{name: make(changed)})
                losses.append(sum(g * v for g, v, c, count in zip(dy.values, y, channels, counts)
                                  if count and c == channel))
            return (losses[0] - losses[1]) / (2 * STEP)

        results["dx"] = [
            difference("x", x.values, i, channels[i], lambda changed: Array(x.shape, changed))
            if counts[i] else Decimal(0) for i in range(len(x.values))]
        for name, values in (("gamma", gamma), ("beta", beta)):
            if name in self.variables:
                results["d" + name] = [difference(name, values, c, c)
                                       for c in range(self.num_channels)]

    # What a call leaves behind.

    def update(self, moments, momentum):
        v = self.variables
        epsilon = Decimal(self.options["epsilon"])

        def average(name, channel, new, weight_of_old):
            v[name][channel] = v[name][channel] * weight_of_old + new * (1 - weight_of_old)

        if not any(weight for weight, _, _ in moments):
            return
        is_debiased = self.options.get("zero_debias_moving_mean")
        if is_debiased:
            v["local_step"][0] += 1
        for channel, (weight, mean, variance) in enumerate(moments):
            if not weight:
                continue
            average("biased" if is_debiased else "moving_mean", channel, mean, momentum)
            if is_debiased:
                bias = 1 - momentum ** v["local_step"][0]
                v["moving_mean"][channel] = v["biased"][channel] / bias
            if self.options.get("renorm"):
                stddev = (variance + epsilon).sqrt()
                slow = Decimal(self.options.get("renorm_momentum", 0.99))
                average("renorm_mean", channel, mean, slow)
                average("renorm_stddev", channel, stddev, slow)
                average("moving_stddev", channel, stddev, momentum)
                v["moving_variance"][channel] = max(v["moving_stddev"][channel] ** 2 - epsilon, 0)
                continue
            if self.options.get("moving_variance") == "bessel":
                variance *= weight / max(weight - 1, 1)
            average("moving_variance", channel, variance, momentum)

    def penalty(self, name, values):
        """Its value and its gradient: l1 sum |w| + l2 sum w^2."""
        regularizer = self.options.get(name + "_regularizer") or {}
        l1, l2 = (Decimal(regularizer.get(key) or 0) for key in ("l1", "l2"))
        value = sum((l1 * abs(w) + l2 * w * w for w in values), Decimal(0))
        return value, [l1 * ((w > 0) - (w < 0)) + 2 * l2 * w for w in values]

    def constrained(self, name, values):
        """Norms over all channels; a norm becomes `wanted` by the factor wanted / (1e-7 + norm)."""
        constraint = self.options.get(name + "_constraint")
        if not constraint:
            return values
        if constraint["name"] == "non_neg":
            return [max(w, Decimal(0)) for w in values]
        norm = sum(w * w for w in values).sqrt()
        if constraint["name"] == "max_norm":
            wanted = min(norm, Decimal(constraint["max_value"]))
        elif constraint["name"] == "unit_norm":
            wanted = Decimal(1)
        else:
            rate = Decimal(constraint["rate"])
            inside = min(max(norm, Decimal(constraint["min_value"])),
                         Decimal(constraint["max_value"]))
            wanted = rate * inside + (1 - rate) * norm
        return [w * wanted / (Decimal("1e-7") + norm) for w in values]
