"""Runs cases on the formulas and writes them as a group: <name>.json and <name>.bin."""

import json
import struct
from decimal import Decimal
from pathlib import Path

from formulas import Array, Layer

# Deviations that are tolerated, in units of the largest value: rounding to float32 and to double,
# with a margin of some bits for what the layer adds up.
MARGIN = {"f32": 2.0**-20, "f64": 2.0**-46}
HALF_UNIT_OF_FLOAT16 = 2.0**-11

# Of interest where gamma and beta are trained.
FOR_TRAINED = {"gamma", "beta", "dgamma_total", "dbeta_total", "reg_loss"}


class Blob:
    """Arrays one after the other, each value once."""

    def __init__(self):
        self.bytes = b""
        self.offsets = {}

    def add(self, values, dtype, shape, repeat=1):
        stored = values[: len(values) // repeat]
        packed = struct.pack(f"<{len(stored)}{'f' if dtype == 'f32' else 'd'}", *map(float, stored))
        if packed not in self.offsets:
            self.bytes += b"\0" * (-len(self.bytes) % 8)
            self.offsets[packed] = len(self.bytes)
            self.bytes += packed
        array = {"dtype": dtype, "shape": list(shape), "offset": self.offsets[packed]}
        return array | ({"repeat": repeat} if repeat > 1 else {})


def tolerance_of(values, is_float16):
    largest = max([1.0] + [abs(float(v)) for v in values if Decimal(v).is_finite()])
    relative = HALF_UNIT_OF_FLOAT16 if is_float16 else 0
    return {name: [float(f"{margin * largest:.2g}"), relative] for name, margin in MARGIN.items()}


class Group:
    def __init__(self, name, title):
        self.name, self.title = name, title
        self.blob = Blob()
        self.cases = []

    def add(self, name, options, steps, variables, *, splits, split_axis=0, run=("f32", "f64"),
            tags=(), without=()):
        """Each step is a dictionary: in, and where they are not the usual ones training, trainable,
        times, sgd_lr, momentum. Results named in `without` are not expected."""
        input_dtype = "f32" if "f32" in run else "f64"
        layer = Layer(options, steps[0]["in"]["x"].shape,
                      {key: [Decimal(value) for value in values]
                       for key, values in variables.items()})
        init = {key: self.blob.add(values, input_dtype, self.shape_of(layer, key))
                for key, values in layer.variables.items()}
        is_trained = any(step.get("sgd_lr") is not None for step in steps)
        written = [self.run_step(layer, options, step, input_dtype, without, is_trained)
                   for step in steps]
        self.cases.append({
            "id": f"{self.name}/{name}", "tags": list(tags), "source": "formulas.py",
            "opts": options, "init": init, "split_axis": split_axis, "splits": splits,
            "run": list(run), "steps": written})

    @staticmethod
    def shape_of(layer, variable):
        return [] if variable == "local_step" else [layer.num_channels]

    def run_step(self, layer, options, step, input_dtype, without, is_trained):
        training, trainable = step.get("training", True), step.get("trainable", True)
        momentum = step.get("momentum")
        for _ in range(step.get("times", 1)):
            results = layer.call(step["in"], training, trainable,
                                 Decimal(options["momentum"] if momentum is None else momentum))
            self.descend(layer, step, trainable, results)
        expect = {}
        for key, values in (results | layer.variables).items():
            if key in without or (key in FOR_TRAINED and not is_trained):
                continue
            shape = (step["in"]["x"].shape if key in ("y", "dx") else
                     [] if key == "reg_loss" else self.shape_of(layer, key))
            is_float16 = key in ("y", "dx") and options.get("io_dtype") == "float16"
            expect[key] = {"array": self.blob.add(values, "f64", shape), "origin": "F",
                           "tol": tolerance_of(values, is_float16)}
        repeats = step.get("repeats", {})
        return {"training": training, "trainable": trainable, "sgd_lr": step.get("sgd_lr"),
                "momentum": momentum, "times": step.get("times", 1),
                "in": {key: self.blob.add(array.values, input_dtype, array.shape,
                                          repeats.get(key, 1))
                       for key, array in step["in"].items()},
                "expect": expect}

    @staticmethod
    def descend(layer, step, trainable, results):
        """Adds the penalties to the results; then the step of gradient descent, if there is one."""
        results["reg_loss"] = [Decimal(0)]
        for name in ("gamma", "beta"):
            if name not in layer.variables:
                continue
            penalty, gradient = layer.penalty(name, layer.variables[name])
            results["reg_loss"][0] += penalty
            if "dy" not in step["in"] or not trainable:
                continue
            total = [a + b for a, b in zip(results["d" + name], gradient)]
            results[f"d{name}_total"] = total
            if step.get("sgd_lr") is not None:
                rate = Decimal(step["sgd_lr"])
                moved = [w - rate * g for w, g in zip(layer.variables[name], total)]
                layer.variables[name] = layer.constrained(name, moved)

    def write(self, folder):
        head = {"format": "bn-cases 1", "group": self.name, "title": self.title,
                "provenance": "generated by tests/conformance/generator/generate_cases.py",
                "licence": "that of the project", "blob": f"{self.name}.bin"}
        lines = ["{"] + [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        cases = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in self.cases)
        text = "\n".join(lines) + f'\n "cases": [\n{cases}\n ]\n}}\n'
        Path(folder, f"{self.name}.json").write_text(text, encoding="ascii")
        Path(folder, f"{self.name}.bin").write_bytes(self.blob.bytes)
