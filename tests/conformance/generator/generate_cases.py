#!/usr/bin/env python3
"""Writes the group "formulas" into the folder given, ../cases by default.

Every option of batch normalization that the format knows, on inputs that are small, exact in
float32 (most in float16) and cut in every way over up to four ranks.
"""

import math
import random
import sys
from pathlib import Path

from formulas import Array
from group import Group

numbers = random.Random(20260)
group = Group("formulas", "Batch normalization by its formulas in 60 digits")


def values(*shape, low=-3.0, high=3.0, step=1 / 64):
    """Multiples of `step`."""
    count = math.prod(shape)
    return [numbers.randint(round(low / step), round(high / step)) * step for _ in range(count)]


def array(*shape, **limits):
    return Array(shape, values(*shape, **limits))


def step(*shape, backward=True, inputs=None, **rest):
    given = {"x": array(*shape, low=-2.0, high=4.0)}
    if backward:
        given["dy"] = array(*shape, low=-1.0, high=1.0)
    return {"in": given | (inputs or {}), **rest}


def splits_of(extent):
    """In one part; even, uneven and with empty ranks in all places."""
    if extent < 3:
        return [[extent], [0, extent], [extent - 1, 0, 1], [0, extent - 1, 1, 0]]
    return [[extent], [extent // 2, extent - extent // 2], [extent - 1, 1], [0, extent],
            [1, extent - 2, 1], [1, 0, extent - 1], [extent, 0, 0],
            [1, 0, extent - 2, 1], [0, 1, extent - 1, 0]]


def variables_of(count, renorm=False, zero_debias=False, gamma=True, beta=True):
    result = {}
    if gamma:
        result["gamma"] = values(count, low=0.5, high=2.0)
    if beta:
        result["beta"] = values(count, low=-1.0, high=1.0)
    result["moving_mean"] = values(count, low=-1.0, high=1.0)
    result["moving_variance"] = values(count, low=0.5, high=2.0)
    if renorm:
        result["moving_stddev"] = values(count, low=0.5, high=1.5)
        result["renorm_mean"] = values(count, low=0.0, high=1.0)
        result["renorm_stddev"] = values(count, low=0.75, high=1.75)
    if zero_debias:
        result["biased"] = [0.0] * count
        result["local_step"] = [0.0]
    return result


def options(**changed):
    return {"axis": -1, "momentum": 0.9, "epsilon": 0.001, **changed}


def add(name, opts, steps, variables=None, extent=None, **rest):
    """A case that is cut along axis 0 unless said otherwise."""
    x = steps[0]["in"]["x"].shape
    axes = opts["axis"] if isinstance(opts["axis"], list) else [opts["axis"]]
    count = math.prod(x[axis] for axis in axes)
    splits = splits_of(extent or x[rest.get("split_axis", 0)])
    group.add(name, opts, steps, variables or variables_of(count), **{"splits": splits, **rest})


def three_steps(*shape, inference_backward=False, **rest):
    """Two of training and one of inference."""
    return [step(*shape, **rest), step(*shape, **rest),
            step(*shape, training=False, backward=inference_backward)]


def ghost_steps(*shape, size):
    """The same with ghost batches of far numbers: variances near 0 would magnify rounding."""
    steps = three_steps(*shape)
    for one in steps:
        x = one["in"]["x"]
        per_ghost = shape[0] // size * math.prod(shape[1:])
        x.values = [value / 4 + 2 * (i // per_ghost) for i, value in enumerate(x.values)]
    return steps


def add_shapes():
    add("dense", options(), three_steps(6, 3, inference_backward=True))
    add("channels-first", options(axis=1), three_steps(4, 3, 2, 2, inference_backward=True))
    add("two-axes", options(axis=[1, 3], param_shape=[1, 2, 1, 3]),
        three_steps(4, 2, 2, 3, inference_backward=True))
    add("two-axes-apart-negative", options(axis=[-1, 1]), three_steps(3, 2, 2, 2),
        variables=variables_of(4))
    add("split-along-space", options(), three_steps(2, 5, 2), split_axis=1)
    add("split-along-last-axis", options(axis=1), three_steps(2, 3, 4), split_axis=-1)
    add("split-along-space-two-axes", options(axis=[1, 3]), three_steps(2, 2, 4, 2), split_axis=2)
    add("split-axis-is-channel-axis", options(axis=0), three_steps(4, 5))
    add("other-extents", options(), [step(5, 2), step(8, 2), step(2, 2), step(7, 2, training=False)])
    add("other-extents-in-space", options(), [step(2, 4, 2), step(2, 3, 2), step(2, 6, 2)],
        split_axis=1)
    add("one-sample", options(), [step(1, 3), step(4, 3)])
    add("no-sample", options(), [step(4, 2), step(0, 2), step(4, 2)])
    add("no-scale", options(scale=False), three_steps(5, 2),
        variables=variables_of(2, gamma=False))
    add("no-center", options(center=False), three_steps(5, 2),
        variables=variables_of(2, beta=False))
    part = values(4, 3)
    repeated = Array([12, 3], part * 3)
    add("repeated-values", options(),
        [{"in": {"x": repeated, "dy": array(12, 3)}, "repeats": {"x": 3}}])
    fine = {"low": -2.0, "high": 4.0, "step": 2.0**-40}
    add("double-inputs", options(),
        [{"in": {"x": array(5, 2, **fine), "dy": array(5, 2, **fine)}}], run=("f64",))


def add_statistics():
    add("momentum-0", options(momentum=0.0), three_steps(5, 2))
    add("momentum-1", options(momentum=1.0), three_steps(5, 2))
    add("momentum-by-step", options(), [step(5, 2, momentum=0.5), step(5, 2),
                                        step(5, 2, momentum=0.25), step(5, 2, training=False)])
    add("bessel", options(moving_variance="bessel"), three_steps(5, 2))
    add("bessel-one-element", options(moving_variance="bessel"), [step(1, 2), step(3, 2)])
    add("zero-debias", options(zero_debias_moving_mean=True), three_steps(5, 2),
        variables=variables_of(2, zero_debias=True))
    add("zero-debias-momentum-by-step", options(zero_debias_moving_mean=True),
        [step(5, 2), step(5, 2, momentum=0.5), step(5, 2, training=False)],
        variables=variables_of(2, zero_debias=True))
    add("many-steps", options(), [step(4, 2, times=20, backward=False), step(4, 2, training=False)])
    add("epsilon-0-constant-channel", options(epsilon=0.0),
        [{"in": {"x": Array([4, 2], [2.5, 1, 2.5, -1, 2.5, 0.5, 2.5, 3])}}])
    add("constant-channel", options(),
        [{"in": {"x": Array([4, 2], [2.5, 1, 2.5, -1, 2.5, 0.5, 2.5, 3]), "dy": array(4, 2)}}])
    far = Array([6, 2], [v + 2.0**17 * (i % 2) for i, v in enumerate(values(6, 2))])
    add("far-from-zero", options(), [{"in": {"x": far, "dy": array(6, 2)}}, step(6, 2)])
    lost = values(4, 3)
    lost[4], lost[8] = math.nan, math.inf
    add("no-numbers", options(), [{"in": {"x": Array([4, 3], lost), "dy": array(4, 3)}}],
        without=("dbeta", "dbeta_total"))


def add_renorm():
    def renorm(name, more, steps=None, **rest):
        steps = steps or [step(6, 2), step(6, 2), step(6, 2), step(6, 2, training=False)]
        add("renorm" + name, options(renorm=True, **more), steps,
            variables=variables_of(2, renorm=True, **rest))

    clipping = {"rmin": 0.75, "rmax": 1.25, "dmax": 0.25}
    renorm("", {"renorm_momentum": 0.8})
    renorm("-clipped", {"renorm_clipping": clipping, "renorm_momentum": 0.5})
    renorm("-clipped-r", {"renorm_clipping": {"rmin": None, "rmax": 1.125}})
    renorm("-clipped-d", {"renorm_clipping": {"dmax": 0.0}})
    renorm("-no-scale-no-center", {"scale": False, "center": False, "renorm_clipping": clipping},
           gamma=False, beta=False)
    renorm("-momentum-by-step", {}, [step(6, 2, momentum=0.5), step(6, 2)])
    add("renorm-zero-debias", options(renorm=True, zero_debias_moving_mean=True), three_steps(6, 2),
        variables=variables_of(2, renorm=True, zero_debias=True))
    add("renorm-ghost", options(renorm=True, virtual_batch_size=3, renorm_clipping=clipping),
        ghost_steps(6, 2, size=3), variables=variables_of(2, renorm=True), splits=[[6]])


def add_samples():
    for name, axis, size, shape in (("ghost", -1, 3, (12, 2)), ("ghost-of-all", -1, 6, (6, 2)),
                                    ("ghost-channels-first", 1, 3, (6, 2, 2))):
        count = shape[0]
        add(name, options(axis=axis, virtual_batch_size=size), ghost_steps(*shape, size=size),
            splits=[[count], [0, count], [count, 0, 0]])
    weights = Array([6], [1, 0.5, 0, 2.25, 3, 0.125])
    add("batch-weights", options(), three_steps(6, 2, inputs={"batch_weights": weights}))
    add("batch-weights-in-space", options(axis=1),
        three_steps(6, 2, 3, inputs={"batch_weights": weights}))
    add("batch-weights-all-0", options(),
        [step(3, 2), step(3, 2, inputs={"batch_weights": Array([3], [0] * 3)}), step(3, 2)])
    mask = Array([4, 3], [1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0])
    add("mask", options(), three_steps(4, 3, 2, inputs={"mask": mask}))
    add("mask-split-along-it", options(), three_steps(4, 3, 2, inputs={"mask": mask}),
        split_axis=1)
    add("mask-of-samples", options(),
        three_steps(5, 2, inputs={"mask": Array([5], [1, 1, 0, 1, 0])}))
    add("mask-all-0", options(), [step(3, 2, inputs={"mask": Array([3], [0] * 3)}), step(3, 2)])
    both = {"mask": mask, "batch_weights": Array([4], [1, 0.5, 2, 0.25])}
    add("mask-and-batch-weights", options(), three_steps(4, 3, 2, inputs=both))
    hidden = values(4, 2)
    hidden[3] = math.nan
    add("mask-hides-no-number", options(), [step(4, 2), {
        "in": {"x": Array([4, 2], hidden), "dy": array(4, 2), "mask": Array([4], [1, 0, 1, 1])}}])
    add("renorm-mask", options(renorm=True), three_steps(4, 3, 2, inputs={"mask": mask}),
        variables=variables_of(2, renorm=True))


def add_adjustments():
    def adjustment(*shape):
        return {"adj_scale": array(*shape, low=0.5, high=1.5), "adj_bias": array(*shape)}

    def ignored(*shape):
        return step(4, 2, 3, training=False, inputs=adjustment(*shape))

    for name, shape in {"-by-channel": (1, 1, 3), "-by-sample": (4, 1, 1),
                        "-by-element": (4, 2, 3), "-by-position": (2, 1)}.items():
        steps = [step(4, 2, 3, inputs=adjustment(*shape)) for _ in range(2)]
        add("adjustment" + name, options(), steps + [ignored(*shape)])
    mixed = {"adj_scale": array(1, 1, 3, low=0.5, high=1.5), "adj_bias": array(4, 1, 1)}
    add("adjustment-mixed", options(), [step(4, 2, 3, inputs=mixed)])
    add("adjustment-split-along-space", options(),
        [step(2, 4, 3, inputs=adjustment(2, 4, 3)), step(2, 4, 3, inputs=adjustment(1, 4, 1))],
        split_axis=1)
    add("adjustment-scale-only", options(),
        [step(4, 2, 3, inputs={"adj_scale": array(4, 1, 3)}), step(4, 2, 3)])
    add("adjustment-renorm-mask", options(renorm=True),
        three_steps(4, 2, 3, inputs={**adjustment(4, 2, 3),
                                     "mask": Array([4, 2], [1, 0, 1, 1, 1, 1, 0, 1])}),
        variables=variables_of(3, renorm=True))


def add_training():
    def training(name, trained, **rest):
        steps = [step(5, 3, sgd_lr=0.25), step(5, 3, sgd_lr=0.125), step(5, 3, training=False)]
        add(name, options(**trained), steps, **rest)

    training("gradient-descent", {})
    training("regularizers", {"gamma_regularizer": {"l1": 0.125, "l2": 0.25},
                              "beta_regularizer": {"l2": 0.5}})
    training("regularizers-l1", {"gamma_regularizer": {"l1": 0.5, "l2": None},
                                 "beta_regularizer": {"l1": 0.25}},
             variables=variables_of(3) | {"beta": [0.0, -0.5, 0.5]})
    training("max-norm", {"gamma_constraint": {"name": "max_norm", "max_value": 1.0},
                          "beta_constraint": {"name": "max_norm", "max_value": 100.0}})
    training("non-negative", {"gamma_constraint": {"name": "non_neg"},
                              "beta_constraint": {"name": "non_neg"}})
    training("unit-norm", {"gamma_constraint": {"name": "unit_norm", "axis": 0},
                           "beta_regularizer": {"l1": 0.125, "l2": 0.125}})
    limits = {"min_value": 0.5, "max_value": 1.0, "rate": 0.75}
    training("min-max-norm", {"gamma_constraint": {"name": "min_max_norm", **limits},
                              "beta_constraint": {"name": "min_max_norm", **limits, "rate": 1.0}})
    add("repeated-step", options(gamma_regularizer={"l2": 0.125}),
        [step(5, 2, times=3, sgd_lr=0.125), step(5, 2)])
    add("relu", options(activation="relu"), three_steps(6, 3, inference_backward=True))
    add("relu-trained", options(activation="relu", axis=1),
        [step(4, 2, 3, sgd_lr=0.25), step(4, 2, 3, sgd_lr=0.25)])
    frozen = [step(5, 2), step(5, 2, trainable=False), step(5, 2)]
    add("frozen-inference", options(frozen_behavior="inference"), frozen)
    add("frozen-batch-statistics", options(frozen_behavior="batch_statistics"), frozen)
    add("frozen-trained", options(), [step(5, 2, trainable=False, sgd_lr=0.5),
                                      step(5, 2, sgd_lr=0.5)])
    add("float16", options(io_dtype="float16"), three_steps(6, 3, inference_backward=True),
        run=("f32",))
    add("float16-trained", options(io_dtype="float16", activation="relu", axis=1),
        [step(4, 2, 3, sgd_lr=0.25), step(4, 2, 3)], run=("f32",))


def add_hidden():
    """Ghost batches and channels of which weights leave nothing."""
    weights = Array([6], [1, 0, 0.5, 2, 0, 0])  # strided: of the ghost batches 0, 1, 2 the middle one
    add("ghost-without-weight", options(virtual_batch_size=2),
        [step(6, 2, inputs={"batch_weights": weights}), step(6, 2)],
        splits=[[6], [0, 6], [6, 0, 0]])
    mask = Array([4, 3], [1, 0, 1] * 4)
    add("channel-without-weight", options(axis=[1, 2]),
        [step(4, 3, 2, inputs={"mask": mask}), step(4, 3, 2)])


if __name__ == "__main__":
    add_shapes()
    add_statistics()
    add_renorm()
    add_samples()
    add_adjustments()
    add_training()
    add_hidden()
    default = Path(__file__).parent.parent / "cases"
    group.write(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
