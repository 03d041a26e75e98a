"""Is every gradient right? `pytest` answers; it needs pytest and hypothesis, nothing else.

    the table         every operation once: how to write it, what it does to numbers, where, how exact
    differences       a gradient is right when differences say so, and so is the gradient of the gradient
    one operation     on Values and Tensors, in every way of broadcasting, exact with Fractions, at the edges
    only Tensors      what only Tensors can, defined index by index on Values
    many operations   random graphs, as Python that can be pasted
    the engine        accumulation, depth, memory, failures, threads
    numbers           Python's own, the largest, inf and nan
    networks · losses · optimizers · code written for micrograd · mistakes of others · wrong use · saving ·
    drawing · documents

Numbers are drawn from a seed, shapes and graphs by hypothesis: so numbers are never special, while shapes and
graphs shrink to the smallest that fails. HYPOTHESIS_PROFILE=thorough takes fifty times as many.
"""
import ast
import copy
import doctest
import gc
import inspect
import io
import json
import math
import operator
import os
import pickle
import random
import re
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
import xml.etree.ElementTree as ElementTree
from array import array
from contextlib import redirect_stdout
from decimal import Decimal
from fractions import Fraction
from itertools import product, zip_longest
from numbers import Number

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import micrograd
from micrograd import (
    FUNCTIONS, MLP, SGD, Adam, AdamW, Layer, Linear, Module, Neuron, Sequential, Tensor, Value,
    binary_cross_entropy_with_logits, cat, clip_grad_norm, cross_entropy, dot, draw_dot, elementwise, flat,
    grad, gradcheck, hinge_loss, linear, load, mse_loss, nest, no_grad, save, shape_of, stack, where)

for _name, _examples in ("quick", 15), ("fast", 4), ("thorough", 750):
    settings.register_profile(_name, deadline=None, max_examples=_examples, database=None,
                              suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
MORE = settings(max_examples=4 * settings().max_examples)

CPYTHON = sys.implementation.name == "cpython"
FOLDER = os.path.dirname(os.path.abspath(micrograd.__file__))
BOTH = pytest.mark.parametrize("cls", [Value, Tensor])
inf, nan, BIG = math.inf, math.nan, 1e308


# ----------------------------------------------------------------------------------------------------
# The table of operations
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
    ("x.log()",            "math.log(x)",                               [POSITIVE]),
    ("x.sqrt()",           "x ** 0.5",                                  [POSITIVE]),
    ("x.sin()",            "math.sin(x)",                               [REAL]),
    ("x.cos()",            "math.cos(x)",                               [REAL]),
    ("x.tanh()",           "math.tanh(x)",                              [REAL]),
    ("x.sigmoid()",        "1 / (1 + math.exp(-x))",                    [REAL]),
    ("x.gelu()",           "x * (1 + math.erf(x / math.sqrt(2))) / 2",  [REAL]),
    ("x.silu()",           "x / (1 + math.exp(-x))",                    [REAL]),
    ("x.softplus()",       "math.log(1 + math.exp(x))",                 [REAL]),
]]
EXACT = [op for op in OPERATIONS if op.degree]
POLYNOMIALS = [op for op in EXACT if op.degree is not POLES and not re.search(r"\.|abs", op.source)]
KINDS_OF_NUMBERS = pytest.mark.parametrize(
    "number, op", [(float, op) for op in OPERATIONS] + [(Fraction, op) for op in EXACT],
    ids=lambda x: getattr(x, "__name__", str(x)))

# What is defined on Values further down, and what is no operation.
OF_TENSORS = """sum mean max min var argmax logsumexp softmax log_softmax reshape flatten transpose permute T
    mT unsqueeze squeeze broadcast_to __getitem__ __iter__ cat stack where __matmul__ __rmatmul__ linear dot
    mse_loss hinge_loss cross_entropy binary_cross_entropy_with_logits""".split()
NO_OPERATIONS = """__lt__ __le__ __gt__ __ge__ __radd__ __rsub__ __rmul__ __rtruediv__ __rpow__ data grad
    label requires_grad backward shape ndim size item tolist detach zeros ones full eye arange rand randn
    uniform __len__ __bool__ __setitem__ __init__ __repr__ __reduce__ __hash__ __new__ __class__ __getstate__
    __init_subclass__ __subclasshook__ __dir__ gradcheck elementwise no_grad clip_grad_norm save load draw_dot
    Drawing Node Value Tensor Module Neuron Layer MLP Linear Sequential Optimizer SGD Adam AdamW shape_of
    nested flat nest copied zip_map map_rows broadcast_shape expand reduce_dim permuted products matmul
    concatenated take add_at sumprod""".split()


def names_in(source):
    """The methods, functions and operators in an expression, by the names that Python has for them."""
    symbols = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__",
               ast.Pow: "__pow__", ast.USub: "__neg__"}
    for node in ast.walk(ast.parse(source)):
        yield symbols.get(type(getattr(node, "op", 0)), getattr(node, "attr", getattr(node, "id", "")))


def public_names():
    for cls in Value, Tensor:
        for name in dir(cls):
            special = name.startswith("__") and getattr(cls, name) is not getattr(object, name, None)
            if not name.startswith("_") or special and callable(getattr(cls, name)):
                yield name
    for name, thing in vars(micrograd).items():
        if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "") == "micrograd":
            yield name
    yield from FUNCTIONS


PUBLIC = set(public_names())        # before any test registers operations of its own


def test_every_public_name_is_in_the_table_or_listed_as_no_operation():
    tested = {name for op in OPERATIONS for name in names_in(op.source)} | {"__abs__"}
    assert PUBLIC - tested - {*OF_TENSORS, *NO_OPERATIONS} == set(), "new operations belong into OPERATIONS"


# ----------------------------------------------------------------------------------------------------
# Differences
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


def item(node):
    return node.data if isinstance(node, Value) else node.item()


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


# ----------------------------------------------------------------------------------------------------
# One operation
# ----------------------------------------------------------------------------------------------------

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
    __lt__ = __le__ = __gt__ = __ge__ = _operator


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


@given(shapes=shapes_that_broadcast(2), kinds=KINDS, seed=SEEDS)
def test_comparisons_compare_data(shapes, kinds, seed):
    """Of Tensors they give a constant Tensor of 0.0 and 1.0, of Values a bool; == is identity."""
    rng = random.Random(seed)
    numbers = [rng.choices([-1, 0, 1], k=math.prod(shape)) for shape in shapes]
    (x, y), _ = make_operands(kinds, shapes, numbers)
    p, q = (nest(n, shape) for n, shape in zip(numbers, shapes))
    for compare in operator.lt, operator.le, operator.gt, operator.ge:
        out, a, b = compare(x, y), numbers[0][0], numbers[1][0]
        assert out.shape == broadcast(shapes) and not out.requires_grad
        assert all(at(out.data, i) == compare(at(p, i), at(q, i)) for i in indices(out.shape))
        assert type(flat(out.data)[0]) is float
        assert compare(Value(a), Value(b)) is compare(Value(a), b) is compare(a, Value(b)) is compare(a, b)
    x, v = Tensor(p), Value(1)
    assert x == x and x != Tensor(p) and v == v and v != 1 and len({x, v, v, Value(1)}) == 3


@pytest.mark.parametrize("code, expected", [
    ("Tensor([1, 2, 3, 6]).var().item()", 14 / 3),
    ("Tensor([[1, 2, 3], [2, 4, 9]]).var(1).data", [1, 13]),
    ("[round(p, 3) for p in Tensor([[0.0, 0.0], [1.0, 1.0]]).softmax().data[0]]", [0.5, 0.5]),
    ("[round(math.exp(p), 3) for p in Tensor([[0.0, 0.0], [1.0, 1.0]]).log_softmax().data[0]]", [0.5, 0.5]),
    ("Tensor.ones(2, 3, 4, 5).mT.shape", (2, 3, 5, 4)),
    ("linear([[], []], [[], [], []]).data", [[0, 0, 0], [0, 0, 0]]),
    ("Tensor([array('d', [1, 2]), array('d', [3, 4])]).data", [[1, 2], [3, 4]]),
    ("Tensor.arange(8).reshape(2, 2, 2).mT.data", [[[0, 2], [1, 3]], [[4, 6], [5, 7]]]),
    ("Tensor.ones(2, 3, 4, 5).flatten(1, 2).shape", (2, 12, 5)),
    ("Tensor.ones(2, 3, 4, 5).flatten(1).shape", (2, 60)),
    ("Tensor.arange(1, 2, 0.25).data", [1, 1.25, 1.5, 1.75]), ("Tensor.arange(5, 0, -2).data", [5, 3, 1]),
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
])
def test_edges(source, x, out, slope, second):
    """Corners, bounds, ties; the exponents 0, 1 and 2; the base 0."""
    for x in Value(x), Tensor(x), Tensor([[x]]):
        y = eval(source.replace("Value", type(x).__name__), {**vars(micrograd), "x": x})
        dx, = grad(y, x, create_graph=True)
        ddx, = grad(dx + 0 * x, x)              # a constant gradient alone does not depend on x
        numbers = flat(y.data) + flat(dx.data) + flat(ddx.data)
        assert numbers == pytest.approx([out, slope, second], abs=1e-15)


@BOTH
def test_gradient_of_an_exponent(cls):
    """x**y * log(x); 0 at x = 0, and nan for x < 0, as PyTorch has it. The base's is right all the same."""
    for base, y, base_slope, slope in (2., 3., 12, 8 * math.log(2)), (0., 3., 0, 0), (-2., 3., 12, nan):
        x, y = cls(base), cls(y)
        (x ** y).backward()
        assert [x.grad, y.grad] == pytest.approx([base_slope, slope], nan_ok=True)


def test_ties_share_the_gradient_equally():
    x, y = Tensor([[3, 1, 3], [3, 3, 0]]), Tensor([3, 1, 4])
    for dim, expected in [(None, [[.25, 0, .25], [.25, .25, 0]]), ((0, 1), [[.25, 0, .25], [.25, .25, 0]]),
                          (1, [[.5, 0, .5], [.5, .5, 0]]), (0, [[.5, 0, 1], [.5, 1, 0]])]:
        assert grad(x.max(dim), x)[0].data == expected
        assert grad((-x).min(dim), x)[0].data == [[-g for g in row] for row in expected]
    assert [g.data for g in grad(x.maximum(y), [x, y])] == [[[.5, .5, 0], [.5, 1, 0]], [1, .5, 2]]
    assert [g.data for g in grad(x.minimum(y), [x, y])] == [[[.5, .5, 1], [.5, 0, 1]], [1, 1.5, 0]]


def test_functions_take_plain_numbers_too():
    for name, function in FUNCTIONS.items():
        assert function(0.75) == getattr(Value(0.75), name)().data == getattr(Tensor(0.75), name)().item()
        assert function.__name__ == name and function.__doc__
    assert micrograd.tanh is FUNCTIONS["tanh"]


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


def variance(xs):
    return sum((x - mean(xs)) ** 2 for x in xs) / (len(xs) - 1)


def logsumexp(xs):
    return sum(x.exp() for x in xs).log()


@st.composite
def reductions(draw):
    shape, keepdim = draw(SHAPES), draw(st.booleans())
    n = len(shape)
    several = st.lists(st.integers(0, n - 1), unique=True, min_size=1)
    several = several.map(lambda dims: tuple(d - n * (d % 2) for d in dims))
    dim = draw(st.none() | st.integers(-n, n - 1) | several if n else st.sampled_from([None, 0, -1]))
    axes = {d % n for d in (range(n) if dim is None else [dim] if isinstance(dim, int) else dim)} if n else {}
    for name, f, degree in [("sum", sum, 1), ("mean", mean, 1), ("max", max, 1), ("min", min, 1),
                            ("var", variance, 2), ("logsumexp", logsumexp, None)]:
        if name != "var" or math.prod(shape[d] for d in axes) > 1:
            yield f"x.{name}({dim}, keepdim={keepdim})", [shape], lambda x, f=f: {
                index: f(group) for index, group in grouped(x, axes, keepdim).items()}, degree


@st.composite
def softmaxes(draw):
    shape = draw(SHAPES)
    dim = a_dim(draw, len(shape))
    axes = {dim % len(shape)} if shape else {}

    def softmax(x):
        sums = {i: sum(e.exp() for e in group) for i, group in grouped(x, axes, True).items()}
        return {i: e.exp() / sums[kept(i, axes, True)] for i, e in x.items()}
    yield f"x.softmax({'' if dim == -1 else dim})", [shape], softmax, None
    yield (f"x.log_softmax({'' if dim == -1 else dim})", [shape],
           lambda x: {i: e.log() for i, e in softmax(x).items()}, None)


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
            ("x.reshape(-1)", (size,)), ("x.flatten()", (size,)),
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
    for source in f"x.broadcast_to{target}", f"x.broadcast_to({target})":
        yield source, [shape], lambda x: {i: x[own(i, shape)] for i in indices(target)}, 1


@st.composite
def index_forms(draw):
    """Ints, slices, ..., None and one (nested) list of ints, anywhere; several lists, which are paired."""
    shape = draw(SHAPES)
    n, full, k, picks = len(shape), slice(None), draw(st.integers(1, 3)), []
    list_at, cuts = draw(st.integers(-n, n)), sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n))))

    def some(dims):
        for d in dims:
            ints = st.integers(-shape[d], shape[d] - 1)
            lists = st.lists(ints, min_size=1, max_size=3)
            slices = st.slices(shape[d]).filter(lambda s: range(shape[d])[s])
            yield from draw(st.sampled_from([[], [], [None]]))
            yield draw(lists | lists.map(lambda row: [row, row[::-1]]) if d == list_at else
                       slices if list_at >= 0 else ints | slices)   # ints beside lists are another matter
    front, back = list(some(range(cuts[0]))), list(some(range(cuts[1], n)))
    meant = front + [full] * (cuts[1] - cuts[0]) + back
    for written in [front + [...] + back, meant] + [front] * (cuts[1] == n):
        index = written[0] if len(written) == 1 else tuple(written)
        yield f"x[{index!r}]", [shape], lambda x: {new: x[old] for new, old in places(meant, shape)}, 1
    for size in shape[:draw(st.integers(2, n))] if n > 1 else ():
        picks.append(draw(st.lists(st.integers(-size, size - 1), min_size=k, max_size=k)))
    if picks:
        yield f"x[{tuple(picks)}]", [shape], lambda x: {
            (j,) + rest: x[tuple(p[j] % size for p, size in zip(picks, shape)) + rest]
            for j in range(k) for rest in indices(shape[len(picks):])}, 1


def places(items, shape):
    """(index in the result, index in x) of all that a full index picks."""
    sizes, choices = iter(shape), []
    for it in items:
        size = 1 if it is None else next(sizes)
        choices.append([((0,), ())] if it is None else [((), (it % size,))] if isinstance(it, int) else
                       [((k,), (i,)) for k, i in enumerate(range(size)[it])] if isinstance(it, slice) else
                       [(k, (at(it, k) % size,)) for k in indices(shape_of(it))])
    for parts in product(*choices):
        yield sum((new for new, _ in parts), ()), sum((old for _, old in parts), ())


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
    shapes, bits = draw(shapes_that_broadcast(3)), draw(st.lists(st.integers(0, 1), min_size=24, max_size=24))
    condition = nest(bits[:math.prod(shapes[2])], shapes[2])
    yield f"where({condition}, x, y)", shapes[:2], lambda x, y: {
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


@pytest.mark.parametrize("cases", [
    reductions, softmaxes, reorderings, new_shapes, repetitions, index_forms, joinings, choices,
    matrix_products, linear_layers], ids=lambda cases: cases.__name__)
@MORE
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
                assert agrees(at(x.grad, i), slope, degree, 1e-11), (
                    f"{source}, element {i}: the gradient is {at(x.grad, i)}, of Values {slope}")
        check(*as_function_of(call, operands, free), degree, source=source)


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
    (1, TWICE, "x.broadcast_to(2, 3).var(0)"), (2, MAX, "where([[1, 0, 1]], x, y)"),
    (2, MAX, "cat([x.flatten(), y.flatten()]).sum()"), (1, None, "x.softmax(-1)"),
    (2, SUM, "linear(x.broadcast_to(2, 3), y.broadcast_to(2, 3)).sum()"), (1, None, "x.log_softmax(0)"),
    (1, None, "x.logsumexp(-1, keepdim=True)")]]
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
        assume(abs(item(total(program(*inputs)))) < 1e3)
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
        assume(all(abs(v.data) < 1e9 for v in outs))
        out.backward()
        sum(outs).backward()
    except ArithmeticError:
        assume(False)
    for t, vs in zip([out] + tensors, [outs] + values):
        source = program.text(*tensors)
        assert flat(t.data) == pytest.approx([v.data for v in vs], rel=1e-12, abs=1e-12), source
        assert flat(t.grad) == pytest.approx([v.grad for v in vs], rel=1e-12, abs=1e-12), source


def graph_of(*roots):
    """All nodes below the roots."""
    nodes = {id(root): root for root in roots}
    todo = list(roots)
    for node in todo:
        todo += [p for p in node._prev if nodes.setdefault(id(p), p) is p and p not in todo]
    return list(nodes.values())


@BOTH
@given(data=st.data(), seed=SEEDS, times=st.integers(2, 4))
def test_backward_called_n_times_gives_n_times_the_gradient_at_every_node(cls, data, seed, times):
    out = data.draw(polynomials(cls))(*make_inputs(cls, seed, Fraction))
    out.backward()
    nodes = [node for node in graph_of(out) if node.grad]
    once = [flat(node.grad) for node in nodes]
    for _ in range(times - 1):
        out.backward()
    assert [flat(node.grad) for node in nodes] == [[times * g for g in grads] for grads in once]


@BOTH
@given(data=st.data(), seed=SEEDS)
def test_two_outputs_that_share_a_subgraph_add_their_gradients(cls, data, seed):
    """And grad() gives what backward() adds, but touches no .grad; backward(g) weights with g."""
    inputs = make_inputs(cls, seed, Fraction)
    shared = data.draw(polynomials(cls))(*inputs)
    first, second = shared * shared + inputs[0], 3 - shared
    expected = [[p + 7 * q for p, q in zip(flat(g.data), flat(h.data))]
                for g, h in zip(grad(first, inputs), grad(second, inputs))]
    assert not any(x.grad for x in graph_of(first, second))
    first.backward()
    second.backward(7 if cls is Value else nest([7] * second.size, second.shape))
    assert [flat(x.grad) for x in inputs] == expected


# ----------------------------------------------------------------------------------------------------
# The engine: constants, depth, memory, failures, threads
# ----------------------------------------------------------------------------------------------------

@pytest.fixture
def registry():
    """The operations that a test adds are taken away again."""
    before = set(FUNCTIONS)
    yield
    for name in set(FUNCTIONS) - before:
        del FUNCTIONS[name]
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
@pytest.mark.parametrize("before", [0, 0.0, Fraction(0), None, 3.5])
def test_grad_touches_no_grad(cls, before):
    x = cls(2.0)
    y = x * x
    x.grad = y.grad = before
    grad(y, x)
    grad(y, x, create_graph=True)
    with pytest.raises(ValueError, match="input 1"):
        grad(y, [x, cls(1.0)])
    assert [repr(x.grad), repr(y.grad)] == [repr(before)] * 2


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
    before = [node.grad for node in nodes]
    for attempt in out.backward, lambda: grad(out, x), lambda: grad(out, x, create_graph=True):
        with pytest.raises(type(error), match="fragile at" if "no" in str(error) else None):
            attempt()
        assert [node.grad for node in nodes] == before
    product.backward()                          # nothing is left that would disturb another pass
    assert [x.grad, y.grad, product.grad] == [6, 4, 2]


def test_constants_get_no_gradient_and_no_graph():
    x, w = Tensor([[1.0, 2.0]], requires_grad=False), Tensor([3.0, 4.0])
    halfway = x.exp() + [1.0] - 2
    assert (halfway.requires_grad, halfway._prev, halfway._op) == (False, (), "")
    (halfway * w + w.detach() * w).backward()
    assert x.grad is halfway.grad is None and w.grad == [halfway.data[0][0] + 3, halfway.data[0][1] + 4]


@pytest.mark.parametrize("cls, n", [(Value, 10 ** 6), (Tensor, 10 ** 5)])
def test_a_chain_of_any_length_is_built_differentiated_copied_pickled_and_freed(cls, n):
    """Without recursion; and with the garbage collector off, since nothing in a graph is a cycle."""
    gc.disable()
    try:
        start = x = cls(0.0)
        for _ in range(n // 2):
            x = (x + 1) * 1
        x.backward()
        assert [start.grad, x.data, grad(x, start)[0].data] == [1, n // 2, 1]
        assert grad(x, start, create_graph=True)[0].data == 1
        for twin in copy.deepcopy(x), pickled(x):
            assert (twin.data, twin.grad, twin._prev) == (x.data, x.grad, ())
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
            out.backward()
        slopes = grad(v.sin() * v, v, create_graph=True) + grad(x.tanh(), x, create_graph=True)
        alive = [weakref.ref(node) for node in graph_of(*outs, *slopes) if node._prev]
        del out, outs, slopes
        assert [ref() for ref in alive if ref() is not None] == []
    finally:
        gc.enable()


@pytest.mark.skipif(not CPYTHON, reason="counts bytes")
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


def pickled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("twin_of", [copy.deepcopy, pickled])
def test_copies_keep_data_grad_and_label_and_go_their_own_way(twin_of):
    x, t = Value(Fraction(1, 3), label="x"), Tensor([[1.0, 2.0]], label="t", requires_grad=False)
    y = x * x
    y.backward()
    z, s = twin_of(y), twin_of(t)
    assert (z.data, z.grad, z._prev, z._op, twin_of(x).label) == (y.data, y.grad, (), "", "x")
    z.backward()
    assert x.grad == Fraction(2, 3), "a copy must not reach into the original"
    assert (s.data, s.grad, s.label, s.requires_grad) == ([[1.0, 2.0]], None, "t", False)
    s.data[0][0] = 9.0
    assert t.data == [[1.0, 2.0]]

    random.seed(2)
    for model in MLP(2, [3, 1], act="tanh"), Sequential(Linear(2, 3), Tensor.tanh, Tensor.softmax):
        before, numbers = model.state_dict(), model([0.3, 0.4]).data
        twin = twin_of(model)
        assert twin.state_dict() == before and twin([0.3, 0.4]).data == numbers
        (twin([0.3, 0.4]) * twin([0.3, 0.4])).backward()
        assert any(p.grad for p in twin.parameters()) and not any(p.grad for p in model.parameters())
        SGD(twin.parameters(), lr=1).step()
        assert twin.state_dict() != before and model.state_dict() == before


def test_lists_are_copied_where_they_enter_and_where_they_leave():
    rows = [[1.0, 2.0]]
    t = Tensor(rows)
    rows[0][0] = 5.0
    t.tolist()[0][0] = t.detach().data[0][0] = 6.0
    assert t.data == [[1.0, 2.0]]
    a, b, c = t * 1, t * 1, t
    (a + (b + c)).backward()
    c.grad = [[1.0, 1.0]]
    for node in a, b, c:            # + hands one gradient to both operands
        node.grad[0][0] = 77.0
        assert [other.grad for other in (a, b, c) if other is not node] == [[[1.0, 1.0]]] * 2
        node.grad[0][0] = 1.0


HASH_PROGRAM = """
import random
from micrograd import *
random.seed(0)
model, net = MLP(3, [5, 1], act="tanh"), Sequential(Linear(3, 5), Tensor.tanh, Linear(5, 1))
shared = [Value(0.1 * i) for i in range(20)]
loss = sum((a * b).sin() + c for a in shared for b in shared for c in shared[:3]) + model([0.1, 0.2, 0.3])
loss.backward()
(net([0.1, 0.2, 0.3]) ** 2).backward()
print(loss.data, [p.grad for p in shared + model.parameters() + net.parameters()])
"""


def run_python(*arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": FOLDER, **environment}
    return subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)


def test_the_same_seed_gives_the_same_last_bit_whatever_the_hash_seed():
    runs = [run_python("-c", HASH_PROGRAM, PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert runs[0].stdout == runs[1].stdout and runs[0].returncode == 0


def test_no_grad_records_nothing_and_ends_where_it_ends():
    x, t = Value(2.0), Tensor([2.0, 3.0])

    def recorded():
        nodes = [x * x, 3 - x, x.exp(), dot([x], [x]), abs(x), x.clip(0, 1), t * t, t.sum(), t.exp(), t[0],
                 cat([t, t]), linear(t, stack([t]))]
        return {node._prev != () for node in nodes}

    decorated = no_grad()(recorded)
    assert recorded() == {True} and decorated() == {False} and recorded() == {True}
    with pytest.raises(KeyError):
        with no_grad():
            with no_grad():
                assert recorded() == {False}
            assert recorded() == decorated() == {False}
            assert not (t * t).requires_grad and Tensor([1.0]).requires_grad
            raise KeyError
    assert recorded() == {True}


def test_no_grad_holds_in_its_own_thread_only():
    x, inside, checked, seen = Value(2.0), threading.Event(), threading.Event(), []

    def quiet():
        with no_grad():
            inside.set()
            checked.wait(60)
            seen.append((x * x)._prev)

    thread = threading.Thread(target=quiet)
    thread.start()
    inside.wait(60)
    seen.append((x * x)._prev)
    checked.set()
    thread.join(60)
    assert seen == [(x, x), ()]


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
    expected, results = [train(copy.deepcopy(model)) for model in models], {}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda i=i, model=model: results.update({i: train(model)}))
                   for i, model in enumerate(models)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert [results[i] for i in range(6)] == expected


def test_elementwise_gives_both_engines_an_operation_to_the_third_order(registry):
    softsign = elementwise("softsign", lambda x: x / (1 + abs(x)), lambda g, out, x: g / (1 + abs(x)) ** 2)
    cube = elementwise("cube", lambda x: x * x * x, lambda g, out, x: g * 3 * x * x)
    check(lambda x: x.softsign(), [Value(0.7)])
    check(lambda x: softsign(x) * 2, [Tensor([[0.7, -0.3]])])
    check(lambda x: x.cube(), [Value(Fraction(2, 3))], 3)
    check(lambda x: cube(x + 1), [Tensor([Fraction(2, 3), Fraction(-1)])], 3)
    assert softsign(1) == 0.5 and FUNCTIONS["softsign"] is softsign
    assert Neuron(1, act="softsign")([2])._op == "softsign"
    step = elementwise("step", lambda x: float(x > 0), lambda g, out, x: 0)     # a plain number
    check(lambda x: step(x) + x.step() * x * x, [Tensor([[0.75, -0.25]])])
    check(lambda x: step(x) + x.step() * x * x, [Value(0.75)])
    elementwise("cube", lambda x: x ** 3, lambda g, out, x: g * 3 * x ** 2)     # what it made, it may replace
    assert (Value(2.0).cube()._op, Tensor(2.0).cube()._op) == ("cube", "cube")


def test_gradcheck_tells_right_from_wrong_and_says_where(registry):
    elementwise("wrong", lambda x: x * x, lambda g, out, x: g * 2.001 * x)
    x, t = Tensor(0.5), Tensor([[0.5, 2.0], [3.0, -1.0]])
    assert gradcheck(lambda x, t: (t * x).sin(), x, t) is gradcheck(Value.exp, Value(2.0)) is True
    assert gradcheck(lambda x: x ** 2, Value(Fraction(1, 3)), eps=Fraction(1, 7), tol=0)
    assert gradcheck(lambda x: x.wrong(), Value(3.0), tol=1e-2)
    for f, inputs, words in [
            (lambda x, t: x + t.wrong(), [x, t], [r"input 1, element \[0, 0\]", "1.0", "1.0005"]),
            (lambda x: x.wrong(), [Value(3.0)], ["input 0:", "6.00", "6.003"]),
            (lambda t: where([[0, 0], [0, 1]], t.wrong(), t), [t], [r"element \[1, 1\]"])]:
        with pytest.raises(AssertionError) as error:
            gradcheck(f, *inputs)
        assert all(re.search(word, str(error.value)) for word in words)
        assert not inputs[-1].grad and t.data == [[0.5, 2.0], [3.0, -1.0]]


# ----------------------------------------------------------------------------------------------------
# Numbers: Python's own; the largest, inf and nan; what a Tensor tells about itself
# ----------------------------------------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("x, y", [(Decimal("0.1"), Decimal(3)), (1j, 2 + 1j), (Fraction(1, 3), Fraction(2)),
                                  (7, 2)], ids=["Decimal", "complex", "Fraction", "int"])
def test_any_kind_of_number_stays_what_it_is(cls, x, y):
    a, b = cls(x), cls(y)
    out = a * b - a * a * 2 + b ** 2 - 3
    for times in 1, 2:
        out.backward()
        assert out.data == x * y - x * x * 2 + y ** 2 - 3
        assert (a.grad, b.grad) == (times * (y - 4 * x), times * (x + 2 * y))
        assert {type(out.data), type(a.grad), type(b.grad)} == {type(x)}


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
        assert type(item(out)) is type(x.grad) is float
    assert [item(out) for out in outs] == [4, 0, 4, 1, 4, 2, 2, 2] and dot([two], [two], two).data == 6
    assert item(Tensor(x > two) if cls is Value else two < x) == 0


@pytest.mark.parametrize("source, x, out, slope", [
    ("x.sigmoid()", BIG, 1, 0), ("x.sigmoid()", -BIG, 0, 0), ("x.tanh()", BIG, 1, 0),
    ("x.tanh()", -BIG, -1, 0), ("x.tanh()", 400.0, 1, 0), ("x.sigmoid()", -800.0, 0, 0),
    ("x.softplus()", BIG, BIG, 1), ("x.softplus()", -BIG, 0, 0),
    ("x.softplus()", -40.0, math.exp(-40), math.exp(-40)),
    ("x.sigmoid()", -40.0, math.exp(-40), math.exp(-40)), ("x.silu()", BIG, BIG, 1),
    ("x.silu()", -BIG, 0, 0), ("x.gelu()", BIG, BIG, 1), ("x.gelu()", -BIG, 0, 0), ("x.relu()", BIG, BIG, 1),
    ("abs(x)", -BIG, BIG, -1), ("x.exp()", -BIG, 0, 0), ("x.sqrt()", BIG, 1e154, 5e-155),
    ("x.log()", BIG, math.log(BIG), 0), ("x.relu() * inf", -1.0, nan, 0), ("x.clip(0, 1) * inf", 2.0, inf, 0),
    ("x.clip(1, -1)", -1.0, -1, 0), ("x.maximum(0) * 1.7e308", 0.5, 0.85e308, 1.7e308),
    ("x.maximum(2) * inf", 1.0, inf, 0), ("x.minimum(2) * inf", 3.0, inf, 0),
    ("x.maximum(1) * inf", 1.0, inf, inf), ("x.relu()", nan, nan, None), ("x.relu()", inf, inf, 1),
    ("x.relu()", -inf, 0, 0), ("x.exp()", inf, inf, inf),
    ("x.exp()", nan, nan, nan), ("x.log()", inf, inf, 0), ("x.log()", nan, nan, nan),
    ("x.log()", -inf, nan, 0), ("x.sin()", inf, nan, nan), ("x.cos()", -inf, nan, nan),
    ("x.sqrt()", -inf, nan, nan), ("x.tanh()", inf, 1, 0), ("x.sigmoid()", -inf, 0, 0),
    ("x / 0", inf, inf, None), ("x / -0.0", inf, -inf, None), ("x / 0", nan, nan, None),
    ("1 / x", inf, 0, 0), ("x.maximum(0)", nan, nan, None), ("x.minimum(0)", nan, nan, None),
    ("x.maximum(nan)", 1.0, nan, None), ("x.minimum(nan)", 1.0, nan, None), ("x.clip(0, 1)", nan, nan, None),
    ("x.clip(0, 1)", inf, 1, 0), ("x - inf", inf, nan, 1), ("x * 0", inf, nan, 0),
    ("abs(x)", nan, nan, None), ("x ** 0.5", inf, inf, 0), ("x ** -1", inf, 0, 0),
    ("x.leaky_relu()", nan, nan, None),
])
def test_the_largest_numbers_inf_and_nan(source, x, out, slope):
    """Finite where mathematics is; what is not finite passes through."""
    for node in Value(x), Tensor(x), Tensor([[x]]):
        y = eval(source, {"x": node, "nan": nan, "inf": inf})
        assert flat(y.data) == [pytest.approx(out, rel=1e-12, abs=1e-300, nan_ok=True)]
        if slope is not None:
            y.backward()
            assert flat(node.grad) == [pytest.approx(slope, rel=1e-12, abs=1e-300, nan_ok=True)]


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
        for gradient in tensor.grad, [v.grad for v in values]:
            assert gradient == pytest.approx([-slope for slope in slopes], abs=1e-80)


def test_nan_is_the_largest_and_the_smallest_wherever_it_stands():
    for row in [nan, 1.0, 2.0], [1.0, nan, 2.0], [2.0, 1.0, nan]:
        x = Tensor([row, [3.0, 4.0, 5.0]])
        for out in x.max(1), x.min(1), x.sum(1), x.mean(1), x.logsumexp(1), x.softmax(1)[:, 0], x.var(1):
            assert [math.isnan(number) for number in out.data] == [True, False]
        assert math.isnan(x.max().item()) and math.isnan(x.min().item())
        assert x.argmax(1) == [row.index(nan), 2]


def test_tensors_of_size_0():
    x, y = Tensor([]), Tensor.zeros(2, 0)
    assert (x.shape, x.size, len(x), list(x), x.sum().item(), (x + 1).shape) == ((0,), 0, 0, [], 0, (0,))
    (x.exp() * Tensor([[2.0], [3.0]])).backward()
    assert x.grad == [] and Tensor([1.0, 2.0])[2:].shape == y.reshape(-1).shape == (0,)
    assert y.shape == y.reshape(2, 0).shape == (2, 0) and y.sum(1).data == [0, 0]
    assert cat([y, [[1.0], [2.0]]], 1).data == [[1.0], [2.0]]
    z = Tensor([[1.0], [2.0]])
    (z * y).backward()
    assert z.grad == [[0], [0]], "a dimension of 1 that broadcasts to 0"


def test_what_a_tensor_tells_about_itself():
    t = Tensor([[1, 2, 3], [4, 5, 6]], "t")
    assert (t.shape, t.ndim, t.size, len(t), t.label, t.grad) == ((2, 3), 2, 6, 2, "t", None)
    assert (Tensor(5).shape, Tensor(5).ndim, Tensor(5).size, Tensor([[5]]).item()) == ((), 0, 1, 5)
    assert [row.data for row in t] == t.tolist() == t.data and [row._prev for row in t] == [(t,), (t,)]
    assert [(t * 2)._op, (t @ t.T)._op, t.sum()._op, t._op] == ["*", "matmul", "sum", ""]
    assert (3 - t)._prev[1] is t and (3 - t)._prev[0].data == 3 and bool(Tensor([2.0])) and not Tensor(0.0)
    assert (t.argmax(), t.argmax(0), Tensor([[3, 1], [3, 7]]).argmax(1)) == (5, [1, 1, 1], [0, 1])
    assert Tensor([3, 5, 5]).argmax() == 1 and Tensor([[[1, 9], [8, 2]]]).argmax(-2) == [[1, 0]]
    assert Tensor(4).argmax(0) == 0 and t[range(2), Array([2, 0])].data == [3, 4]
    assert t[[1, 0], 0].data == [4, 1] and t[0, [1, 0]].data == [2, 1]


def test_tensors_are_created_with_the_numbers_of_pytorch_and_the_random_module():
    assert Tensor.zeros(2, 3).data == [[0.0] * 3] * 2 and Tensor.ones((1, 2)).data == [[1.0, 1.0]]
    assert Tensor.arange(5, 0, -2).data == [5, 3, 1] and Tensor.arange(2, 2).data == []
    assert Tensor.zeros().data == 0.0 and Tensor.arange(1, 3).data == [1, 2]
    assert Tensor.full((2, 1), 7).data == [[7], [7]] and Tensor.full(2, 0.5).data == [0.5, 0.5]
    assert Tensor.eye(2).data == [[1.0, 0.0], [0.0, 1.0]] and Tensor.eye(1, 3).data == [[1.0, 0.0, 0.0]]
    assert Tensor.arange(3).data == [0, 1, 2] and Tensor.arange(1, 2, 0.25).data == [1, 1.25, 1.5, 1.75]
    random.seed(3)
    drawn = [Tensor.rand(2, 2).data, Tensor.randn(3).data, Tensor.uniform(-2, 5, 2).data]
    random.seed(3)
    assert drawn == [[[random.random() for _ in "12"] for _ in "12"], [random.gauss(0, 1) for _ in "123"],
                     [random.uniform(-2, 5) for _ in "12"]]
    for name in "zeros", "ones", "rand", "randn", "eye", "arange", "full", "uniform":
        create, arguments = getattr(Tensor, name), {"full": (2, 1), "uniform": (0, 1, 2)}.get(name, (2,))
        assert create(*arguments).requires_grad and not create(*arguments, requires_grad=False).requires_grad
    rows = Tensor.zeros(2, 2)
    rows.data[0][0] = 1.0
    assert rows.data == [[1.0, 0.0], [0.0, 0.0]], "rows are lists of their own"


def test_repr():
    assert repr(Value(data=2.0, label="x")) == "Value(data=2.0, grad=0.0)"
    assert repr(Tensor([[1.0, -2.5], [10.0, 1 / 3]])) == (
        "Tensor([[     1,   -2.5],\n        [    10, 0.3333]])")
    assert repr([Tensor(2.0), Tensor([]), Tensor([[[1], [2]]])]) == (
        "[Tensor(2), Tensor([], shape=(0,)), Tensor([[[1],\n         [2]]])]")
    assert repr(Tensor.arange(1001)) == "Tensor([   0,    1,    2,  ...,  998,  999, 1000], shape=(1001,))"
    assert "..." not in repr(Tensor.arange(1000)) and repr(Tensor.zeros(7, 200)).count("0, ...,   0") == 7
    assert repr(Tensor.zeros(8, 200)).count("0, ...,   0") == 6
    lines = repr(Tensor.arange(1600).reshape(40, 40)).split("\n")
    assert len(lines) == 7 and lines[3] == "        [ ...,  ...,  ...,  ...,  ...,  ...,  ...],"
    assert lines[6] == "        [1560, 1561, 1562,  ..., 1597, 1598, 1599]], shape=(40, 40))"
    assert repr(MLP(2, [1, 1])) == "MLP of [Layer of [ReLUNeuron(2)], Layer of [LinearNeuron(1)]]"
    assert repr(Sequential(Sequential(Linear(2, 3), Tensor.relu), Linear(3, 1, bias=False))) == (
        "Sequential(\n  0: Sequential(\n    0: Linear(2, 3, bias=True)\n    1: relu\n  )  # 9 parameters\n"
        "  1: Linear(3, 1, bias=False)\n)  # 12 parameters")


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
    assert names["scale"] is model.scale and model.parameters() == list(names.values())
    assert [name for name, _ in model.named_parameters("m.")] == ["m." + name for name in names]
    assert list(model.state_dict()) == [*list(names)[:4], "again", "mean", "layer.weight"]
    names = [f"layers.0.neurons.{name}" for name in ("0.w.0", "0.b", "1.w.0", "1.b")]
    assert list(MLP(1, [2, 1]).state_dict())[:4] == names
    net = Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1, bias=False))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight"]
    assert len(net) == 3 and net[2].bias is None


def test_zero_grad_forgets_the_gradients_of_values_and_tensors():
    model = Everything()
    for forget in model.zero_grad, SGD(model.parameters(), lr=1).zero_grad:
        (model.scale * 3).backward()
        model.layer([[1.0]]).backward()
        assert [model.scale.grad, model.layer.weight.grad] == [3, [[1], [1]]]
        forget()
        assert [model.scale.grad, model.layer.weight.grad] == [0.0, None]


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
       act=st.sampled_from(sorted(FUNCTIONS.keys() - {"log", "sqrt", "exp"}) + ["leaky_relu"]))
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
    assert close(xs.grad, [v.grad for row in values for v in row])
    for layer, step in zip(model.layers, linears):
        assert close(step.weight.grad, [w.grad for neuron in layer.neurons for w in neuron.w])
        assert close(step.bias.grad, [neuron.b.grad for neuron in layer.neurons])


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
    ("relu", [11.5, 3.0]), ("linear", [11.5, 3.0]), (lambda v: v * 2, [23.0, 6.0]),
    (Value.tanh, [math.tanh(11.5), math.tanh(3.0)])])
def test_a_neuron_is_act_of_w_dot_x_plus_b_whatever_its_weights_are_now(act, expected):
    neuron = Neuron(2, act=act)
    neuron([1.0, 3.0])
    neuron.w[0].data, neuron.w[1].data, neuron.b.data = 2.0, 3.0, 0.5           # what is assigned counts
    assert neuron([Value(1.0), 3.0]).data == expected[0]
    neuron.w[1], neuron.b = Value(0.0), Value(1.0)                              # and so does a new Value
    out = neuron([1.0, 3.0])
    out.backward()
    assert out.data == expected[1] and neuron.w[1].grad == 3 * neuron.b.grad != 0
    assert Neuron(2, nonlin=False)([1.0, 1.0])._op == "dot"
    assert Neuron(1)(5.0)._op == Neuron(1)([5.0])._op == Layer(1, 1)([5.0])._op == "relu"


# ----------------------------------------------------------------------------------------------------
# Losses
# ----------------------------------------------------------------------------------------------------

def bce(x, t):
    p = 1 / (1 + math.exp(-x))
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


@pytest.mark.parametrize("loss, closed_form, targets, at_big", [
    (mse_loss,                         lambda p, t: (p - t) ** 2,      [0.75, -1.5, 2.0], [inf, inf]),
    (hinge_loss,                       lambda s, t: max(0, 1 - t * s), [1, -1],           [0, BIG]),
    (binary_cross_entropy_with_logits, bce,                            [0, 1, 0.25],      [0, BIG]),
], ids=lambda x: getattr(x, "__name__", "").replace("<lambda>", ""))
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
    assert loss(logits, labels).item() == pytest.approx(sum(expected) / n) == item(loss(values, labels))
    check(loss, [logits, Tensor(labels)], orders=2)
    check(lambda *xs: loss(nest(xs, shape), labels), flat(values), orders=1)
    for big, number in zip([BIG, -BIG], at_big):
        assert loss(Tensor([big]), [1]).item() == loss([Value(big)], [1]).data == number


@MORE
@given(n=st.integers(1, 3), classes=st.integers(1, 4), seed=SEEDS, single=st.booleans())
def test_cross_entropy_is_minus_log_of_the_softmax_at_the_target(n, classes, seed, single):
    x, = draw_numbers(seed, [n * classes], [REAL], float)
    rows, targets = nest(x, (n, classes)), random.Random(seed).choices(range(classes), k=n)
    n = 1 if single else n
    expected = [math.log(sum(map(math.exp, row))) - row[t] for row, t in zip(rows[:n], targets)]
    shape, target = ((classes,), targets[0]) if single else ((n, classes), targets)
    tensor, values = Tensor(nest(x[:n * classes], shape)), nest(list(map(Value, x[:n * classes])), shape)
    for reduction, numbers in ("none", expected), ("sum", [sum(expected)]), ("mean", [sum(expected) / n]):
        assert flat(cross_entropy(tensor, target, reduction).data) == pytest.approx(numbers)
        losses = cross_entropy(values, target if single else Array(target), reduction=reduction)
        assert [v.data for v in flat(losses)] == pytest.approx(numbers)
    assert item(cross_entropy(tensor, target)) == pytest.approx(sum(expected) / n)
    check(lambda x: cross_entropy(x, target), [tensor])
    check(lambda *xs: cross_entropy(nest(xs, shape), target), flat(values), orders=2)


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
    unused = Tensor([1.0])
    step = optimizer(params[:2] + [unused] + params[2:], **options)
    for _ in range(40):
        step.zero_grad()
        for p in params:
            ((p - 3) ** 4 / 4).backward()
        step.step()
    expected = [by_hand(p, lambda p: (p - 3) ** 3, 40, **options) for p in starts]
    assert [x for p in params for x in flat(p.data)] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert unused.data == [1.0]


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


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 6.5, 13.0, 14.0])
def test_clip_grad_norm_scales_all_gradients_together(max_norm):
    v, t, unused = Value(1.0), Tensor([[1.0, 1.0]]), Tensor([1.0])
    v.grad, t.grad = 3.0, [[-4.0, 12.0]]
    assert clip_grad_norm(iter([v, t, unused]), max_norm) == 13
    scale = min(1, max_norm / (13 + 1e-6))      # 1e-6 as PyTorch has it
    assert [v.grad, *t.grad[0]] == pytest.approx([3 * scale, -4 * scale, 12 * scale], rel=1e-15)
    assert unused.grad is None
    v.grad = nan
    assert math.isnan(clip_grad_norm([v, t], max_norm)) and math.isnan(t.grad[0][0])     # as PyTorch


# ----------------------------------------------------------------------------------------------------
# Code written for micrograd runs unchanged
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


def test_the_lectures_draw_a_neuron_and_train_a_network():
    from micrograd.engine import Value
    from micrograd.nn import MLP, Layer, Module, Neuron

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

    x1, x2, w1, w2 = Value(2.0, label="x1"), Value(0.0, label="x2"), Value(-3.0), Value(1.0)
    n = x1 * w1 + x2 * w2 + Value(6.8813735870195432, label="b")
    n.label = "n"
    o = n.tanh()
    o.backward()
    assert [round(v.grad, 4) for v in (x1, w1, x2, w2, n, o)] == [-1.5, 1.0, 0.5, 0.0, 0.5, 1.0]
    nodes, edges = trace(o)
    assert (len(nodes), len(edges)) == (10, 9)
    assert sorted(v._op for v in nodes) == [""] * 5 + ["*", "*", "+", "+", "tanh"]
    assert {v.label for v in nodes} == {"", "x1", "x2", "b", "n"}
    e = (2 * n).exp()
    assert ((e - 1) / (e + 1)).data == pytest.approx(o.data) == pytest.approx(0.7071, abs=1e-4)

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


# ----------------------------------------------------------------------------------------------------
# Mistakes of others, one test each; `x` is Value(4.0), then Tensor(4.0)
#
# Above: repeated backward passes and shared subgraphs, the hash seed, depth, cycles, copies that reach into
# the original, the gradient of an exponent, large numbers and nan, pickles of models. Below: inputs of wrong
# length.
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
        "x = Tensor([[1.0], [2.0]]); y = Tensor([[1.0, 2.0, 3.0]]); (x * y).backward(); x.grad, y.grad",
        ([[6.0], [6.0]], [[3.0, 3.0, 3.0]])),
    "batched matmul right for cubes only": (
        "x, y = Tensor.ones(5, 1, 2, 3), Tensor.ones(4, 3, 6); (x @ y).backward(); x.grad[4], y.grad[3]",
        ([[[24.0] * 3] * 2], [[10.0] * 6] * 3)),
    "repeated indices counted once": (
        "x = Tensor([1.0, 2.0]); (x[[0, 0, 1, 0]] * [1.0, 10.0, 100.0, 1000.0]).backward(); x.grad",
        [1011.0, 100.0]),
    "sum ignores what comes from above": (
        "x = Tensor([[1.0, 2.0]] * 2); (x.sum(0) * [1.0, 10.0]).backward(); x.grad", [[1.0, 10.0]] * 2),
    "mean has the gradient of sum": (
        "x = Tensor([[1.0, 2.0]] * 2); (x.mean(0) * [1.0, 10.0]).backward(); x.grad", [[0.5, 5.0]] * 2),
    "step changes nothing": ("x.grad = 2.0; SGD([x], lr=0.25).step(); x.data", 3.5),
    "Adam without bias correction": ("x.grad = 123.0; Adam([x], lr=0.25).step(); round(x.data, 9)", 3.75),
    "eps ignored": ("x.grad = 1.0; Adam([x], lr=1.0, eps=1e6).step(); round(x.data, 4)", 4.0),
    "all neurons are equal": ("len({w.data for w in MLP(2, [3, 3]).parameters()})", 2 * 3 + 3 * 3 + 1),
    "an array on the left makes an array of objects": (
        "x = Tensor([1.0, 2.0]); a = Array([4.0, 8.0]); [y.data for y in (a - x, a ** x, a @ x, a < x)]",
        [[3, 6], [4, 64], 20, [0, 0]]),
    "nested grad gives 0": (
        "y, = grad(x ** 3, x, create_graph=True); z, = grad(y, x, create_graph=True); slope(z)", 6),
    "hessian of the cross entropy is 0": (
        "x = Tensor([0.0, 0.0]); y, = grad(cross_entropy(x, 1), x, create_graph=True); grad(y[0], x)[0].data",
        [0.25, -0.25]),
    "maximum at a tie undocumented": (
        "slope(x.maximum(4)), slope(x.maximum(x)), 'half' in x.maximum.__doc__", (0.5, 1, True)),
    "norm at 0 undocumented": ("z = 0 * x; raises(ZeroDivisionError, (z * z).sqrt().backward)", True),
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
    return dict(vars(micrograd), v=v, t=t, model=model, net=net, sgd=sgd, adam=adam, nan=nan)


WRONG = [re.split(r"  +", line) for line in r"""
TypeError  Value('3')  Value  '3'
TypeError  Value(None)  Value  None
TypeError  v + '3'  +
TypeError  [1.0] - v  -
TypeError  v < '3'  <
TypeError  v + t  +  Value  Tensor  mix
TypeError  t @ v  matmul  Value  Tensor  mix
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
TypeError  v.backward('1')  backward  '1'
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
ValueError  t.max((0, -2))  max  twice
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
TypeError  t[t > 2]  where
TypeError  t[[True, False]]  where
IndexError  t[[0, 1], [0]]  (2,)  (1,)
IndexError  Tensor.ones(2, 2, 2)[[0, 1], :, [0, 1]]  two steps
ValueError|IndexError  t[[[0, 1], [1]]]  ragged
ValueError  t[::0]  index  step
ValueError  t[2:]  index  (0, 3)
ValueError  t[None, []]  index  (1, 0, 3)
IndexError  Tensor.ones(2, 2, 2)[0, :, [1]]  ambiguous
TypeError  t[0] = 1.0  assign  where
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
TypeError  t.backward(v)  backward  Value
ValueError  x = t * 2; t.grad = [1.0]; x.backward()  grad
ValueError  grad(v, [v, Value(1.0)])  grad  input 1
TypeError  grad(3.0, v)  grad  float
TypeError  grad(v, [1.0])  grad  input 0
ZeroDivisionError  x = Value(0.0); y = x.sqrt() + v * v; y.backward()  sqrt  0.0
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
NotImplementedError  Module()(1.0)  Module
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
ValueError  cross_entropy(t, [0])  cross_entropy  (2, 3)  1
ValueError  cross_entropy(t, [0, 3])  cross_entropy  target 1  3
ValueError  cross_entropy(t, [0, -1])  target 1  -1
ValueError|TypeError  cross_entropy(t, [0, 1.0])  target 1  1.0
ValueError  cross_entropy(Tensor(1.0), 0)  cross_entropy  ()
ValueError  cross_entropy(Tensor.ones(2, 2, 2), [[0, 0], [0, 0]])  cross_entropy  (2, 2, 2)
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
ValueError  net[2].bias.grad = [1.0, 2.0]; sgd.step()  step  parameter 3  (1,)  (2,)
TypeError  v.grad = 'a'; adam.step()  step  parameter 4
ValueError  sgd.load_state_dict({})  lr  missing
ValueError  sgd.load_state_dict({'lr': -1.0})  lr  -1
ValueError  sgd.load_state_dict({'lr': 0.5, '9.momentum_buffer': [1.0]})  9.momentum_buffer
ValueError  s = adam.state_dict(); s['0.exp_avg'] = [1.0]; adam.load_state_dict(s)  0.exp_avg  (1,)  (3, 2)
ValueError  s = adam.state_dict(); s['4.step'] = 0; adam.load_state_dict(s)  4.step  0
ValueError  s = adam.state_dict(); del s['4.exp_avg']; adam.load_state_dict(s)  4.exp_avg  missing
ValueError  clip_grad_norm([v], -1.0)  clip_grad_norm  -1.0
TypeError  clip_grad_norm(net, 1.0)  clip_grad_norm  parameters()
TypeError  draw_dot(3.0)  draw_dot  3.0
ValueError  draw_dot(v, 'RL')  rankdir  RL
""".strip().split("\n")]


def everything_in(names):
    """All numbers that a wrong use could have changed."""
    for name in "v", "t", "model", "net", "sgd", "adam", "x", "y":
        thing = names.get(name)
        if isinstance(thing, (Value, Tensor)):
            yield thing.data, thing.grad
        elif hasattr(thing, "state_dict"):
            yield thing.state_dict(), [p.grad for p in getattr(thing, "params", 0) or thing.parameters()]


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
    assert repr(list(everything_in(names))) == before and len(WRONG) >= 100


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


@given(st.dictionaries(TEXTS, arrays(st.floats())), st.dictionaries(TEXTS, TEXTS),
       arrays(st.floats(width=32)))
def test_what_was_saved_is_loaded_bit_for_bit_and_in_order(state, metadata, single):
    content = written(state, metadata=metadata)     # repr, since nan is not equal to nan, but -0.0 is to 0.0
    assert repr(read(content)) == repr(state) and written(read(content), metadata=metadata) == content
    assert repr(read(written({"x": single}, dtype="F32"))["x"]) == repr(single)


def test_the_layout_of_a_file_and_what_can_be_saved():
    header = b'{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}'
    expected = struct.pack("<Q", 88) + header.ljust(88) + struct.pack("<2f", 1, -2.5)
    assert written({"w": [[1.0], [-2.5]]}, metadata={"a": "b"}, dtype="F32") == expected
    assert written({}) == struct.pack("<Q", 8) + b"{}      "
    assert b'"shape":[2,0]' in written({"x": Tensor.zeros(2, 0)})
    state = {"t": Tensor([1, 2]), "v": Value(3), "i": 4, "q": Fraction(1, 2), "b": True, "l": ((5, 6),)}
    loaded = read(written(state))
    assert loaded == {"t": [1.0, 2.0], "v": 3.0, "i": 4.0, "q": 0.5, "b": 1.0, "l": [[5.0, 6.0]]}
    assert type(loaded["i"]) is float and list(read(written(Linear(1, 1)))) == ["weight", "bias"]


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


SIGNED = [(f"I{n}", letter, [-2 ** (n - 1), 2 ** (n - 1) - 1]) for n, letter in zip((8, 16, 32, 64), "bhiq")]
UNSIGNED = [(f"U{n}", letter, [0, 2 ** n - 1]) for n, letter in zip((8, 16, 32, 64), "BHIQ")]


@pytest.mark.parametrize("dtype, letter, numbers", SIGNED + UNSIGNED + [
    ("F64", "d", [1 / 3, -0.0, 5e-324, inf]), ("F32", "f", [0.5, -0.0, 2.0 ** -149, -inf]),
    ("F16", "e", [0.5, -65504.0, 2.0 ** -24, inf]), ("BOOL", "?", [True, False]),
    ("BF16", "f", [1.0, -2.5, 3.0 * 2.0 ** 100, 2.0 ** -133, -0.0, inf, nan])])
def test_all_dtypes_are_read(dtype, letter, numbers):
    parts = [struct.pack("<" + letter, x)[2 if dtype == "BF16" else 0:] for x in numbers]    # the upper half
    size, n = sum(map(len, parts)), len(numbers)
    header = {"s": entry(dtype, [], [size, size + size // n]), "m": entry(dtype, [n, 1], [0, size])}
    loaded = read(file_of(header, b"".join(parts) + parts[0]))
    assert repr(loaded) == repr({"m": [[x] for x in numbers], "s": numbers[0]}), "in the order of the data"


@pytest.mark.parametrize("shape, nested", [
    ([0], []), ([0, 3], []), ([3, 0], [[], [], []]), ([0, 2 ** 60], []), ([2, 0, 2 ** 40], [[], []])])
def test_empty_tensors_are_legal(shape, nested):
    header = {"a": entry(shape=shape, offsets=[0, 0]), "b": entry(), "c": entry(shape=shape, offsets=[8, 8])}
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
    "key too many": one(strides=[]), "dtype unknown": one("F8_E4M3", [8]), "dtype lower case": one("f64"),
    "dtype no string": one(["F64"]), "shape a number": one(shape=1), "shape text": one(shape="1"),
    "shape null": one(shape=None), "shape negative": one(shape=[-1, -1]), "shape float": one(shape=[1.0]),
    "shape bool": one(shape=[True]), "shape NaN": one(shape=[nan]),
    "shape Infinity": one(shape=[inf, 0], offsets=[0, 0], size=0),
    "shape of 10**6 digits": file_of(ONE.replace(b"[]", b"[0, %s]" % (b"9" * 10 ** 6)).replace(b"8", b"0")),
    "65 dimensions": one(shape=[1] * 65),
    "2**40 empty lists": one(shape=[2 ** 40, 0], offsets=[0, 0], size=0),
    "2**40 empty lists in one": one(shape=[1, 2 ** 20, 2 ** 20, 0], offsets=[0, 0], size=0),
    "empty lists in many": file_of({str(i): entry("U8", [90_000, 0], [0, 0]) for i in range(99)}),
    "63 lists around each byte": one("U8", [DEEP] + [1] * 63, [0, DEEP], DEEP),
    "product too small": one(shape=[2]), "product too large": one(shape=[2 ** 62, 4]),
    "product 2**64": one(shape=[2 ** 32, 2 ** 32]), "product not whole": one("U16", [1], [0, 3], 3),
    "offsets backwards": one(offsets=[8, 0]), "offsets three": one(offsets=[0, 4, 8]),
    "offsets float": one(offsets=[0.0, 8]), "offsets bool": one("U8", [1], [False, True], 1),
    "offsets negative": one(offsets=[-8, 0]), "offsets an object": one(offsets={"0": 0, "8": 8}),
    "data missing": one(size=7), "data too much": one(size=9), "data without entry": file_of({}, bytes(1)),
    "data far away": one(offsets=[2 ** 62, 2 ** 62 + 8]), "hole at the start": one(offsets=[8, 16], size=16),
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
SNIPPETS = [b'"', b"\\", b"[", b"{", b"}", b"]", b"9" * 30, b"-", b"e9", b"NaN", b"\\ud800", b'"a":', b"null"]
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
    ({"bad": 10 ** 400}, {}, ValueError, "bad"), ({"bad": [1e39]}, {"dtype": "F32"}, ValueError, "bad"),
    ({"__metadata__": 1.0}, {}, ValueError, "metadata"), ({"\ud800": 1.0}, {}, ValueError, "ud800"),
    ({1: 1.0}, {}, TypeError, "1"), ([1.0], {}, TypeError, "list"),
    ({"x": 1.0}, {"dtype": "F16"}, ValueError, "F16"),
    ({"x": 1}, {"metadata": {"e": 1}}, TypeError, "metadata"),
    ({}, {"metadata": ["e"]}, TypeError, "metadata"),
    ({}, {"metadata": {"e": "\ud800"}}, ValueError, "surrogate"),
], ids=repr)
def test_what_cannot_be_saved_is_named_and_the_old_file_stays(state, options, error, names, tmp_path):
    save(tmp_path / "x", {"old": 1.0})
    with pytest.raises(error, match=names):
        save(tmp_path / "x", state, **options)
    assert load(tmp_path / "x") == {"old": 1.0} and os.listdir(tmp_path) == ["x"]


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
        with subprocess.Popen([sys.executable, "-c", program, str(path), str(n + 1)], stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": FOLDER}) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        state = load(path)
        assert state["n"] > n and state["w"] == [state["n"]] * 30_000
        n = int(state["n"])


# ----------------------------------------------------------------------------------------------------
# Drawing
# ----------------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"
RANKDIRS = pytest.mark.parametrize("rankdir", ["LR", "TB"])


@st.composite
def labelled_graphs(draw):
    """A node that a random graph ends in; every node has a label of its own."""
    nodes = [Value(1.0, f"leaf {i}") for i in range(draw(st.integers(1, 5)))]
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
                left, top, width, height = [float(rect.get(key)) for key in ("x", "y", "width", "height")]
                self.rectangles[-1].append((x + left, y + top, x + left + width, y + top + height))
                for text in group.iter(SVG + "text") if len(list(group.iter(SVG + "rect"))) == 1 else []:
                    middle, base, half = float(text.get("x")), float(text.get("y")), len(text.text) * 7.25 / 2
                    assert left < middle - half and middle + half < left + width
                    assert top < base - 9 and base + 3 < top + height
        paths = [numbers_in(path.get("d")) for path in root.findall(SVG + "path")]
        self.lines = [list(zip(path[::2], path[1::2])) for path in paths]

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
    x1, x2, w1, w2 = Value(2.0, "x1"), Value(0.0, "x2"), Value(-3.0, "w1"), Value(1.0, "w2")
    out = (x1 * w1 + x2 * w2 + Value(6.8813735870195432, "b")).tanh()
    out.label = "o"
    before = draw_dot(out)
    out.backward()
    after = draw_dot(out)
    assert 'label="{ o | data 0.7071 | grad 0.0000 }"' in before.source
    assert 'label="{ x1 | data 2.0000 | grad -1.5000 }"' in after.source
    assert re.findall(r"^op\d+ \[label=\"(.*)\"\]$", after.source, re.M) == ["*", "*", "+", "+", "tanh"]
    assert ["tanh", "o", "data 0.7071", "grad 1.0000"] in Picture(after.svg).nodes
    assert after._repr_svg_() == after.svg


@given(st.text(st.characters() | st.sampled_from('\\"{}|<>&;\n\r\t\0\ud800\ufffe'), min_size=1, max_size=60))
def test_any_label_is_escaped(label):
    drawing = draw_dot(-Value(1.0, label))
    shown = label if len(label) <= 40 else label[:39] + "…"
    shown = "".join(c if c.isprintable() else " " for c in shown)
    assert Picture(drawing.svg).nodes[0][0] == shown
    escaped = re.search(r'label="\{ (.*) \| data 1.0000 \| grad 0.0000 \}"\]$', drawing.source, re.M)[1]
    assert re.fullmatch(r'(\\.|[^\\"{}|<>])*', escaped)     # nothing that DOT would take for its own
    assert re.sub(r"\\(.)", r"\1", escaped).replace("&amp;", "&") == shown
    drawing.svg.encode(), drawing.source.encode()


@pytest.mark.parametrize("number, text", [
    (2, "2.0000"), (-0.00004, "-0.0000"), (True, "1.0000"), (1e300, "1e+300"), (nan, "nan"), (-inf, "-inf"),
    (1 + 2j, "1.0000+2.0000j"), (Fraction(1, 3), "1/3"), (Fraction(4), "4"), (None, "None"),
    (Fraction(10 ** 30, 7), "1.429e+29"), (Fraction(10 ** 5001, 10 ** 5000 + 1), "10.0000"),
    (Decimal("0.1"), "0.1000"), (10 ** 5000, "…"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_all_kinds_of_numbers_are_drawn(number, text):
    value = Value(0.0)
    value.data = value.grad = number
    assert Picture(draw_dot(value).svg).nodes == [["data " + text, "grad " + text]]


@RANKDIRS
def test_a_tensor_shows_its_shape_and_few_numbers(rankdir):
    w = Tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 60.0]], label="a label of some length")
    loss = (w * Tensor.ones(4, 2, 3)).sum()
    loss.backward()
    small, ones, large, summed = Picture(draw_dot(loss, rankdir).svg).nodes
    assert [text.replace("\xa0", " ") for text in small[1:4]] == [
        "shape (2, 3)", "data  1.0000 -2.0000  3.0000", "      4.0000  5.0000 60.0000"]
    assert ones == ["shape (4, 2, 3)"] and large == ["*", "shape (4, 2, 3)"]
    assert summed == ["sum", "shape ()", "data 284.0000", "grad 1.0000"]


def test_roots_operands_used_twice_and_large_graphs():
    a = x = Value(1.0, "a")
    drawing = draw_dot(a + a)
    assert drawing.source.count("n0 -> op1") == 2 and len(set(map(tuple, Picture(drawing.svg).lines))) == 2
    assert [texts[0] for texts in Picture(draw_dot([a * 2, a]).svg).nodes] == ["a", "data 2.0000", "*"]
    for _ in range(1500):
        x = -x
    assert draw_dot(x, max_nodes=1501).source.count("shape=record") == 1501
    with pytest.raises(ValueError, match="1501 nodes.*max_nodes=500.*pass max_nodes=1501"):
        draw_dot(x)


def test_a_drawing_is_saved_as_svg_or_dot(tmp_path):
    drawing = draw_dot(Value(1.0, "é"))
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


def test_the_file_checks_itself_and_notices_a_wrong_derivative(tmp_path):
    with open(os.path.join(FOLDER, "micrograd.py"), encoding="utf-8") as file:
        text = file.read()
    for tanh, status in ("math.tanh", 0), ("math.sin", 1):
        (tmp_path / "copied.py").write_text(text.replace("math.tanh", tanh), encoding="utf-8")
        run = run_python(str(tmp_path / "copied.py"))
        assert run.returncode == status and ("tanh" in run.stdout) == status, run.stdout


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
