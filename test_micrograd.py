"""Is every gradient right? `pytest` answers; it needs pytest and hypothesis.

    the table        every operation once: how to write it, what it does to plain numbers, where, how exact
    differences      a gradient is right when differences say so, and so is the gradient of the gradient
    one operation    on Values and on Tensors, at the edges, in every way of broadcasting, exact with Fractions
    many operations  random graphs as Python that can be pasted
    the engine       accumulation, order, depth, memory, failures, threads
    numbers          Python's own; inf and nan; the largest and the smallest
    networks         Module, Neuron, Linear; a network of Values is the same network of Tensors
    losses, optimizers, code written for micrograd, mistakes of others, wrong use, saving, drawing, documents

Random numbers are drawn from a seed, and only seed and shapes by hypothesis: so they are never special, while
shapes and graphs shrink to the smallest that fails. HYPOTHESIS_PROFILE=thorough takes fifty times as many.
"""
import ast
import copy
import doctest
import gc
import inspect
import io
import math
import operator
import os
import pickle
import random
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
from contextlib import redirect_stdout
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product, zip_longest

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import micrograd
from micrograd import (FUNCTIONS, MLP, SGD, Adam, AdamW, Layer, Linear, Module, Neuron, Sequential, Tensor, Value,
                       binary_cross_entropy_with_logits, cat, clip_grad_norm, cross_entropy, dot, elementwise, flat,
                       grad, gradcheck, hinge_loss, linear, mse_loss, nest, no_grad, shape_of, stack, where)

for _name, _examples in ("quick", 15), ("fast", 4), ("thorough", 750):
    settings.register_profile(_name, deadline=None, max_examples=_examples, database=None,
                              suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

CPYTHON = sys.implementation.name == "cpython"
inf, nan = math.inf, math.nan


# ----------------------------------------------------------------------------------------------------
# The table of operations
# ----------------------------------------------------------------------------------------------------

# Where operands are drawn from, in 64ths. They are odd and never drawn twice, so no operand is 0, an
# integer or equal to another: corners (relu at 0, max of equals) keep a distance of 1/64, and are tested by hand.
REAL = range(-159, 160, 2)
NONZERO = [k for k in REAL if abs(k) > 30]
POSITIVE = range(31, 200, 2)

# The degree of the result as a polynomial, from the degrees of the operands: finite differences are exact then.
MAX, SUM, POLES = lambda *degrees: max(degrees), lambda *degrees: sum(degrees), "poles"


class Operation:
    """One row of the table; called with Values, Tensors or lists it applies the operation."""

    def __init__(self, source, plain, domains, degree=None):
        self.source, self.domains, self.degree = source, domains, degree
        names = ", ".join("xy"[:len(domains)])
        self.call = eval(f"lambda {names}: {source}", dict(vars(micrograd)))
        self.plain = eval(f"lambda {names}: {plain}", {"math": math})

    def __repr__(self):
        return self.source

    def applied(self, *names):
        """The source with other names for x and y, kept inside the domain."""
        names = [name if domain is REAL else f"(1 + {name} * {name})" for name, domain in zip(names, self.domains)]
        return re.sub(r"\b[xy]\b", lambda match: names["xy".index(match.group())], self.source)


#    on Values and Tensors  the same on plain numbers                  domains             degree
OPERATIONS = [Operation(*row) for row in [
    ("x + y",               "x + y",                                   [REAL, REAL],       MAX),
    ("x - y",               "x - y",                                   [REAL, REAL],       MAX),
    ("x * y",               "x * y",                                   [REAL, REAL],       SUM),
    ("x / y",               "x / y",                                   [REAL, NONZERO],    POLES),
    ("x ** y",              "math.exp(y * math.log(x))",               [POSITIVE, REAL]),
    ("-x",                  "0 - x",                                   [REAL],             MAX),
    ("abs(x)",              "x if x > 0 else -x",                      [REAL],             MAX),
    ("x ** 0",              "1",                                       [REAL],             MAX),
    ("x ** 1",              "x",                                       [REAL],             MAX),
    ("x ** 2",              "x * x",                                   [REAL],             lambda d: 2 * d),
    ("x ** 3",              "x * x * x",                               [REAL],             lambda d: 3 * d),
    ("x ** -1",             "1 / x",                                   [NONZERO],          POLES),
    ("x ** -2",             "1 / (x * x)",                             [NONZERO],          POLES),
    ("x ** 0.5",            "math.sqrt(x)",                            [POSITIVE]),
    ("3 ** x",              "math.exp(x * math.log(3))",               [REAL]),
    ("3 - x",               "3 - x",                                   [REAL],             MAX),
    ("3 / x",               "3 / x",                                   [NONZERO],          POLES),
    ("x.maximum(y)",        "x if x > y else y",                       [REAL, REAL],       MAX),
    ("x.minimum(y)",        "x if x < y else y",                       [REAL, REAL],       MAX),
    ("x.clip(-1, 1)",       "-1 if x < -1 else 1 if x > 1 else x",     [REAL],             MAX),
    ("x.clip(low=1)",       "x if x > 1 else 1",                       [REAL],             MAX),
    ("x.clip(high=1)",      "x if x < 1 else 1",                       [REAL],             MAX),
    ("x.relu()",            "x if x > 0 else 0",                       [REAL],             MAX),
    ("x.leaky_relu()",      "x if x > 0 else 0.01 * x",                [REAL]),
    ("x.leaky_relu(2)",     "x if x > 0 else 2 * x",                   [REAL],             MAX),
    ("x.exp()",             "math.e ** x",                             [REAL]),
    ("x.log()",             "math.log(x)",                             [POSITIVE]),
    ("x.sqrt()",            "x ** 0.5",                                [POSITIVE]),
    ("x.sin()",             "math.sin(x)",                             [REAL]),
    ("x.cos()",             "math.cos(x)",                             [REAL]),
    ("x.tanh()",            "math.tanh(x)",                            [REAL]),
    ("x.sigmoid()",         "1 / (1 + math.exp(-x))",                  [REAL]),
    ("x.gelu()",            "x * (1 + math.erf(x / math.sqrt(2))) / 2", [REAL]),
    ("x.silu()",            "x / (1 + math.exp(-x))",                  [REAL]),
    ("x.softplus()",        "math.log(1 + math.exp(x))",               [REAL]),
]]
EXACT = [op for op in OPERATIONS if op.degree]
POLYNOMIAL = [op for op in EXACT if "." not in op.source and op.degree is not POLES and "abs" not in op.source]

# What is tested on nested lists of Values, further down, and what is no operation at all.
TENSOR_OPERATIONS = """sum mean max min var argmax logsumexp softmax log_softmax reshape flatten transpose permute T
    unsqueeze squeeze broadcast_to __getitem__ __iter__ cat stack where __matmul__ __rmatmul__ linear dot
    mse_loss hinge_loss cross_entropy binary_cross_entropy_with_logits""".split()
REFLECTED = ["__radd__", "__rsub__", "__rmul__", "__rtruediv__", "__rpow__"]
COMPARISONS = ["__lt__", "__le__", "__gt__", "__ge__"]
NO_OPERATIONS = """data grad label requires_grad backward shape ndim size item tolist detach zeros ones full eye arange
    rand randn uniform __len__ __bool__ __setitem__ __array_ufunc__ __init__ __repr__ __reduce__ __hash__
    gradcheck elementwise no_grad clip_grad_norm save load draw_dot Node Value Tensor Module Neuron Layer MLP Linear
    Sequential Optimizer SGD Adam AdamW""".split()
KERNELS = """shape_of nested flat nest copied zip_map map_rows broadcast_shape expand reduce_dim permuted products matmul
    concatenated take add_at sumprod""".split()


def _names_in(source):
    """The methods, functions and operators that an expression uses, by the names that Python has for them."""
    symbols = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__", ast.Pow: "__pow__",
               ast.USub: "__neg__"}
    for node in ast.walk(ast.parse(source)):
        yield getattr(node, "attr", None) or symbols.get(type(getattr(node, "op", None))) or getattr(node, "id", "")


def _public_names():
    for cls in Value, Tensor:
        for name in dir(cls):
            special = name.startswith("__") and getattr(cls, name) is not getattr(object, name, None)
            if special and callable(getattr(cls, name)) or not name.startswith("_"):
                yield name
    for name, thing in vars(micrograd).items():
        if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "") == "micrograd":
            yield name
    yield from FUNCTIONS


PUBLIC = set(_public_names())       # before any test registers operations of its own


def test_every_public_name_is_in_the_table_or_listed_as_no_operation():
    listed = {"__abs__", *TENSOR_OPERATIONS, *REFLECTED, *COMPARISONS, *NO_OPERATIONS, *KERNELS}
    for op in OPERATIONS:
        listed.update(_names_in(op.source))
    inherited = {"__new__", "__class__", "__init_subclass__", "__subclasshook__", "__getstate__", "__dir__",
                 "__array_priority__", "__doc__"}
    assert PUBLIC - listed - inherited == set(), "add these to OPERATIONS"


# ----------------------------------------------------------------------------------------------------
# Differences
#
# f(x + h) - f(x - h) over 2 h is exact for polynomials of degree 2, and so are longer sums for higher
# degrees; with Fractions there is no rounding, and a gradient must agree to the last digit. Where x**3 * f(x) is
# a polynomial, as of 1 / x, that one is differentiated. Order n is checked as the gradient of order n - 1,
# multiplied by x: this keeps the degree and the poles, and what is constant still depends on x.
# ----------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10 ** 6)


def weights(n, period):
    """n numbers, none like its neighbours, for sums in which errors cannot cancel."""
    return [Fraction(1 + 11 * i % period, 4) for i in range(n)]


def total(node):
    """All elements in one number, each with a weight of its own."""
    if isinstance(node, Value):
        return node * 3
    return (node * nest(of_kind(node, weights(node.size, 29)), node.shape)).sum()


def of_kind(node, numbers):
    """Fractions for what is exact, floats for what is not."""
    exact = all(isinstance(x, (Fraction, int)) for x in flat(node.data))
    return numbers if exact else list(map(float, numbers))


def moved(x, direction, t):
    return type(x)(nest([a + t * d for a, d in zip(flat(x.data), direction)], shape_of(x.data)))


def differences(f, degree=4, h=Fraction(1, 1024)):
    """f'(0), exact for polynomials of the degree; else as good as h**degree."""
    n = (degree + 1) // 2
    slope = 0
    for k in range(1, n + 1):
        c = Fraction((-1) ** (k + 1) * math.factorial(n) ** 2, k * math.factorial(n - k) * math.factorial(n + k))
        slope += c * (f(k * h) - f(-k * h)) / h
    return slope


def differences_at_a_pole(f, x):
    """f'(0) where x + t is the operand and (x + t)**3 * f(t) a polynomial of degree 4 or less."""
    return (differences(lambda t: (x + t) ** 3 * f(t)) - 3 * x ** 2 * f(0)) / x ** 3


def agrees(actual, expected, exact, tolerance=1e-6):
    if exact:
        return isinstance(actual, (int, Fraction)) and actual == expected
    return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance)


def item(node):
    return node.data if isinstance(node, Value) else node.item()


def check(f, inputs, degree=None, orders=3, source="", only_smooth=False):
    """The gradients of f with respect to Values or Tensors, to the third order; exact when degree is given."""
    def of_order(order):
        if order == 1:
            return lambda *xs: total(f(*xs))

        def slopes(*xs):
            gradients = grad(of_order(order - 1)(*xs), xs, create_graph=True)
            return sum(total(x * gradient) for x, gradient in zip(xs, gradients))
        return slopes

    for order in range(1, orders + 1):
        function = of_order(order)
        for i, (x, gradient) in enumerate(zip(inputs, grad(function(*inputs), inputs))):
            shape, numbers = shape_of(x.data), flat(x.data)
            assert shape_of(gradient.data) == shape, f"order {order}, input {i}: the gradient has another shape"
            direction = of_kind(x, weights(len(numbers), 13))
            if degree is POLES:                 # each element has a pole of its own: move only one
                direction = [int(k == order % len(numbers)) for k in range(len(numbers))]

            def along(t):
                return item(function(*inputs[:i], moved(x, direction, t), *inputs[i + 1:]))

            if degree is None:
                h = 1 / 1024
                expected = differences(along, h=h)
                if only_smooth:
                    assume(agrees(expected, differences(along, h=3 * h), False, 1e-7))
            elif degree is POLES:
                expected = differences_at_a_pole(along, numbers[order % len(numbers)])
            else:
                expected = differences(along, degree)
            actual = sum(map(operator.mul, flat(gradient.data), direction))
            assert agrees(actual, expected, degree is not None), (
                f"order {order}, input {i}: the gradient is {actual}, differences give {expected}\n{source}")


def as_function_of(call, operands, free):
    """call as a function of some of its operands, and these; the others stay as they are."""
    def f(*inputs):
        given_back = iter(inputs)
        return call(*(next(given_back) if is_free else operand for operand, is_free in zip(operands, free)))
    return f, [operand for operand, is_free in zip(operands, free) if is_free]


def draw_numbers(seed, sizes, domains, number):
    """Lists of numbers from the domains, all different."""
    rng, used, drawn = random.Random(seed), set(), []
    for size, domain in zip(sizes, domains):
        numbers = rng.sample([k for k in domain if k not in used], size)
        used.update(numbers)
        drawn.append([number(k) / 64 for k in numbers])
    return drawn


def is_method_of(op, operand):
    """False for what cannot be written, such as 3.0.maximum(x)."""
    return isinstance(operand, (Value, Tensor)) or not op.source.startswith("x.")


# ----------------------------------------------------------------------------------------------------
# One operation on Values
# ----------------------------------------------------------------------------------------------------

KINDS_OF_NUMBERS = pytest.mark.parametrize("number, op", [(float, op) for op in OPERATIONS] +
                                           [(Fraction, op) for op in EXACT], ids=str)


@KINDS_OF_NUMBERS
@settings(max_examples=5)
@given(seed=SEEDS)
def test_operation_on_values_and_numbers_to_the_third_order(number, op, seed):
    numbers = [n for n, in draw_numbers(seed, [1, 1], op.domains, number)]
    degree = op.degree and number is Fraction and (op.degree if op.degree is POLES else op.degree(*[1] * len(numbers)))
    for free in product([True, False], repeat=len(numbers)):
        operands = [Value(n) if is_free else n for n, is_free in zip(numbers, free)]
        if any(free) and is_method_of(op, operands[0]):
            out = op.call(*operands)
            assert agrees(out.data, op.plain(*numbers), number is Fraction, 1e-12)
            check(*as_function_of(op.call, operands, free), degree or None)


@pytest.mark.parametrize("source, x, out, slope, second", [
    ("x.relu()", 0.0, 0, 0, 0), ("x.leaky_relu()", 0.0, 0, 0.01, 0), ("abs(x)", 0.0, 0, 0, 0),
    ("x ** 0", 0.0, 1, 0, 0), ("x ** 1", 0.0, 0, 1, 0), ("x ** 2", 0.0, 0, 0, 2), ("x ** 3", 0.0, 0, 0, 0),
    ("x ** 0.0", 0.0, 1, 0, 0), ("x ** 1.0", 0.0, 0, 1, 0), ("x ** 2.0", -3.0, 9, -6, 2), ("x ** -1", -2.0, -.5, -.25, -.25),
    ("x ** Value(0.0)", 0.0, 1, 0, 0), ("x ** Value(1.0)", 0.0, 0, 1, 0), ("x ** Value(2.0)", -3.0, 9, -6, 2),
    ("0 ** x", 2.0, 0, 0, 0), ("x ** x", 1.0, 1, 1, 2), ("x.clip(0, 1)", 0.0, 0, 1, 0), ("x.clip(0, 1)", 1.0, 1, 1, 0),
    ("x.clip(2, 1)", 0.0, 1, 0, 0), ("x.maximum(0)", 0.0, 0, .5, 0), ("x.minimum(0)", 0.0, 0, .5, 0),
    ("x.maximum(x)", 3.0, 3, 1, 0), ("x.minimum(x)", 3.0, 3, 1, 0), ("x.sigmoid()", 0.0, .5, .25, 0),
    ("x.softplus()", 0.0, math.log(2), .5, .25), ("x.gelu()", 0.0, 0, .5, math.sqrt(2 / math.pi)),
    ("x.silu()", 0.0, 0, .5, .5), ("x.tanh()", 0.0, 0, 1, 0), ("x - x", 3.0, 0, 0, 0), ("x / x", 3.0, 1, 0, 0),
])
def test_edges(source, x, out, slope, second):
    """Corners, bounds, the exponents 0, 1 and 2, the base 0: for both engines."""
    for x in Value(x), Tensor(x), Tensor([[x]]):
        source = source.replace("Value(", type(x).__name__ + "(")
        y = eval(source, {**vars(micrograd), "x": x})
        dx, = grad(y, x, create_graph=True)
        assert [flat(y.data), flat(dx.data)] == [[pytest.approx(out)], [pytest.approx(slope)]]
        again = (dx + 0 * x)                    # a constant gradient does not depend on x
        assert flat(grad(again, x)[0].data) == [pytest.approx(second)]


@pytest.mark.parametrize("cls", [Value, Tensor])
def test_gradient_of_an_exponent(cls):
    for base, slope in (2.0, 8 * math.log(2)), (0.0, 0.0):
        exponent = cls(3.0)
        (base ** exponent).backward()
        assert exponent.grad == pytest.approx(slope)
    base, exponent = cls(-2.0), cls(3.0)        # not defined for a negative base: nan, as PyTorch has it
    (base ** exponent).backward()
    assert base.grad == 12 and math.isnan(exponent.grad)


@given(seed=SEEDS)
def test_comparisons_of_values_compare_data(seed):
    rng = random.Random(seed)
    x, y = rng.randint(-2, 2), rng.randint(-2, 2)
    for compare in operator.lt, operator.le, operator.gt, operator.ge:
        assert compare(Value(x), Value(y)) is compare(Value(x), y) is compare(x, Value(y)) is compare(x, y)


def test_equality_is_identity():
    for cls in Value, Tensor:
        x, y = cls(1.0), cls(1.0)
        assert x == x and x != y and x != 1.0 and len({x, y, x}) == 2


@given(n=st.integers(0, 5), seed=SEEDS, kinds=st.lists(st.booleans(), min_size=11, max_size=11))
def test_dot_is_the_sum_of_products_plus_bias(n, seed, kinds):
    numbers, = draw_numbers(seed, [2 * n + 1], [REAL], Fraction)
    operands = [Value(x) if is_free else x for x, is_free in zip(numbers, kinds)]
    expected = sum(map(operator.mul, numbers[:n], numbers[n:2 * n])) + numbers[-1]
    call = lambda *xs: dot(xs[:n], xs[n:2 * n], xs[-1])  # noqa: E731
    assert agrees(call(*operands).data, expected, True)
    f, inputs = as_function_of(call, operands, kinds)
    if inputs:
        check(f, inputs, 2)


def test_dot_of_the_same_value_many_times_counts_it_many_times():
    x = Value(Fraction(3))
    check(lambda x: dot([x, x, 2], [x, 5, x], x), [x], 2)
    dot([x, x, 2], [x, 5, x], x).backward()
    assert x.grad == 2 * 3 + 5 + 2 + 1


def test_functions_take_plain_numbers_too():
    for name, function in FUNCTIONS.items():
        assert function(0.75) == getattr(Value(0.75), name)().data == getattr(Tensor(0.75), name)().item()
        assert function.__name__ == name and function.__doc__
    assert micrograd.tanh is FUNCTIONS["tanh"]


# ----------------------------------------------------------------------------------------------------
# One operation on Tensors
# ----------------------------------------------------------------------------------------------------

def indices(shape):
    return list(product(*map(range, shape)))


def at(data, index):
    """The number that broadcasting puts at index."""
    for i in index[len(index) - len(shape_of(data)):]:
        data = data[i] if len(data) > 1 else data[0]
    return data


def broadcast(shapes):
    """NumPy's rule: align at the end, then the larger size wins."""
    return tuple(map(max, zip_longest(*map(reversed, shapes), fillvalue=1)))[::-1]


SHAPES = st.lists(st.integers(1, 3), max_size=4).map(tuple).filter(lambda shape: math.prod(shape) <= 24)


@st.composite
def shapes_that_broadcast(draw, n, shapes=SHAPES):
    full = draw(shapes)
    return [tuple(draw(st.sampled_from([size, 1])) for size in full[draw(st.integers(0, len(full))):])
            for _ in range(n)]


def to_tuples(data):
    return tuple(map(to_tuples, data)) if isinstance(data, list) else data


class Array:
    """Like an array of NumPy: anything with .tolist() is taken, and operators are left to us."""

    def __init__(self, data):
        self.data = data

    def tolist(self):
        return self.data

    def _operator(self, other):
        assert type(other).__array_ufunc__ is None, "NumPy would make an array of objects"
        return NotImplemented

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = __matmul__ = __lt__ = __le__ = __gt__ = __ge__ = _operator


# What may stand in the place of an operand, beside a Tensor that requires a gradient.
CONSTANTS = [lambda data: Tensor(data, requires_grad=False), list, to_tuples, Array]
OPERANDS = st.lists(st.sampled_from([Tensor, Tensor] + CONSTANTS), min_size=3, max_size=3).filter(lambda k: Tensor in k)


def make_operands(kinds, shapes, numbers):
    """Tensors and constants of the kinds, and which of them are to be differentiated."""
    nested = [nest(x, shape) for x, shape in zip(numbers, shapes)]
    operands = [data if kind is list or shape_of(data) == () and kind is to_tuples else kind(data)
                for kind, data in zip(kinds, nested)]
    return operands, [kind is Tensor for kind in kinds[:len(nested)]]


@KINDS_OF_NUMBERS
@given(shapes=shapes_that_broadcast(2), kinds=OPERANDS, seed=SEEDS)
def test_operation_on_tensors_under_broadcasting_to_the_third_order(number, op, shapes, kinds, seed):
    shapes = shapes[:len(op.domains)]
    numbers = draw_numbers(seed, map(math.prod, shapes), op.domains, number)
    operands, free = make_operands(kinds, shapes, numbers)
    assume(any(free) and is_method_of(op, operands[0]))
    out, data = op.call(*operands), [nest(x, shape) for x, shape in zip(numbers, shapes)]
    assert out.shape == broadcast(shapes)
    for index in indices(out.shape):
        assert agrees(at(out.data, index), op.plain(*(at(x, index) for x in data)), number is Fraction, 1e-12)
    degree = op.degree and number is Fraction and (op.degree if op.degree is POLES else op.degree(*[1] * len(shapes)))
    check(*as_function_of(op.call, operands, free), degree or None)


@given(shapes=shapes_that_broadcast(2), kinds=OPERANDS, seed=SEEDS)
def test_comparisons_of_tensors_give_a_constant_tensor_of_0_and_1(shapes, kinds, seed):
    rng = random.Random(seed)
    numbers = [[rng.randint(-1, 1) for _ in range(math.prod(shape))] for shape in shapes]
    x, y = make_operands(kinds, shapes, numbers)[0]
    assume(isinstance(x, Tensor) or isinstance(y, Tensor))
    p, q = (nest(n, shape) for n, shape in zip(numbers, shapes))
    for compare in operator.lt, operator.le, operator.gt, operator.ge:
        out = compare(x, y)
        assert out.shape == broadcast(shapes) and not out.requires_grad and type(flat(out.data)[0]) is float
        assert all(at(out.data, i) == compare(at(p, i), at(q, i)) for i in indices(out.shape))


def test_ties_share_the_gradient_equally():
    x = Tensor([[3, 1, 3], [3, 3, 0]])
    for axis, expected in (None, [[.25, 0, .25], [.25, .25, 0]]), (1, [[.5, 0, .5], [.5, .5, 0]]), (0, [[.5, 0, 1], [.5, 1, 0]]):
        assert grad(x.max(axis), x)[0].data == grad((-x).min(axis), x)[0].data == expected or axis is None
        assert grad(x.max(axis), x)[0].data == expected
        assert grad((-x).min(axis), x)[0].data == [[-g for g in row] for row in expected]
    y = Tensor([3, 1, 4])
    assert [g.data for g in grad(x.maximum(y), [x, y])] == [[[.5, .5, 0], [.5, 1, 0]], [1, .5, 2]]
    assert [g.data for g in grad(x.minimum(y), [x, y])] == [[[.5, .5, 1], [.5, 0, 1]], [1, 1.5, 0]]


# ----------------------------------------------------------------------------------------------------
# Operations that only Tensors have: each is defined here on Values, one for every index
#
# A case is source code, the shapes of x, y, z, the result as a dict from index to Value (of dicts for x, y, z),
# and the degree of the result. Value is known to be right by now; so is Tensor when it gives the same numbers
# and gradients, without any tolerance where there are Fractions. Differences are taken all the same.
# ----------------------------------------------------------------------------------------------------

def grouped(x, axes, keepdim):
    """The elements of x that share an index when the axes are left out (or 0)."""
    groups = {}
    for index, element in x.items():
        kept = [0 if i in axes else n for i, n in enumerate(index) if keepdim or i not in axes]
        groups.setdefault(tuple(kept), []).append(element)
    return groups


def an_axis(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1)) if ndim else draw(st.sampled_from([0, -1]))


def mean(xs):
    return sum(xs) / len(xs)


REDUCTIONS = {"sum": (sum, 1), "mean": (mean, 1), "max": (max, 1), "min": (min, 1),
              "var": (lambda xs: sum((x - mean(xs)) ** 2 for x in xs) / (len(xs) - 1), 2),
              "logsumexp": (lambda xs: sum(x.exp() for x in xs).log(), None)}


@st.composite
def a_reduction(draw):
    shape, keepdim, (name, (f, degree)) = draw(SHAPES), draw(st.booleans()), draw(st.sampled_from([*REDUCTIONS.items()]))
    ndim = len(shape)
    dim = draw(st.none() | st.integers(-ndim, ndim - 1) | st.lists(st.integers(0, ndim - 1), unique=True, min_size=1)
               .map(lambda dims: tuple(d - ndim * (d % 2) for d in dims)) if ndim else st.sampled_from([None, 0, -1]))
    axes = {d % ndim for d in (range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim)} if ndim else {}
    assume(name != "var" or math.prod(shape[d] for d in axes) > 1)
    return (f"x.{name}({dim}, keepdim={keepdim})", [shape],
            lambda x: {index: f(group) for index, group in grouped(x, axes, keepdim).items()}, degree)


@st.composite
def a_softmax(draw):
    shape, name = draw(SHAPES), draw(st.sampled_from(["softmax", "log_softmax"]))
    dim = an_axis(draw, len(shape))

    def define(x):
        groups = grouped(x, {dim % max(len(shape), 1)}, True)
        sums = {index: sum(e.exp() for e in group) for index, group in groups.items()}
        y = {i: e.exp() / next(s for index, s in sums.items() if at_index(i, index)) for i, e in x.items()}
        return y if name == "softmax" else {i: e.log() for i, e in y.items()}

    def at_index(i, kept):
        return all(n == k or axis == dim % len(shape) for axis, (n, k) in enumerate(zip(i, kept)))
    return f"x.{name}({dim})", [shape], define, None


@st.composite
def a_reordering(draw):
    shape = draw(SHAPES)
    order = draw(st.permutations(range(len(shape))))
    a, b = an_axis(draw, len(shape)), an_axis(draw, len(shape))
    swapped = list(range(len(shape)))
    if shape:
        swapped[a], swapped[b] = swapped[b], swapped[a]
    signed = [d - len(shape) * (d % 2) for d in order]
    source, order = draw(st.sampled_from([
        (f"x.permute({', '.join(map(str, signed))})", order), (f"x.permute({signed})", order),
        (f"x.transpose({a}, {b})", swapped), ("x.T", list(range(len(shape)))[::-1])]))
    return source, [shape], lambda x: {tuple(i[d] for d in order): e for i, e in x.items()}, 1


@st.composite
def a_new_shape(draw):
    """The elements stay in their order."""
    shape = draw(SHAPES)
    ndim, size = len(shape), math.prod(shape)
    p = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    at, start = draw(st.integers(0, ndim)), draw(st.integers(0, max(ndim - 1, 0)))
    end = draw(st.integers(start, max(ndim - 1, 0)))
    one = an_axis(draw, ndim)
    source, new = draw(st.sampled_from([
        (f"x.reshape({p}, {size // p})", (p, size // p)), (f"x.reshape(({p}, -1, 1))", (p, size // p, 1)),
        ("x.reshape(-1)", (size,)), ("x.flatten()", (size,)),
        (f"x.flatten({start}, {end - ndim})", shape[:start] + (math.prod(shape[start:end + 1]),) + shape[end + 1:]),
        (f"x.unsqueeze({at})", shape[:at] + (1,) + shape[at:]),
        (f"x.unsqueeze({at - ndim - 1})", shape[:at] + (1,) + shape[at:]),
        ("x.squeeze()", tuple(n for n in shape if n > 1)),
        (f"x.squeeze({one})", tuple(n for d, n in enumerate(shape) if n > 1 or d != one % ndim)),
        (f"x.squeeze(({one},))", tuple(n for d, n in enumerate(shape) if n > 1 or d != one % ndim))]))
    return source, [shape], lambda x: dict(zip(indices(new), x.values())), 1


@st.composite
def a_broadcast(draw):
    target = draw(SHAPES)
    shape, = draw(shapes_that_broadcast(1, st.just(target)))
    arguments = draw(st.sampled_from([target, (target,)]))
    return (f"x.broadcast_to({', '.join(map(str, arguments))})", [shape],
            lambda x: {i: x[to_own(i, shape)] for i in indices(target)}, 1)


def to_own(index, shape):
    """The index of the element that broadcasting puts at index."""
    return tuple(0 if n == 1 else i for i, n in zip(index[len(index) - len(shape):], shape))


@st.composite
def an_index(draw):
    """Ints, slices, ..., None and one list of ints, at all places; or several lists that are paired."""
    shape = draw(SHAPES)
    ndim = len(shape)
    if ndim > 1 and draw(st.integers(0, 3)) == 0:
        n = draw(st.integers(1, 3))
        picks = [draw(st.lists(st.integers(-size, size - 1), min_size=n, max_size=n)) for size in shape]
        picks = tuple(picks[:draw(st.integers(2, ndim))])
        return f"x[{picks}]", [shape], lambda x: {
            (k,) + rest: x[tuple(p[k] % size for p, size in zip(picks, shape)) + rest]
            for k in range(n) for rest in indices(shape[len(picks):])}, 1
    one_list = draw(st.booleans())
    items = []
    for d, size in enumerate(shape):
        ints = st.integers(-size, size - 1)
        lists = st.lists(ints, min_size=1, max_size=3)
        lists = lists | lists.map(lambda row: [row, row[::-1]])
        items.append(draw(lists if one_list and d == ndim // 2 else ints if not one_list and draw(st.booleans()) else
                          st.slices(size).filter(lambda s, size=size: range(size)[s])))
    a = draw(st.integers(0, ndim))
    b = draw(st.integers(a, ndim))
    full = slice(None)
    written, meant = draw(st.sampled_from([(items, items), (items[:a], items[:a] + [full] * (ndim - a)),
                                           (items[:a] + [...] + items[b:], items[:a] + [full] * (b - a) + items[b:])]))
    places = sorted(draw(st.lists(st.integers(0, len(written)), max_size=2)), reverse=True)
    written, meant = list(written), list(meant)
    for place in places:
        back = len(written) - place
        if ... not in written or written.index(...) >= place:
            meant.insert(place, None)
        else:
            meant.insert(len(meant) - back, None)
        written.insert(place, None)
    index = written[0] if len(written) == 1 and draw(st.booleans()) else tuple(written)
    return f"x[{index!r}]", [shape], lambda x: {
        new: x[old] for new, old in places_of(meant, shape)}, 1


def places_of(items, shape):
    """(index in the result, index in x) for a full index."""
    sizes, choices = iter(shape), []
    for it in items:
        size = 1 if it is None else next(sizes)
        if it is None:
            choices.append([((0,), ())])
        elif isinstance(it, int):
            choices.append([((), (it % size,))])
        elif isinstance(it, slice):
            choices.append([((k,), (n,)) for k, n in enumerate(range(size)[it])])
        else:
            choices.append([(k, (at(it, k) % size,)) for k in indices(shape_of(it))])
    for parts in product(*choices):
        yield sum((new for new, _ in parts), ()), sum((old for _, old in parts), ())


@st.composite
def a_joining(draw):
    shape, n = draw(SHAPES), draw(st.integers(1, 3))
    if draw(st.booleans()):
        dim = draw(st.integers(-len(shape) - 1, len(shape)))
        axis = dim % (len(shape) + 1)
        return (f"stack([{', '.join('xyz'[:n])}], {dim})", [shape] * n,
                lambda *parts: {i[:axis] + (k,) + i[axis:]: e for k, part in enumerate(parts) for i, e in part.items()}, 1)
    assume(shape)
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    axis = dim % len(shape)
    shapes = [shape[:axis] + (draw(st.integers(1, 3)),) + shape[axis + 1:] for _ in range(n)]

    def define(*parts):
        joined, start = {}, 0
        for part, own in zip(parts, shapes):
            joined.update({i[:axis] + (start + i[axis],) + i[axis + 1:]: e for i, e in part.items()})
            start += own[axis]
        return joined
    return f"cat([{', '.join('xyz'[:n])}], {dim})", shapes, define, 1


@st.composite
def a_choice(draw):
    shapes = draw(shapes_that_broadcast(3))
    condition = nest(draw(st.lists(st.integers(0, 1), min_size=24, max_size=24))[:math.prod(shapes[2])], shapes[2])
    return (f"where({condition}, x, y)", shapes[:2], lambda x, y: {
        i: x[to_own(i, shapes[0])] if at(condition, i) else y[to_own(i, shapes[1])] for i in indices(broadcast(shapes))}, 1)


@st.composite
def a_matrix_product(draw):
    n, k, m = (draw(st.integers(1, 3)) for _ in "nkm")
    batches = draw(shapes_that_broadcast(2, st.lists(st.integers(1, 2), max_size=2).map(tuple)))
    x, y = draw(st.sampled_from([(batches[0] + (n, k), batches[1] + (k, m)), ((k,), batches[1] + (k, m)),
                                 (batches[0] + (n, k), (k,)), ((k,), (k,))]))
    rows, columns = x[-2:-1], y[-1:] if len(y) > 1 else ()
    batch = broadcast([x[:-2], y[:-2]])

    def element(p, q, i):
        row, column = i[len(batch):len(batch) + len(rows)], i[len(i) - len(columns):]
        lead = i[:len(batch)]
        return sum(p[to_own(lead, x[:-2]) + row + (j,)] * q[to_own(lead, y[:-2]) + (j,) + column] for j in range(k))
    return "x @ y", [x, y], lambda p, q: {i: element(p, q, i) for i in indices(batch + rows + columns)}, 2


@st.composite
def a_linear_layer(draw):
    nin, nout, lead = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(SHAPES)[:3]
    with_bias = draw(st.booleans())
    return (f"linear(x, y{', z' * with_bias})", [lead + (nin,), (nout, nin), (nout,)][:2 + with_bias],
            lambda x, w, b=None: {i: sum((x[i[:-1] + (j,)] * w[i[-1], j] for j in range(nin)), b[i[-1:]] if b else 0)
                                  for i in indices(lead + (nout,))}, 2)


def agrees_with_values(call, operands, free, define, exact):
    """The same numbers and the same gradients as Values, index by index."""
    out = call(*operands)
    leaves = [x if isinstance(x, Tensor) else Tensor(x) for x in operands]
    values = [dict(zip(indices(x.shape), map(Value, flat(x.data)))) for x in leaves]
    expected = define(*values)
    assert sorted(expected) == indices(out.shape)
    assert all(agrees(at(out.data, i), expected[i].data, exact, 1e-12) for i in expected)
    gradient = of_kind(leaves[0], weights(out.size, 31))
    out.backward(nest(gradient, out.shape))
    sum(w * expected[i] for w, i in zip(gradient, indices(out.shape))).backward()
    for x, elements, is_free in zip(operands, values, free):
        assert not isinstance(x, Tensor) or is_free or x.grad is None, "a constant has no gradient"
        if is_free:
            assert shape_of(x.grad) == x.shape
            for i, element in elements.items():
                assert agrees(at(x.grad, i), Fraction(element.grad) if exact else element.grad, exact, 1e-11), (
                    f"element {i}: the gradient is {at(x.grad, i)}, of Values {element.grad}")


@pytest.mark.parametrize("cases", [a_reduction, a_softmax, a_reordering, a_new_shape, a_broadcast, an_index, a_joining,
                                   a_choice, a_matrix_product, a_linear_layer], ids=lambda f: f.__name__)
@settings(max_examples=4 * settings().max_examples)
@given(data=st.data(), kinds=OPERANDS, seed=SEEDS)
def test_tensor_operation_is_its_definition_on_values_to_the_third_order(cases, data, kinds, seed):
    source, shapes, define, degree = data.draw(cases())
    number = float if degree is None else Fraction
    numbers = draw_numbers(seed, map(math.prod, shapes), [REAL] * 3, number)
    operands, free = make_operands(kinds if any(s in source for s in ("cat", "stack", "where", "@")) else
                                   [Tensor] * 3, shapes, numbers)
    assume(any(free) and any(isinstance(x, Tensor) for x in operands))
    call = eval("lambda x, y=None, z=None: " + source, dict(vars(micrograd)))
    agrees_with_values(call, operands, free, define, number is Fraction)
    check(*as_function_of(call, operands, free), degree, source=source)
