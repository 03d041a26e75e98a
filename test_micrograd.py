"""Is every gradient right? `pytest` answers; it needs pytest and hypothesis, nothing else.

    what a reader knows   the published numbers of micrograd, its demo, the first lectures
    the operations        a table: how to write each, what it does to numbers, where, how exact
    one operation         right when differences say so, and so is the gradient of its gradient:
                          on Values and Tensors, in every way of broadcasting, exact with Fractions
    only Tensors          what only Tensors can, defined index by index on Values
    many operations       random graphs, as Python that can be pasted
    the edges             corners, ties, zeros; the largest numbers, inf and nan; Python's own; nothing at all
    the engine            accumulation, depth, memory, cost; failures, Ctrl-C, threads; no_grad
    Python around it      copies, truth, text, items that are assigned, creation
    networks · losses · optimizers · PyTorch's names and random numbers
    nothing is silently wrong · wrong use · saving · source code · drawing · documents · examples · playground

Numbers are drawn from a seed, shapes and graphs by hypothesis: so numbers are never special, while shapes and
graphs shrink to the smallest that fails. HYPOTHESIS_PROFILE=thorough takes fifty times as many; fast takes a
quarter, and shrinks nothing.
"""
import ast
import asyncio
import base64
import builtins
import code
import contextvars
import copy
import doctest
import functools
import gc
import hashlib
import importlib
import importlib.util
import inspect
import io
import json
import math
import operator
import os
import pickle
import random
import re
import runpy
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import weakref
import xml.etree.ElementTree as ElementTree
import zlib
from array import array
from collections import UserDict, UserList, deque
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from decimal import Decimal
from fractions import Fraction
from itertools import count, permutations, product, takewhile, zip_longest
from numbers import Number
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings, strategies as st

import micrograd
from micrograd import (
    FUNCTIONS, GELU, MLP, SGD, Adam, AdamW, BatchNorm1d, Dropout, Embedding, Layer, LayerNorm, Linear,
    Module, ModuleDict, ModuleList, Neuron, Parameter, ReLU, Sequential, Tanh, Tensor, Traced, Value,
    binary_cross_entropy_with_logits, cat, clip_grad_norm, cross_entropy, dot, draw_dot, elementwise,
    flat, grad, gradcheck, hinge_loss, layer_norm, linear, load, mse_loss, nest, nested, no_grad,
    normal_, one_hot, ones_, rms_norm, save, scaled_dot_product_attention, shape_of, softplus, sqrt,
    stack, trace, uniform_, where, zeros_)

_all = tuple(Phase)
for _name, _examples, _phases in ("quick", 15, _all), ("fast", 4, [Phase.generate]), ("thorough", 750, _all):
    settings.register_profile(_name, deadline=None, max_examples=_examples, database=None, phases=_phases,
                              suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
MORE, TWICE_AS_MANY = (settings(max_examples=k * settings().max_examples) for k in (4, 2))

CPYTHON = sys.implementation.name == "cpython"
FOLDER = os.path.dirname(os.path.abspath(micrograd.__file__))
BOTH = pytest.mark.parametrize("cls", [Value, Tensor])
inf, nan, BIG = math.inf, math.nan, 1e308


def item(node):
    return node.data if isinstance(node, Value) else node.item()


def slope_of(node):
    """The .grad of a node as a number or plain lists; None where a Tensor has none."""
    return node.grad.data if isinstance(node.grad, Tensor) else node.grad


# ----------------------------------------------------------------------------------------------------
# What a reader knows: code written for micrograd runs unchanged, and prints the same numbers
# ----------------------------------------------------------------------------------------------------

def test_the_published_numbers_of_micrograd():
    """Those of its README (https://github.com/karpathy/micrograd), and of the same expression with tanh."""
    for act, *numbers in [Value.relu, 24.7041, 138.8338, 645.5773], [Value.tanh, 4.6252, 27.0601, 117.3345]:
        a, b = Value(-4.0), Value(2.0)
        c, d = a + b, a * b + b ** 3
        c += c + 1
        c += 1 + c + (-a)
        d += d * 2 + act(b + a)
        d += 3 * d + act(b - a)
        f = (c - d) ** 2
        g = f / 2.0
        g += 10.0 / f
        g.backward()
        assert [round(g.data, 4), round(a.grad, 4), round(b.grad, 4)] == numbers


def test_the_demo_trains_to_the_losses_that_micrograd_prints():
    """MLP(2, [16, 16, 1]), max-margin loss and a penalty on weights: the losses of micrograd 0.1.0 itself."""
    from micrograd.engine import Value
    from micrograd.nn import MLP
    random.seed(1337)
    X = [(math.cos(i), math.sin(i)) if i % 2 else (1 - math.cos(i), 0.5 - math.sin(i)) for i in range(40)]
    y = [1 if i % 2 else -1 for i in range(40)]
    model, printed = MLP(2, [16, 16, 1]), []
    for k in range(10):
        scores = list(map(model, [list(map(Value, row)) for row in X]))
        losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores)]
        total_loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum((p * p for p in model.parameters()))
        model.zero_grad()
        total_loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * k / 100) * p.grad
        printed.append(total_loss.data)
    assert printed == pytest.approx([
        1.1239429130306906, 2.4634834787284845, 1.8785172050109307, 0.7705441558286936, 0.6600881877386151,
        0.6175015460421922, 0.5727639627322437, 0.5590228717845619, 0.5544711630409555, 0.5374268818916573],
        abs=1e-9)


def neuron_of_the_lecture():
    """x1, x2, w1, w2, b, x1w1, x2w2, their sum, n and o; the bias makes the gradients round numbers."""
    x1, x2, w1, w2 = Value(2.0, label="x1"), Value(0.0, label="x2"), Value(-3.0), Value(1.0)
    x1w1, x2w2, b = x1 * w1, x2 * w2, Value(6.8813735870195432, label="b")
    both = x1w1 + x2w2
    n = both + b
    n.label = "n"
    return x1, x2, w1, w2, b, x1w1, x2w2, both, n, n.tanh()


def test_the_lecture_draws_a_neuron():
    def trace(root):
        nodes, edges = set(), set()

        def build(v):
            if v not in nodes:
                nodes.add(v)
                for child in v._prev:
                    edges.add((child, v))
                    build(child)
        build(root)
        return nodes, edges

    x1, x2, w1, w2, *_, n, o = neuron_of_the_lecture()
    o.backward()
    assert [round(v.grad, 4) for v in (x1, w1, x2, w2, n, o)] == [-1.5, 1.0, 0.5, 0.0, 0.5, 1.0]
    nodes, edges = trace(o)
    assert (len(nodes), len(edges)) == (10, 9)
    assert sorted(v._op for v in nodes) == [""] * 5 + ["*", "*", "+", "+", "tanh"]
    assert {v.label for v in nodes} == {"", "x1", "x2", "b", "n"}
    e = (2 * n).exp()
    assert ((e - 1) / (e + 1)).data == pytest.approx(o.data) == pytest.approx(0.7071, abs=1e-4)


def test_the_lecture_goes_back_by_hand_node_by_node():
    """`_backward` is a node's own step of the chain rule: in the right order they are all of backward()."""
    by_hand, at_once = neuron_of_the_lecture(), neuron_of_the_lecture()
    by_hand[-1].grad = 1.0
    for node in reversed(by_hand):
        node._backward()                        # of a leaf, it does nothing
    at_once[-1].backward()
    assert [v.grad for v in by_hand] == [v.grad for v in at_once]


def test_the_lecture_trains_a_network():
    from micrograd.engine import Value
    from micrograd.nn import MLP, Layer, Module, Neuron
    random.seed(0)
    model = MLP(3, [4, 4, 1])
    assert isinstance(model, Module) and isinstance(model.layers[0], Layer) and len(model.parameters()) == 41
    assert isinstance(model.layers[0].neurons[0], Neuron) and len(model.layers[0].neurons[0].w) == 3
    xs, ys = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]], [1.0, -1.0, -1.0, 1.0]
    losses = []
    for _ in range(60):
        loss = sum([(out - target) ** 2 for target, out in zip(ys, [model(x) for x in xs])], Value(0))
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        for p in model.parameters():
            p.data += -0.02 * p.grad
        losses.append(loss.data)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("update", [
    "for p in params: p.data += -lr * p.grad", "for p in params: p.data -= lr * p.grad",
    "for p in params: p.data = p.data - lr * p.grad if isinstance(p, Value) else (p - lr * p.grad).data",
    "SGD(params, lr).step()",
    "for p, g in zip(params, grad(loss(), params)): p.data = (p - lr * g).data"])
@BOTH
def test_every_way_to_write_the_update_is_one_step_down_the_slope(cls, update):
    """And it leaves parameters: plain numbers inside, differentiable as before, the very objects."""
    params = [Value(1.5), Value(-2.0)] if cls is Value else [Tensor([[1.5, -2.0]]), Tensor(3.0)]
    before = list(params)
    for _ in range(2):
        start = [flat(p.data) for p in params]

        def loss():
            return sum([p * p if cls is Value else (p * p).sum() for p in params])
        for p in params:
            p.grad = None
        loss().backward()
        exec(update, {**vars(micrograd), "params": params, "lr": 0.25, "loss": loss})
        assert [flat(p.data) for p in params] == [[x - 0.25 * 2 * x for x in xs] for xs in start]
        assert all(type(x) is float for p in params for x in flat(p.data))
        assert all(p is b and p._prev == () for p, b in zip(params, before))


def test_in_place_updates_under_no_grad_keep_the_parameter():
    """w -= lr * g: in place for a Tensor that learns; results and constants become new nodes."""
    w, b = Tensor([1.0, 2.0]), Tensor(3.0)
    model, same = Sequential(Linear(1, 1)), w
    (w * w * b).sum().backward()
    with no_grad():
        w -= 0.5 * w.grad
        assert w is same and w.requires_grad and w.data == [1 - 0.5 * 6, 2 - 0.5 * 12] and w._prev == ()
        w += 1
        w *= [2.0, 10.0]
        w /= 4
        assert w is same and w.data == [-0.5, -7.5]
        for p in model.parameters():
            p -= 1.0
    assert len(model.parameters()) == 2
    (w * b).sum().backward()
    assert w.grad.data == [6 + 3, 12 + 3], "it is the parameter that it was"
    for start in w * 2, w.detach(), Tensor([1.0, 2.0], requires_grad=False):
        y, before = start, start.tolist()
        y += 1
        assert y is not start and start.data == before and y.data == [x + 1 for x in before]
    with no_grad():
        w[0] = 5.0
        w[1:] -= 1
    assert w is same and w.requires_grad and w.data == [5, -8.5] and w._prev == ()
    v = u = Value(2.0)
    v += 1
    assert v is not u and (u.data, v.data, v._prev[0] is u) == (2.0, 3.0, True)


# ----------------------------------------------------------------------------------------------------
# The operations
# ----------------------------------------------------------------------------------------------------

# Where operands come from, in 64ths: odd and never drawn twice. So no operand is 0, an integer or equal to
# another; corners (relu at 0, the larger of equals) are 1/64 away, and have tests of their own.
REAL = range(-159, 160, 2)
NONZERO = [k for k in REAL if abs(k) > 30]
POSITIVE = range(31, 200, 2)

# The degree of the result as a polynomial, from the degrees of the operands: differences are exact then.
MAX, SUM, TWICE, POLES = lambda *ds: max(ds), lambda *ds: sum(ds), lambda d: 2 * d, "poles"


class Operation:
    """A row of the table: `call` works on Values, Tensors, lists and numbers, `plain` on numbers alone."""

    def __init__(self, source, plain, domains, degree=None):
        self.source, self.domains, self.degree = source, domains, degree
        names = ", ".join("xy"[:len(domains)])
        self.call = eval(f"lambda {names}: {source}", dict(vars(micrograd)))
        self.plain = eval(f"lambda {names}: {plain}", {"math": math})

    def __repr__(self):
        return self.source

    def applied(self, *names):
        """The source with other names for x and y, kept inside the domain."""
        names = [n if domain is REAL else f"(1 + {n} * {n})" for n, domain in zip(names, self.domains)]
        return re.sub(r"\b[xy]\b", lambda match: names["xy".index(match.group())], self.source)


#    on Values and Tensors the same on plain numbers                    domains           degree
OPERATIONS = [Operation(*row) for row in [
    ("x + y",              "x + y",                                     [REAL, REAL],     MAX),
    ("x - y",              "x - y",                                     [REAL, REAL],     MAX),
    ("x * y",              "x * y",                                     [REAL, REAL],     SUM),
    ("x / y",              "x / y",                                     [REAL, NONZERO],  POLES),
    ("x ** y",             "math.exp(y * math.log(x))",                 [POSITIVE, REAL]),
    ("3 - x",              "3 - x",                                     [REAL],           MAX),
    ("3 / x",              "3 / x",                                     [NONZERO],        POLES),
    ("3 ** x",             "math.exp(x * math.log(3))",                 [REAL]),
    ("-x",                 "0 - x",                                     [REAL],           MAX),
    ("+x",                 "x",                                         [REAL],           MAX),
    ("abs(x)",             "x if x > 0 else -x",                        [REAL],           MAX),
    ("x ** 0",             "1",                                         [REAL],           MAX),
    ("x ** 1",             "x",                                         [REAL],           MAX),
    ("x ** 2",             "x * x",                                     [REAL],           TWICE),
    ("x ** 3",             "x * x * x",                                 [REAL],           lambda d: 3 * d),
    ("x ** -1",            "1 / x",                                     [NONZERO],        POLES),
    ("x ** -2",            "1 / (x * x)",                               [NONZERO],        POLES),
    ("x ** 0.5",           "math.sqrt(x)",                              [POSITIVE]),
    ("x.maximum(y)",       "x if x > y else y",                         [REAL, REAL],     MAX),
    ("x.minimum(y)",       "x if x < y else y",                         [REAL, REAL],     MAX),
    ("x.clip(-1, 1)",      "-1 if x < -1 else 1 if x > 1 else x",       [REAL],           MAX),
    ("x.clip(low=1)",      "x if x > 1 else 1",                         [REAL],           MAX),
    ("x.clip(high=1)",     "x if x < 1 else 1",                         [REAL],           MAX),
    ("x.relu()",           "x if x > 0 else 0",                         [REAL],           MAX),
    ("x.leaky_relu()",     "x if x > 0 else 0.01 * x",                  [REAL]),
    ("x.leaky_relu(2)",    "x if x > 0 else 2 * x",                     [REAL],           MAX),
    ("x.exp()",            "math.e ** x",                               [REAL]),
    ("x.expm1()",          "math.e ** x - 1",                           [REAL]),
    ("x.log()",            "math.log(x)",                               [POSITIVE]),
    ("x.log1p()",          "math.log(1 + x)",                           [POSITIVE]),
    ("x.sqrt()",           "x ** 0.5",                                  [POSITIVE]),
    ("x.sin()",            "math.sin(x)",                               [REAL]),
    ("x.cos()",            "math.cos(x)",                               [REAL]),
    ("x.atan()",           "math.atan(x)",                              [REAL]),
    ("x.tanh()",           "math.tanh(x)",                              [REAL]),
    ("x.sigmoid()",        "1 / (1 + math.exp(-x))",                    [REAL]),
    ("x.erf()",            "math.erf(x)",                               [REAL]),
    ("x.gelu()",           "x * (1 + math.erf(x / math.sqrt(2))) / 2",  [REAL]),
    ("x.silu()",           "x / (1 + math.exp(-x))",                    [REAL]),
    ("x.softplus()",       "math.log(1 + math.exp(x))",                 [REAL]),
    ("x.sign()",           "1 if x > 0 else -1",                        [REAL]),
    ("x.floor()",          "x // 1",                                    [REAL]),
    ("x.round()",          "math.floor(x + 0.5)",                       [REAL]),
]]
EXACT = [op for op in OPERATIONS if op.degree]
POLYNOMIALS = [op for op in EXACT if op.degree is not POLES and not re.search(r"\.|abs", op.source)]
KINDS_OF_NUMBERS = pytest.mark.parametrize(
    "number, op", [(float, op) for op in OPERATIONS] + [(Fraction, op) for op in EXACT],
    ids=lambda x: getattr(x, "__name__", str(x)))


# ----------------------------------------------------------------------------------------------------
# One operation
#
# (f(x + h) - f(x - h)) / 2h is exact for polynomials of degree 2, and longer sums are for higher degrees:
# with Fractions a gradient must agree to the last digit. Where f has a pole, as 1 / x, x**3 * f is a
# polynomial and is differentiated instead. Order n is checked as the gradient of order n - 1 times x, which
# keeps the degree and the poles, and depends on x even when that gradient is a constant.
# ----------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10 ** 6)


def draw_numbers(seed, sizes, domains, number):
    """Lists of numbers from the domains, all different."""
    rng, used, drawn = random.Random(seed), set(), []
    for size, domain in zip(sizes, domains):
        picked = rng.sample([k for k in domain if k not in used], size)
        used.update(picked)
        drawn.append([number(k) / 64 for k in picked])
    return drawn


def weights(like, period):
    """As many numbers as like has, and of their kind, none like its neighbours: errors cannot cancel."""
    numbers = flat(like.data)
    kind = Fraction if all(isinstance(x, (Fraction, int)) for x in numbers) else float
    return [kind(Fraction(1 + 11 * i % period, 4)) for i in range(len(numbers))]


def total(node):
    """All elements in one number, each with a weight of its own."""
    return node * 3 if isinstance(node, Value) else (node * nest(weights(node, 29), node.shape)).sum()


def moved(x, direction, t):
    return type(x)(nest([a + t * d for a, d in zip(flat(x.data), direction)], shape_of(x.data)))


def differences(f, degree=4, h=Fraction(1, 1024)):
    """f'(0) by central differences: exact for polynomials of the degree."""
    n, slope = (degree + 1) // 2, 0
    for k in range(1, n + 1):
        c = Fraction(math.factorial(n) ** 2, k * math.factorial(n - k) * math.factorial(n + k))
        slope -= (-1) ** k * c * (f(k * h) - f(-k * h)) / h
    return slope


def differences_at_pole(f, x):
    """f'(0) where (x + t)**3 * f(t) is a polynomial of degree 6 or less."""
    return (differences(lambda t: (x + t) ** 3 * f(t), 6) - 3 * x ** 2 * f(0)) / x ** 3


def agrees(actual, expected, exact, tolerance=1e-6):
    if exact:
        return isinstance(actual, (int, Fraction)) and actual == expected
    return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance)


def of_order(n, f, xs):
    """One number: for n = 1 all elements of f(*xs), weighted; for n > 1 the derivatives of that for n - 1."""
    if n == 1:
        return total(f(*xs))
    gradients = grad(below_order(n, f, xs), xs, create_graph=True)
    return sum(total(x * gradient) for x, gradient in zip(xs, gradients))


def below_order(n, f, xs):
    """What is differentiated for order n; f multiplied, so that what flows into its rules is no constant."""
    return total(f(*xs)) * total(xs[0]) if n == 2 else of_order(n - 1, f, xs)


def test_orders_and_poles_worked_out_by_hand():
    """total() is 3 times a Value: so x**2 becomes 3x**2 (order 1), and times 3x, 9x**3. The gradient of that
    is 27x**2; times x, and 3 times, 81x**3 (order 2). Order 3 is 3x times the gradient of that, 729x**3."""
    x, square, inverse = Value(Fraction(2)), lambda x: x * x, lambda t: 1 / (2 + t)
    assert [of_order(n, square, [x]).data for n in (1, 2, 3)] == [3 * 2 ** 2, 81 * 2 ** 3, 729 * 2 ** 3]
    assert [grad(of_order(n, square, [x]), x)[0].data for n in (1, 2)] == [6 * 2, 243 * 2 ** 2]
    assert differences(lambda t: (2 + t) ** 4, 4) == 4 * 2 ** 3, "exact, since the degree is right"
    off = 4 * 2 * Fraction(1, 1024 ** 2)        # a sixth of the third derivative
    assert differences(lambda t: (2 + t) ** 4, 2) == 32 + off, "since the degree is not"
    assert differences_at_pole(inverse, Fraction(2)) == -Fraction(1, 2 ** 2) != differences(inverse)


def check(f, inputs, degree=None, orders=3, source="", smooth=True):
    """All gradients of f, to the third order; exact when there is a degree. Not smooth: skip near corners."""
    for order in range(1, orders + 1):
        if order > 1:
            lower = below_order(order, f, inputs)
            for plain, recorded in zip(grad(lower, inputs), grad(lower, inputs, create_graph=True)):
                assert all(agrees(p, r, degree) for p, r in zip(flat(plain.data), flat(recorded.data))), (
                    f"order {order - 1}: {plain}, with create_graph {recorded}\n{source}")
        for i, (x, gradient) in enumerate(zip(inputs, grad(of_order(order, f, inputs), inputs))):
            assert shape_of(gradient.data) == shape_of(x.data), f"shape of gradient {i}\n{source}"
            direction, pole = weights(x, 13), order % len(flat(x.data))
            if degree is POLES:                 # every element has a pole of its own: move only one
                direction = [int(k == pole) for k in range(len(direction))]

            def along(t):
                return item(of_order(order, f, [*inputs[:i], moved(x, direction, t), *inputs[i + 1:]]))

            if degree is POLES:
                expected = differences_at_pole(along, flat(x.data)[pole])
            else:
                expected = differences(along, degree + 1) if degree else differences(along, h=1 / 1024)
            if not smooth:
                assume(agrees(expected, differences(along, h=3 / 1024), False, 1e-7))
            actual = sum(map(operator.mul, flat(gradient.data), direction))
            assert agrees(actual, expected, degree), (
                f"order {order}, input {i}: the gradient is {actual}, differences give {expected}\n{source}")


def degree_of(op, number):
    """The degree of an operation when its operands have degree 1; None when it is not exact."""
    if number is float:
        return None
    return POLES if op.degree is POLES else op.degree(*[1] * len(op.domains))


def as_function_of(call, operands, free):
    """call as a function of the free operands, and these; the others stay as they are."""
    def f(*inputs):
        inputs = iter(inputs)
        return call(*(next(inputs) if is_free else operand for operand, is_free in zip(operands, free)))
    return f, [operand for operand, is_free in zip(operands, free) if is_free]


def can_be_written(op, first):
    """Not so 3.0.maximum(x)."""
    return isinstance(first, (Value, Tensor)) or not op.source.startswith("x.")


@KINDS_OF_NUMBERS
@given(seed=SEEDS)
def test_operation_on_values_and_numbers_to_the_third_order(number, op, seed):
    numbers = [n for n, in draw_numbers(seed, [1, 1], op.domains, number)]
    for free in product([True, False], repeat=len(numbers)):
        operands = [Value(n) if is_free else n for n, is_free in zip(numbers, free)]
        if any(free) and can_be_written(op, operands[0]):
            assert agrees(op.call(*operands).data, op.plain(*numbers), number is Fraction, 1e-12)
            check(*as_function_of(op.call, operands, free), degree_of(op, number))


def indices(shape):
    return list(product(*map(range, shape)))


def at(data, index):
    """The number that broadcasting puts at index."""
    for i in index[len(index) - len(shape_of(data)):]:
        data = data[i] if len(data) > 1 else data[0]
    return data


def broadcast(shapes):
    """NumPy's rule: align at the end; sizes are equal or 1."""
    return tuple(map(max, zip_longest(*map(reversed, shapes), fillvalue=1)))[::-1]


SHAPES = st.lists(st.integers(1, 3), max_size=4).map(tuple).filter(lambda shape: math.prod(shape) <= 24)


@st.composite
def shapes_that_broadcast(draw, n, shapes=SHAPES):
    full = draw(shapes)
    return [tuple(draw(st.sampled_from([size, 1])) for size in full[draw(st.integers(0, len(full))):])
            for _ in range(n)]


class Array:
    """What NumPy's arrays are to us: they have .tolist(), and leave operators to those who ask for it."""

    def __init__(self, data):
        self.tolist = lambda: data

    def _operator(self, other):
        assert type(other).__array_ufunc__ is None, "NumPy would make an array of objects"
        return NotImplemented

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = __matmul__ = _operator
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _operator


def to_tuples(data):
    return tuple(map(to_tuples, data)) if isinstance(data, list) else data


# What may stand in the place of an operand; one of them, the last number says which, is a Tensor.
CONSTANTS = [lambda data: Tensor(data, requires_grad=False), lambda data: data, to_tuples, Array]
KIND = st.sampled_from([Tensor, Tensor] + CONSTANTS)
KINDS = st.tuples(KIND, KIND, KIND, st.integers(0, 2))


def make_operands(kinds, shapes, numbers):
    """Tensors and constants, and which of them are to be differentiated."""
    kinds, sure = list(kinds[:len(shapes)]), kinds[-1] % len(shapes)
    kinds[sure] = Tensor
    return [kind(nest(x, s)) for kind, x, s in zip(kinds, numbers, shapes)], [k is Tensor for k in kinds]


@KINDS_OF_NUMBERS
@given(shapes=shapes_that_broadcast(2), kinds=KINDS, seed=SEEDS)
def test_operation_on_tensors_under_broadcasting_to_the_third_order(number, op, shapes, kinds, seed):
    shapes = shapes[:len(op.domains)]
    numbers = draw_numbers(seed, map(math.prod, shapes), op.domains, number)
    operands, free = make_operands(kinds, shapes, numbers)
    assume(can_be_written(op, operands[0]))
    out, data = op.call(*operands), [nest(x, shape) for x, shape in zip(numbers, shapes)]
    assert out.shape == broadcast(shapes)
    for index in indices(out.shape):
        assert agrees(at(out.data, index), op.plain(*(at(x, index) for x in data)), number is Fraction, 1e-12)
    check(*as_function_of(op.call, operands, free), degree_of(op, number))


COMPARISONS = pytest.mark.parametrize(
    "compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])


@COMPARISONS
@given(shapes=shapes_that_broadcast(2), kinds=KINDS, seed=SEEDS)
def test_comparisons_compare_data(compare, shapes, kinds, seed):
    """Of Tensors they give a constant Tensor of bools, of Values a bool."""
    rng = random.Random(seed)
    numbers = [rng.choices([-1, 0, 1], k=math.prod(shape)) for shape in shapes]
    (x, y), _ = make_operands(kinds, shapes, numbers)
    p, q = (nest(n, shape) for n, shape in zip(numbers, shapes))
    out, a, b = compare(x, y), numbers[0][0], numbers[1][0]
    assert out.shape == broadcast(shapes) and not out.requires_grad
    assert all(at(out.data, i) is compare(at(p, i), at(q, i)) for i in indices(out.shape))
    assert compare(Value(a), Value(b)) is compare(Value(a), b) is compare(a, Value(b)) is compare(a, b)


@BOTH
def test_equality_compares_data_and_hash_is_identity(cls):
    x, y = cls(1.0), cls(1.0)
    assert x == y and x == 1 and not x != y and x != 2 and len({x, y, x}) == 2 and {x: 5}[x] == 5
    assert (x == None, x != None, x == "1", None == x) == (False, True, False, False)       # noqa: E711
    assert 2.0 in Tensor([1.0, 2.0]) and 3.0 not in Tensor([1.0, 2.0]) and cls(2.0) in [cls(1.0), cls(2.0)]
    assert nan != cls(nan) and not cls(nan) == cls(nan)
    assert None not in Tensor([1.0]) and "1" not in Tensor([1.0])


def test_functions_take_plain_numbers_too():
    for name, function in FUNCTIONS.items():
        assert function(0.75) == getattr(Value(0.75), name)().data == getattr(Tensor(0.75), name)().item()
        assert function.__name__ == name and function.__doc__
        assert getattr(micrograd, name)(0.75) == function(0.75)


# ----------------------------------------------------------------------------------------------------
# Only Tensors: each operation is defined index by index on Values
#
# A case is source code, the shapes of x, y, z, the result as a dict from index to Value (made from such dicts
# for x, y and z), and its degree. Numbers and gradients must be those of the Values, without tolerance for
# Fractions; differences are taken all the same.
# ----------------------------------------------------------------------------------------------------

def kept(index, axes, keepdim):
    return tuple(0 if axis in axes else i for axis, i in enumerate(index) if keepdim or axis not in axes)


def grouped(x, axes, keepdim):
    """The elements that share an index when the axes are left out, or kept with size 1."""
    groups = {}
    for index, element in x.items():
        groups.setdefault(kept(index, axes, keepdim), []).append(element)
    return groups


def own(index, shape):
    """The index of the element that broadcasting puts at index."""
    return tuple(0 if n == 1 else i for i, n in zip(index[len(index) - len(shape):], shape))


def a_dim(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1) if ndim else st.sampled_from([0, -1]))


def mean(xs):
    return sum(xs) / len(xs)


def variance(xs, correction=1):
    return sum((x - mean(xs)) ** 2 for x in xs) / (len(xs) - correction)


@st.composite
def reductions(draw):
    shape, keepdim = draw(SHAPES), draw(st.booleans())
    n = len(shape)
    several = st.lists(st.integers(0, n - 1), unique=True)
    several = several.map(lambda dims: tuple(d - n * (d % 2) for d in dims))
    dim = draw(st.none() | st.integers(-n, n - 1) | several if n else st.sampled_from([None, 0, -1, ()]))
    axes = {d % n for d in ([dim] if isinstance(dim, int) else dim or range(n))} if n else {}
    count = math.prod(shape[d] for d in axes)
    options = f"{dim}, keepdim={keepdim}"
    cases = [(f"sum({options})", sum, 1), (f"mean({options})", mean, 1), (f"amax({options})", max, 1),
             (f"amin({options})", min, 1), (f"var({options}, correction=0)", lambda xs: variance(xs, 0), 2),
             (f"logsumexp({options})", lambda xs: sum(x.exp() for x in xs).log(), None)]
    if count <= 6:
        cases += [(f"prod({options})", lambda xs: functools.reduce(operator.mul, xs), count)]
    if count > 1:
        cases += [(f"var({options})", variance, 2), (f"std({options})", lambda xs: variance(xs).sqrt(), None),
                  (f"std({options}, correction=0)", lambda xs: variance(xs, 0).sqrt(), None),
                  (f"var({options}, unbiased=False)", lambda xs: variance(xs, 0), 2)]
    if isinstance(dim, int):
        cases += [(f"max({options}).values", max, 1), (f"min({options})[0]", min, 1)]
    elif dim is None and not keepdim:
        cases += [("max()", max, 1), ("min()", min, 1)]
    for source, f, degree in cases:
        yield "x." + source, [shape], lambda x, f=f: {
            index: f(group) for index, group in grouped(x, axes, keepdim).items()}, degree


@st.composite
def along_a_dim(draw):
    shape = draw(SHAPES)
    dim = a_dim(draw, len(shape))
    d = dim % max(len(shape), 1)

    def softmax(x):
        sums = {i: sum(e.exp() for e in group) for i, group in grouped(x, [d], True).items()}
        return {i: e.exp() / sums[kept(i, [d], True)] for i, e in x.items()}

    def cumsum(x):
        return {i: sum(x[i[:d] + (k,) + i[d + 1:]] for k in range(i[d] + 1)) if i else x[i] for i in x}
    yield f"x.softmax({'' if dim == -1 else dim})", [shape], softmax, None
    yield (f"x.log_softmax({'' if dim == -1 else dim})", [shape],
           lambda x: {i: e.log() for i, e in softmax(x).items()}, None)
    yield f"x.cumsum({dim})", [shape], cumsum, 1


@st.composite
def reorderings(draw):
    shape = draw(SHAPES)
    n, order = len(shape), draw(st.permutations(range(len(shape))))
    a, b, swapped = a_dim(draw, n), a_dim(draw, n), list(range(n))
    if n:
        swapped[a], swapped[b] = swapped[b], swapped[a]
    signed = [d - n * (d % 2) for d in order]
    for source, order in [
            (f"x.permute({', '.join(map(str, signed))})", order), (f"x.permute({signed})", order),
            (f"x.transpose({a}, {b})", swapped), ("x.T", range(n)[::-1]),
            ("x.mT" if n > 1 else "+x.T", [*range(n - 2), n - 1, n - 2][-n:] if n > 1 else range(n))]:
        yield source.strip("+"), [shape], lambda x, order=order: {
            tuple(i[d] for d in order): e for i, e in x.items()}, 1
    for dims in [[a], sorted({a % n, b % n})] if n else []:
        yield f"x.flip({', '.join(map(str, dims))})", [shape], lambda x, dims=dims: {
            tuple(shape[d] - 1 - k if d in [dim % n for dim in dims] else k for d, k in enumerate(i)): e
            for i, e in x.items()}, 1


@st.composite
def new_shapes(draw):
    """The elements stay in their order."""
    shape = draw(SHAPES)
    n, size, one = len(shape), math.prod(shape), a_dim(draw, len(shape))
    p, k = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])), draw(st.integers(0, n))
    start = draw(st.integers(0, max(n - 1, 0)))
    end = draw(st.integers(start, max(n - 1, 0)))
    without = tuple(s for d, s in enumerate(shape) if s > 1 or d != one % n)
    for source, new in [
            (f"x.reshape({p}, {size // p})", (p, size // p)), (f"x.reshape(({p}, -1, 1))", (p, size // p, 1)),
            (f"x.view({p}, -1)", (p, size // p)), ("x.reshape(-1)", (size,)), ("x.flatten()", (size,)),
            ("x.squeeze()", tuple(s for s in shape if s > 1)),
            (f"x.flatten({start}, {end - n})",
             shape[:start] + (math.prod(shape[start:end + 1]),) + shape[end + 1:]),
            (f"x.unsqueeze({k})", shape[:k] + (1,) + shape[k:]), (f"x.squeeze({one})", without),
            (f"x.unsqueeze({k - n - 1})", shape[:k] + (1,) + shape[k:]), (f"x.squeeze(({one},))", without)]:
        yield source, [shape], lambda x, new=new: dict(zip(indices(new), x.values())), 1


@st.composite
def repetitions(draw):
    target = draw(SHAPES)
    shape, = draw(shapes_that_broadcast(1, st.just(target)))
    new = len(target) - len(shape)
    same = [-1 if d >= new and shape[d - new] == size else size for d, size in enumerate(target)]
    for method, sizes in product(["broadcast_to", "expand"], [f"{target}", f"({target})"]):
        sizes = sizes if method != "expand" else sizes.replace(f"{target}", f"{tuple(same)}")
        yield f"x.{method}{sizes}", [shape], lambda x: {i: x[own(i, shape)] for i in indices(target)}, 1


@st.composite
def pieces(draw):
    """What split, chunk and unbind cut off: elements start to end of one dimension."""
    shape = draw(SHAPES.filter(len))
    dim = a_dim(draw, len(shape))
    d = dim % len(shape)
    length, step = shape[d], draw(st.integers(1, 4))
    starts = list(range(0, length, step))
    sizes = [min(step, length - start) for start in starts]
    k = draw(st.integers(0, len(starts) - 1))
    last, dims = range(starts[k], starts[k] + sizes[k]), f", {dim}" * (dim != 0)
    chunk = -(-length // step)
    for source, picked in [(f"x.split({step}{dims})[{k}]", last), (f"x.split({sizes}{dims})[{k}]", last),
                           (f"cat(x.split({step}{dims}){dims})", range(length)),
                           (f"x.chunk({step}{dims})[0]", range(min(chunk, length)))]:
        yield source, [shape], lambda x, picked=picked: {
            i[:d] + (i[d] - picked[0],) + i[d + 1:]: e for i, e in x.items() if i[d] in picked}, 1
    yield f"x.unbind({dim})[{k}]", [shape], lambda x: {
        i[:d] + i[d + 1:]: e for i, e in x.items() if i[d] == k}, 1


@st.composite
def triangles(draw):
    shape = draw(SHAPES.filter(lambda shape: len(shape) > 1))
    k = draw(st.integers(-3, 3))
    for name, keeps in ("tril", operator.le), ("triu", operator.ge):
        yield f"x.{name}({k or ''})", [shape], lambda x, keeps=keeps: {
            i: e * keeps(i[-1] - i[-2], k) for i, e in x.items()}, 1


@st.composite
def index_forms(draw):
    """Ints, slices, ... and None anywhere; lists, Tensors and ints side by side, which broadcast."""
    shape = draw(SHAPES)
    n, items, written = len(shape), [], []
    start, p, q, end = sorted(draw(st.tuples(*[st.integers(0, n)] * 4)))       # lists stand from p to q
    gap = draw(st.integers(p, max(p, q - 1))) if draw(st.booleans()) else n    # but not here
    full = draw(shapes_that_broadcast(q - p, st.lists(st.integers(1, 3), max_size=2).map(tuple)))
    for d in range(start, end):
        size, ints = shape[d], st.integers(-shape[d], shape[d] - 1)
        if p <= d < q and d != gap:             # an int beside a gap is ambiguous, and an error
            some = full[d - p] or (1,) * (gap < n)
            one = nest(draw(st.lists(ints, min_size=math.prod(some), max_size=math.prod(some))), some)
        else:
            one = draw(st.slices(size).filter(lambda s: range(size)[s]) | (ints if p == q else st.nothing()))
            if draw(st.sampled_from([False, False, True])):
                items.append(None)
        items.append(one)
    written = [f"Tensor({it})" if isinstance(it, list) and draw(st.booleans()) else f"{it}" for it in items]
    front, back = [slice(None)] * start, [slice(None)] * (n - end)
    items = front + items + back
    for index in [[":"] * start + written + [":"] * (n - end), ["..."] + written + [":"] * (n - end),
                  [":"] * start + written + ["..."], [":"] * start + written]:
        yield f"x[{', '.join(index) or '()'}]", [shape], lambda x: {
            new: x[old] for new, old in places(items, shape)}, 1


def places(items, shape):
    """NumPy's rule: (index in the result, index in x) of all that a full index picks.

    Lists, and ints beside them, are broadcast against each other. The dimensions of the result stand where
    the lists do, if these are side by side, and else in front.
    """
    lists = [k for k, it in enumerate(items) if isinstance(it, (int, list))]
    lists = lists if any(isinstance(items[k], list) for k in lists) else []
    new_shape, sizes = broadcast([shape_of(items[k]) for k in lists] + [()]), iter(shape)
    front = lists[0] if lists and lists[-1] - lists[0] < len(lists) else 0
    sizes = [1 if it is None else next(sizes) for it in items]
    ranges = [range(1) if it is None or k in lists else
              [it % size] if isinstance(it, int) else range(size)[it]
              for k, (it, size) in enumerate(zip(items, sizes))]
    for together in indices(new_shape):
        for one in product(*map(enumerate, ranges)):
            new = [(j,) if not isinstance(it, (int, list)) else () for (j, _), it in zip(one, items)]
            old = [(at(it, together) % size,) if k in lists else () if it is None else (i,)
                   for k, ((_, i), it, size) in enumerate(zip(one, items, sizes))]
            yield sum(new[:front], ()) + together + sum(new[front:], ()), sum(old, ())


@st.composite
def masks(draw):
    """A mask of bools covers as many dimensions as it has; what it picks lies along one."""
    shape = draw(SHAPES.filter(len))
    p, q = sorted(draw(st.tuples(*[st.integers(0, len(shape))] * 2)))
    p, q = (0, len(shape)) if p == q else (p, q)
    n = math.prod(shape[p:q])
    bits = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any))
    picked = [i for i, bit in zip(indices(shape[p:q]), bits) if bit]
    mask = f"{nest(bits, shape[p:q])}"
    for source in mask, f"Tensor({mask})", f"Tensor({mask.replace('True', '1').replace('False', '0')}) > 0":
        yield f"x[{':, ' * p}{source}]", [shape], lambda x: {
            i[:p] + (picked.index(i[p:q]),) + i[q:]: e for i, e in x.items() if i[p:q] in picked}, 1
    if q == len(shape):
        yield f"x.masked_fill({mask}, 7)", [shape], lambda x: {
            i: 0 * e + 7 if i[p:q] in picked else e for i, e in x.items()}, 1


@st.composite
def joinings(draw):
    shape, n = draw(SHAPES), draw(st.integers(1, 3))
    dim = draw(st.integers(-len(shape) - 1, len(shape)))
    d = dim % (len(shape) + 1)
    yield f"stack([{', '.join('xyz'[:n])}]{f', {dim}' * (dim != 0)})", [shape] * n, lambda *parts: {
        i[:d] + (k,) + i[d:]: e for k, part in enumerate(parts) for i, e in part.items()}, 1
    if shape:
        dim = draw(st.integers(-len(shape), len(shape) - 1))
        c = dim % len(shape)
        sizes = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
        shapes = [shape[:c] + (size,) + shape[c + 1:] for size in sizes]
        yield f"cat([{', '.join('xyz'[:n])}]{f', {dim}' * (dim != 0)})", shapes, lambda *parts: {
            i[:c] + (i[c] + sum(sizes[:k]),) + i[c + 1:]: e
            for k, part in enumerate(parts) for i, e in part.items()}, 1


@st.composite
def choices(draw):
    shapes, bits = draw(shapes_that_broadcast(3)), draw(st.lists(st.booleans(), min_size=24, max_size=24))
    condition = nest(bits[:math.prod(shapes[2])], shapes[2])
    yield f"where(Tensor({condition}), x, y)", shapes[:2], lambda x, y: {
        i: x[own(i, shapes[0])] if at(condition, i) else y[own(i, shapes[1])]
        for i in indices(broadcast(shapes))}, 1


@st.composite
def matrix_products(draw):
    n, k, m = (draw(st.integers(1, 3)) for _ in "nkm")
    p, q = draw(shapes_that_broadcast(2, st.lists(st.integers(1, 2), max_size=2).map(tuple)))
    for x, y in product([p + (n, k), (k,)], [q + (k, m), (k,)]):
        lead, rows, columns = broadcast([x[:-2], y[:-2]]), x[-2:-1], y[-1:] if len(y) > 1 else ()
        yield "x @ y", [x, y], lambda a, b, x=x, y=y, lead=lead, rows=rows, columns=columns: {
            i + r + c: sum(a[own(i, x[:-2]) + r + (j,)] * b[own(i, y[:-2]) + (j,) + c] for j in range(k))
            for i in indices(lead) for r in indices(rows) for c in indices(columns)}, 2


@st.composite
def linear_layers(draw):
    lead, nin, nout = draw(SHAPES)[:3], draw(st.integers(1, 3)), draw(st.integers(1, 3))
    for bias in True, False:
        shapes = [lead + (nin,), (nout, nin), (nout,)][:2 + bias]
        yield f"linear(x, y{', z' * bias})", shapes, lambda x, w, b={}: {
            i: sum((x[i[:-1] + (j,)] * w[i[-1], j] for j in range(nin)), b.get(i[-1:], 0))
            for i in indices(lead + (nout,))}, 2


@st.composite
def names_of_the_course(draw):
    """What PyTorch has and is made of other operations here."""
    shape = draw(SHAPES.filter(len))
    n, dim = len(shape), a_dim(draw, len(shape))
    d = dim % n
    shift, k = draw(st.integers(-4, 4)), draw(st.integers(1, shape[d]))
    size = draw(st.integers(1, 3))
    wanted = tuple(size if i == d else draw(st.integers(1, length)) for i, length in enumerate(shape))
    places = st.lists(st.integers(0, shape[d] - 1), min_size=math.prod(wanted), max_size=math.prod(wanted))
    index = nest(draw(places), wanted)

    def picked(i, j):
        return i[:d] + (j,) + i[d + 1:]

    def top(x, largest):
        groups = grouped(x, [d], False)
        return {i: sorted(groups[i[:d] + i[d + 1:]], key=lambda v: v.data, reverse=largest)[i[d]]
                for i in x if i[d] < k}
    yield f"x.gather({dim}, {index})", [shape], lambda x: {
        i: x[picked(i, at(index, i))] for i in indices(wanted)}, 1
    yield f"x.topk({k}, {dim}).values", [shape], lambda x: top(x, True), 1
    yield f"x.topk({k}, {dim}, largest=False)[0]", [shape], lambda x: top(x, False), 1
    yield f"x.roll({shift}, {dim})", [shape], lambda x: {
        picked(i, (i[d] + shift) % shape[d]): e for i, e in x.items()}, 1
    yield f"x.roll({shift})", [shape], lambda x: dict(
        zip(x, [[*x.values()][(i - shift) % len(x)] for i in range(len(x))])), 1
    for source, f, degree in [("x.clone()", lambda e: e, 1), ("x.pow(3)", lambda e: e ** 3, 3),
                              ("x.clamp(-1, max=1)", lambda e: e.clip(-1, 1), 1), ("x.abs()", abs, 1),
                              ("(2 + x * x).log10()", lambda e: (2 + e * e).log() / math.log(10), None)]:
        yield source, [shape], lambda x, f=f: {i: f(e) for i, e in x.items()}, degree


CASES = [reductions, along_a_dim, reorderings, new_shapes, repetitions, pieces, triangles, index_forms, masks,
         joinings, choices, matrix_products, linear_layers, names_of_the_course]


@pytest.mark.parametrize("cases", CASES, ids=lambda cases: cases.__name__)
@TWICE_AS_MANY
@given(data=st.data(), kinds=KINDS, seed=SEEDS)
def test_tensor_operation_is_its_definition_on_values_to_the_third_order(cases, data, kinds, seed):
    for source, shapes, define, degree in data.draw(cases().map(list)):
        call = eval("lambda x, y=None, z=None: " + source, dict(vars(micrograd)))
        numbers = draw_numbers(seed, map(math.prod, shapes), [REAL] * 3, Fraction if degree else float)
        anything = cases in (joinings, choices, matrix_products)
        operands, free = make_operands(kinds if anything else (Tensor, Tensor, Tensor, 0), shapes, numbers)
        out, values = call(*operands), [dict(zip(indices(s), map(Value, x))) for s, x in zip(shapes, numbers)]
        expected = define(*values)
        assert sorted(expected) == indices(out.shape), f"{source} has shape {out.shape}"
        assert all(agrees(at(out.data, i), expected[i].data, degree, 1e-12) for i in expected), source
        gradient = weights(out, 31)
        out.backward(nest(gradient, out.shape))
        sum(w * expected[i] for w, i in zip(gradient, indices(out.shape))).backward()
        for x, elements, is_free in zip(operands, values, free):
            assert is_free or not isinstance(x, Tensor) or x.grad is None, "a constant has no gradient"
            for i, element in elements.items() if is_free else ():
                slope = Fraction(element.grad) if degree else element.grad
                assert agrees(at(x.grad.data, i), slope, degree, 1e-11), (
                    f"{source}, element {i}: the gradient is {at(x.grad.data, i)}, of Values {slope}")
        check(*as_function_of(call, operands, free), degree, source=source)


@given(data=st.data(), shape=SHAPES, keepdim=st.booleans(), seed=SEEDS)
def test_what_gives_indices_or_bools_is_a_constant_with_numbers_of_its_kind(data, shape, keepdim, seed):
    """argmax, argmin, any and all, and the indices of max and min: the first of equal ones."""
    numbers = random.Random(seed).choices([0, 1, 2], k=math.prod(shape))
    x, dim = Tensor(nest(numbers, shape)), a_dim(data.draw, len(shape))
    d = dim % max(len(shape), 1)
    groups = grouped(dict(zip(indices(shape), numbers)), [d], keepdim)
    rest = tuple(1 if k == d else n for k, n in enumerate(shape) if keepdim or k != d)
    for source, f in [
            ("x.argmax(dim, keepdim)", lambda g: g.index(max(g))),
            ("x.argmin(dim, keepdim=keepdim)", lambda g: g.index(min(g))),
            ("x.max(dim, keepdim).indices", lambda g: g.index(max(g))),
            ("x.min(dim, keepdim=keepdim)[1]", lambda g: g.index(min(g))),
            ("x.any(dim, keepdim)", any), ("x.all(dim, keepdim=keepdim)", all),
            ("(x != 0).all(dim, keepdim)", all), ("(x > 0).any(dim, keepdim)", any)]:
        out, expected = eval(source), nest(list(map(f, groups.values())), rest)
        assert repr(out.data) == repr(expected) and not out.requires_grad, source
    whole = [x.argmax(), x.argmin(), x.any(), x.all()]
    assert [out.item() for out in whole] == [numbers.index(max(numbers)), numbers.index(min(numbers)),
                                             any(numbers), all(numbers)]
    assert all(out.shape == () and not out.requires_grad for out in whole)


# What has no gradient, and what is no operation of its own: other ways to write one, creation, all the rest.
CONSTANT = "__lt__ __le__ __gt__ __ge__ __eq__ __ne__ argmax argmin any all one_hot multinomial".split()
NO_OPERATIONS = """
    __radd__ __rsub__ __rmul__ __rtruediv__ __rpow__ __rmatmul__ __iadd__ __isub__ __imul__ __itruediv__
    __ipow__
    __iter__ __contains__ __setitem__ dot matmul t cpu contiguous bool float double int long numpy
    mse_loss hinge_loss cross_entropy binary_cross_entropy_with_logits
    tensor zeros ones full eye arange linspace rand randn randint randperm uniform empty zeros_like
    ones_like full_like
    backward grad data label requires_grad detach retain_grad shape size ndim dim numel nelement dtype
    device item tolist
    __init__ __repr__ __format__ __reduce__ __init_subclass__ __subclasshook__
    __len__ __bool__ __float__ __int__ __index__ __array__
    Node Value Module Neuron Layer MLP Linear Sequential Optimizer SGD Adam AdamW Generator Traced
    Drawing cuda
    Embedding LayerNorm RMSNorm BatchNorm1d Dropout GELU ReLU Tanh ModuleList ModuleDict Parameter
    layer_norm rms_norm
    dropout scaled_dot_product_attention normal_ uniform_ ones_ zeros_
    gradcheck elementwise no_grad inference_mode clip_grad_norm clip_grad_norm_ manual_seed allclose
    histogram
    save load draw_dot trace
    shape_of nested flat nest copied zip_map map_rows broadcast_shape reduce_dim permuted products take
    add_at
    sumprod""".split()


def names_in(source):
    """The methods, functions and operators in an expression, by the names that Python has for them."""
    symbols = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__",
               ast.Pow: "__pow__", ast.USub: "__neg__", ast.UAdd: "__pos__"}
    for node in ast.walk(ast.parse(source)):
        yield symbols.get(type(getattr(node, "op", 0)), getattr(node, "attr", getattr(node, "id", "")))


def words_in_cases():
    """All words in the texts of the code that makes cases."""
    with open(__file__, encoding="utf-8") as file:
        functions = {f.name: f for f in ast.parse(file.read()).body if isinstance(f, ast.FunctionDef)}
    for node in [node for cases in CASES for node in ast.walk(functions[cases.__name__])]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value)


def public_names():
    for cls in Value, Tensor:
        for name in filter(functools.partial(hasattr, cls), dir(cls)):     # some names are but hints
            special = name.startswith("__") and getattr(cls, name) is not getattr(object, name, None)
            if not name.startswith("_") or special and callable(getattr(cls, name)) and name != "__hash__":
                yield name
    for name, thing in vars(micrograd).items():
        if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "") == "micrograd":
            yield name
    yield from FUNCTIONS


PUBLIC = set(public_names())        # before any test registers operations of its own


def test_every_public_name_is_in_a_table_or_listed_as_no_operation():
    in_tables = {name for op in OPERATIONS for name in names_in(op.source)}
    in_tables |= set(words_in_cases())
    in_tables |= {"__abs__", "__getitem__", "__matmul__", *CONSTANT}
    assert PUBLIC - in_tables - set(NO_OPERATIONS) == set(), "new operations belong into a table"
    assert set(NO_OPERATIONS) - PUBLIC <= {"sumprod"}, "there is no such name (sumprod may be math's)"
    assert set(NO_OPERATIONS) & in_tables == set(), "these are in a table now"


@pytest.mark.parametrize("code, expected", [
    ("Tensor([1, 2, 3, 6]).var().item()", 14 / 3),
    ("Tensor([1, 2, 3, 6]).var(correction=0).item()", 14 / 4),
    ("Tensor([[1, 2, 3], [2, 4, 9]]).var(1).data", [1, 13]),
    ("Tensor([[1, 3, 5], [2, 4, 6]]).std(1).data", [2, 2]),
    ("Tensor([[1, 2], [3, 4]]).prod().item(), Tensor([[1, 2], [3, 4]]).prod(0).data", (24, [3, 8])),
    ("Tensor([[1, 2], [3, 4]]).cumsum(0).data", [[1, 2], [4, 6]]),
    ("Tensor([[1, 2], [3, 4]]).cumsum(1).data", [[1, 3], [3, 7]]),
    ("[round(p, 3) for p in Tensor([[0.0, 0.0], [1.0, 1.0]]).softmax().data[0]]", [0.5, 0.5]),
    ("[round(math.exp(p), 3) for p in Tensor([[0.0, 0.0], [1.0, 1.0]]).log_softmax().data[0]]", [0.5, 0.5]),
    ("Tensor.ones(2, 3, 4, 5).mT.shape", (2, 3, 5, 4)),
    ("Tensor.ones(2, 3, 4, 5).flatten(1, 2).shape", (2, 12, 5)),
    ("Tensor.ones(2, 3, 4, 5).flatten(1).shape", (2, 60)),
    ("Tensor.ones(3).expand(2, 4, -1).shape, Tensor.ones(2, 1).expand(-1, 4).shape", ((2, 4, 3), (2, 4))),
    ("Tensor.arange(8).reshape(2, 2, 2).mT.data", [[[0, 2], [1, 3]], [[4, 6], [5, 7]]]),
    ("[t.shape for t in Tensor.ones(2, 5).split(2, 1)]", [(2, 2), (2, 2), (2, 1)]),
    ("[t.shape for t in Tensor.ones(5, 2).chunk(4)]", [(2, 2), (2, 2), (1, 2)]),
    ("[t.tolist() for t in Tensor.eye(2).unbind()], len(Tensor.eye(2, 3).unbind(1))", ([[1, 0], [0, 1]], 3)),
    ("Tensor.ones(3, 3).tril().data, Tensor.ones(2, 3).triu(1).data",
     ([[1, 0, 0], [1, 1, 0], [1, 1, 1]], [[0, 1, 1], [0, 0, 1]])),
    ("one_hot([2, 0], 3).data, one_hot(1, 3).data, one_hot(Tensor([[1]]), 2).data",
     ([[0, 0, 1], [1, 0, 0]], [0, 1, 0], [[[0, 1]]])),
    ("linear([[], []], [[], [], []]).data", [[0, 0, 0], [0, 0, 0]]),
    ("Tensor([array('d', [1, 2]), array('d', [3, 4])]).data", [[1, 2], [3, 4]]),
    ("Tensor.arange(9).reshape(3, 3)[[[0], [2]], [0, 2]].data", [[0, 2], [6, 8]]),
    ("Tensor.arange(8).reshape(2, 2, 2)[[0, 1], [1, 0], :].data", [[2, 3], [4, 5]]),
    ("Tensor.arange(8).reshape(2, 2, 2)[:, [0, 1], [1, 0]].data", [[1, 2], [5, 6]]),
    ("cross_entropy(Tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), [0, 1, 0], 'sum').item()", 3 * math.log(2)),
], ids=lambda x: x if isinstance(x, str) else "")
def test_numbers_worked_out_by_hand(code, expected):
    """The default dim of softmax, the divisor of var, which dimensions mT and flatten take, empty rows."""
    assert eval(code) == expected


@pytest.mark.parametrize("dark", [range(0), range(1, 24, 3), range(23), range(24)])
def test_matrix_product_with_many_columns_of_zeros(dark):
    x = [[1, 2, -3], [4, 5, 6]]
    y = [[0 if j in dark else 10 * i + j + 1 for j in range(24)] for i in range(3)]
    expected = [[sum(map(operator.mul, row, column)) for column in zip(*y)] for row in x]
    assert (Tensor(x) @ y).data == expected and (Tensor([x, x]) @ y).data == [expected] * 2


@given(n=st.integers(0, 5), seed=SEEDS, free=st.lists(st.booleans(), min_size=11, max_size=11))
def test_dot_is_the_sum_of_products_plus_bias(n, seed, free):
    numbers, = draw_numbers(seed, [2 * n + 1], [REAL], Fraction)
    operands = [Value(x) if is_free else x for x, is_free in zip(numbers, free)]
    ws, xs, bias = operands[:n], operands[n:2 * n], operands[-1]
    assert dot(ws, xs, bias).data == sum(map(operator.mul, numbers[:n], numbers[n:])) + numbers[-1]
    f, inputs = as_function_of(lambda *xs: dot(xs[:n], xs[n:2 * n], xs[-1]) * dot(xs, xs), operands, free)
    if inputs:
        check(f, inputs, 4)
    assert inputs or dot(ws, xs, bias)._prev == ()


# ----------------------------------------------------------------------------------------------------
# Many operations: random graphs
#
# Hypothesis writes programs in which any result may be used any number of times. What fails is shrunk to the
# smallest program, and the message is that program: paste it to see.
# ----------------------------------------------------------------------------------------------------

# For a of shape (2, 3), b (3), c (2, 1): whatever these do, the results still broadcast.
TENSOR_STEPS = [Operation(source, None, [REAL] * n, degree) for n, degree, source in [
    (1, MAX, "x.sum(-1, keepdim=True)"), (1, MAX, "x.mean()"), (1, MAX, "x.T.T"), (1, None, "x.max()"),
    (1, MAX, "x[..., None].squeeze(-1)"), (1, MAX, "x.broadcast_to(2, 3)[[1, 1, 0]].sum(0)"),
    (1, MAX, "stack([x, 2 * x], -1)[..., [1, 0, 1]].sum(-1)"), (1, TWICE, "x.flatten() @ x.reshape(-1)"),
    (1, TWICE, "x.broadcast_to(2, 3).var(0)"), (2, MAX, "where([[True, False, True]], x, y)"),
    (2, MAX, "cat([x.flatten(), y.flatten()]).sum()"), (1, None, "x.softmax(-1)"),
    (2, SUM, "linear(x.broadcast_to(2, 3), y.broadcast_to(2, 3)).sum()"), (1, None, "x.log_softmax(0)"),
    (1, None, "x.logsumexp(-1, keepdim=True)"), (1, MAX, "x.cumsum(-1).flip(-1)"),
    (1, None, "x.max(-1, keepdim=True).values"), (1, None, "x.flatten()[x.flatten() > 0].sum()"),
    (1, MAX, "x.broadcast_to(2, 3)[[[1], [0]], [2, 0, 1]]"), (1, MAX, "sum(x.expand(2, 3).unbind(0))"),
    (1, TWICE, "x.broadcast_to(2, 3)[:, :2].prod(1, keepdim=True)"), (2, None, "where(x > y, x, 2 * y)"),
    (1, MAX, "x.broadcast_to(2, 3).tril(1)"), (1, None, "x.masked_fill(x > 0, 0.5)")]]
STEPS = {Value: OPERATIONS, Tensor: OPERATIONS + TENSOR_STEPS}


class Program(list):
    """Lines of Python that compute `out` from a, b and c; `degree` is that of out."""

    def __call__(self, *inputs):
        names = dict(vars(micrograd), **dict(zip("abc", inputs)))
        exec("\n".join(self), names)
        return names["out"]

    def text(self, *inputs):
        start = [f"{name} = {type(x).__name__}({x.data!r})" for name, x in zip("abc", inputs)]
        return "\n".join(["from fractions import Fraction", "from micrograd import *", *start, *self,
                          "out.backward()", "print(a.grad, b.grad, c.grad)"])


@st.composite
def programs(draw, operations, highest_degree=None):
    names, degrees, program = ["a", "b", "c"], [1, 1, 1], Program()
    steps = st.tuples(st.sampled_from(operations), st.integers(0, 9), st.integers(0, 9))
    for op, *picks in draw(st.lists(steps, min_size=1, max_size=8)):
        picks = [-1 - pick % len(names) for pick in picks[:len(op.domains)]]        # 0 is the latest result
        degree = op.degree(*(degrees[pick] for pick in picks)) if highest_degree else 0
        if degree <= (highest_degree or 0):
            program.append(f"v{len(program)} = {op.applied(*(names[pick] for pick in picks))}")
            names.append(f"v{len(program) - 1}")
            degrees.append(degree)
    program.append(f"out = {names[-1]} + a * b * c")
    program.degree = max(degrees[-1], 3)
    return program


def polynomials(cls):
    return programs(POLYNOMIALS + [op for op in TENSOR_STEPS if op.degree and cls is Tensor], 6)


def make_inputs(cls, seed, number, shapes=((2, 3), (3,), (2, 1))):
    shapes = shapes if cls is Tensor else [()] * 3
    numbers = draw_numbers(seed, map(math.prod, shapes), [REAL] * 3, number)
    return [cls(nest(x, shape)) for x, shape in zip(numbers, shapes)]


@BOTH
@MORE
@given(data=st.data(), seed=SEEDS)
def test_random_graph_of_polynomials_is_exact_to_the_third_order(cls, data, seed):
    program, inputs = data.draw(polynomials(cls)), make_inputs(cls, seed, Fraction)
    check(program, inputs, program.degree, source=program.text(*inputs))


@BOTH
@MORE
@given(data=st.data(), seed=SEEDS)
def test_random_graph_of_all_operations_agrees_with_differences(cls, data, seed):
    program = data.draw(programs(STEPS[cls]))
    inputs = make_inputs(cls, seed, lambda k: k + math.sin(k) / 9)      # no sum of them is just on a corner
    try:
        out = program(*inputs)
        assume(abs(item(total(out))) < 1e3 and no_infinity_on_the_way(out))
        check(program, inputs, orders=2, source=program.text(*inputs), smooth=False)
    except OverflowError:
        assume(False)


@MORE
@given(program=programs(OPERATIONS), seed=SEEDS)
def test_random_graph_of_tensors_is_a_graph_of_values_for_each_element(program, seed):
    tensors = make_inputs(Tensor, seed, float, [(2, 3)] * 3)
    values = [[Value(x) for x in flat(t.data)] for t in tensors]
    try:
        out, outs = program(*tensors), [program(*inputs) for inputs in zip(*values)]
        assume(all(abs(v.data) < 1e9 for v in outs) and no_infinity_on_the_way(out))
        out.backward()
        sum(outs).backward()
    except ArithmeticError:
        assume(False)
    for t, vs in zip([out] + tensors, [outs] + values):
        source = program.text(*tensors)
        assert flat(t.data) == pytest.approx([v.data for v in vs], rel=1e-12, abs=1e-12), source
        assert flat(t.grad.data) == pytest.approx([v.grad for v in vs], rel=1e-12, abs=1e-12), source


def graph_of(*roots):
    """All nodes below the roots, each once."""
    nodes = {id(root): root for root in roots}
    todo = list(nodes.values())
    for node in todo:
        new = {id(p): p for p in node._prev if id(p) not in nodes}
        nodes.update(new)
        todo += new.values()
    return todo


def no_infinity_on_the_way(out):
    """A finite result may hide one: 1 / inf is 0, and its slope nan."""
    return all(abs(x) < 1e100 for node in graph_of(out) for x in flat(node.data))


def slopes(nodes):
    return copy.deepcopy(list(map(slope_of, nodes)))


@BOTH
@given(data=st.data(), seed=SEEDS, times=st.integers(2, 4))
def test_backward_called_n_times_gives_n_times_the_gradient_at_every_node(cls, data, seed, times):
    out = data.draw(polynomials(cls))(*make_inputs(cls, seed, Fraction))
    out.backward()
    nodes = [node for node in graph_of(out) if node.grad is not None]
    once = [flat(slope_of(node)) for node in nodes]
    for _ in range(times - 1):
        out.backward()
    assert [flat(slope_of(node)) for node in nodes] == [[times * g for g in grads] for grads in once]


@BOTH
@given(data=st.data(), seed=SEEDS)
def test_two_outputs_that_share_a_subgraph_add_their_gradients(cls, data, seed):
    """And grad() gives what backward() adds, but touches no .grad; backward(g) weights with g."""
    inputs = make_inputs(cls, seed, Fraction)
    shared = data.draw(polynomials(cls))(*inputs)
    first, second = shared * shared + inputs[0], 3 - shared
    expected = [[p + 7 * q for p, q in zip(flat(g.data), flat(h.data))]
                for g, h in zip(grad(first, inputs), grad(second, inputs))]
    assert all(x.grad is x._NO_GRAD for x in graph_of(first, second))
    first.backward()
    second.backward(7 if cls is Value else nest([7] * second.numel(), second.shape))
    assert [flat(slope_of(x)) for x in inputs] == expected


# ----------------------------------------------------------------------------------------------------
# The edges: corners, ties, zeros; the largest numbers, inf and nan; Python's own numbers; nothing at all
# ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("source, x, out, slope, second", [
    ("x.relu()", 0.0, 0, 0, 0), ("x.leaky_relu()", 0.0, 0, 0.01, 0), ("abs(x)", 0.0, 0, 0, 0),
    ("x.relu()", 0.5, 0.5, 1, 0), ("x.leaky_relu()", 0.5, 0.5, 1, 0), ("abs(x)", 0.5, 0.5, 1, 0),
    ("x ** 0", 0.0, 1, 0, 0), ("x ** 1", 0.0, 0, 1, 0), ("x ** 2", 0.0, 0, 0, 2), ("x ** 3", 0.0, 0, 0, 0),
    ("x ** 0.0", 0.0, 1, 0, 0), ("x ** 1.0", 0.0, 0, 1, 0), ("x ** 2.0", -3.0, 9, -6, 2),
    ("x ** Value(0.0)", 0.0, 1, 0, 0), ("x ** Value(1.0)", 0.0, 0, 1, 0), ("x ** Value(2.0)", -3.0, 9, -6, 2),
    ("0 ** x", 2.0, 0, 0, 0), ("x ** x", 1.0, 1, 1, 2), ("x.clip(0, 1)", 0.0, 0, 1, 0),
    ("x.clip(0, 1)", 1.0, 1, 1, 0), ("x.clip(2, 1)", 0.0, 1, 0, 0), ("x.maximum(0)", 0.0, 0, .5, 0),
    ("x.minimum(0)", 0.0, 0, .5, 0), ("x.maximum(x)", 3.0, 3, 1, 0), ("x.minimum(x)", 3.0, 3, 1, 0),
    ("x.sigmoid()", 0.0, .5, .25, 0), ("x.softplus()", 0.0, math.log(2), .5, .25),
    ("x.gelu()", 0.0, 0, .5, math.sqrt(2 / math.pi)), ("x.silu()", 0.0, 0, .5, .5),
    ("x.tanh()", 0.0, 0, 1, 0), ("x - x", 3.0, 0, 0, 0), ("x / x", 3.0, 1, 0, 0), ("x ** 0", -3.0, 1, 0, 0),
    ("x.sign()", 0.0, 0, 0, 0), ("x.sign()", -0.5, -1, 0, 0), ("x.floor()", 2.0, 2, 0, 0),
    ("x.floor()", -0.5, -1, 0, 0), ("x.round()", 0.5, 0, 0, 0), ("x.round()", 1.5, 2, 0, 0),
    ("x.round()", 2.5, 2, 0, 0), ("x.round()", -0.5, 0, 0, 0), ("x.atan()", 0.0, 0, 1, 0),
    ("x.erf()", 0.0, 0, 2 / math.sqrt(math.pi), 0), ("x.log1p()", 0.0, 0, 1, -1),
    ("x.expm1()", 0.0, 0, 1, 1), ("x.log1p() * 1e300", 1e-300, 1, 1e300, -1e300),
    ("x.expm1() * 1e300", 1e-300, 1, 1e300, 1e300),
])
def test_edges(source, x, out, slope, second):
    """Corners, bounds, ties; the exponents 0, 1 and 2; the base 0; halves that are rounded to even."""
    for x in Value(x), Tensor(x), Tensor([[x]]):
        y = eval(source.replace("Value", type(x).__name__), {**vars(micrograd), "x": x})
        dx, = grad(y, x, create_graph=True)
        ddx, = grad(dx + 0 * x, x)              # a constant gradient alone does not depend on x
        numbers = flat(y.data) + flat(dx.data) + flat(ddx.data)
        assert numbers == pytest.approx([out, slope, second], rel=1e-12, abs=1e-15)


@BOTH
@pytest.mark.parametrize("name", ["sign", "floor", "round"])
@pytest.mark.parametrize("number", [2, -2.5, Fraction(-5, 2), True, Decimal("2.5"), 10.0 ** 300],
                         ids=lambda x: type(x).__name__)
def test_sign_floor_and_round_give_floats_of_any_number(cls, name, number):
    out = item(getattr(cls(number), name)())
    expected = {"sign": (number > 0) - (number < 0), "floor": math.floor(number), "round": round(number)}
    assert type(out) is float and out == expected[name]


@BOTH
def test_gradient_of_an_exponent(cls):
    """x**y * log(x); 0 at x = 0, and nan for x < 0, as PyTorch has it. The base's is right all the same."""
    for base, y, base_slope, slope in (2., 3., 12, 8 * math.log(2)), (0., 3., 0, 0), (-2., 3., 12, nan):
        x, y = cls(base), cls(y)
        (x ** y).backward()
        assert [slope_of(x), slope_of(y)] == pytest.approx([base_slope, slope], nan_ok=True)


def test_ties_share_the_gradient_equally():
    x, y = Tensor([[3, 1, 3], [3, 3, 0]]), Tensor([3, 1, 4])
    for dim, expected in [(None, [[.25, 0, .25], [.25, .25, 0]]), ((0, 1), [[.25, 0, .25], [.25, .25, 0]]),
                          (1, [[.5, 0, .5], [.5, .5, 0]]), (0, [[.5, 0, 1], [.5, 1, 0]])]:
        assert grad(x.amax(dim), x)[0].data == expected
        assert grad((-x).amin(dim), x)[0].data == [[-g for g in row] for row in expected]
    assert grad(x.max(), x)[0].data == grad(-(-x).min(), x)[0].data == [[.25, 0, .25], [.25, .25, 0]]
    assert [g.data for g in grad(x.maximum(y), [x, y])] == [[[.5, .5, 0], [.5, 1, 0]], [1, .5, 2]]
    assert [g.data for g in grad(x.minimum(y), [x, y])] == [[[.5, .5, 1], [.5, 0, 1]], [1, 1.5, 0]]


@pytest.mark.parametrize("name, sign", [("max", 1), ("min", -1)])
def test_max_and_min_of_one_dim_are_pairs_of_values_and_indices(name, sign):
    x = Tensor([[3, 1, 3], [3, 3, 0]])
    pair = getattr(sign * x, name)(1)
    values, places = pair
    assert values is pair.values and places is pair.indices and len(pair) == 2 and pair[0] is values
    assert (sign * values).data == [3, 3] and places.data == [0, 0] and not places.requires_grad
    assert grad(sign * values * [1, 10], x)[0].data == [[.5, 0, .5], [5, 5, 0]]
    assert getattr(x, name)(0, keepdim=True).values.shape == getattr(x, name)(0, True).indices.shape == (1, 3)


@pytest.mark.parametrize("row", [[2, 3, 4], [0, 3, 4], [0, 3, 0], [0, 0, 0], [5]])
def test_prod_has_the_right_gradients_with_zeros_among_the_factors(row):
    x = Tensor([list(map(Fraction, row))])
    others = [math.prod(row[:i] + row[i + 1:]) for i in range(len(row))]
    for out in x.prod(), x.prod(1), x.prod(-1, keepdim=True), x.prod((0, 1)):
        assert flat(out.data) == [math.prod(row)] and grad(out, x)[0].data == [others]
    check(lambda x: x.prod(1), [x], len(row))


def test_std_at_variance_zero_has_the_gradient_of_pytorch():
    x = Tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
    assert x.std(1).data == [0, 1] and grad(x.std(1), x)[0].data == [[0, 0, 0], [-.5, 0, .5]]


@BOTH
@pytest.mark.parametrize("x, y", [(Decimal("0.1"), Decimal(3)), (1j, 2 + 1j), (Fraction(1, 3), Fraction(2)),
                                  (7, 2)], ids=["Decimal", "complex", "Fraction", "int"])
def test_any_kind_of_number_stays_what_it_is(cls, x, y):
    a, b = cls(x), cls(y)
    out = a * b - a * a * 2 + b ** 2 - 3
    for times in 1, 2:
        out.backward()
        assert out.data == x * y - x * x * 2 + y ** 2 - 3
        assert (slope_of(a), slope_of(b)) == (times * (y - 4 * x), times * (x + 2 * y))
        assert {type(out.data), type(slope_of(a)), type(slope_of(b))} == {type(x)}


def test_bools_become_ints_where_they_are_counted():
    mask = Tensor([[1.0, -1.0], [2.0, 3.0]]) > 0
    for out, expected in [
            (mask.sum(), 3), (mask.sum(1), [1, 2]), (mask + mask, [[2, 0], [2, 2]]),
            (mask * 1, [[1, 0], [1, 1]]),
            (mask.cumsum(1), [[1, 1], [1, 2]]), (mask.prod(1), [0, 1]), (1 - mask, [[0, 1], [0, 0]]),
            (Tensor([True]).sum(), 1), (Tensor(True).sum(), 1), (mask.amax(1) * 1, [1, 1])]:
        assert out.data == expected and set(map(type, flat(out.data))) == {int}
    assert mask.data == [[True, False], [True, True]] and set(map(type, flat(mask.data))) == {bool}
    assert mask.mean().item() == 0.75 and (mask * [[0.5, 0.5]]).data == [[0.5, 0.0], [0.5, 0.5]]
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    (x * mask).sum().backward()
    assert x.grad.data == [[1, 0], [1, 1]]


class Scalar(Array):
    pass


Number.register(Scalar)


@BOTH
@pytest.mark.parametrize("shape", [None, ()])
def test_numbers_of_numpy_become_pythons(cls, shape):
    """Scalars and arrays of no dimensions: they have .item(), and are let in nowhere as they are."""
    two = Scalar(2.0)
    two.item, two.shape = two.tolist, shape
    x = cls(two)
    outs = [x + two, two - x, x * two, two / x, x ** two, x.maximum(two), x.clip(two, two), x.leaky_relu(two)]
    for out in outs:
        out.backward()
        assert type(item(out)) is type(slope_of(x)) is float
    assert [item(out) for out in outs] == [4, 0, 4, 1, 4, 2, 2, 2] and dot([two], [two], two).data == 6
    assert bool(x > two) is bool(two < x) is False and (x == two) and (two == x)
    x.data = two
    assert type(item(x)) is float


class Index:
    """An int of somebody else's, such as NumPy's."""

    def __init__(self, n):
        self.n = n

    def __index__(self):
        return self.n


@pytest.mark.parametrize("code, shape", [
    ("x[i(1), i(-1)]", ()), ("x[i(0):i(1)]", (1, 3)), ("x[[i(1), i(0)], 0]", (2,)),
    ("x[..., [[i(2)]]]", (2, 1, 1)), ("x.sum(i(1))", (2,)),
    ("x.sum((i(0), i(1)))", ()), ("x.softmax(i(0))", (2, 3)), ("x.argmax(i(1))", (2,)),
    ("x.max(i(-1)).values", (2,)), ("x.cumsum(i(0))", (2, 3)), ("x.reshape(i(3), i(-1))", (3, 2)),
    ("x.view(i(6))", (6,)), ("x.permute(i(1), i(0))", (3, 2)), ("x.transpose(i(0), i(1))", (3, 2)),
    ("x.unsqueeze(i(0))", (1, 2, 3)), ("x[None].squeeze(i(0))", (2, 3)), ("x.flatten(i(0))", (6,)),
    ("x[0].expand(i(2), i(-1))", (2, 3)), ("x.split(i(2), i(1))[1]", (2, 1)), ("x.chunk(2, i(1))[0]", (2, 2)),
    ("x.unbind(i(1))[2]", (2,)), ("x.flip(i(1))", (2, 3)), ("x.tril(i(1))", (2, 3)),
    ("cat([x, x], i(1))", (2, 6)), ("stack([x, x], i(0))", (2, 2, 3)),
    ("one_hot([1], i(2))", (1, 2)), ("Tensor.zeros(i(2), i(3))", (2, 3)),
    ("Tensor.rand((i(2), i(3)))", (2, 3)), ("Tensor.eye(i(2), i(3))", (2, 3)), ("Tensor.full(i(2), 1)", (2,)),
    ("Linear(i(2), i(3)).weight", (3, 2)),
    ("Tensor([p.data for p in MLP(i(2), [i(3), i(1)]).parameters()])", (13,)),
    ("Embedding(i(2), i(3)).weight", (2, 3)),
])
def test_anything_with_index_is_an_int_as_index_size_and_dim(code, shape):
    assert eval(code, {**globals(), "i": Index, "x": Tensor([[1, 2, 3], [4, 5, 6]])}).shape == shape


@pytest.mark.parametrize("source, x, out, slope", [
    ("x.sigmoid()", BIG, 1, 0), ("x.sigmoid()", -BIG, 0, 0), ("x.tanh()", BIG, 1, 0),
    ("x.tanh()", -BIG, -1, 0), ("x.tanh()", 400.0, 1, 0), ("x.sigmoid()", -800.0, 0, 0),
    ("x.softplus()", BIG, BIG, 1), ("x.softplus()", -BIG, 0, 0),
    ("x.softplus()", -40.0, math.exp(-40), math.exp(-40)),
    ("x.sigmoid()", -40.0, math.exp(-40), math.exp(-40)), ("x.silu()", BIG, BIG, 1),
    ("x.silu()", -BIG, 0, 0), ("x.gelu()", BIG, BIG, 1), ("x.gelu()", -BIG, 0, 0), ("x.relu()", BIG, BIG, 1),
    ("x.atan()", BIG, math.pi / 2, 0), ("x.atan()", -BIG, -math.pi / 2, 0), ("x.erf()", BIG, 1, 0),
    ("x.erf()", -BIG, -1, 0), ("x.expm1()", -BIG, -1, 0), ("x.log1p()", BIG, math.log(BIG), 0),
    ("x.sign()", BIG, 1, 0), ("x.floor()", BIG, BIG, 0), ("x.round()", -BIG, -BIG, 0),
    ("abs(x)", -BIG, BIG, -1), ("x.exp()", -BIG, 0, 0), ("x.sqrt()", BIG, 1e154, 5e-155),
    ("x.log()", BIG, math.log(BIG), 0), ("x.relu() * inf", -1.0, nan, 0), ("x.clip(0, 1) * inf", 2.0, inf, 0),
    ("x.clip(1, -1)", -1.0, -1, 0), ("x.maximum(0) * 1.7e308", 0.5, 0.85e308, 1.7e308),
    ("x.maximum(2) * inf", 1.0, inf, 0), ("x.minimum(2) * inf", 3.0, inf, 0),
    ("x.maximum(1) * inf", 1.0, inf, inf), ("x.relu()", inf, inf, 1),
    ("x.relu()", -inf, 0, 0), ("x.exp()", inf, inf, inf),
    ("x.exp()", nan, nan, nan), ("x.log()", inf, inf, 0), ("x.log()", nan, nan, nan),
    ("x.log()", -inf, nan, 0), ("x.sin()", inf, nan, nan), ("x.cos()", -inf, nan, nan),
    ("x.sqrt()", -inf, nan, nan), ("x.tanh()", inf, 1, 0), ("x.sigmoid()", -inf, 0, 0),
    ("x.atan()", inf, math.pi / 2, 0), ("x.erf()", -inf, -1, 0), ("x.expm1()", -inf, -1, 0),
    ("x.expm1()", inf, inf, inf), ("x.log1p()", inf, inf, 0), ("x.erf()", nan, nan, nan),
    ("x.sign()", -inf, -1, 0), ("x.sign()", nan, nan, None), ("x.floor()", inf, inf, 0),
    ("x.floor()", nan, nan, None), ("x.round()", -inf, -inf, 0), ("x.round()", nan, nan, None),
    ("x / 0", inf, inf, None), ("x / -0.0", inf, -inf, None), ("x / 0", nan, nan, None),
    ("1 / x", inf, 0, 0), ("x - inf", inf, nan, 1), ("x * 0", inf, nan, 0),
    ("abs(x)", nan, nan, None), ("x ** 0.5", inf, inf, 0), ("x ** -1", inf, 0, 0),
    ("x.leaky_relu()", nan, nan, None),
    # a nan passes its gradient on, and is not hidden by a bound, nor as a bound
    ("x.relu()", nan, nan, 1), ("x.maximum(0)", nan, nan, 1), ("x.minimum(0)", nan, nan, 1),
    ("x.maximum(nan)", 1.0, nan, None), ("x.minimum(nan)", 1.0, nan, None), ("x.clip(0, 1)", nan, nan, None),
    ("x.clip(0, 1)", inf, 1, 0), ("x.clip(nan, 2)", 1.0, nan, None), ("x.clip(nan, 2)", 5.0, nan, None),
    ("x.clip(0, nan)", -1.0, nan, None), ("x.clip(low=nan)", 1.0, nan, None),
    ("x.clip(high=nan)", 1.0, nan, None),
])
def test_the_largest_numbers_inf_and_nan(source, x, out, slope):
    """Finite where mathematics is; what is not finite passes through."""
    for node in Value(x), Tensor(x), Tensor([[x]]):
        y = eval(source, {"x": node, "nan": nan, "inf": inf})
        assert flat(y.data) == [pytest.approx(out, rel=1e-12, abs=1e-300, nan_ok=True)]
        if slope is not None:
            y.backward()
            assert flat(slope_of(node)) == [pytest.approx(slope, rel=1e-12, abs=1e-300, nan_ok=True)]


def test_a_large_gradient_of_a_quotient():
    y = Value(1e100)
    (Value(1e300) / y).backward(1e200)
    assert y.grad == pytest.approx(-1e300)


@pytest.mark.parametrize("row", [[BIG, -BIG, 0.0], [-BIG, -BIG, -BIG], [800.0, 0.0, -800.0],
                                 [0.0, 200.0, 0.0], [1e4, 1e4, 0.0]])
def test_softmax_and_cross_entropy_are_stable_for_any_finite_input(row):
    x, top = Tensor([row]), max(row)
    ties = row.count(top)
    p, logs = [(e == top) / ties for e in row], [e - top - math.log(ties) for e in row]
    assert x.softmax(-1).data == [pytest.approx(p, abs=1e-80)]
    assert x.log_softmax(-1).data == [pytest.approx(logs)]
    assert x.logsumexp(-1).data == [pytest.approx(top + math.log(ties))]
    if ties < 3:        # the gradient is exp(x - out), as PyTorch's: out has lost log(3) beside 1e308
        assert grad(x.logsumexp(1), x)[0].data == [pytest.approx(p, abs=1e-80, rel=1e-9)]
    for i in range(3):
        slopes = [(i == j) - q for j, q in enumerate(p)]
        assert grad(x.log_softmax(1)[0, i], x)[0].data == [pytest.approx(slopes, abs=1e-80)]
        tensor, values = Tensor(row), list(map(Value, row))
        for loss in cross_entropy(tensor, i), cross_entropy(values, i):
            assert item(loss) == pytest.approx(-logs[i])
            loss.backward()
        for gradient in tensor.grad.data, [v.grad for v in values]:
            assert gradient == pytest.approx([-slope for slope in slopes], abs=1e-80)


def test_nan_is_the_largest_and_the_smallest_wherever_it_stands_and_gets_the_gradient():
    for row in [nan, 1.0, 2.0], [1.0, nan, 2.0], [2.0, 1.0, nan]:
        x, where_nan = Tensor([row, [3.0, 4.0, 5.0]]), [float(e != e) for e in row]
        for out in [x.amax(1), x.amin(1), x.max(1).values, x.min(1).values, x.sum(1), x.mean(1), x.prod(1),
                    x.logsumexp(1), x.softmax(1)[:, 0], x.var(1), x.std(1), x.cumsum(1)[:, 2]]:
            assert [math.isnan(number) for number in out.data] == [True, False]
        assert math.isnan(x.max().item()) and math.isnan(x.min().item())
        assert x.argmax(1).data == x.max(1).indices.data == [row.index(nan), 2]
        assert x.argmin(1).data == x.min(1).indices.data == [row.index(nan), 0]
        for out in x.max(), x.min(), x.amax(1)[0], x.amin(1)[0], x.max(1).values[0], x.min(1).values[0]:
            assert grad(out, x)[0].data == [where_nan, [0, 0, 0]]


@pytest.mark.parametrize("code, expected", [
    ("x.shape, x.size(), x.numel(), len(x), list(x)", ((0,), (0,), 0, 0, [])),
    ("(x + 1).shape, -x", ((0,), [])),
    ("x.sum(), x.prod(), x.any(), x.all(), (x == x).all()", (0, 1, False, True, True)),
    ("y.shape, y.reshape(2, 0).shape, y.reshape(-1).shape, y[:, []].shape", ((2, 0), (2, 0), (0,), (2, 0))),
    ("y.sum(1), y.prod(1), y.any(1), y.all(1)", ([0, 0], [1, 1], [False, False], [True, True])),
    ("y.softmax(-1), y.log_softmax(1), y.cumsum(1), y.cumsum(0)", ([[], []],) * 4),
    ("y > 0, -y, y.relu(), y.flip(1), y.tril(), y.masked_fill(y > 0, 1)", ([[], []],) * 6),
    ("z[:, 1:].shape, z[2:, 0].shape, z[:, 0][z[:, 0] > 5].shape, z[:, 0][[]].shape",
     ((2, 0), (0,), (0,), (0,))),
    ("x[x > 0], cat([x, [1.0]]), cat([y, z], 1)", ([], [1], [[1], [2]])),
    ("(x.exp() * z).backward(), x.grad", (None, [])), ("(z * y).backward(), z.grad", (None, [[0], [0]])),
    ("z[:, 1:].sum().backward(), z.grad", (None, [[0], [0]])),
    ("y.softmax(1).sum().backward(), y.grad", (None, [[], []])),
])
def test_nothing_at_all(code, expected):
    """Sizes of 0, where PyTorch gives an answer: x has no element, y two rows of none, z two rows of one."""
    names = {**vars(micrograd), "x": Tensor([]), "y": Tensor.zeros(2, 0), "z": Tensor([[1.0], [2.0]])}
    assert plain(eval(code, names)) == plain(expected)


def plain(x):
    """Tensors in tuples as their data."""
    return tuple(map(plain, x)) if isinstance(x, tuple) else x.data if isinstance(x, Tensor) else x


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name, expected", [
    *[(name, 3) for name in "sum mean amax amin prod logsumexp cumsum".split()], ("argmax", 0), ("argmin", 0),
    ("softmax", 1), ("log_softmax", 0), ("any", True), ("all", True), ("max", (3, 0)), ("min", (3, 0)),
    ("flatten", [3]), ("squeeze", 3), ("unsqueeze", [3])])
def test_a_single_number_takes_dim_0_and_minus_1(name, dim, expected):
    for x in Tensor(3.0), Tensor(3.0, requires_grad=False):
        out = getattr(x, name)(dim)
        assert plain(out) == expected
    assert (x.sum(()).data, x.var(dim, correction=0).data, x.transpose(0, dim).data, x.T.data) == (3, 0, 3, 3)
    assert (x.permute().shape, x[...].shape, x[()].shape, x[None].shape, x.expand(2, 1).shape) == (
        (), (), (), (1,), (2, 1))


@given(start=st.integers(-9, 9), end=st.integers(-9, 9), step=st.integers(1, 9), kind=st.integers(0, 3),
       sign=st.sampled_from([1, -1]))
def test_arange_never_contains_its_end_and_ends_just_before_it(start, end, step, kind, sign):
    number = [lambda n: n, lambda n: n / 10, lambda n: Fraction(n, 7), lambda n: n * 10 ** 18][kind]
    start, end, step = number(start), number(end), sign * number(step)
    inside = (lambda x: x < end) if sign > 0 else (lambda x: x > end)
    expected = list(takewhile(inside, (start + i * step for i in count())))
    assert Tensor.arange(start, end, step).data == expected


# ----------------------------------------------------------------------------------------------------
# The engine: constants, depth, memory, cost
# ----------------------------------------------------------------------------------------------------

@pytest.fixture
def registry():
    """The operations that a test adds are taken away again."""
    before = set(FUNCTIONS)
    yield
    for name in set(FUNCTIONS) - before:
        del FUNCTIONS[name], micrograd._OPERATIONS[name]
        delattr(micrograd.Node, name)


def test_grad_of_any_nodes():
    x, y = Value(2.0), Value(5.0)
    product = x * y
    out = product + product * x
    assert [g.data for g in grad(out, [product, x, y, x, out])] == [3, 25, 6, 25, 1]
    assert isinstance(grad(out, y), tuple) and grad(out, y)[0]._prev == ()
    assert grad(out, x, create_graph=True)[0]._prev != ()

    class Weight(Value):
        pass
    w = Weight(3.0)
    assert [y.data for y in (x - w, w - x, 1 - w, w.exp() / w)] == [-1, 1, -2, math.exp(3) / 3]
    assert [g.data for g in grad(x / w, [x, w])] == pytest.approx([1 / 3, -2 / 9]) and w._prev == ()


@BOTH
@pytest.mark.parametrize("create_graph", [False, True])
def test_an_input_that_is_not_used_is_an_error_or_none(cls, create_graph):
    x, unused = cls(3.0), cls(1.0)
    assert grad(x * x, [unused, x], create_graph, allow_unused=True)[0] is None
    assert item(grad(x * x, [unused, x], create_graph=create_graph, allow_unused=True)[1]) == 6
    with pytest.raises(ValueError, match="input 0.*allow_unused"):
        grad(x * x, [unused, x], create_graph)
    second, = grad(grad(x * 2, x, create_graph=True)[0] + 0 * x, unused, allow_unused=True)
    assert second is None


@BOTH
@pytest.mark.parametrize("before", [0, 0.0, Fraction(0), None, 3.5])
def test_grad_touches_no_grad(cls, before):
    x = cls(2.0)
    y = x * x
    x.grad = y.grad = before
    kept = [x.grad, y.grad]
    grad(y, x)
    grad(y, x, create_graph=True)
    with pytest.raises(ValueError, match="input 1"):
        grad(y, [x, cls(1.0)])
    assert x.grad is kept[0] and y.grad is kept[1]


@BOTH
def test_a_gradient_that_is_assigned_is_one_and_none_is_none(cls):
    """None and zero_grad forget; 0 is a gradient, to which backward adds, as to any other."""
    x = cls(2.0) if cls is Value else cls([2.0, 2.0])
    none = x.grad
    for forget in (lambda: setattr(x, "grad", None)), SGD([x], 1).zero_grad:
        (x * 3).backward()
        assert flat(slope_of(x)) == [3] * len(flat(x.data))
        forget()
        assert x.grad is none or x.grad is None
    for start in 0, 0.0, 5:
        x.grad = start
        assert x.grad is not none and flat(slope_of(x)) in ([start], [start] * 2)
        (x * 3).backward()
        assert flat(slope_of(x)) == [start + 3] * len(flat(x.data))
    if cls is Tensor:
        x.grad = given = [1, 2]
        given[0] = 9
        assert x.grad.data == [1, 2] and not x.grad.requires_grad and x.grad._prev == ()
        x.grad = x * 2
        assert x.grad.data == [4, 4] and not x.grad.requires_grad and x.grad._prev == ()


def test_the_gradient_of_a_tensor_is_a_constant_tensor_that_calculates():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    (x * x).backward()
    assert isinstance(x.grad, Tensor) and not x.grad.requires_grad and x.grad.data == [[2, 4], [6, 8]]
    assert x.grad.std().item() == pytest.approx(math.sqrt(20 / 3)) and (x.grad == 2 * x).all()
    assert abs(x.grad - 2 * x).max().item() == 0 and x.grad.shape == x.shape and (-0.5 * x.grad)[0, 0] == -1
    nothing = x.exp()
    assert nothing.grad is None and x.detach().grad is None


def test_constants_get_no_gradient_and_no_graph():
    x, w = Tensor([[1.0, 2.0]], requires_grad=False), Tensor([3.0, 4.0])
    halfway = x.exp() + [1.0] - 2
    assert (halfway.requires_grad, halfway._prev, halfway._op) == (False, (), "")
    (halfway * w + w.detach() * w).backward()
    assert x.grad is halfway.grad is None and w.grad.data == [halfway.data[0][0] + 3, halfway.data[0][1] + 4]


def test_what_learns_can_be_changed():
    """As lectures do: parameters made as data, which are told to learn; and a layer that is frozen."""
    w, net = Tensor([1.0, 2.0], requires_grad=False), Sequential(Linear(2, 1), Linear(1, 1))
    w.requires_grad = True
    (w * w).sum().backward()
    assert w.grad.data == [2, 4]
    for p in net[0].parameters():
        p.requires_grad = False
    assert len(net.parameters()) == 2 and len(net.state_dict()) == 4
    net(w.detach()).sum().backward()
    assert net[0].weight.grad is None and net[1].weight.grad is not None


@pytest.mark.parametrize("cls, n", [(Value, 10 ** 6), (Tensor, 10 ** 5)])
def test_a_chain_of_any_length_is_built_differentiated_copied_pickled_and_freed(cls, n):
    """Without recursion; and with the garbage collector off, since nothing in a graph is a cycle."""
    gc.disable()
    try:
        start = x = cls(0.0)
        for _ in range(n // 2):
            x = (x + 1) * 1
        x.backward()
        assert [slope_of(start), x.data, grad(x, start)[0].data] == [1, n // 2, 1]
        assert grad(x, start, create_graph=True)[0].data == 1
        for twin in copy.deepcopy(x), pickled(x):
            assert (twin.data, slope_of(twin), twin._prev) == (x.data, slope_of(x), ())
        nodes = [weakref.ref(x), weakref.ref(x._prev[0]._prev[0])]
        del x
        assert [ref() for ref in nodes] == [None, None] or not CPYTHON
    finally:
        gc.enable()


@pytest.mark.skipif(not CPYTHON, reason="counts references")
def test_graphs_of_all_operations_and_networks_are_freed_without_the_collector():
    gc.disable()
    try:
        x, y, v, w = Tensor([[1.5, 0.5, 2.5]]), Tensor([2.0, 3.0, 4.0]), Value(1.5), Value(0.5)
        model, net = MLP(2, [3, 1], act="tanh"), Sequential(Linear(3, 3), Tensor.relu, Linear(3, 1))
        outs = [op.call(*(v, w)[:len(op.domains)]) for op in STEPS[Value]]
        outs += [op.call(*(x, y)[:len(op.domains)]) for op in STEPS[Tensor]]
        outs += [model([v, 2.0]), cross_entropy(net(x), [0]), cross_entropy([v, w], 0), mse_loss([v], [w])]
        for out in outs:
            (out * 1).backward()
        slopes = grad(v.sin() * v, v, create_graph=True) + grad(x.tanh(), x, create_graph=True)
        alive = [weakref.ref(node) for node in graph_of(*outs, *slopes) if node._prev]
        del out, outs, slopes
        assert [ref() for ref in alive if ref() is not None] == []
    finally:
        gc.enable()


def test_a_neuron_goes_back_by_hand_too():
    v, w, b = Value(2.0), Value(5.0), Value(1.0)
    out = dot([v, 4.0], [3.0, w], b)
    out.grad = 10.0
    out._backward()
    assert (v.grad, w.grad, b.grad) == (30, 40, 10)
    with no_grad():
        out._backward()
    assert (v.grad, w.grad, b.grad) == (60, 80, 20)
    Tensor([1.0])._backward()                   # a leaf without a gradient: there is nothing to do


def test_norms_and_attention_on_top_of_each_other_to_the_second_order():
    """A rule that takes the gradients of its definition must not run on into the graph below."""
    def f(x):
        for _ in range(3):
            y = micrograd.layer_norm(x, 3)
            x = x + micrograd.scaled_dot_product_attention(y, y * 2, y.tanh(), is_causal=True)
            x = micrograd.rms_norm(x, 3) * 0.5
        return x
    check(f, [Tensor([[0.3, -0.7, 1.1], [0.9, 0.2, -0.4]])], orders=2)


class Tagged(Tensor):
    """A subclass with an attribute of its own."""


class Reflecting(Tensor):
    """A subclass whose reflected operators come first, and hand on."""

    def __radd__(self, other):
        return super().__radd__(other)

    def __rmul__(self, other):
        return super().__rmul__(other)


def test_reflected_operators_of_a_subclass_pay_both_operands():
    x, y = Tensor([3.0]), Reflecting([2.0])
    (x * y + (x + y)).backward()
    assert (x.grad.data, y.grad.data) == ([3.0], [4.0])
    x = Tensor([3.0], requires_grad=False)
    (x * y).backward()
    assert x.grad is None and y.grad.data == [7.0]


def test_names_with_a_hint_are_free_for_operations_of_ones_own(registry):
    hint = vars(Tensor)["norm"]
    try:
        norm = elementwise("norm", lambda x: x * x, lambda g, out, x: 2 * g * x)
        assert Tensor([2.0]).norm().data == [4.0] and Value(3.0).norm().data == norm(3.0) == 9.0
    finally:
        Tensor.norm = hint


@pytest.mark.parametrize("cls", [Value, Tensor])
def test_methods_pickle_and_have_names_for_their_arguments(cls):
    for name in PUBLIC:
        method = getattr(cls, name, None)
        if inspect.isfunction(method) and not name.startswith("_"):
            assert pickle.loads(pickle.dumps(method)) is method, name
    assert cls(1.0).maximum(other=2.0).data == cls(3.0).minimum(other=2.0).data == 2.0
    assert cls(-1.0).leaky_relu(slope=0.5).data == -0.5


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_subclass_keep_its_own_attributes(twin_of):
    x = Tagged([1.0])
    x.lr_scale = 2
    assert type(twin_of(x)) is Tagged and twin_of(x).lr_scale == 2 and twin_of(x).data == [1.0]


def test_empty_picks_and_nan_among_the_largest():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x[x < 0].shape == x[[], []].shape == (0,) and [p.shape for p in Tensor([]).split(2)] == [(0,)]
    (x[x < 0].sum() + x.sum()).backward()
    assert x.grad.data == [[1.0, 1.0], [1.0, 1.0]]
    largest = micrograd.topk(Tensor([1.0, nan, 2.0]), 2)
    assert largest.indices.data == [1, 2] and largest.values.data[1] == 2.0


def test_a_gradient_that_is_constant_has_nothing_to_differentiate():
    x = Value(2.0)
    slope, = grad(x.relu(), x, create_graph=True)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        slope.backward()


def test_no_grad_decorates_without_brackets_too():
    assert no_grad(lambda x: x * x)(Value(2.0))._prev == ()


@pytest.mark.parametrize("other", [[[2.0, 3.0]], 2.0, [2.0, 3.0]], ids=["same shape", "a number", "broadcast"])
@pytest.mark.parametrize("op", [op for op in OPERATIONS if len(op.domains) == 2], ids=str)
def test_a_constant_operand_gets_no_gradient(op, other):
    for x, y in permutations([Tensor([[1.5, 0.5]]), Tensor(other, requires_grad=False)]):
        op.call(x, y).backward()
        assert {p.requires_grad: p.grad is None for p in (x, y)} == {True: False, False: True}


@pytest.mark.skipif(not hasattr(micrograd, "_in_slots"), reason="a copy without fast paths")
@pytest.mark.parametrize("op", OPERATIONS + ["network"], ids=str)
def test_no_graph_of_values_leaves_the_fast_pass_unseen(op, monkeypatch):
    """An error there falls back to the general pass, which is right, and would hide it."""
    def general(*_):
        raise AssertionError("the general pass was taken")
    monkeypatch.setattr(micrograd, "_general_pass", general)
    numbers = [Value(n) for n, in draw_numbers(1, [1] * 2, getattr(op, "domains", [POSITIVE]), float)]
    if op == "network":
        pair = numbers * 2
        out = MLP(1, [3, 2, 1], act="tanh")(numbers) + dot([2.0, 3.0], pair) + cross_entropy(pair, 0)
    else:
        out = op.call(*numbers) * op.call(*numbers) + numbers[0]
    out.backward()
    slopes = grad(out, numbers, create_graph=True)
    grad(sum(slopes) + numbers[0], numbers, allow_unused=True)


@pytest.mark.skipif(not CPYTHON or not hasattr(micrograd, "_in_slots"), reason="counts what fast paths save")
def test_a_value_in_a_graph_takes_at_most_200_bytes():
    import tracemalloc                          # PyPy has none
    tracemalloc.start()
    try:
        x, before = Value(0.5), tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            x = x * 1.0001
        assert (tracemalloc.get_traced_memory()[0] - before) / 10_000 <= 200
    finally:
        tracemalloc.stop()


class Counted(float):
    """A number that counts the arithmetic it takes part in."""

    calls = 0


def _counting(name):
    def method(*operands):
        Counted.calls += 1
        return Counted(getattr(float, name)(*operands))
    return method


for _name in "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "neg":
    setattr(Counted, f"__{_name}__", _counting(f"__{_name}__"))


def columns_of(x):
    return (x[:, t] for t in range(x.shape[1]))


@pytest.mark.parametrize("loop", [
    lambda x: stack([row.sum() for row in x]),
    lambda x: stack([(x[t] * x[t]).sum() for t in range(len(x))]),
    lambda x: functools.reduce(lambda h, column: h * 0.5 + column, columns_of(x.T), 0),
    lambda x: functools.reduce(lambda h, t: h * 0.5 + x[t, :2], range(len(x)), 0),
    lambda x: sum(piece.sum() for piece in x.split(1)), lambda x: sum(row.sum() for row in x.unbind(0)),
    lambda x: sum(x[[t, t]].sum() for t in range(len(x))),
    lambda x: sum((x[t] * x[t]).sum() for t in range(len(x))) + (x * x).sum(),
], ids=["rows", "indices", "columns", "slices", "split", "unbind", "lists", "beside the whole"])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.skipif(not hasattr(micrograd, "_in_slots"), reason="a copy without fast paths")
def test_a_piece_costs_a_piece(loop, create_graph):
    """Twice the rows take twice the arithmetic, backward too: no zeros of full size are added for each."""
    def cost(n):
        x = Tensor([[Counted(i % 7), Counted(1), Counted(2)] for i in range(n)])
        Counted.calls = 0
        slope, = grad(loop(x) * x[0, 1], x, create_graph)
        if create_graph:
            (slope * slope).backward()
        assert slope.shape == (n, 3)
        return Counted.calls
    assert cost(80) <= 2.3 * cost(40)


@pytest.mark.parametrize("create_graph", [False, True])
def test_pieces_and_wholes_add_up_in_any_order(create_graph):
    uses = [lambda x: x[0].sum(), lambda x: (2 * x).sum(), lambda x: x[:, 1].sum(), lambda x: (x * x).sum()]
    for order in permutations(uses):
        x = Tensor([[3, 5], [7, 11]])
        slope, = grad(sum(use(x) for use in order), x, create_graph)
        assert slope.data == [[1 + 2 + 6, 1 + 2 + 1 + 10], [2 + 14, 2 + 1 + 22]]


# ----------------------------------------------------------------------------------------------------
# Failures: an error, Ctrl-C, a nested pass or another thread leaves every .grad right
# ----------------------------------------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("error", [ZeroDivisionError("no"), ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_failed_backward_changes_nothing(cls, error, registry):
    def rule(g, out, x):
        raise error
    fragile = elementwise("fragile", lambda x: x, rule)
    x, y = cls(2.0), cls(3.0)
    product = x * y
    product.backward()
    out = (fragile(product) + product * x).sin() + product * product    # it fails when others have paid
    nodes = graph_of(out)
    before = slopes(nodes)
    for attempt in out.backward, lambda: grad(out, x), lambda: grad(out, x, create_graph=True):
        with pytest.raises(type(error), match="fragile at" if "no" in str(error) else None):
            attempt()
        assert slopes(nodes) == before
    product.backward()                          # nothing is left that would disturb another pass
    assert slopes([x, y, product]) == [6, 4, 2]


def in_a_thread(action):
    """Run it to its end: a lock that somebody left held must not hang the tests."""
    result = []
    thread = threading.Thread(target=lambda: result.append(action()), daemon=True)
    thread.start()
    thread.join(60)
    assert result, "it failed, or hangs"
    return result[0]


def interrupted(action, n, error=KeyboardInterrupt):
    """Run it with Ctrl-C at the n-th line of micrograd.py; whether it came to its end before that."""
    def trace(frame, event, argument):
        nonlocal n
        if frame.f_code.co_filename != micrograd.__file__:
            return None
        n -= event == "line"
        if n == 0 and event == "line":
            raise error
        return trace
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except error:
        return False
    finally:
        sys.settrace(before)
    assert n > 0, f"{error.__name__} was lost"
    return True


def graph_of_values():
    x, y, w = Value(2.0), Value(3.0), [Value(0.5), Value(-1.5)]
    inner = x * y + y.tanh()
    return dot(w, [inner, x], 1.0).relu() * inner


def graph_of_tensors():
    x, w = Tensor([[1.0, -2.0], [3.0, 0.5]]), Tensor([0.5, 2.0])
    inner = x * w + x[0]
    return inner @ w + inner.sum(1)


def graph_with_an_operation_of_ones_own():
    cube = elementwise("cube", lambda x: x ** 3, lambda g, out, x: 3 * g * x * x)
    x = Value(2.0)
    return cube(x * x) * x + cube(x)


def plus(a, b):
    """The sum of numbers in lists that are nested alike."""
    return list(map(plus, a, b)) if isinstance(a, list) else a + b


@pytest.mark.parametrize("make", [graph_of_values, graph_of_tensors, graph_with_an_operation_of_ones_own])
def test_ctrl_c_at_any_line_of_a_pass_leaves_every_gradient_as_it_was(make, registry):
    """Or the pass is complete; and the next one works, in another thread too."""
    contextvars.copy_context().run(interrupt_at_every_line, make())


def interrupt_at_every_line(root):
    root.backward()
    nodes = [node for node in graph_of(root) if node.grad is not node._NO_GRAD]
    once = slopes(nodes)
    for action in root.backward, lambda: grad(root, nodes), lambda: grad(root, nodes, create_graph=True):
        done, n = False, 0
        while not done:
            n, before = n + (1 if action == root.backward else 5), slopes(nodes)
            done = interrupted(action, n)
            complete = plus(before, once) if action == root.backward else before
            assert slopes(nodes) == complete or not done and slopes(nodes) == before, f"half done at line {n}"
            assert recorded() is True, f"interrupted at line {n}, a graph is recorded no more"
        assert n > 20 and in_a_thread(lambda: [g.data for g in grad(root, nodes)]) == once


def test_an_error_out_of_the_blue_ends_a_pass():
    """A time limit, say: it is no error of a rule, after which the pass would begin again."""
    root, n, done = graph_of_values(), 0, False
    root.backward()
    nodes = [node for node in graph_of(root) if node.grad is not node._NO_GRAD]
    once = slopes(nodes)
    while not done:
        for node in nodes:
            node.grad = None
        n += 1
        done = interrupted(root.backward, n, TimeoutError)
        assert slopes(nodes) in (once, [None] * len(nodes))
    assert n > 20 and slopes(nodes) == once


def test_ctrl_c_at_any_line_of_a_neuron_and_of_its_weights():
    neuron, n, done = Neuron(2, "tanh"), 0, False

    def call():
        neuron.w[1] = Value(2.0)
        neuron.w[0].data, neuron.b.data = n / 8, 1.0
        return neuron([3.0, 5.0])
    while not done:
        n += 1
        done = interrupted(call, n)
        expected = math.tanh(math.fsum([neuron.w[0].data * 3, neuron.w[1].data * 5, neuron.b.data]))
        assert neuron([3.0, 5.0]).data == pytest.approx(expected, rel=1e-12)
    assert n > 10


def times(k, a):
    return [times(k, x) for x in a] if isinstance(a, list) else k * a


@pytest.mark.parametrize("make", [graph_of_values, graph_of_tensors, graph_with_an_operation_of_ones_own])
@pytest.mark.parametrize("inner", ["backward", "grad", "create_graph"])
def test_a_rule_may_run_a_pass_of_its_own_over_the_same_nodes(make, inner, registry):
    root = make()
    root.backward()
    nodes = [node for node in graph_of(root) if node.grad is not node._NO_GRAD]
    once = slopes(nodes)

    def rule(g, out, x):
        if inner == "backward":
            root.backward()
        else:
            assert [d.data for d in grad(root, nodes, create_graph=inner == "create_graph")] == once
        return g
    nosy = elementwise("nosy", lambda x: x, rule)
    nosy(root * 2).backward()
    assert slopes(nodes) == times(1 + 2 + (inner == "backward"), once)


def together(*actions):
    """Run the actions at once, one thread each, which take turns as often as can be; what each gave."""
    results, before, start = {}, sys.getswitchinterval(), threading.Barrier(len(actions))

    def run(i, action):
        start.wait(60)
        results[i] = action()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(actions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(before)
    return [results.get(i, "it failed, or hangs") for i in range(len(actions))]


def shared_values():
    """Whole numbers, so that sums are exact in any order."""
    model = MLP(2, [2, 1])
    for i, p in enumerate(model.parameters()):
        p.data = float(i % 5 - 2)
    return model.parameters(), lambda: model([1.0, 2.0]) * model([3.0, -1.0]) + model([2.0, 2.0])


def shared_tensors():
    net = Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1))
    for p in net.parameters():
        p.data = nest([float(i % 5 - 2) for i in range(p.numel())], p.shape)
    return net.parameters(), lambda: (net([[1.0, 2.0], [3.0, -1.0]]) * net([[2.0, 2.0]])).sum()


def values_and_an_operation_of_ones_own():
    """Rules from outside may do anything, so these graphs take the general pass, between those of others."""
    double = elementwise("double_it", lambda x: 2 * x, lambda g, out, x: 2 * g)
    params, loss = shared_values()
    return params, lambda: double(loss()) + loss()


@pytest.mark.parametrize("shared", [shared_values, shared_tensors, values_and_an_operation_of_ones_own])
@pytest.mark.parametrize("one_graph", [False, True], ids=["own graphs", "one graph"])
def test_threads_that_share_parameters_get_every_sum_right(shared, one_graph, registry):
    params, loss = shared()
    rounds, threads, same = 200, 4, loss()
    expected = [g.data for g in grad(same, params)]

    def work():
        for _ in range(rounds):
            out = same if one_graph else loss()
            out.backward()
            if [g.data for g in grad(out, params)] != expected:
                return "a wrong gradient"
        return "right"
    assert together(*[work] * threads) == ["right"] * threads
    assert slopes(params) == times(rounds * threads, expected)
    for p in params:
        p.grad = None
    loss().backward()                           # nothing is left behind
    assert slopes(params) == expected


def train(model):
    """A few steps, with a look at the model under no_grad in between; all that was computed."""
    optimizer, xs, numbers = Adam(model.parameters(), lr=0.05), [[0.5, -1.0], [1.5, 0.25]], []
    for _ in range(8):
        out = [model(x) for x in xs] if isinstance(model, MLP) else model(xs).reshape(2)
        loss = mse_loss(out, [1.0, -1.0])
        optimizer.zero_grad()
        loss.backward()
        with no_grad():
            numbers += [item(loss), item(model([0.3, 0.4]))]
        optimizer.step()
    return numbers, model.state_dict()


def test_threads_that_train_their_own_models_get_the_numbers_of_one_after_another():
    models = [MLP(2, [4, 1], act="tanh") for _ in range(3)]
    models += [Sequential(Linear(2, 4), Tensor.tanh, Linear(4, 1)) for _ in range(3)]
    expected = [train(copy.deepcopy(model)) for model in models]
    assert together(*[lambda model=model: train(model) for model in models]) == expected


# What backward differentiates is what forward computed: w is replaced in between, in every way there is.
REPLACED = {
    "assigned": "w.data = [3.0, 4.0]", "p.data -= lr * p.grad": "w.data -= 0.1 * w.detach()",
    "in place": "with no_grad(): w -= 0.1", "a step": "w.grad = [1.0, 1.0]; SGD([w], lr=1).step()",
    "Adam": "w.grad = [1.0, 1.0]; Adam([w]).step()", "loaded": "model.load_state_dict({'w': [3.0, 4.0]})",
}


@pytest.mark.parametrize("code", REPLACED.values(), ids=REPLACED.keys())
@pytest.mark.parametrize("create_graph", [False, True])
def test_data_replaced_between_forward_and_backward_are_an_error(code, create_graph):
    w, x, model = Tensor([1.0, 2.0]), Tensor([5.0, 6.0]), Module()
    model.w = w
    loss = ((w * w).sum() * x).sum()
    exec(code, {**vars(micrograd), "w": w, "model": model})
    before = slopes([w, x, loss])
    for attempt in loss.backward, lambda: grad(loss, w, create_graph), lambda: grad(loss, x, create_graph):
        with pytest.raises((RuntimeError, ValueError), match="replaced|changed|assigned"):
            attempt()
        assert slopes([w, x, loss]) == before
    w.grad = None
    (w * w).sum().backward()                    # computed anew, it is right
    assert w.grad.data == [2 * n for n in w.data]


def test_two_losses_and_a_step_between_them():
    """The second loss was computed with the old weights: PyTorch's error, not a number."""
    net = Sequential(Linear(1, 2), Linear(2, 1))
    first, second = net([[1.0]]).sum(), net([[2.0]]).sum()
    first.backward()
    SGD(net.parameters(), 0.1).step()
    with pytest.raises((RuntimeError, ValueError)):
        second.backward()
    for _ in range(2):                          # the usual order is untouched by this
        net([[1.0]]).sum().backward()
        SGD(net.parameters(), 0.1).step()


# ----------------------------------------------------------------------------------------------------
# The engine: no_grad, operations of one's own, gradcheck
# ----------------------------------------------------------------------------------------------------

def recorded():
    """Whether operations record a graph here: True, False, or both, which would be a mistake."""
    x, t = Value(2.0), Tensor([2.0, 3.0])
    nodes = [x * x, 3 - x, x.exp(), dot([x], [x]), abs(x), x.clip(0, 1), x ** x, t * t, t.sum(), t.exp(),
             t[0], cat([t, t]), linear(t, stack([t])),
             t.max(0).values, t.cumsum(0), t.unbind()[0], -t, t.relu()]
    seen = {node._prev != () for node in nodes}
    return seen.pop() if len(seen) == 1 else seen


def test_no_grad_records_nothing_and_ends_where_it_ends():
    decorated = no_grad()(recorded)
    assert recorded() is True and decorated() is False and recorded() is True
    assert decorated.__name__ == "recorded"
    t = Tensor([2.0, 3.0])
    with pytest.raises(KeyError):
        with no_grad():
            with no_grad():
                assert recorded() is False
            assert recorded() is decorated() is False
            assert not (t * t).requires_grad and Tensor([1.0]).requires_grad
            raise KeyError
    assert recorded() is True


def test_no_grad_decorates_generator_functions_while_they_run_and_only_then():
    @no_grad()
    def numbers(n):
        got = []
        try:
            for _ in range(n):
                got.append((yield recorded()))
        except KeyError:
            yield recorded()
        finally:
            seen.append(recorded())
        return got

    seen, generator = [], numbers(2)
    assert [next(generator), recorded(), generator.send("a"), recorded()] == [False, True, False, True]
    with pytest.raises(StopIteration) as end:
        generator.send("b")
    assert end.value.value == ["a", "b"] and seen == [False] and recorded() is True
    generator = numbers(2)
    next(generator)
    assert generator.throw(KeyError()) is False and recorded() is True
    generator.close()
    assert seen == [False, False] and recorded() is True and list(numbers(3)) == [False] * 3


def test_no_grad_decorates_coroutines_and_belongs_to_its_own_task():
    async def steps(n, seen):
        for _ in range(n):
            seen.append(recorded())
            await asyncio.sleep(0)

    @no_grad()
    async def quiet(seen):
        await steps(3, seen)
        return "quiet"

    @no_grad()
    async def quiet_numbers():
        for _ in range(3):
            yield recorded()
            await asyncio.sleep(0)

    async def in_a_block(seen):
        with no_grad():
            await steps(3, seen)
        await steps(2, seen)

    async def ask(seen):
        async for answer in quiet_numbers():
            seen.append((answer, recorded()))

    async def main():
        lists = [[], [], [], []]
        tasks = [f(seen) for f, seen in zip([lambda seen: steps(6, seen), quiet, in_a_block, ask], lists)]
        results = await asyncio.gather(*tasks)
        assert results[1] == "quiet" and recorded() is True
        return lists
    assert asyncio.run(main()) == [[True] * 6, [False] * 3, [False] * 3 + [True] * 2, [(False, True)] * 3]
    assert recorded() is True


def test_no_grad_holds_in_its_own_thread_only():
    inside, checked, seen = threading.Event(), threading.Event(), []

    def quiet():
        with no_grad():
            inside.set()
            checked.wait(60)
            seen.append(recorded())

    thread = threading.Thread(target=quiet)
    thread.start()
    inside.wait(60)
    seen.append(recorded())
    checked.set()
    thread.join(60)
    assert seen == [True, False]


@BOTH
def test_a_result_without_a_graph_says_so_in_backward(cls):
    w = cls(3.0)
    with no_grad():
        lost = w * w
    results = [lost, copy.deepcopy(w * w), pickled(w * w)]
    results += [dot([1.0], [2.0])] if cls is Value else [Tensor([1.0]).detach() * 2, Tensor(1.0) > 0]
    for result in results:
        with pytest.raises(ValueError, match="backward.*(no_grad|graph|constant)"):
            result.backward()
        assert result.grad is result._NO_GRAD
    assert w.grad is w._NO_GRAD


def test_elementwise_gives_both_engines_an_operation_to_the_third_order(registry):
    softsign = elementwise("softsign", lambda x: x / (1 + abs(x)), lambda g, out, x: g / (1 + abs(x)) ** 2)
    cube = elementwise("cube", lambda x: x * x * x, lambda g, out, x: g * 3 * x * x)
    check(lambda x: x.softsign(), [Value(0.7)])
    check(lambda x: softsign(x) * 2, [Tensor([[0.7, -0.3]])])
    check(lambda x: x.cube(), [Value(Fraction(2, 3))], 3)
    check(lambda x: cube(x + 1), [Tensor([Fraction(2, 3), Fraction(-1)])], 3)
    assert softsign(1) == 0.5 and FUNCTIONS["softsign"] is softsign
    assert Neuron(1, act="softsign")([2])._op == "softsign"
    jump = elementwise("jump", lambda x: float(x > 0), lambda g, out, x: 0)     # a plain number
    check(lambda x: jump(x) + x.jump() * x * x, [Tensor([[0.75, -0.25]])])
    check(lambda x: jump(x) + x.jump() * x * x, [Value(0.75)])
    elementwise("cube", lambda x: x ** 3, lambda g, out, x: g * 3 * x ** 2)     # what it made, it may replace
    assert (Value(2.0).cube()._op, Tensor(2.0).cube()._op) == ("cube", "cube")


@BOTH
@pytest.mark.parametrize("result", [None, "3", object(), {}], ids=lambda x: type(x).__name__)
def test_what_forward_and_rule_of_elementwise_give_is_checked(cls, result, registry):
    odd = elementwise("odd", lambda x: result, lambda g, out, x: g)
    even = elementwise("even", lambda x: x, lambda g, out, x: result)
    for wrong in cls(2.0), 2.0:
        with pytest.raises(TypeError, match="odd"):
            odd(wrong)
    x = cls(2.0)
    for out in even(x), x * x + (even(x) * x).sin():
        for attempt in out.backward, lambda: grad(out, x), lambda: grad(out, x, create_graph=True):
            with pytest.raises(TypeError, match="even"):
                attempt()
            assert x.grad is x._NO_GRAD


@BOTH
def test_a_rule_that_gives_another_kind_or_shape_is_an_error(cls, registry):
    x, other = (Value(1.0), Tensor([1.0])) if cls is Value else (Tensor([1.0, 2.0]), Value(1.0))
    mixed = elementwise("mixed", lambda x: x, lambda g, out, x: other)
    wide = elementwise("wide", lambda x: x, lambda g, out, x: Tensor([1.0, 2.0, 3.0]))
    for f, name in (mixed, "mixed"), (wide, "wide"):
        with pytest.raises((TypeError, ValueError), match=name):
            f(x).backward()
        assert x.grad is x._NO_GRAD


def test_gradcheck_tells_right_from_wrong_and_says_where(registry):
    elementwise("wrong", lambda x: x * x, lambda g, out, x: g * 2.001 * x)
    x, t = Tensor(0.5), Tensor([[0.5, 2.0], [3.0, -1.0]])
    assert gradcheck(lambda x, t: (t * x).sin(), x, t) is gradcheck(Value.exp, Value(2.0)) is True
    assert gradcheck(lambda x: x ** 2, Value(Fraction(1, 3)), eps=Fraction(1, 7), tol=0)
    assert gradcheck(lambda x: x.wrong(), Value(3.0), tol=1e-2)
    for f, inputs, words in [
            (lambda x, t: x + t.wrong(), [x, t], [r"input 1, element \[0, 0\]", "1.0", "1.0005"]),
            (lambda x: x.wrong(), [Value(3.0)], ["input 0:", "6.00", "6.003"]),
            (lambda t: where([[0, 0], [0, 1]], t.wrong(), t), [t], [r"element \[1, 1\]"]),
            (lambda x: x.relu(), [Value(1e-7)], ["eps"]), (lambda x: x.sin(), [Value(1e30)], ["eps"])]:
        with pytest.raises(AssertionError) as error:
            gradcheck(f, *inputs)
        assert all(re.search(word, str(error.value)) for word in words), error.value
        assert inputs[-1].grad is inputs[-1]._NO_GRAD and t.data == [[0.5, 2.0], [3.0, -1.0]]


# ----------------------------------------------------------------------------------------------------
# Python around it: copies, truth, text, what a Tensor tells about itself, items that are assigned
# ----------------------------------------------------------------------------------------------------

def pickled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("twin_of", [copy.deepcopy, pickled])
def test_copies_keep_data_grad_and_label_and_go_their_own_way(twin_of):
    x, t = Value(Fraction(1, 3), label="x"), Tensor([[1.0, 2.0]], label="t", requires_grad=False)
    y, u = x * x, Tensor([1.0, 2.0])
    y.backward()
    (u * u).sum().backward()
    z, s, twin = twin_of(y), twin_of(t), twin_of(u)
    assert (z.data, z.grad, z._prev, z._op, twin_of(x).label) == (y.data, y.grad, (), "", "x")
    (z * z).backward()
    assert x.grad == Fraction(2, 3), "a copy must not reach into the original"
    assert (s.data, s.grad, s.label, s.requires_grad) == ([[1.0, 2.0]], None, "t", False)
    assert twin.grad.data == [2, 4] and twin.requires_grad and twin_of(Value(1.0)).grad is Value(1.0).grad
    (twin * 1).sum().backward()
    s.data[0][0] = 9.0
    assert t.data == [[1.0, 2.0]] and u.grad.data == [2, 4] and twin.grad.data == [3, 5]


@pytest.mark.parametrize("twin_of", [copy.deepcopy, pickled])
def test_copies_of_models_go_their_own_way(twin_of):
    random.seed(2)
    for model in MLP(2, [3, 1], act="tanh"), Sequential(Linear(2, 3), Tensor.tanh, Tensor.softmax):
        before, numbers = model.state_dict(), model([0.3, 0.4]).data
        twin = twin_of(model)
        assert twin.state_dict() == before and twin([0.3, 0.4]).data == numbers
        (twin([0.3, 0.4]) * twin([0.3, 0.4])).backward()
        assert all(p.grad is p._NO_GRAD for p in model.parameters())
        assert all(p.grad is not p._NO_GRAD for p in twin.parameters())
        SGD(twin.parameters(), lr=1).step()
        assert twin.state_dict() != before and model.state_dict() == before


def test_lists_are_copied_where_they_enter_and_where_they_leave():
    rows = [[1.0, 2.0]]
    t = Tensor(rows)
    rows[0][0] = 5.0
    t.tolist()[0][0] = t.detach().data[0][0] = 6.0
    assert t.data == [[1.0, 2.0]]
    for kind in list, Tensor, Array:
        t.data = kind(rows)
        t.detach().data[0][0] = rows[0][0] = rows[0][0] + 1
        assert t.data == [[rows[0][0] - 1, 2.0]], "assigned, it is copied too"
    a, b, c = t * 1, t * 1, t
    (a + (b + c)).backward()
    c.grad = [[1.0, 1.0]]
    for node in a, b, c:            # + hands one gradient to both operands
        node.grad.data[0][0] = 77.0
        assert [slope_of(other) for other in (a, b, c) if other is not node] == [[[1.0, 1.0]]] * 2
        node.grad.data[0][0] = 1.0


HASH_PROGRAM = """
import random
from micrograd import *
random.seed(0)
model, net = MLP(3, [5, 1], act="tanh"), Sequential(Linear(3, 5), Tensor.tanh, Linear(5, 1))
shared = [Value(0.1 * i) for i in range(20)]
loss = sum((a * b).sin() + c for a in shared for b in shared for c in shared[:3]) + model([0.1, 0.2, 0.3])
loss.backward()
(net([0.1, 0.2, 0.3]) ** 2).backward()
print(loss.data, [p.grad for p in shared + model.parameters()], [p.grad.data for p in net.parameters()])
"""


def run_python(*arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": FOLDER, **environment}
    return subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)


def test_the_same_seed_gives_the_same_last_bit_whatever_the_hash_seed():
    runs = [run_python("-c", HASH_PROGRAM, PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert runs[0].stdout == runs[1].stdout and runs[0].returncode == 0, runs[0].stdout


@pytest.mark.parametrize("code, expected", [
    ("t.shape, t.size(), t.size(0), t.size(-1), t.ndim, t.numel(), len(t)", ((2, 3), (2, 3), 2, 3, 2, 6, 2)),
    ("n.shape, n.size(), n.ndim, n.numel(), n.item(), Tensor([[5]]).item()", ((), (), 0, 1, 5, 5)),
    ("t.label, t.grad, t.requires_grad, t.detach().requires_grad, t._op, t._prev",
     ("t", None, True, False, "", ())),
    ("(t * 2)._op, (t @ t.T)._op, t.sum()._op, (3 - t)._prev[1] is t, (3 - t)._prev[0]",
     ("*", "matmul", "sum", True, 3)),
    ("[row.data for row in t] == t.tolist() == t.data, all(row._prev[0] is t for row in t)", (True, True)),
    ("t[range(2), Array([2, 0])], t[[1, 0], 0], t[0, [1, 0]], t[(1,)]", ([3, 4], [4, 1], [2, 1], [4, 5, 6])),
    ("t[Tensor([1])], t[t.argmax(0), Tensor([0, 1, 2])]", ([[4, 5, 6]], [4, 5, 6])),
    ("t.argmax(), t.argmax(1), t.argmin(0), t.argmax(1, keepdim=True)", (5, [2, 2], [0, 0, 0], [[2], [2]])),
])
def test_what_a_tensor_tells_about_itself(code, expected):
    t = Tensor([[1, 2, 3], [4, 5, 6]], label="t")
    assert plain(eval(code, {**globals(), "t": t, "n": Tensor(5)})) == expected


def test_truth_numbers_and_text_of_a_single_one():
    """The data decide. A Value has no __float__, so that math.exp(v) cannot leave the graph unnoticed."""
    for cls in Value, Tensor:
        assert bool(cls(2.0)) is bool(cls(nan)) is True and bool(cls(0.0)) is bool(cls(0)) is False
        assert f"{cls(2 / 3):.4f} {cls(5):03d} {cls(0.5):>6}" == "0.6667 005    0.5"
    for convert in float, math.exp, int, operator.index, "%f".__mod__:
        with pytest.raises(TypeError):
            convert(Value(1.0))
    t = Tensor(0.125)
    assert bool(Tensor([[2.0]])) and (float(Tensor(2)), "%.2f" % t, math.exp(Tensor(0.0))) == (2, "0.12", 1)
    assert (operator.index(Tensor(2)), "abc"[Tensor(1)], [*range(Tensor(2))]) == (2, "b", [0, 1])
    for convert in operator.index, "abc".__getitem__:
        with pytest.raises(TypeError):
            convert(Tensor(1.0))


def test_numpy_sees_an_array():
    """`__array__` is called by NumPy alone, and may import it."""
    numpy = pytest.importorskip("numpy")
    t = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert numpy.array(t).tolist() == t.data and numpy.asarray(t).shape == (2, 2)
    assert numpy.asarray(t, dtype=numpy.float32).dtype == numpy.float32
    assert numpy.array(Tensor(3)).tolist() == 3
    assert numpy.array(t > 2).dtype == bool and numpy.array(t.argmax(1)).dtype.kind == "i"
    assert Tensor(numpy.arange(4).reshape(2, 2)).data == [[0, 1], [2, 3]]
    assert (numpy.ones(2) + t).data == [[2, 3], [4, 5]] and (numpy.float64(2.0) * t)._op == "*"
    assert t[numpy.array([1]), numpy.int64(0)].data == [3] and t[numpy.array([True, False])].data == [[1, 2]]
    assert t.sum(numpy.int64(0)).data == [4, 6] and Value(numpy.float64(0.5)).data == 0.5


@given(data=st.data(), seed=SEEDS)
def test_items_of_constants_and_results_can_be_assigned(data, seed):
    """x[index] = y puts y, broadcast, where x[index] would take it from."""
    source, (shape,), define, _ = data.draw((index_forms() | masks()).map(next))
    elements = {i: i for i in indices(shape)}
    target = define(elements)                   # index in the result -> index in x
    assume(len(set(target.values())) == len(target))
    numbers, new_shape = range(math.prod(shape)), tuple(1 + max(column) for column in zip(*target))
    y_shape, = data.draw(shapes_that_broadcast(1, st.just(new_shape)))
    y = nest([-1 - k for k in range(math.prod(y_shape))], y_shape)
    for x in Tensor(nest(numbers, shape), requires_grad=False), Tensor(nest(numbers, shape)) * 1:
        for form in y, Tensor(y, requires_grad=False), to_tuples(y):
            expected = {i: at(x.data, i) for i in elements}
            expected.update({old: at(y, new) for new, old in target.items()})
            exec(f"{source} = y", {**vars(micrograd), "x": x, "y": form})
            assert flat(x.data) == list(expected.values()) and x.shape == shape
        exec(f"{source} -= 5", {**vars(micrograd), "x": x})
        assert sorted(flat(x.data)) == sorted(n - 5 * (i in target.values()) for i, n in expected.items())


def stale(code):
    """Run the code, in which x learns and c is a constant, and then backward of what it calls loss."""
    names = {**vars(micrograd), "x": Tensor([1.0, 2.0]), "c": Tensor([3.0, 4.0], requires_grad=False)}
    exec(code, names)
    return names


@pytest.mark.parametrize("code", [
    "y = x * 2; z = y * y; y[0] = 5.0; loss = z.sum()",
    "y = x * 2; z = (y * y).sum(); y[0] -= 1; loss = z",
    "y = x * 2; y[0] = 5.0; loss = y.sum()", "y = x * 2; y[y > 3] = 0.0; loss = (y * x).sum()",
    "loss = (c * x).sum(); c[1] = 0.0", "c[0] = x[0] * 2; loss = (c * x).sum()",
    "c[:] = x; loss = (c * x).sum()",
    "p = x.softmax(-1); loss = p.log().sum(); p[0] -= 1",
])
def test_what_was_recorded_before_an_item_was_assigned_is_stale(code):
    names = stale(code)
    x, loss = names["x"], names["loss"]
    for attempt in loss.backward, lambda: grad(loss, x), lambda: grad(loss, x, create_graph=True):
        with pytest.raises((RuntimeError, ValueError), match="assigned|changed|replaced|stale"):
            attempt()
        assert x.grad is None
    (x * x).sum().backward()                    # what is computed anew is right
    assert x.grad.data == [2, 4]


@pytest.mark.parametrize("code", [
    "c[0], c[1] = 5.0, 0.0; loss = (c * x).sum()",
    "c[0] = 5.0; c[1] -= 4; c[[True, False]] = 5; loss = (c * x).sum()",
    "c[:] = [5.0, 0.0]; loss = (c * x).sum()",
    "c[range(2)] = x.detach(); c[0], c[1] = 5.0, 0.0; loss = (x * c).sum()"])
def test_numbers_that_were_assigned_before_they_are_used_count(code):
    names = stale(code)
    names["loss"].backward()
    assert names["x"].grad.data == [5, 0]


@pytest.mark.parametrize("create, expected", [
    ("zeros(2, 3)", [[0.0] * 3] * 2), ("ones((1, 2))", [[1.0, 1.0]]), ("zeros()", 0.0),
    ("ones([2])", [1.0, 1.0]),
    ("full((2, 1), 7)", [[7], [7]]), ("full(2, 0.5)", [0.5, 0.5]), ("eye(2)", [[1.0, 0.0], [0.0, 1.0]]),
    ("eye(1, 3)", [[1.0, 0.0, 0.0]]), ("arange(3)", [0, 1, 2]), ("arange(1, 3)", [1, 2]),
    ("arange(2, 2)", []),
    ("arange(5, 0, -2)", [5, 3, 1]), ("arange(1, 2, 0.25)", [1, 1.25, 1.5, 1.75]), ("arange(-1)", []),
    ("arange(1, 1.6, .1)", [1 + i * 0.1 for i in range(6)]), ("arange(0, 1, 0.3)", [0, 0.3, 0.6, 3 * 0.3]),
    ("arange(0, 10**20 + 1, 10**18)", [10 ** 18 * i for i in range(101)]),
    ("zeros_like(Tensor([[1, 2]]))", [[0, 0]]), ("ones_like(Tensor([[5.0], [6.0]]))", [[1.0], [1.0]]),
    ("rand(2, 2)", [[0.5488, 0.7152], [0.6028, 0.5449]]), ("randn(3)", None), ("uniform(-2, 5, 2)", None),
])
def test_tensors_are_created_with_the_numbers_of_pytorch_and_the_random_module(create, expected):
    drawn = {"rand(2, 2)": lambda r: [[r.random(), r.random()], [r.random(), r.random()]],
             "randn(3)": lambda r: [r.gauss(0, 1) for _ in "123"],
             "uniform(-2, 5, 2)": lambda r: [r.uniform(-2, 5) for _ in "12"]}
    expected = drawn[create](random.Random(3)) if create in drawn else expected
    for options, learns in ("", True), (", requires_grad=False", False), (", requires_grad=True", True):
        random.seed(3)
        made = eval("Tensor." + (create[:-1] + options + ")").replace("(, ", "("))
        assert made.data == expected and type(made) is Tensor and made.requires_grad is learns
    if made.ndim == 2:
        made.data[0][0] = 99.0
        assert [row[0] for row in made.data].count(99.0) == 1, "rows are lists of their own"


@pytest.mark.parametrize("data, text", [
    ([1.0, 2.0], "[1., 2.]"), ([1, 2], "[1, 2]"), ([True, False], "[ True, False]"),
    (2.0, "2."), (2, "2"), (1 / 3, "0.3333"), (-0.0, "-0."), (False, "False"),
    ([-1.5, 10], "[-1.5000, 10.0000]"),
    ([[1.0, -2.5], [10.0, 1 / 3]], "[[ 1.0000, -2.5000],\n        [10.0000,  0.3333]]"),
    ([0.01, 10.0], "[ 0.0100, 10.0000]"), ([0.0099, 10.0], "[9.9000e-03, 1.0000e+01]"),
    ([1e-4], "[0.0001]"), ([9e-5], "[9.0000e-05]"), ([1e8, 1e8], "[100000000., 100000000.]"),
    ([1e9], "[1.0000e+09]"), ([1.0, 1001.0], "[1.0000e+00, 1.0010e+03]"),
    ([0.0, 1000.0], "[   0., 1000.]"),
    ([1e308], "[1.0000e+308]"), ([5e-324, 1e308], "[4.9407e-324, 1.0000e+308]"),
    ([nan, inf], "[nan, inf]"), ([0.5, nan, -inf], "[0.5000,    nan,   -inf]"),
    ([1.0, nan], "[ 1., nan]"),
    ([1 + 2j, 0.5j], "[1.0000+2.0000j, 0.0000+0.5000j]"), ([1 + 2j], "[1.+2.j]"),
    ([[Fraction(1, 3), Fraction(2)], [1, 0]], "[[1/3,   2],\n        [  1,   0]]"),
    ([Decimal("0.10"), 2, 0.5], "[  0.10, 2.0000, 0.5000]"), ([Fraction(1, 3), 1.0], "[1/3,  1.]"),
    ([True, 2], "[True,    2]"), ([True, 0.5], "[1.0000, 0.5000]"),
    ([10 ** 400, 0.5], "[       ..., 5.0000e-01]"),
    ([], "[], shape=(0,)"), ([[], []], "[[],\n        []], shape=(2, 0)"),
    ([[[1.0], [2.0]], [[3.0], [4.0]]], "[[[1.],\n         [2.]],\n\n        [[3.],\n         [4.]]]"),
    ([[[[5]]], [[[6]]]], "[[[[5]]],\n\n\n        [[[6]]]]"),
])
def test_a_tensor_is_printed_as_in_pytorch(data, text):
    assert repr(Tensor(data)) == str(Tensor(data, requires_grad=False)) == f"Tensor({text})"


def test_large_tensors_are_cut_to_their_corners():
    text = "Tensor([   0,    1,    2,  ...,  998,  999, 1000], shape=(1001,))"
    assert repr(Tensor.arange(1001)) == text
    zeros = repr(Tensor.zeros(7, 200))
    assert zeros.count("[0., 0., 0.,  ..., 0., 0., 0.]") == 6 and zeros.count("\n        ...,\n") == 1
    assert repr(Tensor.zeros(6, 200)).count("[0., 0., 0.,  ..., 0., 0., 0.]") == 6
    lines = repr(Tensor.arange(1600).reshape(40, 40)).split("\n")
    assert len(lines) == 7 and lines[3] == "        ...,"
    assert lines[6] == "        [1560, 1561, 1562,  ..., 1597, 1598, 1599]], shape=(40, 40))"
    assert repr(Tensor.zeros(10, 2, 100)).split("\n")[7:12] == [
        "         [0., 0., 0.,  ..., 0., 0., 0.]],", "", "        ...,", "",
        "        [[0., 0., 0.,  ..., 0., 0., 0.],"]
    hidden = Tensor([0.0] * 3 + [1e-9] + [1.0] * 997)
    assert repr(hidden) == "Tensor([0., 0., 0.,  ..., 1., 1., 1.], shape=(1001,))", "hidden"


def test_long_rows_are_broken_and_no_number_is_too_long():
    lines = repr(Tensor.arange(1000)).split("\n")
    assert max(map(len, lines)) <= 80 and lines[0] == (
        "Tensor([  0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,")
    assert lines[1][:17] == "         14,  15," and lines[-1] == "        994, 995, 996, 997, 998, 999])"
    assert repr(Tensor([Fraction(10 ** 99, 7), 1])).count("\n") == 1, "one to a line"
    assert repr(Tensor([10 ** 5000])).startswith("Tensor(["), "nor does it raise"


SHAPES_TO_PRINT = st.lists(st.integers(1, 4), max_size=4)


@given(SHAPES_TO_PRINT, st.integers(0, 99))
def test_a_printed_tensor_reads_back_and_its_columns_are_aligned(shape, seed):
    draw = random.Random(seed).uniform
    numbers = [draw(-9, 9) for _ in range(math.prod(shape))]
    text = repr(Tensor(nest(numbers, tuple(shape))))
    back = nested(ast.literal_eval(re.sub(r"\s+", "", text[7:-1])))
    assert shape_of(back) == tuple(shape)
    assert flat(back) == pytest.approx(numbers, abs=5.1e-5, rel=5.1e-5)
    rows = [line for line in text.split("\n") if line]
    assert len({tuple(comma.start() for comma in re.finditer(r",(?=.)", row)) for row in rows}) == 1


def test_formats_are_those_of_the_number():
    value, loss = Value(1 / 3), Tensor(1 / 3)
    assert f"{value:.4f} {loss:.4f} {loss:>8.2e} {Tensor(7):03d}" == "0.3333 0.3333 3.33e-01 007"
    assert f"{value} {loss}" == f"Value(data={1 / 3}, grad=0.0) {1 / 3}" and "%.2f" % loss == "0.33"
    assert f"{Tensor([1.0])}" == "Tensor([1.])" and f"{loss!r}" == "Tensor(0.3333)"
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        f"{Tensor([1.0, 2.0]):.4f}"


def test_a_gradient_is_printed_short():
    w = Tensor([1.0, 2.0])
    (w * w).sum().backward()
    assert f"{w.grad} {w.grad.sum()}" == "Tensor([2., 4.]) 6.0"


def test_repr_of_values_and_networks():
    assert repr(Value(data=2.0, label="x")) == "Value(data=2.0, grad=0.0)"
    assert repr(MLP(2, [1, 1])) == "MLP of [Layer of [ReLUNeuron(2)], Layer of [LinearNeuron(1)]]"
    assert repr(Sequential(Sequential(Linear(2, 3), Tensor.relu), Linear(3, 1, bias=False))) == (
        "Sequential(\n  0: Sequential(\n    0: Linear(2, 3, bias=True)\n    1: relu\n  )"
        "  # 9 parameters\n  1: Linear(3, 1, bias=False)\n)  # 12 parameters")


def test_the_summary_of_a_module_shows_what_is_in_its_lists():
    model = Module()
    model.layers, model.weights, model.name = [Linear(1, 2), MLP(1, [1])], (Tensor([[1.0]]), Value(2.0)), "no"
    assert repr(model) == (
        "Module(\n  layers: [Linear(1, 2, bias=True), MLP of [Layer of [LinearNeuron(1)]]]\n"
        "  weights: [Tensor (1, 1), Value ()]\n)  # 8 parameters")


def test_a_star_import_brings_the_public_names_and_none_of_pythons():
    names = {}
    exec("from micrograd import *", names)
    del names["__builtins__"]
    assert names.keys() == set(micrograd.__all__) and len(names) == len(micrograd.__all__)
    foreign = "annotations functional init math nn operator optim os random struct sys engine".split()
    assert names.keys() & {*foreign, *dir(builtins)} == set()
    assert not any(name.startswith("_") for name in names)
    wanted = """Value Tensor Module Neuron Layer MLP Linear Sequential SGD Adam AdamW grad gradcheck
        no_grad         elementwise dot linear where cat stack one_hot mse_loss hinge_loss
        cross_entropy trace draw_dot save load         binary_cross_entropy_with_logits
        clip_grad_norm exp log sqrt sin cos tanh sigmoid relu gelu silu softplus         log1p
        expm1 erf atan sign floor""".split()
    assert set(wanted) <= names.keys()


# ----------------------------------------------------------------------------------------------------
# Networks
# ----------------------------------------------------------------------------------------------------

class Everything(Module):
    """Parameters in all places, one of them twice; a constant; itself."""

    def __init__(self):
        self.scale = Value(2.0)
        self.items = [Tensor([1.0, 2.0]), {"deep": (Tensor([[3.0]]), Value(4.0))}, "no parameter", None]
        self.again = self.scale
        self.mean = Tensor([5.0], requires_grad=False)
        self.layer = Linear(1, 2, bias=False)
        self.itself = [self]


def test_parameters_are_named_by_the_way_to_them():
    model = Everything()
    names = dict(model.named_parameters())
    assert list(names) == ["scale", "items.0", "items.1.deep.0", "items.1.deep.1", "layer.weight"]
    assert names["scale"] is model.scale
    assert list(map(id, model.parameters())) == list(map(id, names.values()))
    assert [name for name, _ in model.named_parameters("m.")] == ["m." + name for name in names]
    assert list(model.state_dict()) == [*list(names)[:4], "again", "mean", "layer.weight"]
    names = [f"layers.0.neurons.{name}" for name in ("0.w.0", "0.b", "1.w.0", "1.b")]
    assert list(MLP(1, [2, 1]).state_dict())[:4] == names
    net = Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1, bias=False))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight"]
    assert len(net) == 3 and net[2].bias is None


class WithAct(Neuron):
    """A neuron with one parameter more than Neuron knows of."""

    def __init__(self):
        super().__init__(1, act=Scaled())
        self.temperature = Value(1.0)


class Scaled(Module):
    """A module of Values that serves as an activation."""

    def __init__(self):
        self.scale = Value(2.0)

    def forward(self, x):
        return x * self.scale


def test_a_module_is_found_as_act_and_in_subclasses_of_neuron():
    assert list(WithAct().state_dict()) == ["w.0", "b", "act.scale", "temperature"]
    model = MLP(1, [2, 1], act=Scaled())
    assert len(model.parameters()) == 4 + 3 + 1 and repr(model.layers[0].neurons[0]) == "ScaledNeuron(1)"
    model([1.0]).backward()
    assert model.layers[0].neurons[1].act.scale.grad != 0


class Slots(Module):
    """Its parameter is in no __dict__."""
    __slots__ = ("w",)


class Plain:
    """No Module, but it holds parameters, as the layers of the lectures do."""
    __slots__ = ("w",)


def hidden_in_slots(p, module):
    module.w = p
    return p


def in_plain(p, module):
    thing = Plain()
    thing.w = p
    return thing


@pytest.mark.parametrize("hide, holder", [
    (lambda p, m: {p}, "set"), (lambda p, m: frozenset([Linear(1, 1)]), "frozenset"),
    (lambda p, m: deque([Linear(1, 1)]), "deque"), (lambda p, m: [deque([p])], "deque"),
    (lambda p, m: UserDict(a=[p]), "UserDict"), (lambda p, m: UserList([p]), "UserList"),
    (lambda p, m: SimpleNamespace(w=p), "SimpleNamespace"), (in_plain, "Plain"),
    (hidden_in_slots, "__slots__"),
], ids=lambda x: x if isinstance(x, str) else "")
@BOTH
def test_parameters_where_nobody_looks_are_an_error(hide, holder, cls):
    model, p = Slots(), cls(2.0)
    thing = hide(p, model)
    if holder != "__slots__":
        model.thing = thing
    for use in model.parameters, model.state_dict, model.zero_grad, lambda: list(model.named_parameters()):
        with pytest.raises(TypeError, match=f"Slots: a parameter in a {holder} "):
            use()
    model.p = [p]               # what is found elsewhere may be held by anything; constants and results, too
    model.thing = {p, p * 2, Tensor(1.0, requires_grad=False)}
    model.more = [math, int, print, random.Random(), SGD([p], lr=1), Linear]
    assert list(map(id, model.parameters())) == [id(p)]


@BOTH
@pytest.mark.parametrize("attributes", [
    lambda p: {"d": {0: p(), "0": p()}}, lambda p: {"a.b": p(), "a": {"b": p()}},
    lambda p: {"l": [p()], "l.0": p()}])
def test_two_parameters_under_one_name_are_an_error(attributes, cls):
    model = Module()
    vars(model).update(attributes(lambda: cls(1.0)))
    net = Sequential(Linear(1, 1))
    setattr(net, "0", {"weight": cls([[1.0]] if cls is Tensor else 1.0)})
    for module in model, net:
        for use in module.parameters, module.state_dict, lambda: module.load_state_dict({}):
            with pytest.raises(ValueError, match="two parameters have the name (d.0|a.b|l.0|0.weight)"):
                use()


@BOTH
def test_results_that_are_kept_to_be_looked_at_are_no_parameters(cls):
    model = Scaled()
    model.scale = cls(2.0)
    model.out = [model(cls(3.0)), model(cls(1.0)).exp()]
    assert list(model.state_dict()) == ["scale"] and len(model.parameters()) == 1
    lost = Module()
    lost.w = cls(3.0) * 0.1                         # a mistake, and found: an optimizer names the remedy
    assert list(map(id, lost.parameters())) == [id(lost.w)]
    if cls is Tensor:
        with pytest.raises(ValueError, match=r"SGD: parameter 0 is a result of \*: use Tensor\(x.data\)"):
            SGD(lost.parameters(), lr=0.1)


def test_forward_is_called_with_whatever_the_module_is_called_with():
    class Affine(Module):
        def forward(self, x, *more, plus=0):
            return x * 2 + sum(more) + plus

    class Called(Module):
        def __call__(self, x):
            return x + 1
    assert Affine()(1) == 2 and Affine()(1, 10, 100, plus=1000) == 1112 and Called()(1) == 2


def test_train_and_eval_reach_all_modules_and_apply_calls_parts_first():
    model = Module()
    model.parts = ModuleDict(a=Linear(1, 1), b=ModuleList([Sequential(ReLU()), Dropout()]))
    model.act, model.itself = [{"x": (Tanh(),)}], model
    names = "Linear ReLU Sequential Dropout ModuleList ModuleDict Tanh Module".split()
    called = []
    assert model.apply(lambda module: called.append(type(module).__name__)) is model
    assert called == names == [type(module).__name__ for module in model.modules()]
    assert all(module.training for module in model.modules())
    assert model.eval() is model and not any(module.training for module in model.modules())
    assert model.train() is model.to("cpu") and all(module.training for module in model.modules())
    assert model.parts.a is model.parts["a"] and model.parts.b[1].p == 0.5 and len(model.parts.b[:1]) == 1
    assert list(model.state_dict()) == ["parts.a.weight", "parts.a.bias"]
    with pytest.raises(AttributeError, match="ModuleDict: no 'c'"):
        model.parts.c
    with pytest.raises(ValueError, match="cuda"):
        model.to("cuda")


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_containers_of_modules_are_copied(twin_of):
    model = Sequential(Linear(1, 2), Tensor.softmax, Sequential(GELU(), LayerNorm(2)))
    model.more, model.training = ModuleDict(a=Embedding(2, 3)), False
    twin = twin_of(model)
    assert twin.state_dict() == model.state_dict() and twin.more.a.weight is not model.more.a.weight
    assert twin([[1.0]]).data == model([[1.0]]).data and not twin.training and twin[2][1].training
    assert hash(twin) != hash(model) and len({twin, model, twin}) == 2


def test_a_constant_tensor_is_saved_and_no_parameter():
    model = Module()
    model.register_buffer("mask", Tensor.ones(2))
    model.register_buffer("none", None)
    model.count = Tensor(3, requires_grad=False)
    assert model.parameters() == [] and model.state_dict() == {"mask": [1, 1], "count": 3}
    model.load_state_dict({"mask": [0.5, 2], "count": 4})
    assert not model.mask.requires_grad and model.mask.data == [0.5, 2] and model.none is None


def test_zero_grad_forgets_the_gradients_of_values_and_tensors():
    model = Everything()
    for forget in model.zero_grad, SGD(model.parameters(), lr=1).zero_grad:
        (model.scale * 3).backward()
        model.layer([[1.0]]).backward()
        assert [model.scale.grad, model.layer.weight.grad.data] == [3, [[1], [1]]]
        forget(set_to_none=False)
        assert slopes([model.scale, model.layer.weight, model.items[0]]) == [0.0, [[0], [0]], None]
        forget(set_to_none=True)
        assert [model.scale.grad, model.layer.weight.grad] == [0.0, None]
        SGD(model.parameters(), lr=1, weight_decay=0.5).step()      # without a gradient nothing moves
        assert model.scale.data == 2.0 and model.items[0].data == [1.0, 2.0]


def test_state_dict_round_trip():
    first, second = Everything(), Everything()
    for p in first.parameters() + [first.mean]:
        p.data = nest([x + 0.5 for x in flat(p.data)], shape_of(p.data))
    state = first.state_dict("model.")
    second.load_state_dict(dict(state, other=1.0), prefix="model.")
    assert second.state_dict() == first.state_dict() and list(state)[0] == "model.scale"
    state["model.items.0"][0] = 99.0
    assert first.items[0].data == second.items[0].data == [1.5, 2.5], "a state is a copy"
    second.load_state_dict(dict(first.state_dict(), mean=(3,)))
    assert second.mean.data == [3]
    second.load_state_dict({"mean": Tensor([7.0]), "scale": Value(1.0), "other": "?"}, strict=False)
    assert second.mean.data == [7.0] and second.scale.data == 1.0 and second.items[0].data == [1.5, 2.5]


@pytest.mark.parametrize("f", [
    lambda model, adam: adam.step(), lambda model, adam: clip_grad_norm(model.parameters(), 0.5),
    lambda model, adam: model.load_state_dict({
        key: nest([x + 1 for x in flat(data)], shape_of(data)) for key, data in model.state_dict().items()}),
], ids=["step", "clip_grad_norm", "load_state_dict"])
def test_ctrl_c_at_any_line_leaves_everything_done_or_not_done(f):
    def train(model, adam):
        adam.zero_grad()
        ((model.scale * 3 - 1) ** 2 + model.items[1]["deep"][1]).backward()
        (model.layer([[1.0]]).sum() + (model.items[0] ** 2).sum()).backward()
        return model, adam

    def everything(model, adam):
        return repr([model.state_dict(), adam.state_dict(), slopes(model.parameters())])
    model = Everything()
    start = train(model, Adam(model.parameters(), lr=0.1))
    start[1].step()
    train(*start)
    end, done, n = copy.deepcopy(start), False, 0
    f(*end)
    while not done:
        n, twin = n + 1, copy.deepcopy(start)
        done = interrupted(lambda: f(*twin), n)
        assert everything(*twin) in (everything(*start), everything(*end)), f"half done at line {n}"
    assert n > 15 and everything(*start) != everything(*end) == everything(*twin)


def test_the_same_seed_gives_the_network_of_micrograd_and_the_layer_of_pytorch():
    """Weights uniform(-1, 1), neuron after neuron, biases 0; in a Linear both within 1 / sqrt(nin)."""
    random.seed(5)
    model, layer, rng = MLP(3, [4, 2, 1]), Linear(16, 2), random.Random(5)
    for neuron in [n for layer in model.layers for n in layer.neurons]:
        assert [w.data for w in neuron.w] == [rng.uniform(-1, 1) for _ in neuron.w] and neuron.b.data == 0
    assert [[len(n.w) for n in layer.neurons] for layer in model.layers] == [[3] * 4, [4] * 2, [2]]
    assert layer.weight.data == [[rng.uniform(-0.25, 0.25) for _ in range(16)] for _ in range(2)]
    assert layer.bias.data == [rng.uniform(-0.25, 0.25) for _ in range(2)]


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), n=st.integers(1, 3), seed=SEEDS,
       act=st.sampled_from("relu tanh sigmoid gelu silu softplus sin erf leaky_relu".split()))
def test_a_network_of_values_is_the_same_network_of_tensors(sizes, n, seed, act):
    random.seed(seed)
    model, linears = MLP(sizes[0], sizes[1:], act=act), []
    for layer in model.layers:
        linears.append(Linear(len(layer.neurons[0].w), len(layer.neurons)))
        linears[-1].weight.data = [[w.data for w in neuron.w] for neuron in layer.neurons]
        linears[-1].bias.data = [neuron.b.data for neuron in layer.neurons]
    steps = [step for linear in linears for step in (linear, getattr(Tensor, act))][:-1]
    xs = Tensor.uniform(-1, 1, n, sizes[0])
    values, targets = [list(map(Value, row)) for row in xs.data], nest([0.5] * n * sizes[-1], (n, sizes[-1]))
    outs = [[out] if sizes[-1] == 1 else out for out in map(model, values)]
    out = Sequential(*steps)(xs)
    (mse_loss(out, targets) ** 2).backward()
    (mse_loss(outs, targets) ** 2).backward()

    def close(actual, expected):
        return flat(actual) == pytest.approx(expected, rel=1e-12, abs=1e-12)

    assert close(out.data, [v.data for row in outs for v in row])
    assert close(xs.grad.data, [v.grad for row in values for v in row])
    for layer, step in zip(model.layers, linears):
        assert close(step.weight.grad.data, [w.grad for neuron in layer.neurons for w in neuron.w])
        assert close(step.bias.grad.data, [neuron.b.grad for neuron in layer.neurons])


def test_all_gradients_of_a_network_of_values_to_the_third_order():
    """With weights and inputs that are used again and again, which neurons treat as rows."""
    model = MLP(2, [2, 2, 1], act="tanh")

    def f(*numbers):
        xs, ws = list(numbers[:2]), iter(numbers[2:])
        for neuron in [n for layer in model.layers for n in layer.neurons]:
            neuron.w, neuron.b = [next(ws) for _ in neuron.w], next(ws)
        return model(xs) * model(xs[::-1]) + model([xs[0], 1.0])
    numbers, = draw_numbers(1, [17], [range(-63, 64, 2)], float)
    check(f, list(map(Value, numbers[:2 + 6 + 6 + 3])))


@pytest.mark.parametrize("act, expected", [
    ("relu", [11.5, 3.0]), ("linear", [11.5, 3.0]), (lambda v: v * 2, [23.0, 6.0]), (True, [11.5, 3.0]),
    (False, [11.5, 3.0]), (Value.tanh, [math.tanh(11.5), math.tanh(3.0)])])
def test_a_neuron_is_act_of_w_dot_x_plus_b_whatever_its_weights_are_now(act, expected):
    neuron = Neuron(2, act) if isinstance(act, bool) else Neuron(2, act=act)
    neuron([1.0, 3.0])
    neuron.w[0].data, neuron.w[1].data, neuron.b.data = 2.0, 3.0, 0.5           # what is assigned counts
    assert neuron([Value(1.0), 3.0]).data == expected[0]
    neuron.w[1], neuron.b = Value(0.0), Value(1.0)                              # and so does a new Value
    out = neuron([1.0, 3.0])
    out.backward()
    assert out.data == expected[1] and neuron.w[1].grad == 3 * neuron.b.grad != 0
    assert len(neuron.parameters()) == 3 and neuron.parameters()[1] is neuron.w[1]
    assert Neuron(2, nonlin=False)([1.0, 1.0])._op == "dot"
    assert Neuron(1)(5.0)._op == Neuron(1)([5.0])._op == Layer(1, 1)([5.0])._op == "relu"
    assert Neuron(1)(Array([5.0]))._op == "relu" and len(Layer(2, 3)(iter([1.0, 2.0]))) == 3


def test_a_neuron_takes_equal_weights_of_another_kind():
    neuron = Neuron(1, act="linear")
    neuron.w[0].data, neuron.b.data = 2.0, 1.0
    assert type(neuron([3]).data) is float
    neuron.w[0].data, neuron.b.data = Fraction(2), Fraction(1)
    out = neuron([Fraction(1, 3)])
    out.backward()
    assert out.data == Fraction(5, 3) and neuron.w[0].grad == Fraction(1, 3)


def test_a_neuron_may_have_plain_numbers():
    neuron = Neuron(1, "linear")
    neuron.w, neuron.b = [-1], 0
    for weight in -1, -2, Fraction(-2), 1.0:            # hash(-1) is hash(-2)
        neuron.w[0] = weight
        Value(0.0).data = 1.0                           # data of some Value change
        assert neuron([3]).data == 3 * weight and type(neuron([3]).data) is type(3 * weight)


def test_a_dead_neuron_has_gradients_of_its_kind():
    neuron = Neuron(1)
    neuron.w[0].data = -1.0
    neuron([2.0]).backward()
    assert [(p.grad, type(p.grad)) for p in neuron.parameters()] == [(0, float)] * 2


class Averaging(Neuron):
    """A neuron that looks at its inputs itself."""

    def __call__(self, x):
        return sum(w * xi for w, xi in zip(self.w, x)) / len(x)


def test_a_neuron_of_ones_own_in_a_layer_gets_a_list():
    layer = Layer(2, 2)
    layer.neurons[1] = Averaging(2)
    layer.neurons[1].w[0].data = layer.neurons[1].w[1].data = 1.0
    assert layer([Value(1.0), 3.0])[1].data == layer((1.0, 3.0))[1].data == 2.0


def test_repr_of_modules():
    assert repr(MLP(2, [1, 1])) == "MLP of [Layer of [ReLUNeuron(2)], Layer of [LinearNeuron(1)]]"
    assert repr(Sequential(Sequential(Linear(2, 3), Tensor.relu), Linear(3, 1, bias=False))) == (
        "Sequential(\n  0: Sequential(\n    0: Linear(2, 3, bias=True)\n    1: relu\n  )  # 9 parameters\n"
        "  1: Linear(3, 1, bias=False)\n)  # 12 parameters")
    assert repr(Sequential(ReLU(), Dropout(0.25))) == (
        "Sequential(\n  0: ReLU()\n  1: Dropout(p=0.25)\n)  # 0 parameters")
    model = Everything()
    model.more = [Linear(1, 1), (Value(1.0), Tanh)]
    assert repr(model) == (
        "Everything(\n  scale: Value ()\n  items: [Tensor (2,), , , ]\n  again: Value ()\n"
        "  mean: Tensor (1,)\n  layer: Linear(1, 2, bias=False)\n  itself: [...]\n"
        "  more: [Linear(1, 1, bias=True), [Value (), Tanh]]\n)  # 10 parameters")


# modules for deeper networks

def mean_of(x):
    return x.mean(-1, keepdim=True)


def by_operators(x, eps, centered):
    d = x - mean_of(x) if centered else x
    return d * (mean_of(d * d) + eps) ** -0.5


@pytest.mark.parametrize("centered", [True, False], ids=["layer_norm", "rms_norm"])
@given(shape=st.lists(st.integers(1, 3), min_size=0, max_size=2), n=st.integers(1, 4), seed=SEEDS)
def test_norms_are_their_definition_to_the_third_order(centered, shape, n, seed):
    norm = layer_norm if centered else rms_norm
    numbers = draw_numbers(seed, [math.prod(shape) * n, n, n], [REAL] * 3, float)
    x, w, b = Tensor(nest(numbers[0], (*shape, n))), Tensor(numbers[1]), Tensor(numbers[2])
    assert layer_norm(x, n, bias=b).data == layer_norm(x, n, Tensor.ones(n), b).data
    more = [w, b] if centered else [w]

    def defined(x, w, b=0.0):
        return by_operators(x, 0.5, centered) * w + b
    assert flat(norm(x, n, *more, eps=0.5).data) == pytest.approx(flat(defined(x, *more).data))
    assert flat(norm(x, (n,)).data) == pytest.approx(
        flat(by_operators(x, 1e-5 if centered else sys.float_info.epsilon, centered).data), abs=1e-4)
    out = norm(x, [n], *more)
    assert out._op == norm.__name__ and list(map(id, out._prev)) == list(map(id, [x, *more])), "one node"
    for order in 1, 2, 3:
        a, b = [of_order(order, lambda x, *more, f=f: f(x, *more), [x, *more]) for f in (
            lambda x, *more: norm(x, n, *more, eps=0.5), defined)]
        for u, v in zip(grad(a, [x, *more]), grad(b, [x, *more])):
            assert flat(u.data) == pytest.approx(flat(v.data), rel=1e-7, abs=1e-7)


@given(batch=st.lists(st.integers(1, 2), max_size=2), n=st.integers(1, 4), d=st.integers(1, 3),
       causal=st.booleans(), seed=SEEDS)
def test_attention_is_its_definition_to_the_second_order(batch, n, d, causal, seed):
    size = math.prod(batch) * n * d
    rng = random.Random(seed)
    q, k, v = [Tensor(nest([rng.gauss(0, 1) for _ in range(size)], (*batch, n, d))) for _ in range(3)]
    mask = [[float(s <= t) for s in range(n)] for t in range(n)]

    def defined(q, k, v, scale=d ** -0.5):
        scores = q @ k.mT * scale
        return (where(Tensor(mask) == 1, scores, -inf) if causal else scores).softmax(-1) @ v

    def ours(q, k, v):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert flat(ours(q, k, v).data) == pytest.approx(flat(defined(q, k, v).data))
    for order in 1, 2:
        a, b = [of_order(order, f, [q, k, v]) for f in (ours, defined)]
        for u, w in zip(grad(a, [q, k, v]), grad(b, [q, k, v])):
            assert flat(u.data) == pytest.approx(flat(w.data), rel=1e-9, abs=1e-9)
    a, b = [of_order(2, lambda x, f=f: f(x, x, x), [q]) for f in (ours, defined)]     # one Tensor for three
    assert flat(grad(a, q)[0].data) == pytest.approx(flat(grad(b, q)[0].data), rel=1e-9, abs=1e-9)
    out = ours(q, k, v)
    assert out._op == "attention" and list(map(id, out._prev)) == [id(q), id(k), id(v)], "one node"
    if causal:              # the same with a mask of bools, with one that is added, and with another scale
        for attn_mask in Tensor(mask) == 1, [[0.0 if x else -inf for x in row] for row in mask]:
            masked = scaled_dot_product_attention(q, k, v, attn_mask, 0.0, scale=0.5)
            assert flat(masked.data) == pytest.approx(flat(defined(q, k, v, 0.5).data))


def test_dropout_drops_in_training_only():
    random.seed(1)
    x, dropout = Tensor.ones(100, 100), Dropout(0.25)
    out = dropout(x)
    out.backward()
    assert set(flat(out.data)) == {0.0, 1 / 0.75} and out.grad is not None and x.grad.data == out.data
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert dropout.eval()(x) is x and Dropout(0)(x) is x and set(flat(Dropout(1)(x).data)) == {0.0}
    shares = scaled_dot_product_attention(x, x, Tensor.eye(100), None, 0.5).data     # each was 1 / 100
    assert {round(share, 9) for share in flat(shares)} == {0.0, 0.02} and 0.9 < sum(flat(shares)) / 100 < 1.1


def test_embedding_gives_a_row_for_each_index():
    embedding = Embedding(3, 2)
    embedding.weight.data = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    for indices in [[0, 2], [2, 2]], Tensor([[0, 2], [2, 2]], requires_grad=False), Array([[0, 2], [2, 2]]):
        assert embedding(indices).data == [[[1, 2], [5, 6]], [[5, 6], [5, 6]]]
    assert embedding(1).data == [3, 4]
    (embedding([0, 2, 2]) * [[1.0], [10.0], [100.0]]).backward()
    assert embedding.weight.grad.data == [[1, 1], [0, 0], [110, 110]]


def test_what_fills_a_tensor_keeps_it_a_parameter():
    t = Parameter([[1.0, 2.0]])
    random.seed(3)
    numbers = [random.gauss(0, 1) for _ in range(2)]
    random.seed(3)
    assert normal_(t, mean=5.0, std=2.0) is t and t.data == [[x * 2.0 + 5.0 for x in numbers]]
    assert uniform_(t, 2, 3) is t and all(2 <= x <= 3 for x in t.data[0])
    assert zeros_(t) is t and t.data == [[0.0, 0.0]] and ones_(t).data == [[1.0, 1.0]]
    assert t.requires_grad and t._op == "" and not Parameter(t, requires_grad=False).requires_grad


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
@pytest.mark.parametrize("shape", [(4, 2), (3, 2, 3)])
def test_batch_norm_is_its_definition(shape, momentum):
    """The running numbers are kept by PyTorch's rule: the variance among them is unbiased."""
    random.seed(4)
    norm, batches = BatchNorm1d(2, momentum=momentum), [Tensor.randn(*shape) for _ in range(3)]
    norm.weight.data, norm.bias.data = [0.5, 2.0], [1.0, -1.0]
    mean, var = [0.0, 0.0], [1.0, 1.0]
    for count, x in enumerate(batches, 1):
        out, part = norm(x), momentum or 1 / count
        for c in range(2):
            column, row = flat(x[:, c].data), flat(out[:, c].data)
            m = sum(column) / len(column)
            v = sum((a - m) ** 2 for a in column)
            mean[c] += part * (m - mean[c])
            var[c] += part * (v / (len(column) - 1) - var[c])
            expected = [(a - m) / math.sqrt(v / len(column) + 1e-5) for a in column]
            assert row == pytest.approx([e * [0.5, 2.0][c] + [1.0, -1.0][c] for e in expected])
    assert norm.running_mean.data == pytest.approx(mean) and norm.running_var.data == pytest.approx(var)
    assert norm.num_batches_tracked.data == 3 and len(norm.parameters()) == 2
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    before, x = norm.state_dict(), batches[0]
    check(lambda x, w, b: applied(norm, x, w, b), [x, norm.weight, norm.bias], orders=1)
    norm.load_state_dict(before)
    norm.eval()
    out = norm(x)
    assert norm.state_dict() == before
    assert flat(out[:, 1].data) == pytest.approx(
        [(a - mean[1]) / math.sqrt(var[1] + 1e-5) * 2.0 - 1.0 for a in flat(x[:, 1].data)])
    check(lambda x, w, b: applied(norm, x, w, b), [x, norm.weight, norm.bias], orders=1)
    norm.load_state_dict(before)
    with pytest.raises(ValueError, match="larger batch"):
        norm.train()([[1.0, 2.0]])
    assert norm.state_dict() == before


def applied(norm, x, weight, bias):
    norm.weight, norm.bias = weight, bias
    return norm(x)


# What PyTorch 2.13.0 has saved, in float32, of Sequential(Embedding(5, 4), LayerNorm(4), Linear(4, 3),
# GELU(), BatchNorm1d(3), Tanh(), Linear(3, 2)) after three steps of AdamW.
BY_PYTORCH = zlib.decompress(base64.b85decode(
    "c-j+SW&nd~B@?~8(%kr@#FFHU)Z+M(qQvCv)D$JFYNeEt%7RoSD<w}e6D1v`;*3NPFFIC7DJ8KaF+M*ntvI!$7${<(V-Z`cqhz30o|>7"
    "SQG%@1&DaP@tEr9&rfv%z3$S)Wy`;><V%(asX|>QXG%$f^CS*4j?LfUchDHV;{YC^VH^!pd$Uw)?*a)JVknP6Ud=AvDV`u@k--HbNEr9"
    "l08bNdymFDGT=B3ByrY7c*W{Rbeju9jb5vG(S7LjBK&;T7HLo<jW1cL&LenT@IBO`DsFe4BUMp$$kS?CxUn?ZCFvfW4roBhT>`^|t6QL"
    "CT;%@zzt49@L$QdZjU+Hb!<LT&H<8D{nNDJKrvK9^zK|1wj}zU{+&yI*xn><gZqv7g{LZ|?;!F*{{HgZ+BC=KHq<hVAR~@!emXXJ;q;_"
    "=?>jrR(-nEB@_$>cnKHwUu|@pE*2s|F8Gj|2OTiZ;6ewUz{3kpMRr$--&Dg_Qo?V+qZ5GzkShK-+d8F=i7!(KDD>LU&8+3l7;)Slbh^{"
    "*uL0GNj~4(<$v3DiTR~{hdE>HoXf=a`OM(i$60x6Z;?y%o=5o%d!Fdn@0o0GV}C>4&VJr*YkU1wRrd26D(%xOC)zK&nz!%p0Ux`L@alc"
    "cJd^EKE}Xc}tANX%FY$}rkK12t0mOA^!2"))


def test_a_file_of_pytorch_goes_on_with_its_numbers(tmp_path):
    """Its outputs in eval mode; the losses of four more steps of AdamW in float64, and outputs after them."""
    (tmp_path / "torch.safetensors").write_bytes(BY_PYTORCH)
    net = Sequential(
        Embedding(5, 4), LayerNorm(4), Linear(4, 3), GELU(), BatchNorm1d(3), Tanh(), Linear(3, 2))
    net.load_state_dict(load(tmp_path / "torch.safetensors"))
    X, Y = [0, 3, 1, 4, 4, 2], [0, 1, 1, 0, 1, 0]
    assert flat(net.eval()(X).data) == pytest.approx([
        -0.1649720857666681, -0.1094456508441613, -0.12369315989060176, 0.6359259191007526,
        -0.2226109231399243, 0.3385302794131593, -0.2688140929113316, -0.08634534785102277,
        -0.2688140929113316, -0.08634534785102277, -0.15791352440041911, -0.15407089981406574], rel=1e-12)
    optimizer, losses = AdamW(net.train().parameters(), lr=0.05, weight_decay=0.1), []
    for _ in range(4):
        loss = cross_entropy(net(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(
        [0.46236682287909564, 0.3985695000711175, 0.36869792004432184, 0.33828079574097125], rel=1e-9)
    assert flat(net.eval()(X).data)[:4] == pytest.approx(
        [0.1173922946083899, -0.6427673536562943, -0.4210785799170001, 0.8408695337582905], rel=1e-7)
    assert net[4].running_var.data == pytest.approx(
        [0.5058533309540043, 0.5503937800153913, 0.4943206813853456], rel=1e-9)
    assert net[4].num_batches_tracked.data == 7
    save(tmp_path / "ours.safetensors", net)
    assert load(tmp_path / "ours.safetensors") == net.state_dict()


# ----------------------------------------------------------------------------------------------------
# Losses
# ----------------------------------------------------------------------------------------------------

def bce(x, t):
    p = 1 / (1 + math.exp(-x))
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


LOSSES = pytest.mark.parametrize("loss, closed_form, targets, at_big", [
    (mse_loss,                         lambda p, t: (p - t) ** 2,      [0.75, -1.5, 2.0], [inf, inf]),
    (hinge_loss,                       lambda s, t: max(0, 1 - t * s), [1, -1],           [0, BIG]),
    (binary_cross_entropy_with_logits, bce,                            [0, 1, 0.25],      [0, BIG]),
], ids=lambda x: getattr(x, "__name__", "").replace("<lambda>", ""))


@LOSSES
@given(shape=SHAPES, seed=SEEDS)
def test_loss_is_its_closed_form_on_tensors_and_values(loss, closed_form, targets, at_big, shape, seed):
    n, t = math.prod(shape), random.Random(seed).choices(targets, k=24)
    x, t = draw_numbers(seed, [n], [REAL], float)[0], t[:n]
    expected, logits, labels = list(map(closed_form, x, t)), Tensor(nest(x, shape)), nest(t, shape)
    values = nest(list(map(Value, x)), shape)
    for reduction, numbers in ("none", expected), ("sum", [sum(expected)]), ("mean", [sum(expected) / n]):
        for target in labels, Tensor(labels), Array(labels):
            assert flat(loss(logits, target, reduction=reduction).data) == pytest.approx(numbers)
        assert [v.data for v in flat(loss(values, labels, reduction))] == pytest.approx(numbers)
        check(lambda x: loss(x, labels, reduction), [logits], orders=2)
    assert loss(logits, labels).item() == pytest.approx(sum(expected) / n) == item(loss(values, labels))
    check(lambda *xs: loss(nest(xs, shape), labels), flat(values), orders=1)
    for big, number in zip([BIG, -BIG], at_big):
        assert loss(Tensor([big]), [1]).item() == loss([Value(big)], [1]).data == number


@LOSSES
def test_loss_is_one_node_and_has_the_gradient_of_its_targets(loss, closed_form, targets, at_big):
    x, t = Tensor([0.5, 2.0]), Tensor([targets[0], targets[1]])
    for reduction in "mean", "sum", "none":
        out = loss(x, t, reduction)
        assert out._op == loss.__name__ and [p is q for p, q in zip(out._prev, (x, t))] == [True, True]
        slope = grad(out, t)[0].data
        for i in range(2):
            step = [1e-6 * (i == k) for k in range(2)]
            up, down = [sum(map(closed_form, x.data, [a + s * d for a, d in zip(t.data, step)]))
                        for s in (1, -1)]
            if 0 < t.data[i] < 1 or loss is not binary_cross_entropy_with_logits:
                n = 2 if reduction == "mean" else 1
                assert slope[i] == pytest.approx((up - down) / 2e-6 / n, abs=1e-6)
    value, goal = Value(0.5), Value(targets[0])
    loss([value], [goal]).backward()
    assert value.grad == pytest.approx(grad(loss(x[:1], t[:1]), x)[0].data[0])
    assert goal.grad == pytest.approx(grad(loss(x[:1], t[:1]), t)[0].data[0])
    assert pickle.loads(pickle.dumps(loss)) is loss and loss.__doc__ and loss.__qualname__ == loss.__name__
    with no_grad():
        assert loss(x, t)._prev == () and cross_entropy(x, 0)._prev == ()


def test_losses_of_values_can_be_traced():
    for loss, targets in (mse_loss, [1.0, 2.0]), (hinge_loss, [1, -1]), (cross_entropy, 1), (
            binary_cross_entropy_with_logits, [0.25, 1]):
        x = Value(0.7), Value(-2.1)
        out = loss(list(x), targets)
        value, slopes = micrograd.trace(lambda x, y: loss([x, y], targets), 0.5, 0.3)(0.7, -2.1)
        assert (value, *slopes) == pytest.approx((out.data, *[g.data for g in grad(out, x)]), rel=1e-14)


@BOTH
def test_losses_of_fractions_are_exact(cls):
    x = [Fraction(1, 3), Fraction(5, 7)]
    x = Tensor(x) if cls is Tensor else list(map(Value, x))
    assert item(mse_loss(x, [1, 0])) == (Fraction(4, 9) + Fraction(25, 49)) / 2
    assert item(hinge_loss(x, [1, -1], "sum")) == Fraction(2, 3) + Fraction(12, 7)


@MORE
@given(n=st.integers(1, 3), classes=st.integers(1, 4), more=st.lists(st.integers(1, 2), max_size=2),
       seed=SEEDS, single=st.booleans(), ignored=st.booleans())
def test_cross_entropy_is_minus_log_of_the_softmax_at_the_target(n, classes, more, seed, single, ignored):
    """For logits (classes), (n, classes) and (n, classes, d, ...); ignored targets count for nothing."""
    places = () if single else (n, *more)
    shape = (classes,) if single else (n, classes, *more)
    rng, count = random.Random(seed), math.prod(places)
    rows = [[rng.gauss(0, 2) for _ in range(classes)] for _ in range(count)]
    targets = rng.choices(range(classes), k=count)
    if ignored and count > 1:
        targets[rng.randrange(count)] = -100
    expected = [0.0 if t < 0 else math.log(sum(map(math.exp, row))) - row[t] for row, t in zip(rows, targets)]
    kept, x = sum(t >= 0 for t in targets), Tensor(nest([v for row in rows for v in row], (*places, classes)))
    x = Tensor(x.data if single else x.permute(0, x.ndim - 1, *range(1, x.ndim - 1)).data)
    values, target = nest(list(map(Value, flat(x.data))), shape), nest(targets, places)
    for reduction, numbers in ("none", expected), ("sum", [sum(expected)]), ("mean", [sum(expected) / kept]):
        for given_targets in target, Array(target), Tensor(target, requires_grad=False):
            out = cross_entropy(x, given_targets, reduction)
            assert shape_of(out.data) == (places if reduction == "none" else ())
            assert flat(out.data) == pytest.approx(numbers)
        assert out._op == "cross_entropy" and len(out._prev) == 1 and out._prev[0] is x, "one node"
        assert [v.data for v in flat(cross_entropy(values, target, reduction))] == pytest.approx(numbers)
        check(lambda x: cross_entropy(x, target, reduction), [x], orders=2)
    if -100 not in targets:
        check(lambda *xs: cross_entropy(nest(xs, shape), target), flat(values), orders=1)
        assert item(cross_entropy(x, target, "sum", ignore_index=targets[0])) == pytest.approx(
            sum(e for e, t in zip(expected, targets) if t != targets[0]))


# ----------------------------------------------------------------------------------------------------
# Optimizers: the formulas of the textbook, number by number, over many steps
# ----------------------------------------------------------------------------------------------------

def sgd(p, gradient, steps, lr, momentum=0, nesterov=False, weight_decay=0):
    velocity = 0
    for _ in range(steps):
        g = gradient(p) + weight_decay * p
        velocity = momentum * velocity + g
        p -= lr * (g + momentum * velocity if nesterov else velocity)
    return p


def adam(p, gradient, steps, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled=False):
    m = v = 0
    for t in range(1, steps + 1):
        g = gradient(p) + (0 if decoupled else weight_decay * p)
        p -= lr * weight_decay * p if decoupled else 0
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g ** 2
        p -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw(p, gradient, steps, weight_decay=0.01, **options):
    return adam(p, gradient, steps, weight_decay=weight_decay, decoupled=True, **options)


OPTIMIZERS = pytest.mark.parametrize("optimizer, by_hand, options", [
    (SGD, sgd, dict(lr=0.1)), (SGD, sgd, dict(lr=0.1, weight_decay=0.3)),
    (SGD, sgd, dict(lr=0.05, momentum=0.9)), (SGD, sgd, dict(lr=0.05, momentum=0.9, nesterov=True)),
    (SGD, sgd, dict(lr=0.02, momentum=0.5, nesterov=True, weight_decay=0.2)),
    (Adam, adam, dict()), (Adam, adam, dict(lr=0.1, betas=(0.0, 0.9))),
    (Adam, adam, dict(lr=0.1, betas=(0.5, 0.7))),
    (Adam, adam, dict(lr=0.1, eps=0.5)), (Adam, adam, dict(lr=0.1, weight_decay=0.3)),
    (AdamW, adamw, dict()), (AdamW, adamw, dict(lr=0.1, weight_decay=0.3)),
    (AdamW, adamw, dict(lr=0.1, weight_decay=0, betas=(0.8, 0.9), eps=1e-3)),
], ids=lambda x: x.__name__ if isinstance(x, type) else "" if callable(x) else str(x))


@OPTIMIZERS
def test_optimizer_is_the_textbook_over_many_steps(optimizer, by_hand, options):
    """On the losses (p - 3)**4 / 4, each number from elsewhere, Values and Tensors together."""
    starts = [0.5, -1.0, 2.0, 4.0, 1.0, 2.5, 3.5]
    params = [Value(starts[0]), Tensor([starts[1:3], starts[3:5]]), Tensor(starts[5]), Tensor([starts[6]])]
    unused = [Tensor([1.0]), Value(1.0)]            # without a gradient: left alone, decay or not
    step = optimizer(iter(params[:2] + unused + params[2:]), **options)
    for _ in range(40):
        step.zero_grad()
        for p in params:
            ((p - 3) ** 4 / 4).backward()
        step.step()
    expected = [by_hand(p, lambda p: (p - 3) ** 3, 40, **options) for p in starts]
    assert [x for p in params for x in flat(p.data)] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert [p.data for p in unused] == [[1.0], 1.0] and step.state[2:4] == [{}, {}]


@OPTIMIZERS
def test_training_that_goes_on_from_a_state_is_the_same_to_the_last_bit(optimizer, by_hand, options):
    def start():
        params = [Value(1.0), Tensor([[2.0, -3.0]]), Tensor(0.5)]
        return params, optimizer(params, **options)

    def train(params, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            for p in params:
                (p.sin() * p).backward()
            optimizer.step()
            optimizer.lr *= 0.9

    (whole, first), (half, second), (rest, third) = start(), start(), start()
    train(whole, first, 9)
    train(half, second, 4)
    state = copy.deepcopy(second.state_dict("o."))
    assert all(isinstance(x, (int, float, list)) and name.startswith("o.") for name, x in state.items())
    for p, q in zip(rest, half):
        p.data = q.data
    third.load_state_dict(dict(state, other=1), prefix="o.")
    train(half, second, 1)                      # leaves alone what was handed out
    assert third.state_dict("o.") == state
    train(rest, third, 5)
    assert [p.data for p in rest] == [p.data for p in whole] and third.state_dict() == first.state_dict()
    twin = pickle.loads(pickle.dumps(third))
    assert repr(twin) == repr(third) and twin.state_dict() == third.state_dict()


def test_settings_are_assigned_and_shown_and_are_param_groups():
    w = Value(3.0)
    optimizer = SGD([w, Tensor([1.0, 2.0])], lr=0.5, momentum=0.9)
    assert repr(optimizer) == "SGD(lr=0.5, momentum=0.9, nesterov=False, weight_decay=0)  # 3 parameters"
    assert repr(Adam([w])) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0)  # 1 parameters"
    for group in optimizer.param_groups:
        group["lr"] *= 2
        assert group["params"][0] is w and group["momentum"] == 0.9
    optimizer.momentum = 0
    w.grad = 1.0
    optimizer.step()
    assert optimizer.lr == 1.0 and w.data == 2.0 and optimizer.param_groups[0]["lr"] == 1.0
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="SGD: lr must be a number of at least 0, not -1.0"):
        optimizer.step()
    assert w.data == 2.0


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 6.5, 13.0, 14.0])
def test_clip_grad_norm_scales_all_gradients_together(max_norm):
    v, t, unused = Value(1.0), Tensor([[1.0, 1.0]]), Tensor([1.0])
    v.grad, t.grad = 3.0, [[-4.0, 12.0]]
    assert clip_grad_norm(iter([v, t, unused, Value(1.0)]), max_norm) == 13
    scale = min(1, max_norm / (13 + 1e-6))      # 1e-6 as PyTorch has it
    assert [v.grad, *t.grad.data[0]] == pytest.approx([3 * scale, -4 * scale, 12 * scale], rel=1e-15)
    assert unused.grad is None
    v.grad = nan
    assert math.isnan(clip_grad_norm([v, t], max_norm)) and math.isnan(t.grad.data[0][0])     # as PyTorch
    v.grad, t.grad = inf, [[1.0, 1.0]]
    assert clip_grad_norm([v, t], max_norm) == inf and math.isnan(v.grad) and t.grad.data == [[0.0, 0.0]]


@pytest.mark.parametrize("size", [1e308, 1e200, 1e154, 1e-150, 1e-170, 1e-300, 1e-307, 5e-324])
@BOTH
def test_clip_grad_norm_is_right_for_the_largest_and_the_smallest_gradients(cls, size):
    params = [cls(1.0), cls(1.0)]
    for factors in (3, 4), (0.003, -0.004), (0, 0), (1, 1):
        if size * max(factors) == inf:
            continue
        for max_norm in 1.0, size / 1000, size * 1000 if size < 1 else BIG:
            for p, factor in zip(params, factors):
                p.grad = size * factor
            before = [item(p) if cls is Tensor else p for p in (params[0].grad, params[1].grad)]
            norm = math.hypot(*before)
            assert clip_grad_norm(params, max_norm) == pytest.approx(norm, rel=1e-14, abs=5e-324)
            after = [item(p) if cls is Tensor else p for p in (params[0].grad, params[1].grad)]
            if norm <= max_norm:
                assert after == before
            elif size > 1e-320 and max_norm > 1e-320:
                assert math.hypot(*after) == pytest.approx(max_norm, rel=1e-3)
    huge = [Value(1.0) for _ in range(4)]
    for p in huge:
        p.grad = BIG
    assert clip_grad_norm(huge, 1.0) == inf and [p.grad for p in huge] == pytest.approx([0.5] * 4)


# ----------------------------------------------------------------------------------------------------
# PyTorch's names and random numbers
# ----------------------------------------------------------------------------------------------------

@pytest.fixture
def seeded(monkeypatch):
    """manual_seed, whose effect ends with the test."""
    monkeypatch.setattr(micrograd, "_rng", micrograd._rng)
    return micrograd.manual_seed


# Worked out once with PyTorch 2.13.0, on the CPU: after seeding, rand(5), randn(3), randn(2, 2),
# randint(0, 1000, (4,)), randperm(7), elements 0 1 8 15 16 of randn(17), randint(-3, 2**40, (2,)), randn(()),
# rand(()).
DRAWS = {
    0: ([0.4962566, 0.7682218, 0.08847743, 0.1320305, 0.3074228], [0.5507453, 0.2703641, 0.647248],
        [0.2490022, -0.3353951, 0.4563528, -0.6254658], [119, 391, 254, 824], [4, 2, 6, 0, 3, 1, 5],
        [-0.1116093, -0.6730899, -0.3951575, 1.819725, -0.5515287], [786886133069, 146581035476], [0.4538792],
        [0.8101883]),
    42: ([0.8822693, 0.915004, 0.3828638, 0.9593056, 0.3904482], [0.3257519, -0.8676282, 1.523134],
         [0.6646649, -1.032448, -0.2770332, -0.1671343], [876, 73, 111, 899], [5, 6, 1, 2, 0, 4, 3],
         [-0.2168047, -0.913823, -0.7359928, -1.184537, 1.383549], [713018269542, 566639682522], [-0.1078964],
         [0.201801]),
    2147483647: (
        [0.7081289, 0.3542391, 0.1054323, 0.5996444, 0.09044415], [-0.4247881, -2.152026, -0.3178244],
        [0.6083233, 1.404155, -0.8548536, 0.9903893], [506, 696, 950, 219], [0, 5, 2, 1, 3, 6, 4],
        [-0.5374421, 0.05401094, -1.000615, -1.040599, -1.536722], [152005121156, 440471115362], [-0.6681836],
        [0.3174075]),
    -1: ([0.9937994, 0.5713063, 0.570008, 0.04950374, 0.9930375], [0.5840755, -0.3913998, -0.2811485],
         [-2.835126, -0.5245425, 0.4810029, -0.3389506], [318, 926, 997, 281], [3, 2, 6, 0, 4, 1, 5],
         [-1.02802, -0.1102847, -0.1707929, 2.616468, -0.118878], [728210120885, 955672346754], [-1.016983],
         [0.3984933])}


@pytest.mark.parametrize("seed", DRAWS)
def test_the_generator_draws_the_numbers_of_pytorch(seed):
    g = micrograd.Generator().manual_seed(seed)
    drawn = [micrograd.rand(5, generator=g), micrograd.randn((3,), generator=g),
             micrograd.randn(2, 2, generator=g), micrograd.randint(0, 1000, (4,), generator=g),
             micrograd.randperm(7, generator=g), micrograd.randn(17, generator=g)[[0, 1, 8, 15, 16]],
             micrograd.randint(-3, 2 ** 40, (2,), generator=g), micrograd.randn((), generator=g),
             micrograd.rand((), generator=g)]
    for ours, theirs in zip(drawn, DRAWS[seed]):
        assert flat(ours.data) == pytest.approx(theirs, rel=1e-6, abs=1e-7) and not ours.requires_grad


@pytest.mark.parametrize("n, first, last, total, squares", [        # PyTorch 2.13.0, seed 1
    (1, 0.6613522, 0.6613522, 0.661352, 0.437387), (15, 0.6613522, 0.4224153, -3.42778, 6.91649),
    (16, -1.525596, 0.4676355, -7.11381, 14.2722), (17, -1.525596, -0.7984398, -6.24677, 15.1398),
    (40, -1.525596, -0.8424634, -3.05321, 40.1066)])
def test_normal_numbers_come_in_pairs_or_in_blocks_of_16(n, first, last, total, squares):
    x = micrograd.randn(n, generator=micrograd.Generator().manual_seed(1))
    assert [x[0].item(), x[-1].item()] == pytest.approx([first, last], rel=1e-6)
    assert [x.sum().item(), (x * x).sum().item()] == pytest.approx([total, squares], rel=1e-5)


def test_multinomial_draws_as_pytorch_does():
    """Without replacement and with it, of one row and of several; PyTorch 2.13.0, seed 5."""
    g = micrograd.Generator().manual_seed(5)
    p, rows = micrograd.tensor([0.1, 0.0, 3.0, 0.4, 1.5]), micrograd.tensor([[1.0, 2, 3], [3, 0, 1]])
    assert micrograd.multinomial(p, 1, generator=g).data == [2]
    assert p.multinomial(4, generator=g).data == [4, 2, 3, 0]
    assert (micrograd.multinomial(p, num_samples=12, replacement=True, generator=g).data
            == [2, 2, 4, 2, 2, 2, 2, 2, 4, 2, 3, 2])
    assert micrograd.multinomial(p, 1, replacement=True, generator=g).data == [4]
    assert micrograd.multinomial(rows, 2, generator=g).data == [[0, 1], [2, 0]]
    assert micrograd.multinomial(rows, 5, True, generator=g).data == [[1, 2, 0, 1, 2], [0, 0, 0, 0, 0]]
    assert micrograd.rand(1, generator=g).item() == pytest.approx(0.22390025854110718)
    for bad in ([0.0, 0.0], [1.0, -1.0], [1.0, math.inf], [1.0, math.nan]):
        with pytest.raises(ValueError, match="multinomial: cannot draw 1"):
            micrograd.multinomial(bad, 1)
    with pytest.raises(ValueError, match="multinomial: cannot draw 2"):
        micrograd.multinomial([1.0, 0.0], 2)


def test_after_manual_seed_modules_draw_the_numbers_of_pytorch(seeded):
    """Linear its weight, then its bias, both uniform; Embedding normal; norms nothing. PyTorch 2.13."""
    near = functools.partial(pytest.approx, rel=1e-6)
    seeded(42)
    layer = micrograd.Linear(3, 2)
    assert flat(layer.weight.data) == near([
        0.4414065, 0.4792053, -0.1352573, 0.5303605, -0.1264995, 0.1165039])
    assert layer.bias.data == near([-0.2810859, 0.3390678])
    table = flat(micrograd.Embedding(4, 5).weight.data)
    assert table[:3] + table[-1:] == near([1.787789, -0.4780453, -0.2428586, -0.601142])
    micrograd.LayerNorm(3), micrograd.BatchNorm1d(2)
    kept = micrograd.Dropout(0.25)(micrograd.ones(12))
    assert kept.data == near([4 / 3] * 4 + [0.0] + [4 / 3] * 7)
    w = Tensor.zeros(2, 9)
    micrograd.init.normal_(w, mean=1.0, std=0.02)
    assert flat(w.data)[:2] + flat(w.data)[-1:] == near([1.006933, 0.9960534, 0.9729465])
    micrograd.init.uniform_(w, -2, 3)
    assert flat(w.data)[:2] + flat(w.data)[-1:] == near([0.1700171, -1.314715, -0.9966714])
    assert micrograd.rand(1).data == near([0.5013856]) and micrograd.randint(10, (3,)).data == [6, 7, 6]


def test_seeds_without_a_generator(seeded):
    """manual_seed goes on where it was; without it, random.seed fixes what is drawn; copies draw the same."""
    def draws(rng=None):
        return [micrograd.rand(2, generator=rng).data, micrograd.randn(3, generator=rng).data,
                micrograd.randint(9, (5,), generator=rng).data, micrograd.randperm(5, generator=rng).data,
                micrograd.multinomial([0.5] * 9, 3, generator=rng).data]
    random.seed(3)
    first = draws()
    random.seed(3)
    assert draws() == first
    g = seeded(7)
    first = draws()
    assert draws() != first
    g.manual_seed(7)
    assert draws() == first
    twin = copy.deepcopy(micrograd.Generator().manual_seed(7))
    assert draws(twin) == first and draws(pickle.loads(pickle.dumps(twin))) == draws(twin)


def test_the_first_loss_of_the_course(seeded):
    """Of the bigrams of "emma", with the weights of makemore part 1: as its notebook prints it."""
    torch, F = micrograd, micrograd.functional
    xs, ys = torch.tensor([0, 5, 13, 13, 1]), torch.tensor([5, 13, 13, 1, 0])
    g = torch.Generator().manual_seed(2147483647)
    W = torch.randn((27, 27), generator=g, requires_grad=True)
    losses = []
    for _ in range(2):
        xenc = F.one_hot(xs, num_classes=27).float()
        counts = (xenc @ W).exp()
        probs = counts / counts.sum(1, keepdims=True)
        loss = -probs[torch.arange(5), ys].log().mean()
        losses.append(loss.item())
        W.grad = None
        loss.backward()
        W.data += -0.1 * W.grad
    assert losses == pytest.approx([3.7693049907684326, 3.7492127418518066], rel=1e-6)


def test_functions_under_the_names_of_pytorch():
    torch, F = micrograd, micrograd.nn.functional
    x = torch.tensor([[1.0, -2.0, 4.0], [0.5, 3.0, -1.0]])
    assert torch.max(x).item() == 4 and torch.max(x, 1).indices.data == [2, 1]
    assert torch.sum(x, dim=0).data == x.sum(0).data and torch.abs(x).data == x.abs().data == abs(x).data
    assert torch.all(x > -3).item() is True and torch.any(x > 4).item() is False
    assert torch.matmul(x, x.t()).data == (x @ x.T).data and torch.pow(x, 2).data == (x * x).data
    assert F.softmax(x, dim=1).data == x.softmax(1).data and torch.tril(x).data == x.tril().data
    assert torch.clamp(x, min=0).data == x.clip(0).data and torch.round(x).data == x.round().data
    assert torch.log10(torch.tensor([1.0, 1000.0])).data == pytest.approx([0.0, 3.0])


# (what is called, its result): worked out by hand
@pytest.mark.parametrize("source, data", [
    ("tensor([1, 2], dtype=micrograd.float)", [1.0, 2.0]), ("zeros(2, dtype=micrograd.long)", [0, 0]),
    ("tensor([0, 2]).bool()", [False, True]), ("tensor([1.9, -1.9]).int()", [1, -1]),
    ("tensor([True, False]).float()", [1.0, 0.0]), ("zeros_like(micrograd.tensor([3, 4]))", [0, 0]),
    ("ones_like(micrograd.tensor([0.5]))", [1.0]), ("full((2,), 7)", [7, 7]),
    ("full_like(micrograd.ones(2), 7)", [7.0] * 2),
    ("arange(1, 7, 2)", [1, 3, 5]), ("linspace(0, 1, 5)", [0.0, 0.25, 0.5, 0.75, 1.0]),
    ("linspace(3, 4, 1)", [3.0]),
    ("eye(2)", [[1.0, 0.0], [0.0, 1.0]]), ("empty(1)", [0.0]), ("zeros((1, 2))", [[0.0, 0.0]]),
    ("gather(micrograd.tensor([[1, 2], [3, 4]]), 1, [[0, 0], [1, 0]])", [[1, 1], [4, 3]]),
    ("gather(micrograd.tensor([[1, 2], [3, 4]]), 0, [[0, 1]])", [[1, 4]]),
    ("topk(micrograd.tensor([1, 5, 3, 5]), 3)[0]", [5, 5, 3]),
    ("topk(micrograd.tensor([1, 5, 3, 5]), 3)[1]", [1, 3, 2]),
    ("topk(micrograd.tensor([[4, 1], [2, 3]]), 1, dim=0, largest=False).values", [[2, 1]]),
    ("roll(micrograd.tensor([[1, 2, 3], [4, 5, 6]]), 1, 1)", [[3, 1, 2], [6, 4, 5]]),
    ("roll(micrograd.tensor([[1, 2, 3], [4, 5, 6]]), -1)", [[2, 3, 4], [5, 6, 1]]),
    ("roll(micrograd.tensor([[1, 2, 3], [4, 5, 6]]), (1, 3), (0, 1))", [[4, 5, 6], [1, 2, 3]]),
    ("histogram(micrograd.tensor([0.0, 1, 1, 4]), 4).hist", [1.0, 2.0, 0.0, 1.0]),
    ("histogram(micrograd.tensor([0.0, 1, 1, 4]), 4).bin_edges", [0.0, 1.0, 2.0, 3.0, 4.0]),
    ("histogram(micrograd.tensor([0.0, 1, 1, 4]), 2, density=True)[0]", [0.375, 0.125]),
    ("histogram(micrograd.tensor([0.0, 1, 1, 4]), 2, range=(1, 3))[0]", [2.0, 0.0])])
def test_constants_and_their_like(source, data):
    made = eval(f"micrograd.{source}")
    assert made.data == data and repr(made.data) == repr(data) and not made.requires_grad


def test_what_learns_and_what_is_a_copy():
    p = micrograd.zeros(2, requires_grad=True)
    assert p.requires_grad and micrograd.tensor([1], dtype=float, requires_grad=True)._op == ""
    assert p.to("cpu") is p.float() is p.to(device="cpu", dtype=float) is p.contiguous() is p
    assert p.clone() is not p and grad((p.clone() * 3).sum(), p)[0].data == [3, 3]
    whole = micrograd.tensor([1, 2], requires_grad=True)
    assert grad((whole.float() * 2).sum(), whole)[0].data == [2, 2]
    assert not whole.long().float().bool().requires_grad
    x = micrograd.tensor([[1.0]])
    y = micrograd.roll(x, 1, 1)
    y[0, 0] = 5.0
    assert x.data == [[1.0]] and (x.dtype, x.device, x.dim(), x.nelement()) == (float, "cpu", 2, 1)


def test_allclose():
    x = micrograd.tensor([1.0, math.inf])
    assert micrograd.allclose(x, [1.0 + 1e-6, math.inf]) and not x.allclose([1.0 + 1e-4, math.inf])
    assert x.allclose([1.0 + 1e-4, math.inf], rtol=1e-3) and not micrograd.allclose([math.nan], [math.nan])
    assert micrograd.allclose([[1.0], [1.0]], 1.0)


@pytest.mark.parametrize("source, error, words", [
    ("zeros(2, device='cuda')", ValueError, "to: 'cuda'"), ("tensor(1.0).to('cuda:0')", ValueError, "cpu"),
    ("tensor(1.0, dtype=str)", ValueError, "to: <class 'str'>"),
    ("randint(3, 3, (2,))", ValueError, "randint: there are no ints"),
    ("topk(micrograd.ones(3), 4)", ValueError, "topk: k is 4"),
    ("topk(micrograd.ones(3), 0)", ValueError, "topk: k must be an int of at least 1"),
    ("gather(micrograd.ones(2, 3), 1, [0])", ValueError, r"gather: an index of shape \(1,\)"),
    ("roll(micrograd.ones(2), (1, 2), 0)", ValueError, "roll: 2 shifts for 1 dims"),
    ("multinomial([1.0, 2.0], 0)", ValueError, "multinomial: num_samples must be"),
    ("histogram(micrograd.tensor([math.nan]))", ValueError, "histogram: there are no bins"),
    ("randint(0, 2.5, (3,))", TypeError, "randint: high must be an int"),
    ("randperm(-1)", ValueError, "randperm: size -1"),
    ("linspace(0, 1, -1)", ValueError, "linspace: size -1"),
    ("ones(2).zero_()", AttributeError, "Tensor has no zero_; instead: p.grad = None"),
    ("Generator().manual_seed(1.5)", TypeError, "float"),
    ("conv2d", AttributeError, "micrograd has no conv2d; instead: slices"),
    ("einsum", AttributeError, "instead: permute"),
    ("CrossEntropyLoss", AttributeError, r"cross_entropy\(logits"),
    ("nothing_like_it", AttributeError, "no nothing_like_it$")])
def test_what_is_not_here_is_named(source, error, words):
    with pytest.raises(error, match=words):
        eval(f"micrograd.{source}")


def test_names_of_python_are_no_globals():
    """They are attributes of the module, so that torch.max works, but must not hide Python's in the file."""
    hidden = "max min sum abs all any round pow float int bool".split()
    assert not vars(micrograd).keys() & set(hidden)
    assert all(callable(getattr(micrograd, name)) for name in hidden)
    assert (micrograd.float, micrograd.long, micrograd.bool) == (float, int, bool)
    assert micrograd.cuda.is_available() is False


def test_aliases_of_the_module_import():
    import micrograd.nn as nn
    import micrograd.nn.functional as F
    from micrograd.nn import functional, init
    from micrograd.optim import AdamW
    assert nn is F is functional is init is micrograd and AdamW is micrograd.AdamW


# ----------------------------------------------------------------------------------------------------
# Nothing is silently wrong: one row for each mistake that others made, or that this file could make
#
# `x` is Value(4.0), then Tensor(4.0); `slope` is the gradient of what it is given with respect to x.
# ----------------------------------------------------------------------------------------------------

MISTAKES = {
    "x * x and x + x counted once": ("slope(x * x), slope(x + x), slope(x - x)", (8, 2, 0)),
    "a node pays before all its users have paid": ("b = x + x; c = b + b; slope(b * c + x)", 8 * 4 * 2 + 1),
    "3 * v adds": ("(3 * x).data, (3 + x).data", (12, 7)),
    "5 - v gives v - 5": ("(5 - x).data, (x - 5).data, slope(5 - x)", (1, -1, -1)),
    "1 / v missing": ("(1 / x).data, (2 ** x).data, slope(1 / x)", (0.25, 16, -1 / 16)),
    "x**1, 0.0**0 and x**2 at 0": (
        "z = 0 * x; [grad(z ** n, z)[0].data for n in (0, 0.0, 1, 1.0, 2)]", [0, 0, 1, 1, 0]),
    "a negative base to a fraction is complex": ("raises(ValueError, lambda: (-x) ** 0.5)", True),
    "broadcasting undone for rank only": (
        "x = Tensor([[1.0], [2.0]]); y = Tensor([[1.0, 2.0, 3.0]]); (x * y).backward()\n"
        "x.grad.data, y.grad.data",
        ([[6.0], [6.0]], [[3.0, 3.0, 3.0]])),
    "batched matmul right for cubes only": (
        "x, y = Tensor.ones(5, 1, 2, 3), Tensor.ones(4, 3, 6); (x @ y).backward()\n"
        "x.grad.data[4], y.grad.data[3]",
        ([[[24.0] * 3] * 2], [[10.0] * 6] * 3)),
    "repeated indices counted once": (
        "x = Tensor([1.0, 2.0]); (x[[0, 0, 1, 0]] * [1.0, 10.0, 100.0, 1000.0]).backward(); x.grad.data",
        [1011.0, 100.0]),
    "repeated pairs of indices counted once": (
        "x = Tensor([[1.0, 2.0]]); (x[[0, 0, 0], [1, 1, 0]] * [1.0, 10.0, 100.0]).backward(); x.grad.data",
        [[100.0, 11.0]]),
    "sum ignores what comes from above": (
        "x = Tensor([[1.0, 2.0]] * 2); (x.sum(0) * [1.0, 10.0]).backward(); x.grad.data", [[1.0, 10.0]] * 2),
    "mean has the gradient of sum": (
        "x = Tensor([[1.0, 2.0]] * 2); (x.mean(0) * [1.0, 10.0]).backward(); x.grad.data", [[0.5, 5.0]] * 2),
    "step changes nothing": ("x.grad = 2.0; SGD([x], lr=0.25).step(); x.data", 3.5),
    "Adam without bias correction": ("x.grad = 123.0; Adam([x], lr=0.25).step(); round(x.data, 9)", 3.75),
    "eps ignored": ("x.grad = 1.0; Adam([x], lr=1.0, eps=1e6).step(); round(x.data, 4)", 4.0),
    "all neurons are equal": ("len({w.data for w in MLP(2, [3, 3]).parameters()})", 2 * 3 + 3 * 3 + 1),
    "an array on the left makes an array of objects": (
        "x = Tensor([1.0, 2.0]); a = Array([4.0, 8.0])\n"
        "[y.data for y in (a - x, a ** x, a @ x, a < x, a == x)]",
        [[3, 6], [4, 64], 20, [False, False], [False, False]]),
    "nested grad gives 0": (
        "y, = grad(x ** 3, x, create_graph=True); z, = grad(y, x, create_graph=True); slope(z)", 6),
    "hessian of the cross entropy is 0": (
        "x = Tensor([0.0, 0.0]); y, = grad(cross_entropy(x, 1), x, create_graph=True); grad(y[0], x)[0].data",
        [0.25, -0.25]),
    "maximum at a tie undocumented": (
        "slope(x.maximum(4)), slope(x.maximum(x)), 'half' in x.maximum.__doc__", (0.5, 1, True)),
    "norm at 0 undocumented": ("z = 0 * x; raises(ZeroDivisionError, (z * z).sqrt().backward)", True),
    # == compares data
    "where(x == 0, 5, x) keeps the 0": ("where(Tensor([0, 1]) == 0, 5, Tensor([0, 1])).data", [5, 1]),
    "where(tril == 0, -inf, x) masks nothing": (
        "t = Tensor.ones(2, 2); where(t.tril() == 0, -inf, t).softmax(-1).data", [[1, 0], [0.5, 0.5]]),
    "2.0 in Tensor([1.0, 2.0]) is False": (
        "2.0 in Tensor([1.0, 2.0]), 5 in Tensor([1.0, 2.0]), 4.0 in [x]", (True, False, True)),
    "accuracy by == counts nothing": (
        "t = Tensor([[0.1, 0.9], [0.8, 0.2]]); (t.argmax(1) == Tensor([1, 1])).sum().item()", 1),
    "weights replaced by equal ones leave a stale row": (
        "n = Neuron(1, 'linear'); n([1.0]); n.w = [Value(n.w[0].data)]; n([2.0]).backward(); n.w[0].grad", 2),
    # what is assigned to .data
    "a Tensor inside .data": (
        "w = Tensor([1.0, 2.0]); g = Tensor([10.0, 20.0]); w.data -= 0.5 * g; w.data, type(w.data)",
        ([-4, -8], list)),
    "a tuple or an array inside .data": (
        "w = Tensor([1.0, 2.0]); w.data = (3, 4); a = w.data; w.data = Array([5, 6]); a, w.data",
        ([3, 4], [5, 6])),
    "p.data += p.grad joins lists": (
        "p = Tensor([1.0, 2.0]); (p * p).sum().backward(); p.data += p.grad; p.data += 2 * p.grad; p.data",
        [7, 14]),
    "p.data += a list joins lists": (
        "p = Tensor([1.0, 2.0])\ndef f(): p.data += [5.0, 6.0]\nraises(TypeError, f), p.data",
        (True, [1, 2])),
    "w -= lr * g leaves the model": (
        "n = Linear(1, 1); w = n.weight; b = w.data[0][0]\nwith no_grad(): w -= 1.0\n"
        "n.weight.data[0][0] == b - 1, n.weight.requires_grad", (True, True)),
    # optimizers
    "a gradient from grad gets into .data": (
        "g, = grad(x * x, x); x.grad = g; SGD([x], lr=0.25).step(); x.data, type(x.data)", (2.0, float)),
    "decay moves a parameter without a gradient": (
        "u, n = type(x)(1.0), type(x)(2.0); u.grad = 1.0\n"
        "for o in SGD([u, n], 0.1, 0.9, weight_decay=0.1), Adam([u, n], weight_decay=0.1), AdamW([u, n]):\n"
        "    o.step()\n"
        "n.data, u.data < 1", (2.0, True)),
    "momentum moves a parameter whose gradient was forgotten": (
        "o = SGD([x], 0.5, momentum=0.9); x.grad = 1.0; o.step(); o.zero_grad(); o.step(); x.data", 3.5),
    "a gradient of 0 counts as none": (
        "x.grad = 0.0; o = AdamW([x], lr=0.5, weight_decay=0.5); o.step(); x.data", 3.0),
    "a large gradient is clipped to zeros": (
        "p = Tensor([1.0, 1.0]); p.grad = [3e200, 4e200]; n = clip_grad_norm([p], 1.0)\n"
        "abs(n / 5e200 - 1) < 1e-9, [round(g, 6) for g in p.grad.data]", (True, [0.6, 0.8])),
    "a small gradient has norm 0": (
        "p = Tensor([1.0, 1.0]); p.grad = [3e-200, 4e-200]; n = clip_grad_norm([p], 1.0); n, p.grad.data",
        (5e-200, [3e-200, 4e-200])),
    # counting, rounding, nan
    "clip hides a nan": ("[str(e) for e in Tensor([0, 1, nan, 3]).clip(nan, 2).data]", ["nan"] * 4),
    "relu, maximum and max treat a nan differently": (
        "z = x * nan; [grad(y, z)[0].data for y in (z.relu(), z.maximum(1), z.minimum(1))]",
        [1, 1, 1]),
    "an exact sum of large ints": ("Tensor([10**20, 1]).sum().item(), Tensor([2**53, 1]).cumsum(0).data[1]",
                                   (10 ** 20 + 1, 2 ** 53 + 1)),
    # truth and pairs
    "bool(Value(0.0)) is True": ("bool(0 * x), bool(x), bool(Tensor([[0.0]]))", (False, True, False)),
    "values, indices = x.max(1) unpacks rows": (
        "v, i = Tensor([[1.0, 5.0], [7.0, 3.0]]).max(1); v.data, i.data", ([5, 7], [1, 0])),
    "logsumexp of -inf": (
        "Tensor([-inf, -inf]).logsumexp(0).item(), Tensor([-inf, 0.0]).logsumexp(0).item()", (-inf, 0)),
    # advice
    "the advice for mixing cuts the graph": (
        "try: Value(1.0) * Tensor(1.0)\nexcept TypeError as error: text = str(error)\n"
        "'.item()' in text, '.data' in text, 'one kind' in text", (False, False, True)),
}


def raises(error, f):
    with pytest.raises(error):
        f()
    return True


def run(code, names):
    """Execute statements; the value of the last one, an expression."""
    *statements, last = ast.parse(code).body
    exec(compile(ast.Module(statements, []), code, "exec"), names)
    return eval(compile(ast.Expression(last.value), code, "eval"), names)


@BOTH
@pytest.mark.parametrize("code, expected", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_of_others(code, expected, cls):
    x = cls(4.0)
    names = {**globals(), **vars(micrograd), "x": x, "slope": lambda y: item(grad(y, x)[0])}
    assert run(code, names) == expected


def test_the_data_of_a_value_are_a_number_whatever_is_assigned():
    """v.data -= 0.1 * g, with g from grad, is taken as the number that it is, or refused."""
    v = Value(2.0)
    g, = grad(v * v, v)
    try:
        v.data -= 0.25 * g
    except TypeError as error:
        assert "data" in str(error) and v.data == 2.0
    assert type(v.data) is float


class Frame:
    """What pandas' DataFrames are to us: iterated they give names of columns, NumPy takes their rows."""

    columns = ["a", "b"]
    values = Array([[1.0, 2.0], [3.0, 4.0]])

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return 2

    def to_numpy(self, *args, **options):
        return self.values

    __array__ = to_numpy


@pytest.mark.parametrize("code, expected", [
    ("Tensor(range(3)).data, Tensor([range(2), range(2)]).data", ([0, 1, 2], [[0, 1], [0, 1]])),
    ("Tensor(i * 0.5 for i in range(3)).data, Tensor((j for j in (i, 1)) for i in (2, 3)).data",
     ([0, 0.5, 1], [[2, 1], [3, 1]])),
    ("Tensor(zip([1, 2], [3, 4])).data, Tensor(map(abs, [-1, 2])).data", ([[1, 3], [2, 4]], [1, 2])),
    ("Tensor({'a': 1, 'b': 2}.values()).data, Tensor(array('d', [1, 2])).data", ([1, 2], [1, 2])),
    ("Tensor(Frame()).data, (Tensor([1, 1]) @ Tensor(Frame())).data", ([[1, 2], [3, 4]], [4, 6])),
    ("Tensor(Tensor([1, 2])).data, Tensor(True).data, Tensor([True, False]).data",
     ([1, 2], True, [True, False])),
    ("stack([Tensor(1.0), Tensor(2.0)]).data", [1, 2]),
    ("t = Tensor([1.0, 2.0]); t.data = range(2); t.grad = (5, 6); t.data, t.grad.data", ([0, 1], [5, 6])),
    ("t = Tensor([1.0, 2.0]); t.grad = 0; (t * 3).sum().backward(); t.grad.data", [3, 3]),
    ("v = Value(1.0); v.grad = None; (v * 3).backward(); v.grad", 3),
    ("t = Tensor([[1, 2], [3, 4]]); t[[0, 1], [1, 0]].data, t[[[0], [1]], [0, 1]].data",
     ([2, 3], [[1, 2], [3, 4]])),
    ("t = Tensor.arange(8).reshape(2, 2, 2); t[[0, 1], [1, 0], :].data, t[..., [1, 0]].data[0]",
     ([[2, 3], [4, 5]], [[1, 0], [3, 2]])),
    ("t = Tensor([[1, 2], [3, 4]]); t[Tensor([1, 0])].data, t[t.argmax(1), range(2)].data, t[range(1)].data",
     ([[3, 4], [1, 2]], [3, 4], [[1, 2]])),
    ("t = Tensor([[1, 2], [3, 4]]); t[t > 2].data, t[[True, False]].data, t[:, [False, True]].data",
     ([3, 4], [[1, 2]], [[2], [4]])),
    ("t = Tensor([[1, 2], [3, 4]]); t[Array([True, False])].data, t[(t > 1) == (t < 4)].data",
     ([[1, 2]], [2, 3])),
    ("Tensor.zeros(2, 0).softmax(-1).data, Tensor([]).softmax(0).data", ([[], []], [])),
    ("f'{Value(0.12345):.2f} {Tensor(2.5):6.1f}', (+Value(1)).data, (+Tensor([1])).data",
     ("0.12    2.5", 1, [1])),
    ("sum([Value(1.0), Value(2.0)]).data, sum([Tensor([1.0]), Tensor([2.0])]).data", (3, [3])),
    ("max(Value(1), Value(2)).data, sorted([Value(3), Value(1)])[0].data, max(Tensor([1, 3])).data",
     (2, 1, 3)),
    ("Tensor([1, 2]).sum(()).data, Tensor([[1, 2]]).amax(()).data, Tensor([[1, 2]]).mean([0, 1]).data",
     (3, 2, 1.5)),
    ("Tensor(5).reshape(1, 1).data, Tensor([[5]]).reshape(()).data, Tensor([5]).squeeze().data",
     ([[5]], 5, 5)),
    ("t = Tensor.zeros(2, 2); cross_entropy(t, Tensor([0, 1])).item() == cross_entropy(t, (0, 1)).item()",
     True),
    ("cross_entropy(Tensor.zeros(2, 3), Tensor([[1.0, 5.0, 2.0]]).argmax(1).expand(2)).item() == math.log(3)",
     True),
    ("Sequential(Linear(2, 1))((1.0, 2.0)).shape, Linear(2, 1)(Array([[1.0, 2.0]])).shape", ((1,), (1, 1))),
    ("len([model(x) for model in [MLP(2, [1])] for x in [(1, 2), Array([1.0, 2.0]), range(2)]])", 3),
    ("grad(Value(2.0) * 3, [], allow_unused=True) == () and grad(Tensor(2.0) * 3, ()) == ()", True),
    ("w = Tensor([1.0]); clip_grad_norm([w], 1.0), w.grad", (0, None)),
    ("Value(2.0, label='a').label, Tensor([1], label='b', requires_grad=False).label", ("a", "b")),
    ("where(Tensor([True, False]), 1, Tensor([5, 6])).data, where([[True], [False]], Tensor([1, 2]), 0).data",
     ([1, 6], [[1, 2], [0, 0]])),
    ("Tensor([3, 4]).masked_fill([True, False], -inf).data, Tensor([3]).masked_fill(Tensor(True), 0).data",
     ([-inf, 4], [0])),
], ids=lambda x: x if isinstance(x, str) else "")
def test_right_use_is_not_refused(code, expected):
    assert run(code, {**globals(), **vars(micrograd)}) == expected


def test_after_a_reload_old_and_new_classes_meet_in_a_clear_error():
    """Not in an endless recursion: an old Tensor is nothing that the new module knows."""
    code = ("import importlib, micrograd as m\nold, v = m.Tensor([1.0]), m.Value(1.0)\nimportlib.reload(m)\n"
            "for f in (lambda: m.Tensor([1.0]) + old, lambda: v * m.Value(2.0), lambda: m.grad(v, v)):\n"
            "    try: print('result', f())\n    except TypeError as error: print('TypeError')")
    out = run_python("-c", code).stdout
    assert "RecursionError" not in out and out.count("\n") == 3, out


# ----------------------------------------------------------------------------------------------------
# Wrong use: the type of the error, what its message must name, and that nothing has changed
#
# All of it happens in the middle of training. Columns are two spaces apart.
# ----------------------------------------------------------------------------------------------------

def in_the_middle_of_training():
    random.seed(1)
    v, t = Value(2.0), Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    model, net = MLP(2, [3, 1]), Sequential(Linear(2, 3), Tensor.tanh, Linear(3, 1))
    sgd, adam = SGD(net.parameters(), 0.1, momentum=0.9), Adam(net.parameters() + [v])
    for _ in range(2):
        (v * v + model([v, 1.0])).backward()
        (t.sum() + net(t[:, :2]).sum()).backward()
        sgd.step()
        adam.step()
    return dict(vars(micrograd), v=v, t=t, model=model, net=net, sgd=sgd, adam=adam, nan=nan, inf=inf)


WRONG = [re.split(r"  +", line.replace(r"\n", "\n")) for line in r"""
TypeError  Value('3')  Value  '3'
TypeError  Value(None)  Value  None
TypeError  v + '3'  +
TypeError  [1.0] - v  -
TypeError  v < '3'  <
TypeError  v + t  +  Value  Tensor  mix
TypeError  t @ v  matmul  Value  Tensor  mix
TypeError  v == t  ==  Value  Tensor  mix
TypeError  t < v  <  Value  Tensor  mix
TypeError  v - Tensor(1.0)  -  Value  Tensor
TypeError  t ** v  **  Value  Tensor
TypeError  v @ t  matmul  Value
TypeError  v.maximum(t)  maximum
TypeError  t.minimum('a')  minimum
ZeroDivisionError  Value(2.0) / 0  2.0 / 0
ZeroDivisionError  1 / Value(0.0)  1 / 0.0
ZeroDivisionError  Value(1j) / 0  1j / 0
OverflowError  Value(2.0) ** 1e4  2.0 ** 10000.0
OverflowError  Value(1000.0).exp()  exp(1000.0)
ValueError  Value(-8.0) ** 0.5  (-8.0) ** 0.5  negative
ValueError  (-8) ** Value(0.5)  (-8) ** 0.5  negative
ValueError  Value(0.0).log()  log(0.0)
ValueError  v.clip()  clip  low  high
TypeError  t.clip(0, v)  clip
TypeError  v.leaky_relu(t)  leaky_relu
TypeError  v.leaky_relu(v)  leaky_relu
OverflowError  dot([Value(10**400)], [Value(2)]).backward(0.5)  derivative of dot
TypeError  (v * 2).backward('1')  backward  '1'
ValueError  dot([v], [1.0, 2.0])  dot  1 weights  2 inputs
TypeError  dot([v], ['a'])  dot
ValueError  Tensor([[1.0, 2.0], [3.0]])  ragged  [1]  (1,)  (2,)
ValueError  Tensor([[1.0], 2.0])  ragged  [1]
TypeError  Tensor('a')  Tensor: 'a' is not a number
TypeError  Tensor([[1.0, 'a']])  Tensor: 'a' at [0][1] is not a number
TypeError  Tensor([v])  Value  [0]
TypeError  Tensor([t, t])  stack
ValueError  x = [1.0]; x.append(x); Tensor(x)  deep
ValueError  t + [1.0, 2.0]  +  (2, 3)  (2,)
ValueError  t > [1.0, 2.0]  >  (2,)
ValueError  where([1, 0], t, 0)  where  (2,)  (2, 3)
TypeError  where(t > 2, t, 'a')  where
ZeroDivisionError  t / [1.0, 0.0, 2.0]  2.0 / 0.0  [0, 1]
ValueError  (t - 5).log()  log(-4.0)  [0, 0]
ValueError  (t - 2) ** 0.5  (-1.0) ** 0.5  [0, 0]
ValueError  where(t > 2, [[1.0], [2.0, 3.0]], t)  where  ragged
ValueError  t @ t  matmul  (2, 3) @ (2, 3)  3 and 2
ValueError  t @ 3  matmul  use *
ValueError  Tensor(3.0) @ t  matmul  use *
ValueError  [1.0] @ t  matmul  (1,) @ (2, 3)
ValueError  Tensor.ones(2, 2, 3) @ Tensor.ones(3, 3, 2)  matmul  (2,)  (3,)
TypeError  t @ 'a'
IndexError  t.sum(2)  sum  dim 2  2 dim
IndexError  t.mean(-3)  mean  -3
IndexError  t[0].sum(1)  sum  dim 1  1 dim
IndexError  Tensor(1.0).sum(-2)  sum  dim -2  0 dim
TypeError  t.sum(1.5)  sum  1.5
ValueError  t.amax((0, -2))  amax  twice
ValueError  t[0:1].var(0)  var  1 element
ValueError  Tensor([]).mean()  mean  0 element
ValueError  Tensor([]).logsumexp(0)  logsumexp  0 element
ValueError  Tensor([]).min()  min
ValueError  Tensor([]).argmax()  argmax
IndexError  t.argmax(2)  argmax  dim 2
TypeError  t.log_softmax(None)  log_softmax  None
ValueError  t.reshape(4, 2)  reshape  (2, 3)  6  (4, 2)
ValueError  t.reshape(-1, 4)  reshape  6
ValueError  t.reshape(-1, -1)  reshape  -1
ValueError  Tensor([]).reshape(-1, 0)  reshape  0
ValueError  t.reshape(-2, -3)  reshape  -2
TypeError  t.reshape(2.0, 3)  reshape  2.0
ValueError  t.permute(0)  permute  1 dim  2 dim
ValueError  Tensor(1.0).permute(0)  permute  1 dim  0 dim
ValueError  t.permute(0, 0)  permute  twice
IndexError  t.transpose(0, 2)  transpose  dim 2
ValueError  t[0].mT  mT  (3,)
ValueError  Tensor.zeros(2, 0).T  (0, 2)
ValueError  Tensor.zeros(0, 3)  zeros  (0, 3)
IndexError  t.unsqueeze(4)  unsqueeze  4
ValueError  t.flatten(1, 0)  flatten  1  0
ValueError  t.broadcast_to(3, 3)  broadcast_to  (2, 3)  (3, 3)
ValueError  Tensor([[1.0]]).broadcast_to(1)  broadcast_to  (1, 1)
IndexError  t[2]  index  2  dimension 0  size 2
IndexError  t[0, -4]  -4  dimension 1  size 3
IndexError  t[0, 0, 0]  3 indices  (2, 3)
IndexError  t[0, ..., 0, 0]  3 indices  (2, 3)
IndexError  t[..., 0, ...]  more than one ...  (2, 3)
TypeError  t[1.0]  1.0
IndexError|ValueError  t[[0, 1], [0, 1, 2]]  (2,)  (3,)
ValueError|IndexError  t[[[0, 1], [1]]]  ragged
ValueError  t[::0]  index  step
ValueError  t[2:]  index  (0, 3)
ValueError  t[None, []]  index  (1, 0, 3)
IndexError  Tensor.ones(2, 2, 2)[0, :, [1]]  ambiguous
RuntimeError  t[0] = 1.0  requires a gradient  no_grad  where
ValueError  t.item()  item  (2, 3)
ValueError  bool(t)  (2, 3)  ambiguous
TypeError  len(Tensor(1.0))  len
ValueError  Tensor.zeros(2, -1)  zeros  -1
TypeError  Tensor.ones(2.0)  ones  2.0
TypeError  Tensor.full((2,), [1, 2])  full
ValueError  Tensor.arange(0, 3, 0)  arange  step
ValueError  cat([])  cat  no tensors
ValueError  cat([t, [[1.0]]])  cat  (2, 3)  (1, 1)
ValueError  cat([t, [[1.0], [2.0, 3.0]]])  cat  ragged
IndexError  cat([t, t], 2)  cat  2
TypeError  cat([t, v])  cat  Value
ValueError  cat([Tensor(1.0)])  cat  stack
TypeError  cat(t)  cat
ValueError  stack([t, t[0]])  stack  (2, 3)  (3,)
ValueError  linear(t, t.T)  linear  (2, 3)
ValueError  linear(1.0, t)  linear
ValueError  linear(t, t, [1.0])  linear  (1,)
ValueError  (t > 2).backward()  backward  constant
ValueError  t.backward([1.0])  backward  (1,)  (2, 3)
ValueError  (t * 2)._backward()  result of *  gradient
ValueError  y = v * 2; y.grad = None; y._backward()  result of *  gradient
TypeError  t.backward(v)  backward  Value
ValueError  t.grad = [1.0]  grad  (1,)  (2, 3)
ValueError  grad(v, [v, Value(1.0)])  grad  input 1
TypeError  grad(3.0, v)  grad  float
TypeError  grad(v, [1.0])  grad  input 0
ZeroDivisionError  x = Value(0.0); y = x.sqrt() + v * v; y.backward()  sqrt  0.0
OverflowError  x = Value(1e-200); y = x ** -1 + v * v; y.backward()  finite derivative of **  1e-200
ZeroDivisionError  x = Tensor([4.0, 0.0]); y = (x.sqrt() * 2 + x).sum() + t.sum(); y.backward()  sqrt
ValueError|TypeError  gradcheck(lambda: v)  gradcheck
TypeError  gradcheck(lambda x: 3.0, v)  gradcheck  3.0
ValueError  elementwise('not a name', abs, abs)  not a name
ValueError  elementwise('sum', abs, abs)  sum
ValueError  MLP(2, [])  MLP
ValueError  MLP(0, [1])  0
ValueError  MLP(2, [1], act='rellu')  rellu  relu  tanh
ValueError  Layer(2, -1)  Layer  -1
ValueError  Linear(1, 1.5)  Linear  1.5
ValueError  model([1.0])  1  2
ValueError  model([1.0, 2.0, 3.0])  3  2
TypeError  model(['a', 'b'])  'a'
TypeError  model(t)  Tensor  tolist
ValueError  net(t)  linear  (2, 3)  2
TypeError  net([v, v])  Value
TypeError  Sequential(net, 3)  Sequential  step 1  3
NotImplementedError  Module()(1.0)  Module  forward
ValueError  net.load_state_dict({})  missing  0.weight
ValueError  net.load_state_dict(dict(net.state_dict(), extra=1.0))  unexpected  extra
ValueError  s = net.state_dict(); s['2.bias'] = [1.0, 2.0]; net.load_state_dict(s)  2.bias  (2,)  (1,)
TypeError  s = net.state_dict(); s['2.bias'] = ['a']; net.load_state_dict(s)  2.bias  'a'
TypeError  net.load_state_dict(['0.weight'])  load_state_dict
TypeError  net.load_state_dict({1: 2.0})  load_state_dict
ValueError  mse_loss(t, [1.0, 2.0])  mse_loss  (2, 3)  (2,)
ValueError  mse_loss([v, v], [1.0])  mse_loss  (2,)  (1,)
ValueError  mse_loss(t, t, reduction='avg')  mse_loss  avg  mean
TypeError  mse_loss([v], t[0, :1])  mse_loss  Value  Tensor
ValueError  mse_loss([[v, v], [v]], [[1.0, 1.0], [1.0]])  mse_loss
ValueError  cross_entropy(t, [0])  cross_entropy  (2, 3)  (1,)
ValueError  cross_entropy(t, [0, 3])  cross_entropy  target 1  3  0 to 2
ValueError  cross_entropy(t, [0, -1])  target 1  -1
ValueError  cross_entropy(t, [0, 1.0])  target 1  1.0
ValueError  cross_entropy(Tensor(1.0), 0)  cross_entropy  ()
ValueError  cross_entropy(Tensor.ones(2, 2, 2), [[0], [0]])  cross_entropy  (2, 2, 2)
ValueError  cross_entropy([[v, v], [v]], [0, 0])  cross_entropy
ValueError  SGD([], 0.1)  SGD  no parameters
ValueError  SGD([v, v], 0.1)  SGD  twice
TypeError  SGD(model, 0.1)  SGD  parameters()
TypeError  Adam([1.0])  Adam  parameter 0  1.0
ValueError  SGD([v], -0.1)  lr  -0.1
ValueError  Adam([v], lr=nan)  lr  nan
TypeError|ValueError  SGD([v], 1j)  lr  1j
ValueError  sgd.lr = -1  lr  -1
ValueError  SGD([v], 0.1, momentum=-1)  momentum
ValueError  SGD([v], 0.1, nesterov=True)  nesterov  momentum
ValueError  Adam([v], betas=(0.9, 1.0))  betas  1.0
ValueError  Adam([v], betas=(-0.5, 0.9))  betas  -0.5
ValueError  Adam([v], eps=-1)  eps
ValueError  AdamW([v], weight_decay=-1)  weight_decay
ValueError  net[2].bias.grad = [1.0, 2.0]  grad  (2,)  (1,)
TypeError  v.grad = 'a'; adam.step()  grad  'a'
ValueError  t[0].split([5, -2])  split  -2  (3,)
TypeError  t[0].split([1.0, 2.0])  split  1.0
TypeError  t[0][[True, 0, 1]]  index  True
TypeError  t.max(t)  max  maximum
TypeError  Embedding(3, 2)([True, False, True])  Embedding  bools
ValueError  adam.params.append(Value(1.0)); adam.step()  step  new one
TypeError  v.grad = t; adam.step()  grad  Tensor
TypeError  v.grad = [1.0]; clip_grad_norm([v], 1.0)  grad  [1.0]
TypeError  v.grad = 'a'; y = v * 2; y.backward()  grad  'a'
TypeError  v.maximum(1j)  maximum(  1j)
ValueError  sgd.load_state_dict({})  lr  missing
ValueError  sgd.load_state_dict({'lr': -1.0})  lr  -1
ValueError  sgd.load_state_dict({'lr': 0.5, '9.momentum_buffer': [1.0]})  9.momentum_buffer
ValueError  s = adam.state_dict(); s['0.exp_avg'] = [1.0]; adam.load_state_dict(s)  0.exp_avg  (1,)  (3, 2)
ValueError  s = adam.state_dict(); s['4.step'] = 0; adam.load_state_dict(s)  4.step  0
ValueError  s = adam.state_dict(); del s['4.exp_avg']; adam.load_state_dict(s)  4.exp_avg  missing
ValueError  clip_grad_norm([v], -1.0)  clip_grad_norm  -1.0
ValueError  s = adam.state_dict(); s['4.step'] = 1.5; adam.load_state_dict(s)  4.step  1.5
TypeError  clip_grad_norm(net, 1.0)  clip_grad_norm  parameters()
TypeError  draw_dot(3.0)  draw_dot  3.0
ValueError  draw_dot(v, 'RL')  rankdir  RL
TypeError  Tensor(2, 3)  Tensor.zeros(2, 3)
TypeError  Tensor([1.0], False)  requires_grad=
TypeError  Tensor([1.0], 'w')  label=
TypeError  Tensor([1.0], [2.0])  Tensor
TypeError  Value(2.0, (v,))  label
TypeError  Value(2.0, 'v')  label=
TypeError  Value(1.0, 2.0)  Value
TypeError  v.data = '3'  data  '3'
TypeError  v.data = None  data  None
TypeError  v.data = [1.0]  data  [1.0]
TypeError  v.data = t  data
TypeError  v.data += '1'
ValueError  t.data = [1.0, 2.0, 3.0]  data  (3,)  (2, 3)
ValueError  t.data = [[1.0, 2.0], [3.0, 4.0]]  data  (2, 2)  (2, 3)
ValueError  t.data = [[1.0, 2.0, 3.0], [4.0, 5.0]]  data  ragged
ValueError  t.data = 5.0  data  ()  (2, 3)
TypeError  t.data = [[1.0, 2.0, v], [4.0, 5.0, 6.0]]  data  Value
TypeError  t.data = [[1.0, 2.0, 'a'], [4.0, 5.0, 6.0]]  data  'a'
TypeError  t.data = None  data  None
TypeError  t.data = v  data  Value
TypeError  t.data += [[7.0, 8.0, 9.0]]  data  +=  joins
TypeError  x = Tensor([1.0, 2.0]); x.data += [3.0, 4.0]  data  +=  joins
TypeError|ValueError  x = Tensor([1.0, 2.0]); x.data *= 2  data
TypeError  x = Tensor([1.0, 2.0]); x.data -= [3.0, 4.0]
ValueError  t.grad = [[1.0, 2.0], [3.0, 4.0]]  grad  (2, 2)  (2, 3)
TypeError  t.grad = 'a'  grad  'a'
TypeError  t.grad = v  grad  Value
RuntimeError  t -= 0.1  -=  parameter  no_grad  p = p -  requires_grad=False
RuntimeError  net[0].weight += 1.0  +=  parameter  no_grad
ValueError  with no_grad(): t -= [1.0, 2.0]  (2, 3)  (2,)
ValueError  with no_grad(): t -= [[[1.0, 2.0, 3.0]]]  (1, 2, 3)  (2, 3)
TypeError  with no_grad(): t -= 'a'
TypeError  with no_grad(): t *= v  Value
ZeroDivisionError  with no_grad(): t /= 0  / 0
RuntimeError  t[0, 0] -= 1.0  requires a gradient  no_grad
ValueError  x = t.detach(); x[0] = [1.0, 2.0]  (2,)  (3,)
IndexError  x = t.detach(); x[2] = 1.0  2  dimension 0  size 2
TypeError  x = t.detach(); x[0] = 'a'  'a'
TypeError  x = t.detach(); x[0, 0] = v  Value
IndexError  x = t.detach(); x[[True, False, True]] = 0.0  mask  (3,)  (2, 3)
RuntimeError  x = Tensor([1.0, 2.0]); y = (x * x).sum(); x.data = [3.0, 4.0]; y.backward()
RuntimeError  x = Tensor([1.0, 2.0]); y = x * 2; z = y * y; y[0] = 5.0; z.sum().backward()
TypeError  where(t == None, 0, t)  where  bool
TypeError  where(True, t, 0)  where  bool
TypeError  where(v == 2, t, 0)  where  bool
TypeError  where('a', t, 0)  where
ValueError  t == [1.0, 2.0]  ==  (2, 3)  (2,)
ValueError  t != [[1.0, 2.0]]  !=  (2, 3)  (1, 2)
ValueError  bool(t == t)  (2, 3)  all
IndexError  t[[True, False, True]]  mask  (3,)  (2, 3)
IndexError  t[Tensor([[True, False]] * 2)]  mask  (2, 2)  (2, 3)
TypeError  t[Tensor([1.0])]  1.0
TypeError  t['a']  'a'
IndexError  t[Tensor([2])]  2  dimension 0  size 2
TypeError  t[True]
TypeError|ValueError  t.max((0, 1))  max  amax
TypeError|ValueError  t.min([0])  min  amin
IndexError  t.max(2)  max  dim 2
IndexError  t.cumsum(2)  cumsum  dim 2
TypeError  t.cumsum()
IndexError  t.prod(3)  prod  dim 3
IndexError  t.std(2)  std  dim 2
ValueError  t[0:1].std(0)  std  1 element
ValueError  t.var(0, correction=2)  var  2
ValueError  Tensor([]).max()  max
ValueError  Tensor([]).amax(0)  amax
ValueError|IndexError  Tensor([]).argmin()  argmin
IndexError  t.any(2)  any  dim 2
ValueError  t.view(4, 2)  (2, 3)  (4, 2)
ValueError  t.expand(2, 4)  expand  (2, 3)  (2, 4)
ValueError  t.expand(-1, 2, 3)  expand  -1
ValueError  t.expand(3)  expand  (2, 3)  (3,)
ValueError  t.expand(-2, 3)  expand  -2
ValueError  t.split(0)  split  0
ValueError  t.split([1, 2])  split  [1, 2]  2
TypeError  t.split(1.5)  split  1.5
IndexError  t.split(1, 2)  split  dim 2
ValueError  t.chunk(0)  chunk  0
IndexError  t.unbind(2)  unbind  dim 2
IndexError  t.flip(2)  flip  dim 2
ValueError  t.flip(0, 0)  flip  twice
ValueError  t[0].tril()  tril  (3,)
TypeError  t.triu(0.5)  triu  0.5
ValueError  t.masked_fill([True, False], 0)  masked_fill  (2, 3)  (2,)
TypeError  t.masked_fill(t > 2, 'a')  masked_fill  'a'
ValueError  one_hot([0, 3], 3)  one_hot  3
ValueError  one_hot([-1], 3)  one_hot  -1
TypeError|ValueError  one_hot([0.5], 3)  one_hot  0.5
ValueError|TypeError  one_hot([0], 0)  one_hot  0
ValueError  Tensor.arange(nan)  arange  nan
ValueError  Tensor.arange(inf)  arange  inf
ValueError  Tensor.arange(0, 5, nan)  arange  nan
ValueError  Tensor.arange(0, -inf, -1)  arange  inf
TypeError|ValueError  Tensor.arange('3')  arange  '3'
TypeError|ValueError  Tensor.arange(v)  arange
IndexError  Tensor([]).log_softmax(1)  log_softmax  dim 1
ValueError  (t - 10).log1p()  log1p(-9.0)  [0, 0]
OverflowError  Value(1000.0).expm1()  expm1(1000.0)
ValueError  Value(2.0).backward()  backward
ValueError  with no_grad(): y = v * v\ny.backward()  backward  no_grad
ValueError  y = Tensor([1.0]).detach() * 2; y.backward()  backward
TypeError  '%f' % v
TypeError  float(v)
TypeError|ValueError  f'{t:.2f}'  (2, 3)
TypeError|ValueError  float(t)  (2, 3)
TypeError  range(Tensor(1.5))
ValueError  f'{v:q}'
TypeError  model([[1.0, 2.0], [3.0, 4.0]])  [model(x) for x in batch]
TypeError|ValueError  mse_loss(v, [1.0])  mse_loss  list
ValueError  cross_entropy(v, 0)  cross_entropy  ()
ValueError  mse_loss([], [])  mse_loss  no mean
ValueError  mse_loss(Tensor([]), [])  mse_loss  no
ValueError  hinge_loss([v], [0])  hinge_loss  0  -1
ValueError  hinge_loss(t[0], [1, 0, 1])  hinge_loss  0
ValueError  binary_cross_entropy_with_logits(t[0], [0, 255, 1])  binary_cross_entropy_with_logits  255
ValueError  binary_cross_entropy_with_logits([v], [-1])  binary_cross_entropy_with_logits  -1
ValueError  binary_cross_entropy_with_logits([v], [nan])  binary_cross_entropy_with_logits  nan
TypeError|ValueError  mse_loss([v], ['1'])  mse_loss  '1'
TypeError|ValueError  SGD(params=[v], lr='0.1')  lr  '0.1'
TypeError  SGD(v, 0.1)  SGD  list
TypeError  SGD([v])  lr
TypeError|ValueError  Neuron(2, act=math.tanh)([v, v])  tanh  'tanh'
TypeError  elementwise('odd', 3, abs)  elementwise  odd
TypeError  elementwise('odd', abs, None)  elementwise  odd
ValueError  elementwise('relu', abs, abs)  relu
ValueError  grad(v * 2, t)  grad  input 0
ValueError|TypeError  gradcheck(lambda x: x)  gradcheck  input
TypeError  gradcheck(lambda x: x, 3.0)  gradcheck  3.0
TypeError  gradcheck(v, v)  gradcheck
TypeError  gradcheck(lambda x: None, v)  gradcheck  None
ValueError  gradcheck(lambda x: x, v, eps=0)  gradcheck  eps  0
IndexError  Tensor(1.0).T.transpose(0, 1)  transpose  dim 1  0 dim
TypeError  Tensor({'a': 1.0})  Tensor  'a'
TypeError  Tensor([1.0, None])  None  [1]
TypeError  Tensor(abs)  Tensor
ValueError  Tensor(x for x in [[1.0], [1.0, 2.0]])  ragged
ValueError  m = Module(); m.a = {0: v, '0': Value(1.0)}; m.parameters()  a.0
ValueError  m = Module(); m.a = {'b.c': v, 'b': {'c': Value(1.0)}}; m.state_dict()  a.b.c
ValueError|TypeError  m = Sequential(Linear(1, 1)); setattr(m, '0', Linear(1, 1)); m.state_dict()  0.weight
TypeError  m = Module(); m.a = {v}; m.parameters()  a  set
TypeError  import collections; m = Module(); m.a = collections.deque([v]); m.parameters()  a  deque
TypeError  import collections; m = Module(); m.a = collections.UserDict(b=v); m.state_dict()  a  UserDict
ValueError  net.load_state_dict({'0.weight': t}, strict=True)  missing
TypeError  model([[v, v]])  [model(x) for x in batch]
ValueError  MLP(2, [1], act=math.tanh)  math.tanh  act='tanh'
TypeError  Neuron(1, act=lambda x: x.data)([1.0])  Neuron  act  Value
TypeError  Neuron(1, act=float)([v])  float
ValueError  Layer(2, 3)([1.0])  1 inputs  2 expected
TypeError  net.load_state_dict(net.state_dict(), False)  prefix  False
ValueError  net.load_state_dict({'0.weight': [1.0]}, strict=False)  0.weight  (1,)  (3, 2)
ValueError  net.to('cuda')  cuda  cpu
ValueError  Embedding(0, 3)  Embedding: n  0
ValueError  Embedding(3, True)  Embedding: dim  True
IndexError  Embedding(3, 2)([0, 3])  3
ValueError  LayerNorm(0)  LayerNorm  0
ValueError  layer_norm(t, 2)  layer_norm  2  (2, 3)
ValueError  layer_norm(t, (2, 3))  layer_norm  (2, 3)
ValueError  layer_norm(t, 3, t[0, :2])  layer_norm  weight  (3,)
ZeroDivisionError  layer_norm([[1.0, 2.0], [3.0, 3.0]], 2, eps=0)  layer_norm(0.0)
ValueError  rms_norm(Tensor(1.0), 1)  rms_norm  ()
ValueError  LayerNorm(2)(t)  layer_norm  (2,)  (2, 3)
ValueError  BatchNorm1d(2)(t)  BatchNorm1d  (batch, 2)  (2, 3)
ValueError  BatchNorm1d(3)(t[0])  BatchNorm1d  (3,)
ValueError  BatchNorm1d(3)(t[:1])  BatchNorm1d  eval
TypeError  BatchNorm1d(3)(v)  BatchNorm1d  Value
ValueError  Dropout(1.5)  Dropout  1.5
ValueError  Dropout(-0.5)  Dropout  -0.5
ValueError  scaled_dot_product_attention(t, t.T, t)  matmul  (2, 3)
ValueError  scaled_dot_product_attention(Tensor(1.0), t, t)  attention  ()
ValueError  scaled_dot_product_attention(t, t, t[0])  matmul  (2, 2)  (3,)
ValueError  mse_loss(v, [1.0, 2.0])  mse_loss  ()  (2,)  list
ValueError  mse_loss(t, t, 'average')  mse_loss  average  mean  sum  none
ValueError  hinge_loss([v, v], [1, 0])  hinge_loss  0  -1 and 1
ValueError  hinge_loss(t, [[1, -1, 1], [1, -1, 2.5]])  hinge_loss  2.5
ValueError  hinge_loss(t[0], [1, nan, 1])  hinge_loss  nan
ValueError  binary_cross_entropy_with_logits(t[0], [0, 1, 255])  binary_cross_entropy_with_logits  255  0 to 1
ValueError  cross_entropy(t, [0, True])  target 1  True
ValueError  cross_entropy(t, [-100, -100])  cross_entropy  no mean
ValueError  cross_entropy(Tensor.ones(2, 2, 2), [0, 0])  cross_entropy  (2, 2, 2)  (2,)
ValueError  cross_entropy(Tensor.ones(2, 2, 2), [[0, 0], [0, 2]])  cross_entropy  target 3  2
TypeError  Optimizer([v], lr=0.1)  Optimizer  SGD  AdamW
ValueError  SGD([t * 2], 0.1)  SGD  parameter 0  *  Tensor(x.data)
ValueError  Adam([v], betas=(0.9, None))  betas  None
ValueError  Adam([v], betas=0.9)  betas  0.9
ValueError  Adam([v], lr='fast')  Adam: lr  'fast'
ValueError  sgd.momentum = nan  SGD: momentum  nan
ValueError  sgd.weight_decay = -1  weight_decay  -1
ValueError  sgd.param_groups[0]['lr'] = None; sgd.step()  SGD: lr  None
ValueError  clip_grad_norm([v], nan)  clip_grad_norm  max_norm  nan
""".strip().split("\n")]


def everything_in(names):
    """All numbers that a wrong use could have changed."""
    for name in "v", "t", "model", "net", "sgd", "adam", "x", "y":
        thing = names.get(name)
        if isinstance(thing, (Value, Tensor)):
            yield thing.data, slope_of(thing)
        elif hasattr(thing, "state_dict"):
            yield thing.state_dict(), slopes(getattr(thing, "params", 0) or thing.parameters())


@pytest.mark.parametrize("error, code, words", [(error, code, words) for error, code, *words in WRONG],
                         ids=[row[1] for row in WRONG])
def test_wrong_use_is_named_and_changes_nothing(error, code, words):
    names, (*setup, last) = in_the_middle_of_training(), ast.parse(code).body
    exec(compile(ast.Module(setup, []), code, "exec"), names)
    before = repr(list(everything_in(names)))
    with pytest.raises(Exception) as caught:
        exec(compile(ast.Module([last], []), code, "exec"), names)
    assert caught.type.__name__ in error.split("|"), f"{caught.value!r} should be {error}"
    assert all(word in str(caught.value) for word in words), f"{caught.value} should name {words}"
    assert repr(list(everything_in(names))) == before and len(WRONG) >= 200


# ----------------------------------------------------------------------------------------------------
# Saving: safetensors, https://github.com/huggingface/safetensors
# ----------------------------------------------------------------------------------------------------

def written(state, **options):
    """The bytes that save writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(os.path.join(folder, "x"), state, **options)
        assert os.listdir(folder) == ["x"]
        with open(os.path.join(folder, "x"), "rb") as file:
            return file.read()


def read(content):
    """What load makes of these bytes; an error must name the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.safetensors")
        with open(path, "wb") as file:
            file.write(content)
        try:
            return load(path)
        except ValueError as error:
            assert repr(path) in str(error) and len(str(error)) < 1000
            raise


def file_of(header, data=b""):
    """A file of any header: bytes, or something for JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype="F64", shape=(), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@st.composite
def arrays(draw, numbers):
    """Nested lists of one shape; a size of 0 only last, where nested lists still tell it."""
    shape = draw(st.lists(st.integers(1, 4), max_size=2)) + draw(st.lists(st.integers(0, 4), max_size=1))
    n = math.prod(shape)
    return nest(draw(st.lists(numbers, min_size=n, max_size=n)), tuple(shape))


TEXTS = st.text("a0._ \"\\{}[],:\n\0é\u20ac\U0001f600", max_size=9)


INTS = st.integers(-2 ** 63, 2 ** 63 - 1) | st.sampled_from([-2 ** 63, 2 ** 63 - 1, 2 ** 53 + 1])


@given(st.dictionaries(TEXTS, arrays(st.floats()) | arrays(INTS) | arrays(st.booleans())),
       st.dictionaries(TEXTS, TEXTS), arrays(st.floats(width=32)))
def test_what_was_saved_is_loaded_bit_for_bit_and_in_order(state, metadata, single):
    content = written(state, metadata=metadata)
    # repr, since nan is not equal to nan, but -0.0 is to 0.0
    assert repr(read(content)) == repr(state) and written(read(content), metadata=metadata) == content
    assert repr(read(written({"x": single}, dtype="F32"))["x"]) == repr(single)


def test_the_layout_of_a_file_and_what_can_be_saved():
    header = b'{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}'
    expected = struct.pack("<Q", 88) + header.ljust(88) + struct.pack("<2f", 1, -2.5)
    assert written({"w": [[1.0], [-2.5]]}, metadata={"a": "b"}, dtype="F32") == expected
    assert written({}) == struct.pack("<Q", 8) + b"{}      "
    assert b'"shape":[2,0]' in written({"x": Tensor.zeros(2, 0)})
    assert list(read(written(Linear(1, 1)))) == ["weight", "bias"]


def dtypes_in(content):
    """The dtype of each entry in the bytes of a file."""
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    return {name: info["dtype"] for name, info in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("value, dtype, loaded", [
    (4, "I64", 4), (2 ** 63 - 1, "I64", 2 ** 63 - 1), (-2 ** 63, "I64", -2 ** 63),
    (((5, 6),), "I64", [[5, 6]]),
    (True, "BOOL", True), ([[True], [False]], "BOOL", [[True], [False]]), ([True, 2], "I64", [1, 2]),
    (0.1, "F32", 0.10000000149011612), ([1, 2.5], "F32", [1.0, 2.5]), ([True, 0.5], "F32", [1.0, 0.5]),
    (Fraction(1, 2), "F32", 0.5), ([Decimal("0.25"), 1], "F32", [0.25, 1.0]),
    ([], "F32", []), (-0.0, "F32", -0.0),
    (Value(3), "F32", 3.0), (Value(True), "F32", 1.0), (Value(2 ** 24) * 2, "F32", 2.0 ** 25),
    (Tensor([1, 2]), "F32", [1.0, 2.0]), (Tensor([True]), "F32", [1.0]),
    (Tensor([1, 2], requires_grad=False), "I64", [1, 2]), (Tensor(0.5, requires_grad=False), "F32", 0.5),
    (Tensor([True], requires_grad=False), "BOOL", [True]), (Tensor([1, 2]).detach(), "I64", [1, 2]),
], ids=repr)
def test_ints_and_bools_stay_what_they_are_but_parameters_are_saved_as_dtype(value, dtype, loaded):
    content = written({"x": value}, dtype="F32")
    assert dtypes_in(content) == {"x": dtype} and repr(read(content)["x"]) == repr(loaded)


class Counting(Module):
    """A module with buffers of ints and bools beside parameters whose numbers happen to be ints."""

    def __init__(self):
        self.count = Tensor(7, requires_grad=False)
        self.mask = Tensor([True, False], requires_grad=False)
        self.mean = Tensor(0.5, requires_grad=False)
        self.w, self.parts = Tensor([1, 2]), [Value(3)]


@pytest.mark.parametrize("dtype", ["F64", "F32"])
def test_the_parameters_of_a_module_are_saved_as_dtype_and_its_counters_as_ints(dtype):
    content = written(Counting(), dtype=dtype)
    assert dtypes_in(content) == {
        "count": "I64", "mask": "BOOL", "mean": dtype, "w": dtype, "parts.0": dtype}
    twin = Counting()
    twin.load_state_dict(read(content))
    assert repr(twin.state_dict()) == (
        "{'count': 7, 'mask': [True, False], 'mean': 0.5, 'w': [1.0, 2.0], 'parts.0': 3.0}")
    assert dtypes_in(written(BatchNorm1d(2), dtype=dtype)) == {
        "weight": dtype, "bias": dtype, "running_mean": dtype, "running_var": dtype,
        "num_batches_tracked": "I64"}
    assert dtypes_in(written(MLP(2, [1]), dtype=dtype)).keys() == MLP(2, [1]).state_dict().keys()
    assert set(dtypes_in(written(MLP(2, [1]), dtype=dtype)).values()) == {dtype}


def rounded(x, letter):
    """x after a while in the bytes of one number; None where it does not fit."""
    try:
        return struct.unpack("<" + letter, struct.pack("<" + letter, float(x)))[0]
    except OverflowError:
        return None


@MORE
@given(st.lists(INTS | st.integers() | st.fractions() | st.floats() | st.decimals(allow_nan=False),
                min_size=1), st.sampled_from(["F64", "F32"]))
def test_a_number_is_saved_exactly_or_not_at_all_but_f32_rounds_floats(numbers, dtype):
    expected = [rounded(x, "d" if dtype == "F64" else "f") for x in numbers]
    fits = all(y is not None and (x == y or type(x) is float) for x, y in zip(numbers, expected))
    try:
        loaded = read(written({"x": Tensor(numbers)}, dtype=dtype))["x"]
    except ValueError as error:
        assert not fits and "entry 'x'" in str(error)
    else:
        assert fits and repr(loaded) == repr(expected)


def test_a_checkpoint_of_model_and_optimizer_goes_on_bit_for_bit(tmp_path):
    def train(net, adam):
        for _ in range(3):
            adam.zero_grad()
            (net([[1.0, 2.0], [3.0, -4.0]]) ** 2).backward()
            adam.step()
            adam.lr *= 0.5
        return net.state_dict(), adam.state_dict()

    net, twin = (Sequential(Linear(2, 2), Tensor.tanh, Linear(2, 1)) for _ in range(2))
    adam, twin_adam = Adam(net.parameters(), lr=0.1), Adam(twin.parameters())
    train(net, adam)
    save(tmp_path / "x", {**net.state_dict("net."), **adam.state_dict("adam.")})
    twin.load_state_dict(load(tmp_path / "x"), "net.")
    twin_adam.load_state_dict(load(tmp_path / "x"), "adam.")
    assert train(twin, twin_adam) == train(net, adam)


SIZES = 8, 16, 32, 64
SIGNED = [(f"I{n}", letter, [-2 ** (n - 1), 2 ** (n - 1) - 1]) for n, letter in zip(SIZES, "bhiq")]
UNSIGNED = [(f"U{n}", letter, [0, 2 ** n - 1]) for n, letter in zip(SIZES, "BHIQ")]


@pytest.mark.parametrize("dtype, letter, numbers", SIGNED + UNSIGNED + [
    ("F64", "d", [1 / 3, -0.0, 5e-324, inf]), ("F32", "f", [0.5, -0.0, 2.0 ** -149, -inf]),
    ("F16", "e", [0.5, -65504.0, 2.0 ** -24, inf]), ("BOOL", "?", [True, False]),
    ("BF16", "f", [1.0, -2.5, 3.0 * 2.0 ** 100, 2.0 ** -133, -0.0, inf, nan])])
def test_all_dtypes_are_read(dtype, letter, numbers):
    upper_half = slice(2 if dtype == "BF16" else 0, None)
    parts = [struct.pack("<" + letter, x)[upper_half] for x in numbers]
    size, n = sum(map(len, parts)), len(numbers)
    header = {"s": entry(dtype, [], [size, size + size // n]), "m": entry(dtype, [n, 1], [0, size])}
    loaded = read(file_of(header, b"".join(parts) + parts[0]))      # in the order of the data
    assert repr(loaded) == repr({"m": [[x] for x in numbers], "s": numbers[0]})


@pytest.mark.parametrize("shape, nested", [
    ([0], []), ([0, 3], []), ([3, 0], [[], [], []]), ([0, 2 ** 60], []), ([2, 0, 2 ** 40], [[], []])])
def test_empty_tensors_are_legal(shape, nested):
    header = {name: entry(shape=shape, offsets=[at, at]) for name, at in (("a", 0), ("c", 8))}
    header["b"] = entry()
    assert read(file_of(header, bytes(8))) == {"a": nested, "b": 0.0, "c": nested}


def one(dtype="F64", shape=(), offsets=(0, 8), size=8, **more):
    return file_of({"x": dict(entry(dtype, shape, offsets), **more)}, bytes(size))


ONE, DEEP = b'{"x": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}', 10 ** 5
BROKEN = {
    "empty file": b"", "shorter than a length": b"\x02\0\0\0",
    "header too long": struct.pack("<Q", 1000) + b"{}", "header of 2**64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header of no bytes": struct.pack("<Q", 0), "space before {": file_of(b" {}"),
    "not an object": file_of([]), "not JSON": file_of(b"{'x': 1}"), "unfinished": file_of(b'{"x": '),
    "bytes after": file_of(b"{}\0\0"), "two objects": file_of(b"{}{}"),
    "not UTF-8": file_of(ONE.replace(b"x", b"\xff"), bytes(8)),
    "half a surrogate pair": file_of(ONE.replace(b"x", b"\\ud800"), bytes(8)),
    "deep lists": file_of(b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "deep and unfinished": file_of(b'{"x": ' + b"[" * DEEP), "a list in a list": file_of(b'{"x": [[]]}'),
    "an object in an entry": file_of(ONE.replace(b"[]", b"{}"), bytes(8)),
    "deep behind a stray backslash": file_of(b'{\\"' + b"[" * DEEP),
    "deep objects": file_of(b'{"x":' * DEEP + b"1" + b"}" * DEEP),
    "deep behind quotes": file_of(b'{"\\\\\\"": ' + b'{"\\"":' * DEEP + b"1" + b"}" * DEEP + b"}"),
    "name twice": file_of(ONE[:-1] + b", " + ONE[1:], bytes(8)),
    "name twice, once escaped": file_of(ONE[:-1] + b", " + ONE[1:].replace(b"x", b"\\u0078"), bytes(8)),
    "dtype twice": file_of(ONE.replace(b'"shape"', b'"dtype": "F64", "shape"'), bytes(8)),
    "metadata twice": file_of(b'{"__metadata__": {}, "__metadata__": {}}'),
    "metadata name twice": file_of(b'{"__metadata__": {"a": "b", "a": "b"}}'),
    "metadata a list": file_of({"__metadata__": ["a", "b"]}),
    "metadata null": file_of({"__metadata__": None}),
    "metadata not text": file_of({"__metadata__": {"a": 1}}),
    "a list": file_of({"x": ["F64", [], [0, 8]]}, bytes(8)),
    "dtype missing": file_of({"x": {"shape": [], "data_offsets": [0, 8]}}, bytes(8)),
    "shape missing": file_of({"x": {"dtype": "F64", "data_offsets": [0, 8]}}, bytes(8)),
    "offsets missing": file_of({"x": {"dtype": "F64", "shape": []}}, bytes(8)),
    "key too many": one(strides=[]), "dtype unknown": one("F8_E4M3", [8]),
    "dtype lower case": one("f64"),
    "dtype no string": one(["F64"]), "shape a number": one(shape=1), "shape text": one(shape="1"),
    "shape null": one(shape=None), "shape negative": one(shape=[-1, -1]),
    "shape float": one(shape=[1.0]),
    "shape bool": one(shape=[True]), "shape NaN": one(shape=[nan]),
    "shape Infinity": one(shape=[inf, 0], offsets=[0, 0], size=0),
    "shape of 10**6 digits": file_of(
        ONE.replace(b"[]", b"[0, %s]" % (b"9" * 10 ** 6)).replace(b"8", b"0")),
    "-0": file_of(ONE.replace(b"[]", b"[-0]").replace(b"8", b"0")),
    "size of 20 digits": one(shape=[0, 10 ** 19], offsets=[0, 0], size=0),
    "65 dimensions": one(shape=[1] * 65),
    "2**40 empty lists": one(shape=[2 ** 40, 0], offsets=[0, 0], size=0),
    "2**40 empty lists in one": one(shape=[1, 2 ** 20, 2 ** 20, 0], offsets=[0, 0], size=0),
    "empty lists in many": file_of({str(i): entry("U8", [90_000, 0], [0, 0]) for i in range(99)}),
    "63 lists around each byte": one("U8", [DEEP] + [1] * 63, [0, DEEP], DEEP),
    "product too small": one(shape=[2]), "product too large": one(shape=[2 ** 62, 4]),
    "product 2**64": one(shape=[2 ** 32, 2 ** 32]), "product not whole": one("U16", [1], [0, 3], 3),
    "offsets backwards": one(offsets=[8, 0]), "offsets three": one(offsets=[0, 4, 8]),
    "offsets one": one(offsets=[0]), "data longer than the shape": one(offsets=[0, 16], size=16),
    "offsets float": one(offsets=[0.0, 8]), "offsets bool": one("U8", [1], [False, True], 1),
    "offsets negative": one(offsets=[-8, 0]), "offsets an object": one(offsets={"0": 0, "8": 8}),
    "data missing": one(size=7), "data too much": one(size=9),
    "data without entry": file_of({}, bytes(1)),
    "data far away": one(offsets=[2 ** 62, 2 ** 62 + 8]),
    "hole at the start": one(offsets=[8, 16], size=16),
    "hole": file_of({"x": entry(), "y": entry(offsets=[16, 24])}, bytes(24)),
    "overlap": file_of({"x": entry(), "y": entry(offsets=[4, 12])}, bytes(12)),
    "the same data twice": file_of({"x": entry(), "y": entry()}, bytes(8)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_every_broken_rule_is_a_valueerror_that_names_the_file(content):
    with pytest.raises(ValueError, match="x.safetensors"):
        read(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F64", "U8", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner))
ENTRIES = st.builds(entry, JSON | st.sampled_from(["U8", "F16"]),
                    JSON | st.lists(st.integers(-1, 3) | JSON, max_size=3),
                    JSON | st.lists(st.integers(-1, 8) | JSON, max_size=3))
HEADERS = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRIES | JSON)
SNIPPETS = [b'"', b"\\", b"[", b"{", b"}", b"]", b"9" * 30, b"-", b"e9", b"NaN", b"\\ud800", b'"a":',
            b"null"]
INSERTED = st.binary(max_size=9) | st.sampled_from(SNIPPETS)
EDITS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9), INSERTED))


@MORE
@given(raw=st.binary(), header=HEADERS, data=st.binary(max_size=16), edits=EDITS)
def test_any_file_is_either_loaded_or_a_valueerror(raw, header, data, edits):
    edited = written({"a": [[1.0, 2.0]], "\"\\[": 3.0, "e": [[], []]}, metadata={"k": "v"})
    for start, removed, inserted in edits:
        edited = edited[:start] + inserted + edited[start + removed:]
    mended = file_of(edited[8:-24], edited[-24:])
    for content in raw, file_of(b"{" + raw, data), file_of(header, data), edited, mended:
        try:
            assert isinstance(read(content), dict)
        except ValueError:
            pass


def test_a_header_over_100_mb_is_refused_unread_and_a_missing_file_is_the_ordinary_error(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.write(struct.pack("<Q", 100_000_001) + b"{")
        file.truncate(200_000_000)                          # sparse: no bytes on the disk
    with pytest.raises(ValueError, match="100000001"):
        load(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "y")


@pytest.mark.parametrize("state, options, error, names", [
    ({"good": 1.0, "bad": [[1.0], [2.0, 3.0]]}, {}, ValueError, "bad"),
    ({"bad": [1.0, "2"]}, {}, TypeError, "bad"), ({"bad": [1.0, None]}, {}, TypeError, "bad"),
    ({"bad": Value(1j)}, {}, TypeError, "bad"), ({"bad": {"nested": 1.0}}, {}, TypeError, "bad"),
    ({"bad": Value(10 ** 400)}, {}, ValueError, "bad"),
    ({"bad": [1e39]}, {"dtype": "F32"}, ValueError, "bad"),
    ({"good": 1, "seed": 2 ** 63}, {}, ValueError, "seed.*64 bits.*metadata"),
    ({"bad": [-2 ** 63 - 1]}, {}, ValueError, "bad.*64 bits"),
    ({"bad": [0.5, 2 ** 53 + 1]}, {}, ValueError, "bad.*F64 cannot hold 9007199254740993 exactly"),
    ({"bad": Value(2 ** 24 + 1)}, {"dtype": "F32"}, ValueError, "bad.*F32 cannot hold 16777217"),
    ({"bad": Fraction(1, 3)}, {}, ValueError, r"bad.*Fraction\(1, 3\) exactly; float\(...\) rounds"),
    ({"bad": Tensor([Decimal("0.1")])}, {}, ValueError, "bad.*Decimal"),
    ({"__metadata__": 1.0}, {}, ValueError, "metadata"), ({"\ud800": 1.0}, {}, ValueError, "ud800"),
    ({1: 1.0}, {}, TypeError, "1"), ([1.0], {}, TypeError, "list"),
    ({"x": 1.0}, {"dtype": "F16"}, ValueError, "F16"),
    ({"x": 1}, {"metadata": {"e": 1}}, TypeError, "metadata"),
    ({}, {"metadata": ["e"]}, TypeError, "metadata"),
    ({}, {"metadata": {"e": "\ud800"}}, ValueError, "surrogate"), (None, {}, TypeError, "NoneType"),
], ids=repr)
def test_what_cannot_be_saved_is_named_and_the_old_file_stays(state, options, error, names, tmp_path):
    save(tmp_path / "x", {"old": 1.0})
    with pytest.raises(error, match=names):
        save(tmp_path / "x", state, **options)
    assert load(tmp_path / "x") == {"old": 1.0} and os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("state", [{"x": 1.0}, Linear(1, 1), Tensor([1.0])],
                         ids=["dict", "Module", "Tensor"])
def test_the_arguments_of_torch_save_are_refused(state, tmp_path):
    with pytest.raises(TypeError, match=f"the path comes first.*not {type(state).__name__}"):
        save(state, tmp_path / "x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_while_writing_leaves_the_old_file_and_no_litter(step, error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    save(tmp_path / "x", {"old": 1.0})
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(error):
        save(tmp_path / "x", {"new": 2.0})
    assert load(tmp_path / "x") == {"old": 1.0} and os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_folders_permissions_links_and_random_numbers_are_respected(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, error in (tmp_path / "folder", OSError), (tmp_path / "none" / "x", FileNotFoundError):
        with pytest.raises(error):
            save(path, {"x": 1.0})
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == []
    path, link = tmp_path / "x", tmp_path / "link"
    link.symlink_to(path)
    random.seed(1)
    with open(tmp_path / "plain", "wb"):
        save(str(link), {"x": 1.0})
    assert random.random() == random.Random(1).random()
    assert link.is_symlink() and load(os.fsencode(path)) == {"x": 1.0}
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    save(path, {"x": 2.0})
    assert load(link) == {"x": 2.0} and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    program = ("import sys, micrograd\n"
               "for n in range(int(sys.argv[2]), 10 ** 9):\n"
               "    micrograd.save(sys.argv[1], {'n': n, 'w': [n] * 30_000})\n"
               "    print(flush=True)\n")
    path, n = tmp_path / "x", 0
    for wait in 0, 0.003, 0.01, 0.02, 0.03:
        command = [sys.executable, "-c", program, str(path), str(n + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": FOLDER}) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        state = load(path)
        n, last = state["n"], n
        assert n > last and state["w"] == [n] * 30_000


# ----------------------------------------------------------------------------------------------------
# Source code: what trace writes is the engine's arithmetic, at every point, and clean
# ----------------------------------------------------------------------------------------------------

ERRORS = ArithmeticError, ValueError
CORNERS = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5, 3.0]
STRICTLY = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
COMPILER = next(filter(None, map(shutil.which, ["cc", "gcc", "clang"])), None)


def in_engine(f, numbers):
    """f of Values at these numbers, and its gradient; None where that is an error."""
    values = [Value(x) for x in numbers]
    try:
        out = f(*values)
        return out.data, [0.0 if g is None else g.data for g in grad(out, values, allow_unused=True)]
    except ERRORS:
        return None


def in_text(traced, numbers):
    try:
        value, gradients = traced(*numbers)
        return value, [*gradients]
    except ERRORS:
        return None


def same(x, y, tolerance=1e-12):
    return x == y or x != x and y != y or abs(x - y) <= tolerance * max(abs(x), abs(y))


def slope_sum(f):
    """The next order: the gradients of f, weighted and added; x * 0 so that it depends on something."""
    def slopes(*xs):
        gradients = grad(f(*xs), xs, create_graph=True, allow_unused=True)
        return sum([(i + 1) * g for i, g in enumerate(gradients) if g is not None], xs[0] * 0)
    return slopes


def check_traced(f, example, points, orders=2):
    """The text of f and of its gradient does what the engine does, bit for bit in the value."""
    for order in range(orders):
        traced = trace(f, *example)
        for point in points:
            expected, found = in_engine(f, point), in_text(traced, point)
            if expected is None or found is None:       # a gradient may be an error that nobody asks for
                assert expected is None, f"{point}: only the text fails:\n{traced.python}"
                continue
            same_value = same(found[0], expected[0], 0)
            assert same_value and all(map(same, found[1], expected[1])), \
                f"{point}: {found}, in the engine {expected}:\n{traced.python}"
        f = slope_sum(f)


@pytest.mark.parametrize("op", OPERATIONS, ids=str)
def test_operation_traced_is_the_operation_on_both_sides_of_every_corner(op):
    example = [0.7, 1.3][:len(op.domains)]
    points = list(product(CORNERS, repeat=len(op.domains)))
    if op.source == "x ** y":           # a negative base has a nan as the gradient of its exponent
        points = [point for point in points if point[0] > 0]
    check_traced(op.call, example, points)


def flat_program(program):
    """A program of a, b and c whose values stay small, so that no point is an overflow."""
    return lambda a, b, c: program(a, b, c).tanh()


@MORE
@given(program=programs(OPERATIONS), seed=SEEDS)
def test_random_graph_traced_agrees_at_other_points_to_the_second_order(program, seed):
    points = [draw_numbers(seed + i, [1] * 3, [REAL] * 3, lambda k: k / 8) for i in range(4)]
    points = [[x for x, in point] for point in points] + [[0.0, 1.0, -1.0], [0.5, 0.5, 0.5]]
    example = make_inputs(Value, seed, float)
    try:
        check_traced(flat_program(program), [x.data for x in example], points)
    except ArithmeticError:
        assume(False)                   # the example itself overflows


@given(data=st.data(), seed=SEEDS)
def test_traced_dot_is_products_and_sums_in_order(data, seed):
    n = data.draw(st.integers(0, 5))
    numbers = [x for x, in draw_numbers(seed, [1] * (2 * n + 1), [REAL] * (2 * n + 1), float)]

    def f(*xs):
        return dot(xs[:n], xs[n:-1], xs[-1])
    value, gradients = trace(f, *numbers)(*numbers)
    out = numbers[-1] if not n else 0
    for w, x in zip(numbers[:n], numbers[n:]):
        out += w * x
    assert value == (out + numbers[-1] if n else out)
    assert [*gradients] == numbers[n:-1] + numbers[:n] + [1]
    assert trace(lambda x: dot([2.0, x, 3.0], [x, x, 1.0], 0.5), 1.0)(4.0) == (8 + 16 + 3 + 0.5, (10.0,))


# what it looks like

def statements(text):
    """The functions in a module that was traced, by name; it imports math at most, the last is it."""
    module = ast.parse(text)
    doc, *rest = module.body
    assert isinstance(doc, ast.Expr)
    if isinstance(rest[0], ast.Import):
        assert [alias.name for alias in rest[0].names] == ["math"] and "math." in text
        rest = rest[1:]
    assert all(isinstance(f, ast.FunctionDef) for f in rest)
    assert all(f.name[0] == "_" for f in rest[:-1]) and all(f.name + "(" in text.split("def ", i + 2)[-1]
                                                            for i, f in enumerate(rest[:-1]))
    return {f.name: f.body for f in rest}


def check_clean(text):
    lines = text.split("\n")
    assert max(map(len, lines)) <= 100 and text.endswith("\n") and not text.endswith("\n\n")
    body = [*statements(text).values()][-1]
    assigned = [s for s in body if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)]
    sources = [ast.dump(s.value) for s in assigned]
    assert len(set(sources)) == len(sources), "an expression twice"
    names = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Name)]
    used = {n.id for n in names if isinstance(n.ctx, ast.Load)}
    assert {s.targets[0].id for s in assigned} <= used, "a name that is not used"
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.BinOp):
            sides = [getattr(side, "value", None) for side in (node.left, node.right)]
            assert not isinstance(node.op, ast.Mult) or 1 not in sides
            assert not isinstance(node.op, (ast.Add, ast.Sub)) or sides[1] != 0
            assert not isinstance(node.op, ast.Add) or sides[0] != 0
        if isinstance(node, ast.UnaryOp):
            assert not isinstance(node.operand, ast.UnaryOp)


@given(program=programs(OPERATIONS), seed=SEEDS)
def test_traced_text_is_clean(program, seed):
    try:
        example = [x.data for x in make_inputs(Value, seed, float)]
        check_clean(trace(flat_program(program), *example).python)
    except ArithmeticError:
        assume(False)


def rosenbrock(x):
    return sum(100 * (b - a ** 2) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def test_traced_text_reads_as_if_written_by_hand():
    assert trace(rosenbrock, [0.5, 0.5]).python == '''"""rosenbrock and its gradient, by micrograd.py."""


def rosenbrock(x):
    [x0, x1] = x
    t1 = x1 - x0 ** 2
    t2 = 1 - x0
    d_t1 = 100.0 * (2 * t1)
    return 100 * t1 ** 2 + t2 ** 2, ([-2 * t2 - d_t1 * (2 * x0), d_t1],)
'''
    assert trace(lambda x: (-(-x) + 0) * 1 / 1 - -x, 0.5).python.endswith("    return x + x, (2.0,)\n")
    assert trace(lambda x, y: (x - -2 * y) * -1, 0.5, 0.5).python.endswith("(x + 2 * y), (-1.0, -2.0)\n")
    assert trace(lambda x: sum([x, x, x]).relu(), 1.0).c.endswith('''
    const double t1 = x0 + x0 + x0;
    const double d_t1 = t1 <= 0 ? 0.0 : 1.0;
    gradient[0] = d_t1 + d_t1 + d_t1;
    return t1 < 0 ? 0.0 : t1;
}
''')


def test_traced_names_come_from_arguments_and_labels():
    def projectile(speed, angle, g=9.81):
        flight = 2 * speed * angle.sin() / g
        flight.label = "time of flight"
        return flight * flight.exp() * speed * angle.cos()
    text = trace(projectile, 1.0, 1.0).python
    assert "def projectile(speed, angle):" in text and "    time_of_flight = " in text

    def awkward(x, t, gradient, math_):
        names = "class lambda t1 x math θ _a 2b exp double gradient".split()
        for name in names:
            x = (x * t).sin() + gradient
            x.label = name
        return x * math_
    check_traced(awkward, [0.1] * 4, [[0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]], orders=1)

    def sin(x):
        return micrograd.sin(x) * x
    check_traced(sin, [1.0], [[0.5]])


@pytest.mark.parametrize("f, example, other", [
    (lambda x: x[0][0] * x[0][1] + x[1][0], ([[2.0, 3.0], [4.0]],), ([[5.0, 6.0], [7.0]],)),
    (lambda x, y: x[0] * y * x[2], ((2.0, 3.0, 1.0), 4.0), ((0.5, 0.0, 2.0), 8.0)),
    (lambda w, b: sum([v * v for row in w for v in row]) + b[0], ([[0.1] * 13] * 3, [1.0]),
     ([[3.0] * 13] * 3, [1])),
    (lambda *xs: xs[0] * xs[2], (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    (lambda x, empty: x * x, (3.0, []), (4.0, [])),
    (Neuron(2), ([1.0, 2.0],), ([3.0, 4.0],)),
])
def test_traced_function_takes_and_gives_the_nesting_of_the_example(f, example, other):
    def nodes(data):
        return type(data)(map(nodes, data)) if isinstance(data, (list, tuple)) else Value(data)

    def gradient(data):
        return type(data)(map(gradient, data)) if isinstance(data, (list, tuple)) else data.grad
    traced, values = trace(f, *example), nodes(other)
    out = f(*values)
    out.backward()
    assert traced(*other) == (pytest.approx(out.data), gradient(values))
    assert traced(*other)[1] == gradient(values), "the same kinds of lists, too"
    check_clean(traced.python)
    with pytest.raises((TypeError, ValueError)):
        traced(*other, 1.0)


def test_traced_function_without_gradient_gives_values_as_f_does():
    traced = trace(lambda x, y: [x * y, (x.exp(), 3), [y]], 1.0, 2.0, gradient=False)
    assert traced(0.0, 5.0) == [0.0, (1.0, 3), [5.0]] and "gradient" not in traced.python
    assert trace(lambda x: x * x, 1.0, gradient=False)(3.0) == 9.0
    assert trace(lambda x, y: x * 2, 1.0, 1.0)(3.0, 4.0) == (6.0, (2.0, 0.0)), "not used: 0"
    assert trace(lambda x: [[Value(2.0)]], 1.0, gradient=False)(0.0) == [[2.0]], "Hessian of a parabola"


def test_traced_gradient_of_a_gradient():
    """Newton's method, a slope that is piecewise constant, and a Hessian."""
    slope = trace(lambda x: grad(x.leaky_relu(), x, create_graph=True)[0], 0.5)
    assert (slope(3.0), slope(-3.0)) == ((1.0, (0.0,)), (0.01, (0.0,)))
    slope = trace(lambda x: grad((x - 2) ** 4 + x.exp(), x, create_graph=True)[0], 0.5)
    x = 0.5
    for _ in range(20):
        g, (h,) = slope(x)
        x -= g / h
    assert 4 * (x - 2) ** 3 + math.exp(x) == pytest.approx(0, abs=1e-12)

    def hessian(x):
        gradient = grad(rosenbrock(x), x, create_graph=True)
        return [grad(g, x, create_graph=True, allow_unused=True) for g in gradient]
    traced = trace(lambda x: [[0.0 if h is None else h for h in row] for row in hessian(x)],
                   [0.1, 0.2, 0.3], gradient=False)
    assert traced([1.0] * 3) == [[802.0, -400.0, 0.0], [-400.0, 1002.0, -400.0], [0.0, -400.0, 200.0]]


def test_traced_constants_read_back_exactly():
    numbers = [0.1, -1 / 3, 1e-310, 5e-324, sys.float_info.max, 1e16, 123456789.5, 3, -0.0, inf, -inf]
    weights = [Value(x) for x in numbers]
    traced = trace(lambda x: [x.maximum(w) for w in weights] + [x * w for w in weights], 1.0,
                   gradient=False)
    assert repr(traced(1.0)) == repr([max(1.0, w) for w in numbers] + [1.0 * w for w in numbers])
    text = traced.c
    for x in numbers[:5]:
        assert abs(x).hex() in text
    assert "INFINITY" in text and math.isnan(trace(lambda x: x * Value(nan), 1.0)(1.0)[0])


def test_traced_nan_and_inf_pass_as_in_the_engine():
    sources = """x.relu() | x.leaky_relu() | x.clip(-1, 1) | x.clip(low=1) | x.maximum(1.0) | -x * 2 + 1
                 x.minimum(x * 2) | abs(x) | x.sign() | x.floor() | x.round() | x.tanh() | x.sigmoid()
                 x.exp() | x ** 2 | x.softplus() | x.atan() | x.erf()"""
    for source in re.split(r"[|\n]", sources):
        f = eval(f"lambda x: {source}")
        for x in nan, inf, -inf:
            expected, found = in_engine(f, [x]), in_text(trace(f, 0.25), [x])
            if expected:
                assert same(found[0], expected[0], 0), (source, x)


@pytest.mark.parametrize("source, x", [
    ("x.log()", -1.0), ("1 / x", 0.0), ("x ** 0.5", -1.0), ("x.sqrt()", -2.0), ("x.exp()", 1000.0),
    ("x ** -1", 0.0), ("2.0 ** x", 5000.0)])
def test_traced_function_raises_where_the_engine_does(source, x):
    f = eval(f"lambda x: {source}")
    with pytest.raises(ERRORS) as ours:
        f(Value(x))
    with pytest.raises(ERRORS) as pythons:
        trace(f, 1.5)(x)
    assert str(pythons.value) in str(ours.value) or "power" in str(ours.value), "in Python's own words"


# what cannot be traced

UNTRACEABLE = elementwise("untraceable", lambda x: math.exp(x) / 2, lambda g, out, x: g * out)
DECIDES = elementwise("decides", lambda x: x if x > 0 else 0 * x, lambda g, out, x: g)


def decided_without_a_graph(x):
    with no_grad():
        return x * 2


def read_from_grad(x):
    y = x * x
    y.backward()
    return y * x.grad


@pytest.mark.parametrize("f, example, error, message", [
    (lambda x: x if x > 0 else -x, [1.0], TypeError, "> depends on the inputs.*maximum"),
    (lambda x: x if x == 1 else -x, [1.0], TypeError, "== depends on the inputs.*maximum"),
    (lambda x: x if x else -x, [1.0], TypeError, "truth value depends on the inputs.*relu"),
    (lambda x, y: max(x, y), [1.0, 2.0], TypeError, "depends on the inputs.*maximum"),
    (lambda x: sorted([x * 2, x])[0], [1.0], TypeError, "depends on the inputs"),
    (decided_without_a_graph, [1.0], TypeError, "without a graph.*create_graph=True"),
    (lambda x: no_grad()(Neuron(1, nonlin=False))([x]), [1.0], TypeError, "without a graph"),
    (lambda x: grad(x * x * x, x)[0], [1.0], TypeError, "create_graph=True"),
    (read_from_grad, [1.0], TypeError, "create_graph=True"),
    (lambda x: UNTRACEABLE(x), [1.0], TypeError, "untraceable.*math"),
    (lambda x: DECIDES(x), [1.0], TypeError, "decides.*> depends on the inputs"),
    (lambda x: Value(3.0), [1.0], ValueError, "depends on no input"),
    (lambda x: Value(x.data), [1.0], ValueError, "depends on no input.*data"),
    (lambda x: [x], [1.0], TypeError, "gradient=False"),
    (lambda x: None, [1.0], TypeError, "not None"),
    (lambda x: Tensor([1.0]), [1.0], TypeError, "not Tensor.*Values"),
    (lambda x: x, [Fraction(1, 2)], TypeError, r"not Fraction\(1, 2\)"),
    (lambda x: x, [1j], TypeError, "not 1j"),
    (lambda x: x * Fraction(1, 3), [1.0], TypeError, r"Fraction\(1, 3\)"),
    (lambda x: x * 1j, [1.0], TypeError, "1j"),
    (lambda x: x, ["12"], TypeError, "'12'"),
    (lambda: Value(1.0), [], ValueError, "example needs numbers"),
    (lambda x, y: x * y, [Value(1.0)] * 2, ValueError, "each Value once"),
    (lambda x: x.log(), [-1.0], ValueError, "log"),
])
def test_what_cannot_be_traced_is_an_error_that_says_so(f, example, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        trace(f, *example)
    assert Value(1.0) < Value(2.0) and not Value(0.0), "after an error, Values compare as before"


def test_a_traced_function_may_change_its_lists():
    def product_of(xs):
        out = xs.pop()
        while xs:
            out *= xs.pop()
        return out
    assert trace(product_of, [1.0, 2.0, 3.0])([4.0, 5.0, 6.0]) == (120.0, ([30.0, 24.0, 20.0],))


def test_trace_works_within_no_grad():
    with no_grad():
        assert trace(lambda x: x * x, 1.0)(3.0) == (9.0, (6.0,))
        assert trace(Neuron(1, nonlin=False), [1.0])([0.0])[0] == 0.0


def test_comparisons_of_constants_and_in_other_threads_are_no_matter_of_a_trace():
    seen = []

    def f(x):
        thread = threading.Thread(target=lambda: seen.append(Value(2.0) * 3 > 5))
        thread.start()
        thread.join()
        return x * 2 if Value(3.0) > 2 and Value(1.0) else x
    assert trace(f, 1.0)(4.0) == (8.0, (2.0,)) and seen == [True]
    inner = trace(lambda x: x * trace(lambda y: y * y, 2.0)(3.0)[0], 1.0)
    assert inner(2.0) == (18.0, (9.0,)), "a trace in a trace"
    with pytest.raises(TypeError, match="a trace inside a trace reads"):
        trace(lambda x: x * trace(lambda y: y * x, 2.0)(3.0)[0], 1.0)


def test_traced_functions_of_elementwise():
    soft = elementwise("traced_softsign", lambda x: x / (1 + abs(x)),
                       lambda g, out, x: g / (1 + abs(x)) ** 2)
    ash = elementwise("traced_asinh", math.asinh, lambda g, out, x: g / sqrt(1 + x * x))
    degrees = elementwise("traced_degrees", math.degrees, lambda g, out, x: g * (180 / math.pi))
    check_traced(lambda x: soft(x) * ash(x), [0.5], [[x] for x in CORNERS])
    assert "asinh(" in trace(lambda x: ash(x), 1.0).c
    with pytest.raises(ValueError, match="C99 has no function degrees"):
        trace(lambda x: degrees(x), 1.0).c


def test_traced_operations_are_counted_and_limited():
    def long(x):
        for _ in range(300):
            x = (x * 1.01).sin()
        return x
    with pytest.raises(ValueError, match=r"\d+ operations, more than max_operations=500"):
        trace(long, 1.0, max_operations=500)
    traced = trace(long, 1.0)
    assert repr(traced) == "<Traced long: 1499 operations>"
    check_traced(long, [0.5], [[0.3], [-2.0]], orders=1)
    check_clean(traced.python)


def test_traced_pickles_copies_and_saves():
    traced = trace(rosenbrock, [0.5, 0.5, 0.5])
    for twin in copy.deepcopy(traced), pickle.loads(pickle.dumps(traced)):
        assert isinstance(twin, Traced) and twin.python == traced.python and twin.c == traced.c
        assert twin([1.0, 2.0, 3.0]) == traced([1.0, 2.0, 3.0])
    with tempfile.TemporaryDirectory() as folder:
        for name, text in ("f.py", traced.python), ("f.c", traced.c):
            path = os.path.join(folder, name)
            traced.save(path)
            with open(path, encoding="utf-8") as file:
                assert file.read() == text
        names = runpy.run_path(os.path.join(folder, "f.py"))
        assert names["rosenbrock"]([1.0, 2.0, 3.0]) == traced([1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match=r"must end in \.py or \.c"):
            traced.save(os.path.join(folder, "f.txt"))


def test_traced_network_with_its_weights_as_inputs_learns_the_moons_faster_than_the_engine():
    random.seed(3)
    angles = [math.pi * i / 49 for i in range(50)]
    points = [[math.cos(a), math.sin(a)] for a in angles]
    points += [[1 - x, 0.5 - y] for x, y in points]
    labels = [1.0] * 50 + [-1.0] * 50
    model = MLP(2, [16, 16, 1], act="tanh")
    params = model.parameters()

    def loss_of(weights, point, label):
        return softplus(-label * model(point))
    traced, optimizer, times = trace(loss_of, params, [0.0, 0.0], 1.0), Adam(params, lr=0.05), [inf, inf]

    def by_engine():
        sum([loss_of(params, point, label) for point, label in zip(points, labels)]).backward()
        return [p.grad for p in params]

    def by_text():
        weights = [p.data for p in params]
        gradients = [traced(weights, point, label)[1][0] for point, label in zip(points, labels)]
        return [sum(column) for column in zip(*gradients)]
    for step in range(120):
        found = []
        for i, way in enumerate([by_text, by_engine][:1 + (step < 3)]):
            optimizer.zero_grad()
            start = time.perf_counter()
            found.append(way())
            times[i] = min(times[i], time.perf_counter() - start)
        assert all(map(lambda x, y: same(x, y, 1e-9), found[0], found[-1]))
        for p, g in zip(params, found[0]):
            p.grad = g / len(points)
        optimizer.step()
    assert all(label * model(point).data > 0 for point, label in zip(points, labels))
    if CPYTHON:
        assert times[0] < times[1]


# the text in C

MAIN = r"""
int main(void)
{
    double x[2], out[%d];
    while (scanf("%%lf %%lf", x, x + 1) == 2) {
        f(x, out);
        for (int i = 0; i < %d; i++)
            printf("%%.17g ", out[i]);
        printf("\n");
    }
    return 0;
}
"""


@pytest.mark.skipif(not COMPILER, reason="no C compiler here")
def test_traced_text_in_c_gives_the_numbers_of_python():
    """Every operation with its gradients, at once: compilers take their time. Warnings are errors."""
    def everything(x, y):
        results = []
        for op in OPERATIONS:
            if op.domains[0] is REAL or op.domains[-1] is NONZERO:
                xs = [x, y][:len(op.domains)]
                out = op.call(*xs)
                results += [out, *[0.0 if g is None else g for g in grad(out, xs, True, True)]]
        for op in OPERATIONS:
            if op.domains[0] is POSITIVE:
                results.append(op.call(*[1 + x * x, y][:len(op.domains)]))
        return results + [x * inf, x * nan, x * 0.1]
    everything.__name__ = "f"
    traced = trace(everything, 0.7, 1.3, gradient=False)
    points = [*product([x for x in CORNERS if x], repeat=2), [0.1, 0.3], [1 / 3, -2 / 3]]
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "f.c"), os.path.join(folder, "f.exe")
        n = len(traced(0.7, 1.3))
        with open(source, "w") as file:
            file.write("#include <stdio.h>\n" + traced.c + MAIN % (n, n))
        command = [COMPILER, *STRICTLY, source, "-o", program, "-lm"]
        done = subprocess.run(command, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        lines = "\n".join(f"{x!r} {y!r}" for x, y in points).encode()
        done = subprocess.run([program], input=lines, stdout=subprocess.PIPE, check=True)
    for (x, y), line in zip(points, done.stdout.decode().splitlines()):
        found, expected = list(map(float, line.split())), traced(x, y)
        assert all(map(lambda a, b: same(a, b, 1e-9) or abs(a - b) < 1e-12, found, expected)), (x, y)


@pytest.mark.skipif(not COMPILER, reason="no C compiler here")
def test_traced_gradient_in_c_compiles_without_a_warning():
    texts = [trace(rosenbrock, [0.5] * 3).c, trace(lambda x, y: x * 2, 1.0, 1.0).c,
             trace(lambda x: [Value(1.0)], 1.0, gradient=False).c,
             trace(lambda x, gradient, out: x * gradient * out, 1.0, 1.0, 1.0).c]
    for text in texts:
        command = [COMPILER, *STRICTLY, "-x", "c", "-", "-fsyntax-only"]
        done = subprocess.run(command, input=text.encode(), stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode() + text
    assert texts[0].count("double rosenbrock(const double *x, double *gradient)") == 1
    assert "void f(const double *x, double *out)" in texts[2]


# ----------------------------------------------------------------------------------------------------
# Drawing
# ----------------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"
RANKDIRS = pytest.mark.parametrize("rankdir", ["LR", "TB"])


@st.composite
def labelled_graphs(draw):
    """A node that a random graph ends in; every node has a label of its own."""
    nodes = [Value(1.0, label=f"leaf {i}") for i in range(draw(st.integers(1, 5)))]
    for i in range(draw(st.integers(0, 25))):
        a, b = draw(st.sampled_from(nodes[-9:])), draw(st.sampled_from(nodes))
        nodes.append(a * b if draw(st.booleans()) else a + b)
        nodes[-1].label = f"{'x' * draw(st.integers(0, 20))}{i}"
    return nodes[-1]


def numbers_in(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


class Picture:
    """An SVG read back: texts and rectangles of each node, lines as lists of points."""

    def __init__(self, svg):
        root = ElementTree.fromstring(svg)
        self.view, self.nodes, self.rectangles = [float(n) for n in root.get("viewBox").split()], [], []
        for group in root.findall(SVG + "g"):
            x, y = numbers_in(group.get("transform"))
            self.nodes.append([text.text for text in group.iter(SVG + "text")])
            self.rectangles.append([])
            for rect in group.iter(SVG + "rect"):
                left, top, width, height = map(float, map(rect.get, ("x", "y", "width", "height")))
                self.rectangles[-1].append((x + left, y + top, x + left + width, y + top + height))
                for text in group.iter(SVG + "text") if len(list(group.iter(SVG + "rect"))) == 1 else []:
                    middle, base = float(text.get("x")), float(text.get("y"))
                    half = len(text.text) * 7.25 / 2
                    assert left < middle - half and middle + half < left + width
                    assert top < base - 9 and base + 3 < top + height
        paths = [numbers_in(path.get("d")) for path in root.findall(SVG + "path")]
        self.lines = [list(zip(path[::2], path[1::2])) for path in paths]

    def middle(self, text):
        """The height at which the first node with this text stands."""
        place = next(i for i, texts in enumerate(self.nodes) if text in texts)
        return (self.rectangles[place][0][1] + self.rectangles[place][0][3]) / 2

    def edges(self, rankdir):
        """(operand, node) of each arrow, by following its line back through the bends."""
        along, across = (0, 1) if rankdir == "LR" else (1, 0)
        spans = [[(min(r[i] for r in node), max(r[i + 2] for r in node)) for i in (along, across)]
                 for node in self.rectangles]

        def node_at(point, side):
            return next((n for n, (x, y) in enumerate(spans)
                         if abs(x[side] - point[along]) < 0.3 and y[0] < point[across] < y[1]), None)
        bends = {line[4]: line for line in self.lines if len(line) == 5}
        for line in [line for line in self.lines if len(line) == 8]:    # three points are the arrow head
            head = node_at(line[4], 0)
            while node_at(line[0], 1) is None:
                line = bends[line[0]]
            yield node_at(line[0], 1), head


def points_of(line):
    """Points along a line: a Bézier curve of four, then straight to the fifth."""
    for t in [i / 16 for i in range(17)]:
        bernstein = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3
        yield tuple(sum(w * point[i] for w, point in zip(bernstein, line)) for i in (0, 1))
        yield tuple((1 - t) * line[3][i] + t * line[4][i] for i in (0, 1))


@RANKDIRS
@MORE
@given(root=labelled_graphs())
def test_the_picture_shows_each_node_and_edge_once_and_nothing_overlaps(rankdir, root):
    nodes = graph_of(root)
    edges = sorted((operand.label, node.label) for node in nodes for operand in node._prev)
    drawing = draw_dot(root, rankdir)
    picture = Picture(drawing.svg)
    labels = [label for *op, label, data, grad in picture.nodes]
    assert sorted(labels) == sorted(node.label for node in nodes)
    assert sorted((labels[a], labels[b]) for a, b in picture.edges(rankdir)) == edges
    everything = [r for rectangles in picture.rectangles for r in rectangles]
    left, top, width, height = picture.view
    for i, a in enumerate(everything):
        assert left <= a[0] and top <= a[1] and a[2] <= left + width and a[3] <= top + height
        for b in everything[:i]:
            assert a[2] < b[0] + 0.3 or b[2] < a[0] + 0.3 or a[3] < b[1] + 0.3 or b[3] < a[1] + 0.3
    for x, y in (point for line in picture.lines for point in points_of(line)):
        assert not any(r[0] + 1 < x < r[2] - 1 and r[1] + 1 < y < r[3] - 1 for r in everything)

    dot = drawing.source            # the same in DOT: numbered nodes, an op for each result, arrows
    label = dict(re.findall(r'n(\d+) \[shape=record, label="\{ (.*?) \| data .* \| grad .* \}"\]', dot))
    into = re.findall(r"^n(\d+) -> op(\d+)$", dot, re.M)
    out_of = re.findall(r"^op(\d+) -> n(\d+)$", dot, re.M)
    assert f"rankdir={rankdir};" in dot and sorted(label.values()) == sorted(labels)
    assert sorted((label[a], label[b]) for a, b in into) == edges
    assert sorted(out_of) == sorted((n, n) for n in {b for a, b in into})
    assert dot.count("->") == len(into) + len(out_of)


def test_the_neuron_of_the_lecture():
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    out = (x1 * w1 + x2 * w2 + Value(6.8813735870195432, label="b")).tanh()
    out.label = "o"
    before = draw_dot(out)
    out.backward()
    after = draw_dot(out)
    assert 'label="{ o | data 0.7071 | grad 0.0000 }"' in before.source
    assert 'label="{ x1 | data 2.0000 | grad -1.5000 }"' in after.source
    assert re.findall(r"^op\d+ \[label=\"(.*)\"\]$", after.source, re.M) == ["*", "*", "+", "+", "tanh"]
    assert ["tanh", "o", "data 0.7071", "grad 1.0000"] in Picture(after.svg).nodes
    picture = Picture(after.svg)
    assert [texts[0] for texts in picture.nodes][:4] == ["x1", "w1", "x2", "w2"]    # downwards
    middles = [picture.middle(texts[0]) for texts in picture.nodes if texts[0] in ("+", "tanh")]
    assert max(middles) - min(middles) < 0.3, "what is computed runs straight"


def test_lines_do_not_cross_where_they_need_not_and_steep_ones_have_room():
    xs = [Value(1.0, label=f"x{i}") for i in range(9)]
    ys = [-x for x in xs]
    for i, y in enumerate(ys):
        y.label = f"y{i}"
    picture = Picture(draw_dot([dot(xs, xs), *reversed(ys)]).svg)
    orders = [sorted(range(9), key=lambda i: picture.middle(f"{letter}{i}")) for letter in "xy"]
    assert orders[0] == orders[1]
    for (x0, y0), _, _, (x1, y1), *_ in picture.lines:
        assert x1 - x0 > min(30 + abs(y1 - y0) / 8, 120) - 0.3
    assert max(abs(line[3][1] - line[0][1]) for line in picture.lines) > 100
    roots = [Value(0.0, label=label) for label in "cab"]
    assert [texts[0] for texts in Picture(draw_dot(roots).svg).nodes] == ["c", "a", "b"]


def test_a_notebook_that_is_not_trusted_shows_what_to_do():
    drawing = draw_dot(Value(2.0, label="<g a</g>") * 3)
    assert drawing._repr_svg_() == drawing.svg
    assert repr(drawing) == ("Drawing of 3 nodes: a notebook shows it if it is trusted, "
                             ".save('graph.svg') and .save('graph.dot') write it")


ODD_CHARACTERS = '\\"{}|<>&;\n\r\t\0\ud800\ufffe'


@given(st.text(st.characters() | st.sampled_from(ODD_CHARACTERS), min_size=1, max_size=60))
def test_any_label_is_escaped(label):
    drawing = draw_dot(-Value(1.0, label=label))
    shown = label if len(label) <= 40 else label[:39] + "…"
    shown = "".join(c if c.isprintable() else " " for c in shown)
    assert Picture(drawing.svg).nodes[0][0] == shown
    escaped = re.search(r'label="\{ (.*) \| data 1.0000 \| grad 0.0000 \}"\]$', drawing.source, re.M)[1]
    assert re.fullmatch(r'(\\.|[^\\"{}|<>])*', escaped)     # nothing that DOT would take for its own
    assert re.sub(r"\\(.)", r"\1", escaped).replace("&amp;", "&") == shown
    drawing.svg.encode(), drawing.source.encode()


@pytest.mark.parametrize("number, text", [
    (2, "2.0000"), (-0.00004, "-0.0000"), (True, "1.0000"), (1e300, "1e+300"), (nan, "nan"),
    (-inf, "-inf"), (1 + 2j, "1.0000+2.0000j"), (Fraction(1, 3), "1/3"), (Fraction(4), "4"),
    (Fraction(10 ** 30, 7), "1.429e+29"), (Fraction(10 ** 5001, 10 ** 5000 + 1), "10.0000"),
    (Decimal("0.1"), "0.1000"), (10 ** 5000, "…"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_all_kinds_of_numbers_are_drawn(number, text):
    value = Value(number)
    value.grad = number
    assert Picture(draw_dot(value).svg).nodes == [["data " + text, "grad " + text]]
    assert Picture(draw_dot(Value(1.0)).svg).nodes == [["data 1.0000", "grad 0.0000"]]


@RANKDIRS
def test_a_tensor_shows_its_shape_and_few_numbers(rankdir):
    w = Tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 60.0]], label="a label of some length")
    loss = (w * Tensor.ones(4, 2, 3)).sum()
    assert Picture(draw_dot(w).svg).nodes[0][-1] == "grad None"
    loss.backward()
    small, ones, large, summed = Picture(draw_dot(loss, rankdir).svg).nodes
    assert [text.replace("\xa0", " ") for text in small[1:]] == [
        "shape (2, 3)", "data  1.0000 -2.0000  3.0000", "      4.0000  5.0000 60.0000",
        "grad 4.0000 4.0000 4.0000", "     4.0000 4.0000 4.0000"]
    assert ones == ["shape (4, 2, 3)"] and large == ["*", "shape (4, 2, 3)"]
    assert summed == ["sum", "shape ()", "data 284.0000", "grad 1.0000"]


def test_constants_have_no_gradient():
    x = Tensor([1.0, 2.0], label="x", requires_grad=False)
    w = Tensor([3.0, 4.0], label="w")
    loss = ((x * w - [1, 1]) ** 2).sum()
    loss.backward()
    texts = sorted(node for node in Picture(draw_dot(loss).svg).nodes
                   if node[0] not in ("*", "-", "**", "sum"))
    assert [[text.replace("\xa0", " ") for text in node] for node in texts] == [
        ["data 2.0000"], ["shape (2,)", "data 1.0000 1.0000"],
        ["w", "shape (2,)", "data 3.0000 4.0000", "grad  4.0000 28.0000"],
        ["x", "shape (2,)", "data 1.0000 2.0000"]]
    v = Value(3.0)
    out = dot([v, 4.0], [5.0, v], 2) * 3.0 + 3.0
    out.backward()
    texts = sorted(node for node in Picture(draw_dot(out).svg).nodes if node[0].startswith("data"))
    assert texts == [["data 2.0000"], ["data 3.0000"], ["data 3.0000"], ["data 3.0000", "grad 27.0000"],
                     ["data 4.0000"], ["data 5.0000"]]


def test_roots_operands_used_twice_and_large_graphs():
    a = x = Value(1.0, label="a")
    drawing = draw_dot(a + a)
    assert drawing.source.count("n0 -> op1") == 2
    assert len(set(map(tuple, Picture(drawing.svg).lines))) == 2
    assert [texts[0] for texts in Picture(draw_dot([a * 2, a]).svg).nodes] == ["a", "data 2.0000", "*"]
    for _ in range(1500):
        x = -x
    assert draw_dot(x, max_nodes=1501).source.count("shape=record") == 1501
    with pytest.raises(ValueError, match="1501 nodes.*max_nodes=500.*pass max_nodes=1501"):
        draw_dot(x)


def test_a_drawing_is_saved_as_svg_or_dot(tmp_path):
    drawing = draw_dot(Value(1.0, label="é"))
    drawing.save(tmp_path / "x.svg")
    drawing.save(str(tmp_path / "x.dot"))
    assert (tmp_path / "x.svg").read_bytes() == drawing.svg.encode()
    assert (tmp_path / "x.dot").read_bytes() == drawing.source.encode()
    with pytest.raises(ValueError, match="must end in .svg or .dot"):
        drawing.save(tmp_path / "x.png")
    assert sorted(os.listdir(tmp_path)) == ["x.dot", "x.svg"]


# ----------------------------------------------------------------------------------------------------
# Documents
# ----------------------------------------------------------------------------------------------------

def test_examples_in_docstrings(registry):
    result = doctest.testmod(micrograd)
    assert result.attempted > 20 and result.failed == 0


BROKEN_TENSOR = """
def log_softmax(self, dim=-1, right=Tensor.log_softmax):
    return right(self + self.detach(), dim)
Tensor.log_softmax = log_softmax

if __name__ == "__main__":
"""


@pytest.mark.parametrize("old, new, status, named", [
    ("", "", 0, ()), ("math.tanh", "math.sin", 1, ("tanh of Value", "tanh of Tensor")),
    ('if __name__ == "__main__":\n', BROKEN_TENSOR, 1, ("log_softmax of Tensor",)),
], ids=["right", "tanh", "log_softmax"])
def test_the_file_checks_itself_and_names_a_wrong_derivative(old, new, status, named, tmp_path):
    with open(os.path.join(FOLDER, "micrograd.py"), encoding="utf-8") as file:
        text = file.read()
    assert old in text
    (tmp_path / "copied.py").write_text(text.replace(old, new) if old else text, encoding="utf-8")
    run = run_python(str(tmp_path / "copied.py"))
    assert run.returncode == status and all(name in run.stdout for name in named), run.stdout


def test_public_names_have_docstrings():
    for name in [name for name in PUBLIC if not name.startswith("_")]:
        for owner in micrograd, Value, Tensor:
            thing = inspect.getattr_static(owner, name, None)
            if inspect.isfunction(thing) or inspect.isclass(thing) or isinstance(thing, property):
                assert thing.__doc__, f"{name} has no docstring"


def test_code_in_the_readme(tmp_path, monkeypatch):
    """Blocks run in order in one namespace; what follows `# prints` in a block is all that it prints."""
    path = os.path.join(FOLDER, "README.md")
    text = io.open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        with redirect_stdout(io.StringIO()) as output:
            exec(compile(block, "README.md", "exec"), names)
        promised = "".join(line + "\n" for line in re.findall(r"# prints (.*)", block))
        same = doctest.OutputChecker().check_output(promised, output.getvalue(), doctest.ELLIPSIS)
        assert same or not promised, f"{block}\nprints\n{output.getvalue()}"


EXAMPLES = os.path.join(FOLDER, "examples")
WITH_EXAMPLES = pytest.mark.skipif(not os.path.isdir(EXAMPLES), reason="there is no folder examples")


@pytest.fixture
def example(monkeypatch, tmp_path, registry):
    """A function that imports an example, in an empty folder; afterwards all is as it was."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before, state = set(sys.modules), random.getstate()
    yield lambda name: importlib.import_module(name)
    for name in set(sys.modules) - before:
        if os.path.dirname(getattr(sys.modules[name], "__file__", None) or "") == EXAMPLES:
            del sys.modules[name]
    random.setstate(state)


def digits_in(folder):
    """Twenty pictures of two digits in MNIST's files, in a folder of their own."""
    for kind in "train", "t10k":
        labels = bytes(i % 2 for i in range(20))
        images = b"".join(bytes(250 * (row // 14 == label) for row in range(28) for _ in range(28))
                          for label in labels)
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 20, 28, 28) + images)
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 20) + labels)
    return ["--data", str(folder), "--hidden", "4", "--batch", "10"]


def is_picture(svg):
    """Is it well-formed, and does it show itself in a notebook?"""
    ElementTree.fromstring(svg._repr_svg_())
    return svg.title in repr(svg)


@WITH_EXAMPLES
def test_cells_of_the_notebook_give_what_is_stored(example):
    with io.open(os.path.join(EXAMPLES, "tour.ipynb"), encoding="utf-8") as file:
        cells = [cell for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
    names, pictures = {"__name__": "notebook"}, 0
    for cell in cells:
        stored, shown = "", ""
        for output in cell["outputs"]:
            stored += "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, "tour.ipynb", "exec"), names)
            result = eval(compile(ast.Expression(last.value), "tour.ipynb", "eval"), names) if last else None
        if result is not None:
            shown = repr(result)
            pictures += ElementTree.fromstring(result._repr_svg_()).tag.endswith("svg")
        assert printed.getvalue() + shown == stored
    assert pictures >= 5


@WITH_EXAMPLES
@pytest.mark.parametrize("name, argv, printed", [
    ("moons", ["--steps", "2", "--points", "6"], "after 2 steps"),
    ("moons", ["--steps", "1", "--points", "6", "--engine", "values"], "of 6 points right after 1 step\n"),
    ("graph", [], "neuron-before.svg"),
    ("gpt", ["--steps", "1", "--samples", "1", "--data", "names"], "2 names of 4 letters, "),
    ("makemore", ["--steps", "2", "--samples", "1", "--data", "names"], "dev   loss"),
    ("compare", [], "PyTorch is not installed" if not importlib.util.find_spec("torch") else "difference"),
    ("versus", [micrograd.__file__, "--only", "five", "--seconds", "0"], "new/old"),
])
def test_examples_take_their_options_as_a_list(example, tmp_path, capsys, name, argv, printed):
    (tmp_path / "names").write_text("".join(f"{'ab' * i}c\n" for i in range(9)) if name == "makemore" else
                                    "abc\nbad\n")
    result = example(name).main(argv)
    assert printed in capsys.readouterr().out
    if name in ("moons", "makemore"):
        assert is_picture(result) and (tmp_path / f"{name}.svg").exists()


@WITH_EXAMPLES
@pytest.mark.parametrize("name, argv, message", [
    ("moons", ["--out", "x.png"], "pictures are drawn as SVG: try x.svg"),
    ("moons", ["--out", "nowhere/x.svg"], "cannot write nowhere/x.svg"),
    ("moons", ["--out", "."], "try picture.svg"),
    ("moons", ["--lr", "inf"], "not a number of at least 0"),
    ("graph", ["--out", "x.svg"], "--out is a folder"),
    ("gpt", ["--data", "missing"], "cannot read missing"),
    ("gpt", ["--data", "one", "--width", "15"], "--width 15 is not a multiple of --heads 4"),
    ("makemore", ["--data", "one", "--model", "wavenet", "--block", "3"], "needs 2, 4, 8"),
    ("makemore", ["--data", "one", "--resume"], "--resume needs --checkpoint"),
    ("makemore", ["--data", "one", "--checkpoint", "one"], "one exists: add --resume"),
    ("mnist", ["--workers", "2"], "data_parallel.py takes it"),
    ("mnist", ["--resume"], "--resume needs --checkpoint"),
    ("mnist", ["--data", "missing"], "mnist: no train-images-idx3-ubyte.gz and no train-images"),
    ("mnist", ["--data", "bad"], "is not an IDX file of bytes with 3 dimensions"),
    ("benchmark", ["--peer", "x.txt"], "x.txt is not a wheel (.whl) or a script (.py)"),
    ("versus", ["missing.py"], "missing.py is not a file"),
    ("moons", ["--lr", "1e300", "--points", "4"], "after step 2: try a lower --lr"),
    ("moons", ["--lr", "1e300", "--points", "4", "--steps", "1"],
     "no numbers after 1 step: try a lower --lr"),
    ("gpt", ["--data", "one", "--lr", "1e300", "--steps", "9"], "try a lower --lr"),
    ("makemore", ["--data", "one", "--lr", "1e300", "--model", "rnn", "--steps", "9"], "try a lower --lr"),
])
def test_wrong_options_and_runs_that_diverge_are_explained(example, tmp_path, capsys, name, argv, message):
    (tmp_path / "one").write_text("ada\nbob\neve\n")
    (tmp_path / "bad").mkdir()
    for kind in "images-idx3", "labels-idx1":
        (tmp_path / "bad" / f"train-{kind}-ubyte").write_bytes(b"not what it should be")
    with pytest.raises(SystemExit) as error:
        example(name).main(argv)
    assert message in f"{error.value}{capsys.readouterr().err}"


@WITH_EXAMPLES
def test_a_checkpoint_of_mnist_goes_on_to_the_same_bits(example, tmp_path, capsys):
    mnist, options = example("mnist"), digits_in(tmp_path)
    assert is_picture(mnist.main(options + ["--epochs", "2", "--checkpoint", "whole"]))
    mnist.main(options + ["--epochs", "1", "--checkpoint", "parts"])
    mnist.main(options + ["--epochs", "2", "--checkpoint", "parts", "--resume"])
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()
    for change, message in ((["--hidden", "5", "3"], "a network of --hidden 4: resume with that, not 5 3"),
                            (["--optimizer", "adam"], "another --optimizer or --momentum")):
        with pytest.raises(SystemExit, match=message):
            mnist.main(options + change + ["--checkpoint", "parts", "--resume"])
    with pytest.raises(SystemExit, match="after step 2 of epoch 1: try a lower --lr"):
        mnist.main(options + ["--lr", "1e300"])
    assert "of 20 new digits after 1 epoch\n" in capsys.readouterr().out


@WITH_EXAMPLES
@pytest.mark.parametrize("model", ["bigram", "mlp", "wavenet", "rnn", "gru"])
def test_models_of_makemore(example, model):
    makemore = example("makemore")
    block = makemore.MODELS[model][1]
    network = makemore.MODELS[model][0](5, block, 3, 4)
    logits = network(Tensor([[(i + j) % 5 for j in range(block)] for i in range(4)], requires_grad=False))
    assert logits.shape == (4, 5)
    cross_entropy(logits, [0, 1, 2, 3]).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in network.parameters())


@WITH_EXAMPLES
def test_a_checkpoint_of_makemore_goes_on_to_the_same_bits(example, tmp_path, capsys):
    (tmp_path / "names").write_text("ada\nbob\neve\ngus\nida\n")
    makemore = example("makemore")
    options = "--data names --model mlp --emb 2 --hidden 3 --batch 4 --samples 0".split()
    makemore.main(options + ["--steps", "200", "--checkpoint", "whole"])

    def stop(*arguments, **options):
        raise KeyboardInterrupt
    steps = iter([makemore.Tensor] * 150)
    makemore.Tensor = lambda *a, **k: next(steps, stop)(*a, **k)    # Ctrl-C after 150 of 200 steps
    with pytest.raises(KeyboardInterrupt):
        makemore.main(options + ["--steps", "200", "--checkpoint", "parts"])
    makemore.Tensor = Tensor
    makemore.main(options + ["--steps", "200", "--checkpoint", "parts", "--resume"])
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()
    assert "stopped after 150 of 200 steps" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="was written with --model mlp --block 3 --emb 2 --hidden 3 and 11"):
        makemore.main(options + ["--hidden", "4", "--checkpoint", "parts", "--resume"])


@WITH_EXAMPLES
def test_workers_take_the_step_of_a_single_process(example, tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    mnist, parallel, options = example("mnist"), example("data_parallel"), digits_in(tmp_path)
    mnist.main(options + ["--epochs", "1", "--checkpoint", "one"])
    with ThreadPoolExecutor(2) as executor:
        parallel.main(options + ["--epochs", "1", "--workers", "3", "--checkpoint", "many"], executor)
    one, many = load("one"), load("many")
    for name in one:
        assert flat(one[name]) == pytest.approx(flat(many[name]), rel=1e-12, abs=1e-15), name


@WITH_EXAMPLES
def test_backpropagation_by_hand_gives_the_losses_of_the_engine(example):
    by_hand, gpt = example("by_hand"), example("gpt")
    random.seed(1)
    model, x = Sequential(Linear(3, 5), Tensor.relu, Linear(5, 4)), Tensor.randn(6, 3, requires_grad=False)
    weights = [list(map(copy.deepcopy, layer)) for layer in zip(*[iter(model.state_dict().values())] * 2)]
    targets, optimizer = [0, 1, 2, 3, 0, 1], SGD(model.parameters(), lr=0.1)
    step = by_hand.mlp_by_hand(weights, x.tolist(), targets, by_hand.cross_entropy, 0.1, 0.0)
    for _ in range(3):
        loss = cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(step(), rel=1e-12)

    model = gpt.GPT(5, layers=1, heads=2, width=4, context=4)
    loss = cross_entropy(model([0, 1, 2]), [1, 2, 3])
    loss.backward()
    found, gradients = by_hand.gpt_gradients(list(model.state_dict().values()), 2, [0, 1, 2], [1, 2, 3])
    assert loss.item() == pytest.approx(found, rel=1e-12)
    for (name, parameter), gradient in zip(model.named_parameters(), gradients):
        assert flat(parameter.grad.tolist()) == pytest.approx(flat(gradient), rel=1e-9, abs=1e-15), name


@WITH_EXAMPLES
def test_progress_in_a_file_in_a_notebook_and_in_ascii(example, monkeypatch, capsys):
    common = example("common")
    with common.Training(20) as training:
        for step in range(20):
            training.show(step + 1, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and lines[-1].startswith("step 20/20  ") and lines[-1].endswith("loss 1.0000")
    clock = iter(range(1000))
    monkeypatch.setattr(common.time, "perf_counter", lambda: next(clock))
    with common.Progress(1000, "epoch 1/1", lines=1) as progress:   # slow: not silent until it is done
        for done in range(1, 20):
            progress.show(done)
    assert 2 <= len(capsys.readouterr().out.splitlines()) <= 4
    shown = []
    monkeypatch.setattr(common, "notebook", lambda: lambda data, **options: shown.append(data) or Handle)
    monkeypatch.setattr(common, "BLOCKS", False)

    class Handle:
        update = staticmethod(lambda data, **options: shown.append(data))
    progress = common.Progress(2)
    progress.show(1)
    progress.show(2)
    assert [data["text/plain"][:19] for data in shown] == ["step 1/2 #####.....", "step 2/2 ##########"]
    assert capsys.readouterr().out == ""
    assert [common.count(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]


@WITH_EXAMPLES
def test_stopping_is_quiet(example, capsys):
    common = example("common")
    with common.Training(5) as training:
        training.show(1, 2.0)
        raise KeyboardInterrupt
    assert training.losses == [2.0] and "stopped after 1 of 5 steps" in capsys.readouterr().out

    def stopped():
        raise KeyboardInterrupt
    with pytest.raises(SystemExit) as error:
        common.start(stopped)
    assert error.value.code == 130 and capsys.readouterr().err == "stopped\n"
    with pytest.raises(SystemExit, match="after step 1: try a lower --lr"):
        with common.Training(5) as training:
            training.show(1, 1e200)
    with pytest.raises(SystemExit, match="after step 1: try a lower --lr"):
        with common.Training(5) as training:
            training.show(1, 1.0)
            raise OverflowError("too large for a float")
    ends = subprocess.Popen([sys.executable, os.path.join(EXAMPLES, "graph.py"), "--help"], bufsize=0,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ends.stdout.close()                     # as | head does
    assert ends.stderr.read() == b""
    ends.stderr.close()
    ends.wait()


@WITH_EXAMPLES
def test_pictures_of_odd_numbers(example, tmp_path):
    common = example("common")
    for numbers in [], [1.0], [0.0, 0.0], [3, 3, 3], [nan, 1.0, inf], [-1.0, 2.0], list(range(5000)):
        assert is_picture(common.curve(numbers))
    for table in [[0]], [[1, 2], [3, 4]], [[-0.25, 1.0]], [[0, 0], [0, 0]]:
        assert is_picture(common.heat_map(table, "<&", "ab", 'a & "b" < c'))
    assert is_picture(common.confusion_matrix([[5, 1], [0, 0]], ["cat", "dog"]))
    assert is_picture(common.scatter([(0.0, 0.0), (0.0, 1.0)], "ab"))
    assert is_picture(common.surface(lambda points: [x - y for x, y in points], [[0, 0], [1, 2]], [1, -1]))
    with pytest.raises(SystemExit, match="cannot write the picture"):
        common.curve([1.0]).save(tmp_path / "missing" / "x.svg")


@WITH_EXAMPLES
def test_two_directions_of_letters(example):
    makemore = example("makemore")
    rows = [[3.0 * i, 4.0 * i, 0.0] for i in (-1, 0, 2)]
    (x0, y0), (x1, y1), (x2, y2) = makemore.two_directions(rows)
    assert abs(x1 - x0) == pytest.approx(5) and abs(x2 - x1) == pytest.approx(10)
    assert [y0, y1, y2] == pytest.approx([0, 0, 0], abs=1e-9)
    assert makemore.two_directions([[1.0], [3.0]])[0][1] == 0.0


# ----------------------------------------------------------------------------------------------------
# The playground: its server is driven as a browser would, and as nobody should
# ----------------------------------------------------------------------------------------------------

EXAMPLES = os.path.join(FOLDER, "examples")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def playground():
    """examples/playground.py as a module."""
    sys.path.insert(0, EXAMPLES)
    spec = importlib.util.spec_from_file_location("playground", os.path.join(EXAMPLES, "playground.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(EXAMPLES)
    return module


@pytest.fixture
def server(playground):
    """A server that runs in this process, until the test ends."""
    server = playground.Tabs(0)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    server.port = server.server_address[1]
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    for tab in server.tabs.values():
        tab.closed = True


def first_settings(playground, **changes):
    return {**{name: rule["first"] for name, rule in playground.SETTINGS.items()}, **changes}


def ask(port, path, body=None, **headers):
    """Status, headers and text of an answer; a body (bytes, or what becomes JSON) makes it a POST."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with OPENER.open(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def post(port, path, **body):
    status, _, text = ask(port, path, body)
    assert status == 200, text
    return json.loads(text)


@contextmanager
def pictures(port, name):
    """The pictures of a tab, one after the other, while the block lasts."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        request = f"GET /pictures?id={name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        connection.sendall(request.encode())
        with connection.makefile("rb") as lines:
            assert lines.readline().split()[1] == b"200"
            yield (json.loads(line[6:].decode()) for line in lines if line.startswith(b"data: "))


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.parametrize("data, changes", [
    ("moons", {}),
    ("circles", {"features": ["x²", "y²"], "layers": [], "optimizer": "SGD", "test": 50}),
    ("xor", {"features": ["xy"], "act": "relu", "layers": [1], "optimizer": "AdamW", "l2": 0.1}),
    ("spirals", {"features": ["x", "y", "x²", "y²", "xy", "sin x", "sin y"], "count": 500, "noise": 0,
                 "act": "gelu", "layers": [8, 1, 8, 2, 3, 8], "batch": 50}),
    ("blobs", {"act": "linear", "optimizer": "SGD + momentum", "count": 20, "batch": 50, "noise": 0.6})])
def test_playground_trains_and_draws(playground, server, data, changes):
    settings = first_settings(playground, data=data, **changes)
    lesson = post(server.port, "/new", id="0" * 8, running=True, **settings)
    assert len(lesson["test"]) == settings["count"] * settings["test"] // 100
    assert len(lesson["train"]) + len(lesson["test"]) == settings["count"]
    with pictures(server.port, "0" * 8) as stream:
        first = next(stream)
        picture = next(picture for picture in stream if picture["steps"] > first["steps"])
    sizes = [len(settings["features"])] + settings["layers"] + [1]
    assert [(len(w[0]), len(w), len(b)) for w, b in zip(picture["weights"], picture["biases"])] == [
        (nin, nout, nout) for nin, nout in zip(sizes, sizes[1:])]
    assert picture["running"] and picture["version"] == 1 and 0 <= picture["train"][1] <= 1
    side = server.tabs["0" * 8].lesson.side
    assert len(base64.b64decode(picture["surface"])) == side ** 2
    assert [[len(base64.b64decode(text)) for text in column] for column in picture["neurons"]] == [
        [side ** 2 // 4] * size for size in settings["layers"]]


@pytest.mark.parametrize("steps, changes", [
    (2000, {"data": "xor"}),
    (4000, {"data": "spirals", "layers": [8, 8], "features": ["x", "y", "sin x", "sin y"], "lr": 0.01})])
def test_playground_has_all_points_right_after_a_few_steps(playground, steps, changes):
    lesson = playground.Lesson(first_settings(playground, **changes))
    for step in range(steps):
        lesson.step()
        if step % 200 == 199 and lesson.picture()["train"][1] == 1:
            break
    assert lesson.picture()["train"][1] == 1


def test_playground_has_the_moons_right_in_seconds(playground, server):
    post(server.port, "/new", id="a" * 8, running=True, **first_settings(playground))
    with pictures(server.port, "a" * 8) as stream:
        began = time.monotonic()
        assert any(picture["train"][1] == 1 or time.monotonic() > began + 20 for picture in stream)
        assert time.monotonic() < began + 20


def test_playground_pauses_steps_and_starts_again(playground, server):
    name, settings = "1" * 32, first_settings(playground)
    post(server.port, "/new", id=name, running=False, **settings)
    with pictures(server.port, name) as stream:
        start = next(stream)
        assert start["steps"] == 0 and not start["running"]
        post(server.port, "/step", id=name)
        one = next(stream)
        assert one["steps"] == 1 and not one["running"] and one["weights"] != start["weights"]
        code = post(server.port, "/tune", id=name, lr=0.1, l2=0.01, batch=7, pace=10)["code"]
        assert "lr=0.1" in code and "weight_decay=0.01" in code
        post(server.port, "/run", id=name, running=True)
        assert any(picture["steps"] > 2 for picture in stream)
        post(server.port, "/step", id=name)                 # a step ends the run
        assert any(not picture["running"] for picture in stream)
        assert post(server.port, "/new", id=name, running=False, **settings)["version"] == 2
        again = next(picture for picture in stream if picture["version"] == 2)
        assert again == {**start, "version": 2}             # the same seed


def test_playground_shows_the_chain_rule_at_a_point(playground, server):
    settings = first_settings(playground, layers=[3, 2], features=["x", "xy"], seed=5)
    train = post(server.port, "/new", id="2" * 8, running=False, **settings)["train"]
    look, (x, y, label) = post(server.port, "/look", id="2" * 8, point=9), train[9]
    assert look["inputs"] == [x, x * y] and look["steps"] == 0
    values = look["inputs"]
    for w, b, sums, outs in zip(look["weights"], look["biases"], look["sums"], look["values"]):
        assert sums == pytest.approx([sum(map(operator.mul, row, values)) + bi for row, bi in zip(w, b)])
        values = outs
    assert look["values"][:2] == [pytest.approx([math.tanh(s) for s in row]) for row in look["sums"][:2]]
    assert look["sum_gradients"][2] == pytest.approx([1 / (1 + math.exp(-values[0])) - label])
    for layer in 0, 1:          # a gradient is the sum over the next layer; then the slope of tanh
        columns = zip(*look["weights"][layer + 1])
        found = [sum(map(operator.mul, column, look["sum_gradients"][layer + 1])) for column in columns]
        assert look["gradients"][layer] == pytest.approx(found)
        slopes = [g * (1 - v * v) for g, v in zip(look["gradients"][layer], look["values"][layer])]
        assert look["sum_gradients"][layer] == pytest.approx(slopes)


@pytest.mark.parametrize("changes", [
    {}, {"layers": []}, {"act": "linear", "optimizer": "SGD"},
    {"features": ["sin x", "x²"], "act": "gelu"},
    {"layers": [8] * 6, "optimizer": "SGD + momentum"}, {"optimizer": "AdamW", "seed": 9999, "lr": 1}])
def test_the_python_that_the_playground_shows_makes_the_same_network(playground, changes):
    settings = first_settings(playground, l2=0.01, **changes)
    lesson, names = playground.Lesson(settings), {}
    code = playground.python_code(settings)
    exec(code, names)
    assert names["model"].state_dict() == lesson.model.state_dict()
    assert type(names["optimizer"]) is type(lesson.optimizer)
    assert {key: x for key, x in vars(names["optimizer"]).items() if isinstance(x, (int, float))} == {
        key: x for key, x in vars(lesson.optimizer).items() if isinstance(x, (int, float))}
    points, labels = [point[:2] for point in lesson.train], [point[2] for point in lesson.train]
    assert names["step"](points, labels) == pytest.approx(lesson.picture()["train"][0])
    assert names["model"].state_dict() != lesson.model.state_dict()
    assert max(map(len, code.split("\n"))) <= 105


def test_playground_says_when_numbers_grow_beyond_bounds(playground, server):
    changes = {"optimizer": "SGD", "lr": 1, "act": "linear", "features": ["x²", "y²"], "layers": [8, 8]}
    post(server.port, "/new", id="3" * 8, running=True, **first_settings(playground, **changes))
    lesson = server.tabs["3" * 8].lesson
    with pictures(server.port, "3" * 8) as stream:
        next(stream)
        with lesson.lock:
            for p in lesson.model.parameters():
                p.data = (Tensor.ones(*p.shape) * 1e300).tolist()
        picture = next(picture for picture in stream if "problem" in picture)
    assert "smaller learning rate" in picture["problem"] and not picture["running"]
    post(server.port, "/new", id="4" * 8, running=True, **first_settings(playground))    # others go on
    with pictures(server.port, "4" * 8) as stream:
        assert any(picture["steps"] for picture in stream)


ODD = [         # path, body, status, what the sentence says
    *[("/new", body, 400, "JSON") for body in (b"", b"{", b"\xff\xfe", b"[" * 3999, b"1" * 3999)],
    ("/new", b"[]", 400, "JSON object"), ("/new", {}, 400, "JSON object"),
    ("/run", {"id": "0" * 8, "running": True, "more": 1}, 400, "exactly id, running"),
    ("/run", {"id": "0" * 8}, 400, "exactly"),
    ("/run", {"id": "0" * 8, "running": 1}, 400, "true or false"),
    ("/run", {"id": "f" * 8, "running": True}, 404, "no such network"),
    ("/run", {"id": 5, "running": True}, 400, "hexadecimal"),
    ("/run", {"id": "../a", "running": True}, 400, "hexadecimal"),
    *[("/look", {"id": "0" * 8, "point": x}, 400, "point") for x in (-1, 140, 1.0, True, "1", None)],
    ("/tune", {"id": "0" * 8, "lr": 0.03, "l2": 0, "batch": 1, "pace": 0}, 400, "lr: 0.03 is not"),
    ("/tune", b'{"id": "00000000", "lr": NaN, "l2": 0, "batch": 1, "pace": 0}', 400, "lr: nan"),
    ("/nothing", {}, 404, "nothing at this address"), ("/new", None, 404, "nothing"),
    ("/../playground.py", None, 404, "nothing"),
    ("/pictures", None, 400, "hexadecimal"), ("/pictures?id=abcdef0123", None, 404, "no such network"),
    ("/new", b"x" * 4001, 413, "4001 bytes"), ("/new", b"x" * 3_000_000, 413, "4000 are the most")]


def test_playground_refuses_odd_requests(playground, server):
    post(server.port, "/new", id="0" * 8, running=False, **first_settings(playground))
    for path, body, wanted, part in ODD:
        status, headers, text = ask(server.port, path, body)
        assert status == wanted and part in text and len(text) < 300, (path, body, status, text)
        assert headers["Content-Type"].startswith("text/plain") or status == 501
    assert list(server.tabs) == ["0" * 8]
    for body in {"running": None}, {"id": "x"}, {"batch": 0}, {"more": 1}:      # no tab is left of these
        asked = {"id": "9" * 8, "running": True, **first_settings(playground), **body}
        assert ask(server.port, "/new", asked)[0] == 400 and list(server.tabs) == ["0" * 8]


@pytest.mark.parametrize("name, values", [
    ("data", ["cats", 1, None, ["moons"], {}]), ("noise", [-0.1, 0.7, "0", None, True, nan, inf]),
    ("count", [0, 501, 20.5, 1e9, 10 ** 400, "20", False]), ("test", [0, 51, 30.0]), ("seed", [-1, 1.5]),
    ("features", [[], "x", ["x", "x"], ["z"], [["x"]], ["x"] * 100, [None]]), ("batch", [0, 51, 2.0]),
    ("layers", [3, [0], [9], [4] * 7, [4.0], [True], [[4]], "444"]), ("act", ["cos", "", 0]),
    ("optimizer", ["sgd", None]), ("lr", [0, 0.3, -1, True, "0.1", nan]), ("l2", [-1, 1]),
    ("pace", [1, None])])
def test_playground_checks_every_setting(playground, name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: "):
            playground.checked(name, value)
    first = playground.SETTINGS[name]["first"]
    assert playground.checked(name, first) == first


def test_playground_answers_its_own_page_only(playground, server):
    here = f"127.0.0.1:{server.port}"
    body = {"id": "5" * 8, "running": False, **first_settings(playground)}
    for headers, status in [
            ({}, 200), ({"Host": f"localhost:{server.port}"}, 200), ({"Origin": f"http://{here}"}, 200),
            *[({"Host": host}, 403) for host in (
                "127.0.0.1", "evil.example", f"evil.example:{server.port}", f"{here}.evil.example")],
            *[({"Origin": origin}, 403) for origin in (
                "http://evil.example", "null", "http://127.0.0.1:1", f"https://{here}")]]:
        assert ask(server.port, "/new", body, **headers)[0] == status
        assert ask(server.port, "/start", **headers)[0] == status
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")                       # no Host at all
        assert b" 403 " in connection.recv(100)


def test_the_page_of_the_playground_loads_nothing(playground, server):
    status, headers, text = ask(server.port, "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200 and policy.startswith("default-src 'none'") and "unsafe" not in policy
    for tag in "script", "style":
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        assert len(parts) == 1 and f"{tag}-src 'sha256-{digest}'" in policy
    assert re.findall("(?:href|src)=\"(.*?)\"", text) == ["data:,"] and "@import" not in text
    assert set(re.findall(r"https?://[^\"\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in text and not re.search(r"<[^>]* (style|on\w+)=", text.split("<script>")[0])
    assert set(re.findall(r'\$\("([\w-]+)"\)', text)) <= set(re.findall(r'\bid="([\w-]+)"', text))
    start = json.loads(ask(server.port, "/start")[2])
    assert set(start["gallery"]) == set(playground.DATASETS)
    assert set(start["features"]) == set(playground.FEATURES)


def test_half_open_connections_do_not_block_the_playground(server):
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(60)]
    for i, connection in enumerate(silent):
        connection.sendall([b"", b"GET", b"POST /new HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: "][i % 4])
    began = time.monotonic()
    assert ask(server.port, "/start")[0] == 200 and time.monotonic() < began + 2
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = f"POST /new HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        connection.sendall((head + "Content-Length: 99\r\n\r\n{").encode())    # and the rest never comes
        assert ask(server.port, "/")[0] == 200
    for connection in silent:
        connection.close()


def test_playground_serves_a_few_tabs_and_forgets_those_that_close(playground, server, monkeypatch):
    monkeypatch.setattr(playground, "PATIENCE", 600)        # twenty requests beside five networks take a while
    settings, names = first_settings(playground), [f"{i:08x}" for i in range(20)]
    answers = [ask(server.port, "/new", {"id": name, "running": True, **settings}) for name in names]
    most = playground.MOST_TABS
    assert [answer[0] for answer in answers] == [200] * most + [503] * (20 - most)
    assert "close one of them" in answers[-1][2]
    tabs = [server.tabs[name] for name in names[:most]]
    with pictures(server.port, names[0]) as stream:
        next(stream)
        assert ask(server.port, "/pictures?id=" + names[0])[0] == 409
    wait_until(lambda: tabs[0].closed, 5)
    steps = tabs[0].lesson.published[0]
    assert ask(server.port, "/run", {"id": names[0], "running": True})[0] == 404
    post(server.port, "/new", id=names[9], running=True, **settings)            # there is a place again
    assert tabs[0].lesson.published[0] <= steps + 1
    for tab in tabs + list(server.tabs.values()):           # who never looks is forgotten, too
        tab.born -= playground.PATIENCE
    wait_until(lambda: all(tab.closed for tab in tabs + list(server.tabs.values())), 5)


def start_playground(*arguments):
    """The process, and the port that it prints. Ctrl-C is switched on, even where our own is ignored."""
    def switch():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, os.path.join(EXAMPLES, "playground.py"), "--no-open", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=switch if os.name == "posix" else None)
    return process, int(re.search(rb"http://127.0.0.1:(\d+)/", process.stdout.readline()).group(1))


def test_a_port_that_is_taken_is_a_clear_message_and_ctrl_c_ends_the_playground_at_once(playground):
    process, port = start_playground("--port", "0")
    try:
        for taken in str(port), "70000":
            run = run_python(os.path.join(EXAMPLES, "playground.py"), "--no-open", "--port", taken)
            assert run.returncode and "Traceback" not in run.stdout and "port" in run.stdout
        for name in "6" * 8, "7" * 8:
            post(port, "/new", id=name, running=True, **first_settings(playground))
        with pictures(port, "6" * 8) as one, pictures(port, "7" * 8) as two, \
                socket.create_connection(("127.0.0.1", port)) as silent:
            assert next(one) and next(two) and silent.send(b"GET") == 3
            if os.name == "posix":
                process.send_signal(signal.SIGINT)
                began = time.monotonic()
                out, error = process.communicate(timeout=10)
                assert time.monotonic() < began + 3 and b"stopped" in out
                assert (process.returncode, error) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def readme_blocks():
    """The blocks of Python in README.md."""
    path = os.path.join(FOLDER, "README.md")
    text = io.open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def test_the_readme_can_be_pasted_into_a_prompt(tmp_path, monkeypatch):
    """Line by line, as a prompt takes it: an empty line ends each loop, and none stands inside."""
    monkeypatch.chdir(tmp_path)
    prompt = code.InteractiveConsole({"__name__": "readme"})
    for block in readme_blocks():
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
            waiting = [prompt.push(line) for line in block.split("\n")]
        promised = re.findall(r"# prints (.*)", block)
        assert not waiting[-1] and not errors.getvalue(), errors.getvalue()
        assert [line for line in output.getvalue().split("\n") if line in promised] == promised, block


def test_traced_code_in_the_readme():
    """The text that trace gives is the block that follows."""
    blocks = readme_blocks()
    for block, following in zip(blocks, blocks[1:]):
        if "text = traced.python" in block:
            names = {}
            exec(block, names)
            assert following.startswith(names["text"]), names["text"]


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http|#)[^)]+)\)", "\n".join(
    io.open(os.path.join(FOLDER, "README.md"), encoding="utf-8").readlines()
    if os.path.exists(os.path.join(FOLDER, "README.md")) else [])))
def test_links_in_the_readme(link):
    assert os.path.exists(os.path.join(FOLDER, link)), link
