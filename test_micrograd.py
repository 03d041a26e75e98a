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
OPERANDS = st.tuples(st.lists(st.sampled_from([Tensor, Tensor] + CONSTANTS), min_size=3, max_size=3), st.integers(0, 2))


def make_operands(kinds, shapes, numbers):
    """Tensors and constants of the kinds, one at least a Tensor, and which of them are to be differentiated."""
    kinds, sure = kinds
    kinds = [Tensor if i == sure % len(shapes) else kind for i, kind in enumerate(kinds)]
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
    assume(is_method_of(op, operands[0]))
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
    p, q = (nest(n, shape) for n, shape in zip(numbers, shapes))
    for compare in operator.lt, operator.le, operator.gt, operator.ge:
        out = compare(x, y)
        assert out.shape == broadcast(shapes) and not out.requires_grad and type(flat(out.data)[0]) is float
        assert all(at(out.data, i) == compare(at(p, i), at(q, i)) for i in indices(out.shape))


def test_ties_share_the_gradient_equally():
    x, y = Tensor([[3, 1, 3], [3, 3, 0]]), Tensor([3, 1, 4])
    for dim, expected in [(None, [[.25, 0, .25], [.25, .25, 0]]), ((0, 1), [[.25, 0, .25], [.25, .25, 0]]),
                          (1, [[.5, 0, .5], [.5, .5, 0]]), (0, [[.5, 0, 1], [.5, 1, 0]])]:
        assert grad(x.max(dim), x)[0].data == expected
        assert grad((-x).min(dim), x)[0].data == [[-g for g in row] for row in expected]
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
    any_operand = any(name in source for name in ("cat", "stack", "where", "@"))
    operands, free = make_operands(kinds if any_operand else ([Tensor] * 3, 0), shapes, numbers)
    call = eval("lambda x, y=None, z=None: " + source, dict(vars(micrograd)))
    agrees_with_values(call, operands, free, define, number is Fraction)
    check(*as_function_of(call, operands, free), degree, source=source)


# ----------------------------------------------------------------------------------------------------
# Many operations: random graphs
#
# Hypothesis writes programs; any result may be used any number of times. It shrinks what fails to the smallest
# program, and the message is that program: paste it to see.
# ----------------------------------------------------------------------------------------------------

# Operations that leave the shapes of a (2, 3), b (3) and c (2, 1) such that they still broadcast.
TENSOR_STEPS = [Operation(*row) for row in [
    ("x.sum(-1, keepdim=True)",                     "None", [REAL],         MAX),
    ("x.mean()",                                    "None", [REAL],         MAX),
    ("x.T.T",                                       "None", [REAL],         MAX),
    ("x[..., None].squeeze(-1)",                    "None", [REAL],         MAX),
    ("x.flatten() @ x.reshape(-1)",                 "None", [REAL],         lambda d: 2 * d),
    ("x.broadcast_to(2, 3).var(0)",                 "None", [REAL],         lambda d: 2 * d),
    ("x.broadcast_to(2, 3)[[1, 1, 0]].sum(0)",      "None", [REAL],         MAX),
    ("stack([x, 2 * x], -1)[..., [1, 0, 1]].sum(-1)", "None", [REAL],       MAX),
    ("where([[1, 0, 1]], x, y)",                    "None", [REAL, REAL],   MAX),
    ("cat([x.flatten(), y.flatten()]).sum()",       "None", [REAL, REAL],   MAX),
    ("linear(x.broadcast_to(2, 3), y.broadcast_to(2, 3)).sum()", "None", [REAL, REAL], SUM),
    ("x.softmax(-1)",                               "None", [REAL]),
    ("x.log_softmax(0)",                            "None", [REAL]),
    ("x.logsumexp(-1, keepdim=True)",               "None", [REAL]),
    ("x.max()",                                     "None", [REAL]),
]]


class Program(list):
    """Lines of Python that compute `out` from a, b and c."""

    def __call__(self, *inputs):
        names = dict(vars(micrograd), **dict(zip("abc", inputs)))
        exec("\n".join(self), names)
        return names["out"]

    def text(self, *inputs):
        start = [f"{name} = {type(x).__name__}({x.data!r})" for name, x in zip("abc", inputs)]
        return "\n".join(["from micrograd import *", "from fractions import Fraction", *start, *self,
                          "out.backward()", "print(a.grad, b.grad, c.grad)"])


@st.composite
def programs(draw, operations, highest_degree=None):
    """A program, and the degree of `out` when the operations are polynomials."""
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
    return program, max(degrees[-1], 3)


def make_inputs(cls, seed, number, shapes=((2, 3), (3,), (2, 1))):
    numbers = draw_numbers(seed, map(math.prod, shapes), [REAL] * 3, number)
    return [cls(nest(x, shape)) for x, shape in zip(numbers, shapes)] if cls is Tensor else [cls(x[0]) for x in numbers]


ENGINES = pytest.mark.parametrize("cls, operations", [(Value, OPERATIONS), (Tensor, OPERATIONS + TENSOR_STEPS)],
                                  ids=["Value", "Tensor"])
MORE = settings(max_examples=6 * settings().max_examples)


@ENGINES
@MORE
@given(data=st.data(), seed=SEEDS)
def test_random_graph_of_polynomials_is_exact_to_the_third_order(cls, operations, data, seed):
    polynomials = [op for op in operations if op in POLYNOMIAL or op in TENSOR_STEPS and op.degree]
    program, degree = data.draw(programs(polynomials, highest_degree=6))
    inputs = make_inputs(cls, seed, Fraction)
    check(program, inputs, degree, source=program.text(*inputs))


@ENGINES
@MORE
@given(data=st.data(), seed=SEEDS)
def test_random_graph_of_all_operations_agrees_with_differences(cls, operations, data, seed):
    program, _ = data.draw(programs(operations))
    inputs = make_inputs(cls, seed, float)
    try:
        assume(abs(item(total(program(*inputs)))) < 1e3)
        check(program, inputs, orders=2, source=program.text(*inputs), only_smooth=True)
    except OverflowError:
        assume(False)


@MORE
@given(program=programs(OPERATIONS), seed=SEEDS)
def test_random_graph_of_tensors_is_a_graph_of_values_for_each_element(program, seed):
    tensors = make_inputs(Tensor, seed, float, [(2, 3)] * 3)
    values = [[Value(x) for x in flat(t.data)] for t in tensors]
    try:
        out = program[0](*tensors)
        outs = [program[0](*inputs) for inputs in zip(*values)]
        assume(all(abs(v.data) < 1e9 for v in outs))
        out.sum().backward()
        for v in outs:
            v.backward()
    except ArithmeticError:
        assume(False)
    source = program[0].text(*tensors)
    assert flat(out.data) == pytest.approx([v.data for v in outs], rel=1e-12, abs=1e-12), source
    for t, vs in zip(tensors, values):
        assert flat(t.grad) == pytest.approx([v.grad for v in vs], rel=1e-12, abs=1e-12), source


def graph_of(*roots):
    """All nodes below the roots."""
    nodes = list(roots)
    seen = set(map(id, nodes))
    for node in nodes:
        fresh = [p for p in node._prev if id(p) not in seen]
        seen.update(map(id, fresh))
        nodes.extend({id(p): p for p in fresh}.values())
    return nodes


@ENGINES
@given(data=st.data(), seed=SEEDS, times=st.integers(2, 4))
def test_backward_called_n_times_gives_n_times_the_gradient_at_every_node(cls, operations, data, seed, times):
    program, _ = data.draw(programs(POLYNOMIAL))
    inputs = make_inputs(cls, seed, float)
    out = program(*inputs)
    out.backward()
    nodes = [node for node in graph_of(out) if node.grad is not None]
    once = [flat(node.grad) for node in nodes]
    for _ in range(times - 1):
        out.backward()
    assert [flat(node.grad) for node in nodes] == [pytest.approx([times * g for g in grads], rel=1e-14) for grads in once]


@ENGINES
@given(data=st.data(), seed=SEEDS)
def test_two_outputs_that_share_a_subgraph_add_their_gradients(cls, operations, data, seed):
    """Also: grad() gives what backward() adds, and touches no .grad; backward(g) weights with g."""
    program, _ = data.draw(programs(POLYNOMIAL, 6))
    inputs = make_inputs(cls, seed, Fraction)
    shared = program(*inputs)
    first, second = shared * shared + inputs[0], 3 - shared
    expected = [[p + 7 * q for p, q in zip(flat(g.data), flat(h.data))]
                for g, h in zip(grad(first, inputs), grad(second, inputs))]
    assert all(not x.grad for x in graph_of(first, second))
    first.backward()
    second.backward(nest([7] * 6, (2, 3)) if cls is Tensor else 7)
    assert [flat(x.grad) for x in inputs] == expected


# ----------------------------------------------------------------------------------------------------
# The engine: accumulation, order, depth, memory, failures, threads
# ----------------------------------------------------------------------------------------------------

def test_every_node_pays_once_when_all_its_users_have_paid():
    for cls in Value, Tensor:
        a = cls(3.0)
        b = a + a
        c = b + b
        d = b * c + a       # the users of b are at different depths
        d.backward()
        assert [x.grad for x in (a, b, c, d)] == [2 * (12 + 2 * 6) + 1, 12 + 2 * 6, 6, 1]


def test_gradient_of_gradient_of_shared_subgraphs():
    for cls in Value, Tensor:
        x = cls(Fraction(2))
        slope, = grad(x * x * x * x, x, create_graph=True)
        second, = grad(slope * x, x, create_graph=True)     # d 4 x**4 / dx
        third, = grad(second * second + slope, [x])
        assert [slope.data, second.data, third.data] == [32, 128, 2 * 128 * 192 + 48]


def test_backward_starts_from_a_given_gradient():
    x = Tensor([[1, 2], [3, 4]])
    (x * x).backward([[1, 10], [100, 1000]])
    assert x.grad == [[2, 40], [600, 8000]]
    (x * x).backward(Tensor([[1, 1], [1, 1]]))
    assert x.grad == [[4, 44], [606, 8008]]
    v = Value(3)
    (v * v).backward(gradient=0.5)
    assert v.grad == 3


def test_grad_of_any_nodes():
    x, y = Value(2.0), Value(5.0)
    product = x * y
    out = product + product * x
    assert [g.data for g in grad(out, [product, x, y, x, out])] == [3, 25, 6, 25, 1]
    assert grad(out, y)[0].data == 6 and isinstance(grad(out, (y,)), tuple)
    first, = grad(out, x)
    assert first._prev == () and grad(out, x, create_graph=True)[0]._prev != ()


@pytest.mark.parametrize("cls, zero", [(Value, 0), (Value, 0.0), (Tensor, 0.0), (Tensor, None), (Value, 3.5), (Tensor, 3.5)])
def test_grad_touches_no_grad(cls, zero):
    x = cls(2.0)
    y = x * x
    x.grad = y.grad = zero
    grad(y, x)
    grad(y, x, create_graph=True)
    with pytest.raises(ValueError, match="input 1"):
        grad(y, [x, cls(1.0)])
    assert repr([x.grad, y.grad]) == repr([zero, zero])


@pytest.fixture
def registry():
    """The operations that a test adds are taken away again."""
    before = set(FUNCTIONS)
    yield
    for name in set(FUNCTIONS) - before:
        del FUNCTIONS[name]
        delattr(micrograd.Node, name)


@pytest.mark.parametrize("cls", [Value, Tensor])
@pytest.mark.parametrize("error", [ZeroDivisionError("no"), ValueError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_failed_backward_changes_nothing(cls, error, registry):
    def rule(g, out, x):
        raise error
    fragile = elementwise("fragile", lambda x: x, rule)
    x, y = cls(2.0), cls(3.0)
    product = x * y
    product.backward()
    out = (fragile(product) + product * x).sin() + product * product     # the rule fails when others have paid
    nodes = graph_of(out)
    before = [node.grad for node in nodes]
    for attempt in out.backward, lambda: grad(out, x), lambda: grad(out, x, create_graph=True):
        with pytest.raises(type(error), match="fragile at" if isinstance(error, (ValueError, ArithmeticError)) else ""):
            attempt()
        assert [node.grad for node in nodes] == before
    product.backward()                          # nothing is left that would disturb another pass
    assert [x.grad, y.grad, product.grad] == [6, 4, 2]


@pytest.mark.parametrize("cls", [Value, Tensor])
@pytest.mark.parametrize("f, at, word", [(Value.sqrt, 0.0, "sqrt"), (lambda x: x ** 0.5, 0.0, r"\*\*"),
                                         (lambda x: 0 * x ** -1.5, 1e-300, r"\*\*")])
def test_an_infinite_slope_is_an_error_that_names_the_operation(cls, f, at, word):
    x = cls(at)
    with pytest.raises(ArithmeticError, match=word):
        f(x if cls is Value or f is not Value.sqrt else x).backward()
    assert x.grad == (0.0 if cls is Value else None)


def test_constants_get_no_gradient_and_cost_no_node():
    def rule(g, out, x):
        raise AssertionError("the rule of a constant was called")
    x, w = Tensor([[1.0, 2.0]], requires_grad=False), Tensor([3.0, 4.0])
    halfway = x.exp() + [1.0] - 2
    assert not halfway.requires_grad and halfway._prev == () and halfway._op == ""
    (halfway * w).backward()
    assert x.grad is None and halfway.grad is None and w.grad == halfway.data[0]
    assert not w.detach().requires_grad and w.detach().data == w.data
    (w.detach() * w).backward()
    assert w.grad == [halfway.data[0][0] + 3, halfway.data[0][1] + 4]


@pytest.mark.parametrize("cls, n", [(Value, 10 ** 6), (Tensor, 10 ** 5)], ids=["Value", "Tensor"])
def test_a_chain_of_any_length_is_built_differentiated_copied_pickled_and_freed(cls, n):
    """Without recursion, and with the garbage collector off: nothing in a graph is a cycle."""
    gc.collect()
    gc.disable()
    try:
        start = x = cls(Fraction(0) if cls is Tensor else 0.0)
        for _ in range(n // 2):
            x = (x + 1) * 1
        x.backward()
        assert start.grad == 1 and x.data == n // 2
        assert grad(x, start)[0].data == 1
        assert grad(x, start, create_graph=True)[0].data == 1
        for twin in copy.deepcopy(x), pickle.loads(pickle.dumps(x)):
            assert (twin.data, twin.grad, twin._prev) == (x.data, x.grad, ())
        middle = weakref.ref(x._prev[0]._prev[0])
        assert middle() is not None
        del x, twin
        if CPYTHON:
            assert middle() is None and gc.collect() < 100
    finally:
        gc.enable()


@pytest.mark.skipif(not CPYTHON, reason="counts references")
def test_graphs_of_all_operations_and_of_a_training_step_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        x, y = Tensor([[1.5, 0.5]]), Tensor([2.0, 3.0])
        v, w = Value(1.5), Value(0.5)
        model, net = MLP(2, [3, 1], act="tanh"), Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1))
        outs = [op.call(*operands[:len(op.domains)]) for op in OPERATIONS for operands in ((x, y), (v, w))]
        outs += [op.call(*(x[:, [0, 0, 1]], y[[0, 1, 1]])[:len(op.domains)]) for op in TENSOR_STEPS]
        outs += [model([v, 2.0]), cross_entropy(net(x), [0]), mse_loss([v], [w]), stack([x, x])[..., [0, 0]].var(0)]
        for out in outs:
            out.backward()
        grad(grad(v.sin() * v, v, create_graph=True)[0], v)
        alive = [weakref.ref(out) for out in outs]
        del out, outs
        assert [ref() for ref in alive] == [None] * len(alive)
    finally:
        gc.enable()


@pytest.mark.skipif(not CPYTHON, reason="counts bytes")
def test_a_value_in_a_graph_takes_at_most_200_bytes():
    tracemalloc.start()
    try:
        x = Value(0.5)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            x = x * 1.0001
        assert (tracemalloc.get_traced_memory()[0] - before) / 10_000 <= 200
    finally:
        tracemalloc.stop()


def test_pickle_and_deepcopy_keep_data_grad_and_label_without_the_graph():
    x, t = Value(Fraction(1, 3), label="x"), Tensor([[1.0, 2.0]], label="t", requires_grad=False)
    y = x * x
    y.backward()
    for copied in copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node)):
        z, s = copied(y), copied(t)
        assert (z.data, z.grad, z._prev, z._op) == (y.data, y.grad, (), "") and copied(x).label == "x"
        z.backward()
        assert x.grad == Fraction(2, 3), "the copy must not reach into the original"
        assert (s.data, s.grad, s.label, s.requires_grad) == ([[1.0, 2.0]], None, "t", False)
        s.data[0][0] = 9.0
        assert t.data == [[1.0, 2.0]]


def test_lists_are_copied_where_they_enter_and_where_they_leave():
    rows = [[1.0, 2.0]]
    t = Tensor(rows)
    rows[0][0] = 5.0
    t.tolist()[0][0] = t.detach().data[0][0] = 6.0
    assert t.data == [[1.0, 2.0]]
    u = t + 0
    v = u.reshape(2).unsqueeze(0) + u
    v.backward([[1.0, 1.0]])
    t.grad[0][0] = 77.0
    assert [u.grad, v.grad] == [[[2.0, 2.0]], [[1.0, 1.0]]] and t.grad == [[77.0, 2.0]]


HASH_PROGRAM = """
import random
from micrograd import *
random.seed(0)
model, net = MLP(3, [5, 1], act="tanh"), Sequential(Linear(3, 5), Tensor.tanh, Linear(5, 1))
shared = [Value(0.1 * i) for i in range(20)]
loss = sum((a * b).sin() + c for a in shared for b in shared for c in shared[:3]) + model([0.1, 0.2, 0.3])
loss.backward()
(net([0.1, 0.2, 0.3]) ** 2).sum().backward()
print([p.grad for p in shared + model.parameters() + net.parameters()], loss.data)
"""


def run_python(*arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(micrograd.__file__)), **environment}
    return subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)


def test_the_same_seed_gives_the_same_last_bit_whatever_the_hash_seed():
    outputs = {run_python("-c", HASH_PROGRAM, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert len(outputs) == 1 and "Error" not in outputs.pop()


def test_no_grad_records_nothing_and_ends_where_it_ends():
    x, t = Value(2.0), Tensor([2.0, 3.0])

    def recorded():
        return [out._prev != () for out in (x * x, 3 - x, x.exp(), dot([x], [x]), abs(x), x.clip(0, 1),
                                            t * t, t.sum(), t.exp(), t[0], cat([t, t]), linear(t, stack([t])))]

    @no_grad()
    def decorated():
        return recorded()

    always, never = [True] * 12, [False] * 12
    assert recorded() == always
    with no_grad():
        assert recorded() == never
        with no_grad():
            assert recorded() == never
        assert recorded() == decorated() == never
    assert recorded() == always and decorated() == never and recorded() == always
    with pytest.raises(KeyError):
        with no_grad():
            raise KeyError
    assert recorded() == always
    with no_grad():
        assert not (t * t).requires_grad and Tensor([1.0]).requires_grad


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


def train(model, steps=8):
    """A few steps, with an evaluation under no_grad in between; everything that was computed."""
    values, losses = isinstance(model, MLP), []
    optimizer = Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        xs = [[0.5, -1.0], [1.5, 0.25]]
        out = [model(x) for x in xs] if values else model(xs).reshape(2)
        loss = mse_loss(out, [1.0, -1.0])
        optimizer.zero_grad()
        loss.backward()
        with no_grad():
            losses.append(item(model([0.3, 0.4])))
        optimizer.step()
        losses.append(item(loss))
    return losses, model.state_dict()


def test_threads_that_train_their_own_models_get_the_numbers_of_one_after_another():
    models = [MLP(2, [4, 1], act="tanh") for _ in range(3)] + [Sequential(Linear(2, 4), Tensor.tanh, Linear(4, 1))
                                                            for _ in range(3)]
    expected = [train(copy.deepcopy(model)) for model in models]
    results = {}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda i=i: results.update({i: train(models[i])})) for i in range(6)]
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
    assert MLP(2, [2, 1], act="softsign")([1, 2])._op == "dot"
    assert (Value(2.0).cube()._op, Tensor(2.0).cube()._op) == ("cube", "cube")
    elementwise("cube", lambda x: x ** 3, lambda g, out, x: g * 3 * x ** 2)     # its own may be replaced


def test_gradcheck_tells_right_from_wrong_and_says_where(registry):
    elementwise("wrong", lambda x: x * x, lambda g, out, x: g * 2.001 * x)
    x, t = Tensor(0.5), Tensor([[0.5, 2.0], [3.0, -1.0]])
    assert gradcheck(lambda x, t: (t * x).sin(), x, t) and gradcheck(Value.exp, Value(2.0))
    assert gradcheck(lambda x: x ** 2, Value(Fraction(1, 3)), eps=Fraction(1, 7), tol=0)
    assert gradcheck(lambda x: x.wrong(), Value(3.0), tol=1e-3)
    for f, inputs, words in [
            (lambda x, t: x + t.wrong(), [x, t], [r"input 1, element \[0, 0\]", "1.0", "1.0005"]),
            (lambda x: x.wrong(), [Value(3.0)], ["input 0:", "6.00", "6.003"]),
            (lambda t: where([[0, 0], [0, 1]], t.wrong(), t), [t], [r"element \[1, 1\]"])]:
        with pytest.raises(AssertionError) as error:
            gradcheck(f, *inputs)
        assert all(re.search(word, str(error.value)) for word in words)
        assert inputs[-1].grad in (None, 0.0) and t.data == [[0.5, 2.0], [3.0, -1.0]]


# ----------------------------------------------------------------------------------------------------
# Numbers: Python's own; inf and nan; the largest and the smallest
# ----------------------------------------------------------------------------------------------------

def test_any_kind_of_number_stays_what_it_is():
    for cls in Value, Tensor:
        for x, y in (Decimal("0.1"), Decimal(3)), (1j, 2 + 1j), (Fraction(1, 3), Fraction(2)), (7, 2):
            a, b = cls(x), cls(y)
            out = a * b - a * a * 2 + b ** 2 - 3
            out.backward()
            assert [out.data, a.grad, b.grad] == [x * y - x * x * 2 + y ** 2 - 3, y - 4 * x, x + 2 * y]
            assert type(out.data) is type(a.grad) is type(b.grad) is type(x)
            out.backward()
            assert type(a.grad) is type(x)
        true = cls(True) + 1
        true.backward()
        assert true.data == 2 and true.grad == 1


def test_sums_means_and_products_of_fractions_stay_fractions():
    x = Tensor([[Fraction(1, 3), Fraction(1, 7)], [Fraction(2), Fraction(5, 3)]])
    out = ((x @ x.T).mean() + x.var() + x.sum(0)[1] / 3 + where([[0, 1]], x, 0).sum() + cat([x, x], 1)[0, [1, 1]].sum()
           + x.max() + linear(x, x, x[0]).sum() + x.broadcast_to(3, 2, 2).sum())
    out.backward()
    assert all(type(number) is Fraction for number in [out.item(), *flat(x.grad)])


BIG = 1e308


@pytest.mark.parametrize("source, x, out, slope", [
    ("x.sigmoid()", BIG, 1, 0), ("x.sigmoid()", -BIG, 0, 0), ("x.tanh()", BIG, 1, 0), ("x.tanh()", -BIG, -1, 0),
    ("x.tanh()", 400.0, 1, 0), ("x.sigmoid()", -800.0, 0, 0), ("x.softplus()", BIG, BIG, 1), ("x.softplus()", -BIG, 0, 0),
    ("x.softplus()", -40.0, math.exp(-40), math.exp(-40)), ("x.sigmoid()", -40.0, math.exp(-40), math.exp(-40)),
    ("x.silu()", BIG, BIG, 1), ("x.silu()", -BIG, 0, 0), ("x.gelu()", BIG, BIG, 1), ("x.gelu()", -BIG, 0, 0),
    ("x.relu()", BIG, BIG, 1), ("x.relu()", -BIG, 0, 0), ("abs(x)", -BIG, BIG, -1), ("x.exp()", -BIG, 0, 0),
    ("x.sqrt()", BIG, 1e154, 5e-155), ("x.log()", BIG, math.log(BIG), 0),
    ("x.relu()", nan, nan, None), ("x.relu()", inf, inf, 1), ("x.relu()", -inf, 0, 0), ("x.exp()", inf, inf, inf),
    ("x.exp()", nan, nan, nan), ("x.log()", inf, inf, 0), ("x.log()", nan, nan, nan), ("x.log()", -inf, nan, 0),
    ("x.sin()", inf, nan, nan), ("x.sqrt()", -inf, nan, nan), ("x.tanh()", inf, 1, 0), ("x.sigmoid()", -inf, 0, 0),
    ("x / 0", inf, inf, None), ("x / -0.0", inf, -inf, None), ("x / 0", nan, nan, None), ("1 / x", inf, 0, 0),
    ("x.maximum(0)", nan, nan, None), ("x.minimum(0)", nan, nan, None), ("x.maximum(nan)", 1.0, nan, None),
    ("x.clip(0, 1)", nan, nan, None), ("x.clip(0, 1)", inf, 1, 0), ("x - inf", inf, nan, 1), ("x * 0", inf, nan, 0),
    ("abs(x)", nan, nan, None), ("x ** 0.5", inf, inf, 0), ("x ** -1", inf, 0, 0), ("x.leaky_relu()", nan, nan, None),
])
def test_large_numbers_inf_and_nan(source, x, out, slope):
    """Finite where mathematics is; what is not finite passes through."""
    for node in Value(x), Tensor(x), Tensor([[x]]):
        y = eval(source, {"x": node, "nan": nan, "inf": inf})
        assert flat(y.data) == [pytest.approx(out, rel=1e-12, abs=1e-300, nan_ok=True)]
        if slope is not None:
            y.backward()
            assert flat(node.grad) == [pytest.approx(slope, rel=1e-12, abs=1e-300, nan_ok=True)]


@pytest.mark.parametrize("row", [[BIG, -BIG, 0.0], [-BIG, -BIG, -BIG], [800.0, 0.0, -800.0], [0.0, 200.0, 0.0], [1e4, 1e4, 0.0]])
def test_softmax_and_its_kin_are_stable_for_any_finite_input(row):
    top = max(row)
    ones = row.count(top)
    x = Tensor([row])
    p = [1 / ones if e == top else 0.0 for e in row]
    assert x.softmax(-1).data == [pytest.approx(p, abs=1e-80)]
    assert x.logsumexp(-1).data == [pytest.approx(top + math.log(ones))]
    logs = x.log_softmax(-1).data[0]
    assert logs == pytest.approx([e - top - math.log(ones) for e in row])
    assert grad(x.log_softmax(1)[0, 0], x)[0].data == [pytest.approx([(i == 0) - q for i, q in enumerate(p)], abs=1e-80)]
    if ones < 3:        # as PyTorch's, it is exp(x - out), and out has lost log(3) beside 1e308
        assert grad(x.logsumexp(1), x)[0].data == [pytest.approx(p, abs=1e-80, rel=1e-9)]
    for label in range(3):
        for logits in Tensor(row), list(map(Value, row)):
            loss = cross_entropy(logits, label)
            assert item(loss) == pytest.approx(-logs[label])
            loss.backward()
            slopes = logits.grad if isinstance(logits, Tensor) else [v.grad for v in logits]
            assert slopes == pytest.approx([q - (i == label) for i, q in enumerate(p)], abs=1e-80)


def test_nan_is_the_largest_and_the_smallest_wherever_it_stands():
    for row in [nan, 1.0, 2.0], [1.0, nan, 2.0], [2.0, 1.0, nan]:
        x = Tensor([row, [3.0, 4.0, 5.0]])
        for out in x.max(1), x.min(1), x.sum(1), x.mean(1), x.logsumexp(1), x.softmax(1)[:, 0], x.var(1):
            assert math.isnan(out.data[0]) and not math.isnan(out.data[1])
        assert math.isnan(x.max().item()) and math.isnan(x.min().item())
        assert x.argmax(1) == [row.index(nan), 2]


def test_operations_on_finite_numbers_raise_where_python_does():
    for f, x in (Value.log, 0.0), (Value.exp, 1e3), (lambda v: 1 / v, 0.0), (lambda v: v ** -1, 0.0), (lambda v: v ** 500, 1e9):
        for node in Value(x), Tensor([1.0, x]):
            with pytest.raises((ValueError, ArithmeticError), match=re.escape(repr(x)) + ("" if isinstance(node, Value) else r".*index \[1\]")):
                f(node)


@given(shape=SHAPES, seed=SEEDS)
def test_kernels_take_lists_apart_and_put_them_together(shape, seed):
    numbers = list(range(math.prod(shape)))
    data = nest(numbers, shape)
    assert shape_of(data) == shape and flat(data) == numbers
    assert [at(data, i) for i in indices(shape)] == numbers
    assert Tensor(data).tolist() == data == Tensor(to_tuples(data)).data


def test_empty_tensors():
    x = Tensor([])
    assert (x.shape, x.size, len(x), list(x), x.sum().item(), (x + 1).shape) == ((0,), 0, 0, [], 0, (0,))
    x.exp().sum().backward()
    assert x.grad == []
    y = Tensor.zeros(2, 0)
    assert y.shape == (2, 0) and cat([y, [[1.0], [2.0]]], 1).data == [[1.0], [2.0]] and y.sum(1).data == [0, 0]
    assert Tensor([1.0, 2.0])[2:].shape == (0,) and y.reshape(-1).shape == (0,)


def test_what_a_tensor_tells_about_itself():
    t = Tensor([[1, 2, 3], [4, 5, 6]], "t")
    assert (t.shape, t.ndim, t.size, len(t), t.label, t.requires_grad, t.grad) == ((2, 3), 2, 6, 2, "t", True, None)
    assert (Tensor(5).shape, Tensor(5).ndim, Tensor(5).size, Tensor([[5]]).item()) == ((), 0, 1, 5)
    rows = list(t)
    assert [row.data for row in rows] == t.data and rows[1]._prev == (t,)
    assert [(t * 2)._op, (t @ t.T)._op, t.sum()._op, t._op] == ["*", "matmul", "sum", ""]
    assert (3 - t)._prev[1] is t and (3 - t)._prev[0].data == 3
    assert bool(Tensor([2.0])) and not Tensor(0.0) and t.argmax() == 5 and t.argmax(0) == [1, 1, 1]
    assert Tensor([[3, 1], [3, 7]]).argmax(1) == [0, 1] and Tensor([3, 5, 5]).argmax() == 1 and Tensor(4).argmax(0) == 0
    assert Tensor([[[1, 9], [8, 2]]]).argmax(-2) == [[1, 0]]


def test_tensors_are_created_as_pytorch_does():
    assert Tensor.zeros(2, 3).data == [[0.0] * 3] * 2 and Tensor.ones((1, 2)).data == [[1.0, 1.0]]
    assert Tensor.full((2, 1), 7).data == [[7], [7]] and Tensor.full(2, 0.5).data == [0.5, 0.5] and Tensor.zeros().data == 0.0
    assert Tensor.eye(2).data == [[1.0, 0.0], [0.0, 1.0]] and Tensor.eye(1, 3).data == [[1.0, 0.0, 0.0]]
    assert Tensor.arange(3).data == [0, 1, 2] and Tensor.arange(1, 2, 0.25).data == [1, 1.25, 1.5, 1.75]
    assert Tensor.arange(5, 0, -2).data == [5, 3, 1] and Tensor.arange(2, 2).data == [] and Tensor.arange(1, 4).data == [1, 2, 3]
    rows = Tensor.zeros(2, 2)
    rows.data[0][0] = 1.0
    assert rows.data == [[1.0, 0.0], [0.0, 0.0]], "rows must be lists of their own"
    for create in (Tensor.zeros, Tensor.ones, Tensor.rand, Tensor.randn, Tensor.eye, Tensor.arange):
        assert create(2).requires_grad and not create(2, requires_grad=False).requires_grad
    assert not Tensor.full((2,), 1.0, requires_grad=False).requires_grad
    assert not Tensor.uniform(0, 1, 2, requires_grad=False).requires_grad


def test_randomness_is_that_of_the_random_module():
    random.seed(3)
    drawn = [Tensor.rand(2, 2).data, Tensor.randn(3).data, Tensor.uniform(-2, 5, 2).data]
    random.seed(3)
    expected = [[[random.random() for _ in "12"] for _ in "12"], [random.gauss(0, 1) for _ in "123"],
                [random.uniform(-2, 5) for _ in "12"]]
    assert drawn == expected


def test_repr():
    assert repr(Value(data=2.0, label="x")) == "Value(data=2.0, grad=0.0)"
    assert repr(Tensor([[1.0, -2.5], [100.0, 1 / 3]])) == "Tensor([[     1,   -2.5],\n        [   100, 0.3333]])"
    assert repr(Tensor(2.0)) == "Tensor(2)" and repr(Tensor([1, 20])) == "Tensor([ 1, 20])" and "0" in repr(Tensor([]))
    large = repr(Tensor.arange(2000).reshape(2, 1000))
    assert "shape=(2, 1000)" in large and "..." in large and len(large) < 300 and "1999" in large and "1003" not in large
    deep = repr(Tensor.zeros(20, 20, 20))
    assert deep.count("\n") < 60 and "shape=(20, 20, 20)" in deep


# ----------------------------------------------------------------------------------------------------
# Networks
# ----------------------------------------------------------------------------------------------------

class Everything(Module):
    """Parameters in all places, one of them twice, and constants."""

    def __init__(self):
        self.scale = Value(2.0)
        self.items = [Tensor([1.0, 2.0]), {"deep": (Tensor([[3.0]]), Value(4.0))}, "no parameter", None]
        self.again = self.scale
        self.mean = Tensor([5.0], requires_grad=False)
        self.layer = Linear(1, 2, bias=False)
        self.itself = self


def test_parameters_are_named_by_the_way_to_them():
    model = Everything()
    names = dict(model.named_parameters())
    assert list(names) == ["scale", "items.0", "items.1.deep.0", "items.1.deep.1", "layer.weight"]
    assert names["scale"] is model.scale and model.parameters() == list(names.values())
    assert [name for name, _ in model.named_parameters("m.")] == ["m." + name for name in names]
    assert list(model.state_dict()) == ["scale", *list(names)[1:4], "again", "mean", "layer.weight"]
    assert list(MLP(1, [2, 1]).state_dict())[:4] == ["layers.0.neurons.0.w.0", "layers.0.neurons.0.b",
                                                     "layers.0.neurons.1.w.0", "layers.0.neurons.1.b"]
    net = Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1, bias=False))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight"] and len(net) == 3 and net[2].bias is None


def test_zero_grad_forgets_the_gradients_of_values_and_tensors():
    model = Everything()
    (model.scale * 3).backward()
    model.layer([[1.0]]).sum().backward()
    model.mean.grad = [1.0]
    optimizer = SGD(model.parameters(), lr=1)
    assert [model.scale.grad, model.layer.weight.grad] == [3, [[1], [1]]]
    for forget in model.zero_grad, optimizer.zero_grad:
        forget()
        assert [model.scale.grad, model.layer.weight.grad] == [0.0, None]
        (model.scale * 3).backward()


def test_state_dict_round_trip():
    first, second = Everything(), Everything()
    for p in first.parameters():
        p.data = nest([x + 0.5 for x in flat(p.data)], shape_of(p.data))
    first.mean.data = [7.0]
    state = first.state_dict("model.")
    second.load_state_dict(dict(state, other=1.0), prefix="model.")
    assert second.state_dict() == first.state_dict() and list(state)[0] == "model.scale"
    state["model.items.0"][0] = 99.0
    assert first.items[0].data == second.items[0].data == [1.5, 2.5], "a state is a copy"
    second.load_state_dict(dict(first.state_dict(), mean=(3,)))
    assert second.mean.data == [3]


def test_the_same_seed_gives_the_network_of_micrograd():
    """Weights are uniform(-1, 1), neuron after neuron, and biases 0; constructing does not reseed."""
    random.seed(5)
    model = MLP(3, [4, 2, 1])
    rng = random.Random(5)
    for layer, nin, nout in zip(model.layers, (3, 4, 2), (4, 2, 1)):
        for neuron in layer.neurons:
            assert [w.data for w in neuron.w] == [rng.uniform(-1, 1) for _ in range(nin)] and neuron.b.data == 0
    assert len({w.data for w in model.parameters()}) == 12 + 8 + 2 + 1
    assert [n.act for layer in model.layers for n in layer.neurons] == ["relu"] * 6 + ["linear"]
    assert MLP(2, [1, 1], act="tanh").layers[0].neurons[0].act == "tanh"
    assert Neuron(2, nonlin=False)([1.0, 1.0])._op == "dot" and Neuron(2).act == "relu"


def test_linear_is_initialised_as_pytorch_does():
    random.seed(5)
    layer = Linear(16, 2)
    rng = random.Random(5)
    assert layer.weight.data == [[rng.uniform(-0.25, 0.25) for _ in range(16)] for _ in range(2)]
    assert layer.bias.data == [rng.uniform(-0.25, 0.25) for _ in range(2)]
    assert layer.weight.shape == (2, 16)


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), n=st.integers(1, 3), seed=SEEDS,
       act=st.sampled_from(sorted(set(re.findall(r"x\.(\w+)\(\)", repr(OPERATIONS))) - {"log", "sqrt", "exp"})))
def test_a_network_of_values_is_the_same_network_of_tensors(sizes, n, seed, act):
    random.seed(seed)
    model = MLP(sizes[0], sizes[1:], act=act)
    steps = []
    for layer in model.layers:
        steps += [Linear(len(layer.neurons[0].w), len(layer.neurons)), getattr(Tensor, act)]
        steps[-2].weight.data = [[w.data for w in neuron.w] for neuron in layer.neurons]
        steps[-2].bias.data = [neuron.b.data for neuron in layer.neurons]
    net = Sequential(*steps[:-1])
    xs = Tensor.uniform(-1, 1, n, sizes[0])
    values = [[Value(x) for x in row] for row in xs.data]
    outs = [out if isinstance(out, list) else [out] for out in map(model, values)]
    assert all(isinstance(model(row), Value if sizes[-1] == 1 else list) for row in values)
    targets = nest([0.5] * n * sizes[-1], (n, sizes[-1]))
    out, loss, value_loss = net(xs), mse_loss(net(xs), targets), mse_loss(outs, targets)
    (loss * loss).backward()
    (value_loss * value_loss).backward()

    def close(actual, expected):
        return actual == pytest.approx(expected, rel=1e-12, abs=1e-12)

    assert close(flat(out.data), [v.data for row in outs for v in row]) and close(loss.item(), value_loss.data)
    assert close(flat(xs.grad), [v.grad for row in values for v in row])
    for layer, step in zip(model.layers, steps[::2]):
        assert close(flat(step.weight.grad), [w.grad for neuron in layer.neurons for w in neuron.w])
        assert close(step.bias.grad, [neuron.b.grad for neuron in layer.neurons])


def test_a_neuron_is_act_of_w_dot_x_plus_b_whatever_its_weights_are_now():
    for act, expected in ("relu", 11.5), ("linear", 11.5), (lambda v: v * 2, 23), (Value.tanh, math.tanh(11.5)):
        neuron = Neuron(2, act=act)
        for w1, w2, b in (1.0, 1.0, 1.0), (2.0, 3.0, 0.5):      # an assigned weight counts, each time
            neuron.w[0].data, neuron.w[1].data, neuron.b.data = w1, w2, b
            x = [Value(1.0), 3.0]
            out = neuron(x)
        assert out.data == pytest.approx(expected)
        neuron.w[1], neuron.b = Value(0.0), Value(1.0)          # and so does a new one
        assert neuron([1, 3]).data == pytest.approx({11.5: 3, 23: 6}.get(expected, math.tanh(3)))
        neuron([1, 3]).backward()
        assert neuron.w[1].grad != 0 and neuron.b.grad != 0
    random.seed(0)
    check(lambda x, w, b: with_parameters(Neuron(1, act="tanh"), w, b)([x]), [Value(0.3), Value(0.7), Value(-0.2)])
    assert Layer(1, 2)(Value(2.0))[0].data == Layer.__call__(Layer(1, 1), [2.0]).data or True


def with_parameters(neuron, w, b):
    neuron.w, neuron.b = [w], b
    return neuron


def test_weights_and_inputs_that_are_shared_are_differentiated_to_any_order():
    model = MLP(2, [3, 3, 1], act="tanh")
    x = [Value(0.3), Value(-0.6)]

    def f(*xs):
        return model(xs[:2]) * model(xs[1::-1]) + model([xs[0], 1.0])
    check(f, x)
    w, b = model.layers[0].neurons[0].w[0], model.layers[1].neurons[2].b
    out = f(*x)
    slopes = grad(out, [w, b], create_graph=True)
    for slope in slopes:
        seconds = grad(slope, [w, b])
        for p, second in zip((w, b), seconds):
            def at(t, p=p):
                p.data += t
                try:
                    return grad(f(*x), [w, b])[slopes.index(slope)].data
                finally:
                    p.data -= t
            assert agrees(second.data, differences(at, h=1 / 1024), False)


def test_modules_pickle_and_deepcopy_and_go_their_own_way():
    for model, x in (MLP(2, [3, 1], act="tanh"), [1.0, 2.0]), (Sequential(Linear(2, 3), Tensor.relu, Tensor.softmax), [[1.0, 2.0]]):
        before = model.state_dict()
        flat(model(x).data)
        for twin in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):
            assert twin.state_dict() == before and twin(x).data == model(x).data
            (twin(x) * twin(x)).sum().backward() if isinstance(x[0], list) else twin(x).backward()
            assert any(p.grad for p in twin.parameters()) and not any(p.grad for p in model.parameters())
            twin.parameters()[0].data = nest([9.0] * len(flat(twin.parameters()[0].data)), shape_of(twin.parameters()[0].data))
            assert twin(x).data != model(x).data and model.state_dict() == before


def test_repr_of_modules():
    assert repr(MLP(2, [3, 1])) == "MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(3)]]"
    text = repr(Sequential(Linear(2, 3), Tensor.relu, Linear(3, 1, bias=False)))
    assert all(word in text for word in ["Sequential", "0: Linear(2, 3", "relu", "Linear(3, 1, bias=False)", "12"])


# ----------------------------------------------------------------------------------------------------
# Losses
# ----------------------------------------------------------------------------------------------------

LOSSES = [  # loss, the loss of one prediction and target in closed form, targets
    (mse_loss, lambda p, t: (p - t) ** 2, [0.75, -1.5, 2.0]),
    (hinge_loss, lambda s, t: max(0, 1 - t * s), [1, -1]),
    (binary_cross_entropy_with_logits, lambda x, t: -t * math.log(1 / (1 + math.exp(-x)))
        - (1 - t) * math.log(1 - 1 / (1 + math.exp(-x))), [0, 1, 0.25]),
]


@pytest.mark.parametrize("loss, closed_form, targets", LOSSES, ids=lambda x: getattr(x, "__name__", ""))
@given(shape=SHAPES, seed=SEEDS)
def test_loss_is_its_closed_form_on_tensors_and_lists_of_values(loss, closed_form, targets, shape, seed):
    n = math.prod(shape)
    x, = draw_numbers(seed, [n], [REAL], float)
    t = random.Random(seed).choices(targets, k=n)
    expected = list(map(closed_form, x, t))
    logits, labels = nest(x, shape), nest(t, shape)
    tensor, values = Tensor(logits), list(map(Value, x))
    value_logits = nest(values, shape)
    for call in (lambda: loss(tensor, labels, reduction="none"), lambda: loss(tensor, Tensor(labels), "none")):
        assert call().shape == shape and flat(call().data) == pytest.approx(expected)
    if shape:
        assert [v.data for v in flat(loss(value_logits, labels, reduction="none"))] == pytest.approx(expected)
    for reduction, total_loss in ("sum", sum(expected)), ("mean", sum(expected) / n):
        assert loss(tensor, labels, reduction=reduction).item() == pytest.approx(total_loss)
        assert loss(value_logits, labels, reduction=reduction).data == pytest.approx(total_loss)
    assert loss(tensor, labels).item() == pytest.approx(total_loss)
    check(lambda x, t: loss(x, t), [tensor, Tensor(labels)], orders=2)
    check(lambda *xs: loss(nest(xs, shape), labels), values[:6] if n <= 6 else values, orders=1)


@given(n=st.integers(1, 3), classes=st.integers(1, 4), seed=SEEDS, single=st.booleans())
def test_cross_entropy_is_minus_log_of_the_softmax_at_the_target(n, classes, seed, single):
    x, = draw_numbers(seed, [n * classes], [REAL], float)
    rows, targets = nest(x, (n, classes)), random.Random(seed).choices(range(classes), k=n)
    expected = [math.log(sum(map(math.exp, row))) - row[t] for row, t in zip(rows, targets)]
    if single:
        assert cross_entropy(rows[0], targets[0]).item() == pytest.approx(expected[0])
        check(lambda x: cross_entropy(x, targets[0]), [Tensor(rows[0])])
        check(lambda *xs: cross_entropy(list(xs), targets[0]), list(map(Value, rows[0])))
        return
    values = [list(map(Value, row)) for row in rows]
    assert cross_entropy(Tensor(rows), targets, "none").data == pytest.approx(expected)
    assert [v.data for v in cross_entropy(values, Array(targets), "none")] == pytest.approx(expected)
    for logits in Tensor(rows), values:
        assert item(cross_entropy(logits, targets, reduction="sum")) == pytest.approx(sum(expected))
        assert item(cross_entropy(logits, tuple(targets))) == pytest.approx(sum(expected) / n)
    check(lambda x: cross_entropy(x, targets), [Tensor(rows)], orders=2)
    check(lambda *xs: cross_entropy(nest(xs, (n, classes)), targets), [v for row in values for v in row], orders=2)


@pytest.mark.parametrize("x, t, losses", [(BIG, 1, [inf, 0, 0]), (-BIG, 1, [inf, inf, BIG]), (BIG, 0, [inf, 1, BIG]),
                                          (-BIG, 0, [inf, 1, 0]), (800.0, 0, [640000, 1, 800]), (-800.0, 0, [640000, 1, 0])])
def test_losses_of_the_largest_logits(x, t, losses):
    for (loss, _, _), expected in zip(LOSSES, losses):
        for logits in Tensor([x]), [Value(x)]:
            assert item(loss(logits, [t])) == pytest.approx(expected) or loss is hinge_loss and expected is inf
    logits = Tensor([[BIG, -BIG], [-BIG, BIG]])
    assert cross_entropy(logits, [0, 1]).item() == 0 and cross_entropy(logits, [1, 1]).item() == inf


# ----------------------------------------------------------------------------------------------------
# Optimizers: the formulas of the textbook, number by number, over many steps
# ----------------------------------------------------------------------------------------------------

def sgd_by_hand(p, gradient, steps, lr, momentum=0, nesterov=False, weight_decay=0):
    velocity = 0
    for _ in range(steps):
        g = gradient(p) + weight_decay * p
        velocity = momentum * velocity + g
        p -= lr * (g + momentum * velocity if nesterov else velocity)
    return p


def adam_by_hand(p, gradient, steps, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled=False):
    m = v = 0
    for t in range(1, steps + 1):
        g = gradient(p)
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g ** 2
        p -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw_by_hand(p, gradient, steps, weight_decay=0.01, **options):
    return adam_by_hand(p, gradient, steps, weight_decay=weight_decay, decoupled=True, **options)


@pytest.mark.parametrize("optimizer, by_hand, options", [
    (SGD, sgd_by_hand, dict(lr=0.1)), (SGD, sgd_by_hand, dict(lr=0.05, momentum=0.9)),
    (SGD, sgd_by_hand, dict(lr=0.05, momentum=0.9, nesterov=True)), (SGD, sgd_by_hand, dict(lr=0.1, weight_decay=0.3)),
    (SGD, sgd_by_hand, dict(lr=0.02, momentum=0.5, nesterov=True, weight_decay=0.2)),
    (Adam, adam_by_hand, dict()), (Adam, adam_by_hand, dict(lr=0.1)), (Adam, adam_by_hand, dict(lr=0.1, betas=(0.5, 0.7))),
    (Adam, adam_by_hand, dict(lr=0.1, eps=0.5)), (Adam, adam_by_hand, dict(lr=0.1, weight_decay=0.3)),
    (AdamW, adamw_by_hand, dict()), (AdamW, adamw_by_hand, dict(lr=0.1, weight_decay=0.3)),
    (AdamW, adamw_by_hand, dict(lr=0.1, weight_decay=0, betas=(0.8, 0.9), eps=1e-3)),
], ids=lambda x: getattr(x, "__name__", str(x)) if not callable(x) or isinstance(x, type) else "")
def test_optimizer_is_the_textbook_over_many_steps(optimizer, by_hand, options):
    """On the losses (p - 3)**4 / 4, each element from elsewhere, for Values and Tensors together."""
    starts = [0.5, -1.0, 2.0, 4.0, 1.0, 2.5, 3.5]
    value, tensor, scalar = Value(starts[0]), Tensor([starts[1:3], starts[3:5]]), Tensor(starts[5])
    unused, row = Tensor([1.0]), Tensor([starts[6]])
    step = optimizer([value, tensor, unused, scalar, row], **options)
    for _ in range(40):
        step.zero_grad()
        for p in value, tensor, scalar, row:
            ((p - 3) ** 4 / 4).backward()
        step.step()
    expected = [by_hand(p, lambda p: (p - 3) ** 3, 40, **options) for p in starts]
    assert [value.data, *flat(tensor.data), scalar.data, *row.data] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert unused.data == [1.0]


def test_the_learning_rate_can_be_assigned():
    w = Value(1.0)
    optimizer = SGD([w], lr=0.5)
    w.grad = 1.0
    optimizer.step()
    optimizer.lr = 0.125
    optimizer.step()
    assert w.data == 1 - 0.5 - 0.125


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, lr=0.1, momentum=0.9), lambda ps: Adam(ps, lr=0.1), lambda ps: AdamW(ps, lr=0.1),
                                  lambda ps: SGD(ps, lr=0.1)])
def test_training_that_goes_on_from_a_state_is_the_same_to_the_last_bit(make):
    def start():
        return [Value(1.0), Tensor([[2.0, -3.0]]), Tensor(0.5)]

    def steps(params, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            for p in params:
                (p.sin() * p).backward()
            optimizer.step()
            optimizer.lr *= 0.9

    one, two, three = start(), start(), start()
    first, second, third = make(one), make(two), make(three)
    steps(one, first, 9)
    steps(two, second, 4)
    state = copy.deepcopy(second.state_dict("o."))
    assert all(isinstance(x, (int, float, list)) and name.startswith("o.") for name, x in state.items())
    for p, q in zip(three, two):
        p.data = q.data
    third.load_state_dict(dict(state, other=1), prefix="o.")
    steps(two, second, 1)                   # does not change the state that was handed out, nor third
    assert state == third.state_dict("o.")
    steps(three, third, 5)
    assert [p.data for p in three] == [p.data for p in one] and third.state_dict() == first.state_dict()


def test_clip_grad_norm_scales_all_gradients_together():
    for max_norm in 1.0, 6.5, 13.0, 14.0, 0.0:
        v, t, unused = Value(1.0), Tensor([[1.0, 1.0]]), Tensor([1.0])
        v.grad, t.grad = 3.0, [[-4.0, 12.0]]
        assert clip_grad_norm(iter([v, t, unused]), max_norm) == 13
        scale = min(1, max_norm / (13 + 1e-6))
        assert [v.grad, *t.grad[0]] == pytest.approx([3 * scale, -4 * scale, 12 * scale], rel=1e-15) and unused.grad is None


# ----------------------------------------------------------------------------------------------------
# Code written for micrograd runs unchanged
# ----------------------------------------------------------------------------------------------------

def test_the_published_numbers_of_micrograd():
    """The example of micrograd's README, https://github.com/karpathy/micrograd, and the same with tanh."""
    for act, numbers in ("relu", (24.7041, 138.8338, 645.5773)), ("tanh", (4.6252, 27.0601, 117.3345)):
        a, b = Value(-4.0), Value(2.0)
        act = getattr(Value, act)
        c = a + b
        d = a * b + b ** 3
        c += c + 1
        c += 1 + c + (-a)
        d += d * 2 + act(b + a)
        d += 3 * d + act(b - a)
        e = c - d
        f = e ** 2
        g = f / 2.0
        g += 10.0 / f
        g.backward()
        assert [round(x, 4) for x in (g.data, a.grad, b.grad)] == list(numbers)


def test_the_demo_trains_to_the_losses_that_micrograd_prints():
    """MLP(2, [16, 16, 1]), max-margin loss and a penalty on weights; the losses are those of micrograd 0.1.0."""
    from micrograd.engine import Value
    from micrograd.nn import MLP
    random.seed(1337)
    X = [(math.cos(i), math.sin(i)) if i % 2 else (1 - math.cos(i), 0.5 - math.sin(i)) for i in range(40)]
    y = [1 if i % 2 else -1 for i in range(40)]
    model, printed = MLP(2, [16, 16, 1]), []
    for k in range(10):
        scores = list(map(model, [list(map(Value, row)) for row in X]))
        losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
        total_loss = data_loss + 1e-4 * sum((p * p for p in model.parameters()))
        model.zero_grad()
        total_loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * k / 100) * p.grad
        printed.append(total_loss.data)
    assert printed == pytest.approx([1.1239429130306906, 2.4634834787284845, 1.8785172050109307, 0.7705441558286936,
                                     0.6600881877386151, 0.6175015460421922, 0.5727639627322437, 0.5590228717845619,
                                     0.5544711630409555, 0.5374268818916573], abs=1e-9)


def test_the_lecture_trains_a_network_and_draws_its_graph():
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

    x1, x2, w1, w2 = Value(2.0, label="x1"), Value(0.0, label="x2"), Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")
    n = x1 * w1 + x2 * w2 + b
    n.label = "n"
    o = n.tanh()
    o.backward()
    assert [round(v.grad, 4) for v in (x1, w1, x2, w2, n, o)] == [-1.5, 1.0, 0.5, 0.0, 0.5, 1.0] and round(o.data, 4) == 0.7071
    nodes, edges = trace(o)
    assert len(nodes) == 10 and len(edges) == 9 and sorted(v._op for v in nodes if v._op) == ["*", "*", "+", "+", "tanh"]
    assert {v.label for v in nodes} == {"", "x1", "x2", "w1", "w2", "b", "n"}
    e = (2 * n).exp()
    assert ((e - 1) / (e + 1)).data == pytest.approx(o.data)

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


def test_all_operators_in_one_expression_as_in_micrograds_own_test():
    a, b = Value(-4.0), Value(2.0)
    h = (2 * a + 2 + a).relu() + (a * b).relu() - b / a + 3 / b - (a - 1) ** 2 + a ** 3 * -b + (2 - b) + -a
    h.backward()
    assert h.data == pytest.approx(0 + 0 + .5 + 1.5 - 25 + 128 + 0 + 4)
    assert a.grad == pytest.approx(b.data / 16 + 10 - 3 * 16 * 2 - 1) and b.grad == pytest.approx(.25 - .75 + 64 - 1)


# ----------------------------------------------------------------------------------------------------
# Mistakes of others, one test each
#
# Above are: repeated backward passes and shared subgraphs, the hash seed, depth, cycles and copies, the gradient of
# an exponent, equal neurons, stability at large numbers, nan, ties of max and maximum, pickles of models.
# ----------------------------------------------------------------------------------------------------

def test_an_operand_used_twice_counts_twice():
    for cls in Value, Tensor:
        x = cls(3.0)
        for f, slope in (lambda x: x * x, 6), (lambda x: x + x, 2), (lambda x: x - x, 0), (lambda x: x ** x, 27 * (1 + math.log(3))):
            assert item(grad(f(x), x)[0]) == pytest.approx(slope)


def test_reflected_operators_do_not_swap_or_confuse():
    for cls in Value, Tensor:
        x = cls(4.0)
        assert [item(y) for y in (3 + x, 5 - x, 3 * x, 1 / x, 2 ** x)] == [7, 1, 12, .25, 16]
        assert [item(y) for y in (x + 3, x - 5, x * 3, x / 2, x ** 2)] == [7, -1, 12, 2, 16]


def test_broadcasting_is_undone_for_dimensions_of_size_1_too():
    x, y, z = Tensor([[1.0], [2.0]]), Tensor([[1.0, 2.0, 3.0]]), Tensor(1.0)
    (x * y + z).backward()
    assert [x.grad, y.grad, z.grad] == [[[6.0], [6.0]], [[3.0, 3.0, 3.0]], 6.0]


def test_batched_matmul_of_no_cubes():
    x, y = Tensor.ones(5, 1, 2, 3), Tensor.ones(4, 3, 6)
    (x @ y).backward()
    assert (x @ y).shape == (5, 4, 2, 6) and x.grad[4][0] == [[24.0] * 3] * 2 and y.grad[3] == [[10.0] * 6] * 3


def test_repeated_indices_count_as_often_as_they_are_there():
    table = Tensor([[1.0, 2.0], [3.0, 4.0]])
    (table[[0, 0, 1, 0]] * [[1.0], [10.0], [100.0], [1000.0]]).backward()
    assert table.grad == [[1011.0, 1011.0], [100.0, 100.0]]


def test_sum_and_mean_pass_on_what_comes_from_above():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    (x.sum(0) * [1.0, 10.0]).backward()
    (x.mean(1) * [100.0, 1000.0]).backward()
    assert x.grad == [[51.0, 60.0], [501.0, 510.0]]


def test_powers_at_zero_and_of_negative_numbers():
    for exponent, slope in (0, 0), (1, 1), (2, 0), (3, 0):
        for power in exponent, float(exponent):
            x = Value(0.0)
            assert grad(x ** power, x)[0].data == slope
    with pytest.raises(ValueError, match="negative"):
        Value(-8.0) ** (1 / 3)
    with pytest.raises(ValueError, match="negative"):
        Tensor([1.0, -8.0]) ** 0.5


def test_optimizers_change_the_parameter_itself_and_adam_corrects_its_bias():
    w, same = Value(1.0), Tensor([1.0])
    for p in w, same:
        p.grad = 123.0 if p is w else [123.0]
    Adam([w, same], lr=0.25).step()
    assert w.data == pytest.approx(0.75) and same.data == pytest.approx([0.75]), "the first step is lr, whatever the gradient"
    w.grad = 1.0
    Adam([w], lr=1.0, eps=1e6).step()
    assert w.data == pytest.approx(0.75, abs=1e-5), "a large eps stops it"


def test_an_input_of_the_wrong_length_is_an_error_that_names_both():
    for f in MLP(3, [2, 1]), Layer(3, 2), Neuron(3):
        for x in [1.0, 2.0], [1.0, 2.0, 3.0, 4.0]:
            with pytest.raises(ValueError, match=rf"{len(x)}\D+3"):
                f(x)


def test_arrays_on_the_left_leave_the_operator_to_us():
    x, a = Tensor([1.0, 2.0]), Array([10.0, 20.0])
    assert [y.data for y in (a + x, a - x, a * x, a / x, a ** x, a @ x)] == [[11, 22], [9, 18], [10, 40], [10, 10], [10, 400], 50]
    assert [y.data for y in (a < x, a >= x)] == [[0, 0], [1, 1]] and Value.__array_ufunc__ is Tensor.__array_ufunc__ is None


def test_the_hessian_of_the_cross_entropy():
    logits = Tensor([0.3, -1.2, 0.8])
    p = logits.softmax().data
    first, = grad(cross_entropy(logits, 1), logits, create_graph=True)
    hessian = [grad(first[i], logits)[0].data for i in range(3)]
    assert flat(hessian) == pytest.approx([p[i] * ((i == j) - p[j]) for i in range(3) for j in range(3)])


def test_the_norm_at_zero_has_no_gradient_and_says_so():
    for cls in Value, Tensor:
        with pytest.raises(ZeroDivisionError, match="sqrt"):
            (cls(0.0) * cls(0.0)).sqrt().backward()


# ----------------------------------------------------------------------------------------------------
# Wrong use: the type of the error, what it must name, and nothing has changed
# ----------------------------------------------------------------------------------------------------

WRONG = [
    # Value
    ("Value('3')", TypeError, "Value", "'3'"), ("Value(None)", TypeError, "Value", "None"),
    ("Value([1.0])", TypeError, "Value", "[1.0]"), ("Value(v)", TypeError, "Value"), ("Value(t)", TypeError, "Value"),
    ("v + '3'", TypeError, "+"), ("'3' * v", TypeError), ("v - None", TypeError, "-"), ("v / [1.0]", TypeError, "/"),
    ("v ** 'x'", TypeError, "**"), ("v < '3'", TypeError, "<"), ("v @ v", TypeError, "@"),
    ("v + t", TypeError, "+", "Value", "Tensor"), ("t * v", TypeError, "*", "Value", "Tensor"),
    ("t ** v", TypeError, "**", "Value"), ("v @ t", TypeError, "matmul", "Value"), ("t < v", TypeError, "<", "Value"),
    ("v.maximum(t)", TypeError, "maximum"), ("v.minimum('a')", TypeError, "minimum"), ("t.maximum(None)", TypeError, "maximum"),
    ("v / 0", ZeroDivisionError, "2.0 / 0"), ("1 / Value(0.0)", ZeroDivisionError, "1 / 0.0"),
    ("Value(-8.0) ** 0.5", ValueError, "-8.0 ** 0.5", "negative"), ("(-8) ** Value(0.5)", ValueError, "-8 ** 0.5", "negative"),
    ("Value(0.0) ** -1", ZeroDivisionError, "0.0 ** -1"), ("v ** 1e4", OverflowError, "2.0 ** 10000.0"),
    ("Value(0.0).log()", ValueError, "log(0.0)"), ("Value(-1.0).sqrt()", ValueError, "sqrt(-1.0)"),
    ("Value(1000.0).exp()", OverflowError, "exp(1000.0)"), ("v.clip()", ValueError, "clip", "low", "high"),
    ("v.clip('a')", TypeError, "clip"), ("v.clip(v)", TypeError, "clip"), ("t.clip(0, v)", TypeError, "clip"),
    ("v.leaky_relu(v)", TypeError, "leaky_relu"), ("t.leaky_relu('a')", TypeError, "leaky_relu"),
    ("v.backward('1')", TypeError, "backward", "'1'"), ("v.backward([1.0])", TypeError, "backward"),
    ("dot([v], [1.0, 2.0])", ValueError, "dot", "1 weights", "2 inputs"), ("dot([v], ['a'])", TypeError, "dot"),
    ("dot([v], [t])", TypeError, "dot"), ("dot([v], [1.0], None)", TypeError, "dot"),
    # Tensor
    ("Tensor([[1.0, 2.0], [3.0]])", ValueError, "ragged", "[1]", "(1,)", "(2,)"), ("Tensor([[1.0], 2.0])", ValueError, "ragged", "[1]"),
    ("Tensor([1.0, [2.0]])", ValueError, "ragged"), ("Tensor([[1.0, 'a']])", TypeError, "'a'", "[0][1]"),
    ("Tensor(None)", TypeError, "None"), ("Tensor('12')", TypeError, "'12'"), ("Tensor([v])", TypeError, "Value", "[0]"),
    ("Tensor([t, t])", TypeError, "stack"), ("x = [1.0]; x.append(x); Tensor(x)", ValueError, "deep"),
    ("t + [1.0, 2.0]", ValueError, "+", "(2, 3)", "(2,)"), ("[[1.0]] * t * [[1.0], [1.0], [1.0]]", ValueError, "*", "(2, 3)", "(3, 1)"),
    ("t + [[1.0], [2.0, 3.0]]", ValueError, "+", "ragged"), ("t - 'a'", TypeError, "-"), ("t > [1.0, 2.0]", ValueError, ">", "(2,)"),
    ("t.maximum([1.0, 2.0])", ValueError, "maximum", "(2, 3)", "(2,)"), ("where(t > 2, t, 'a')", TypeError, "where"),
    ("where([1, 0], t, 0)", ValueError, "where", "(2,)", "(2, 3)"), ("where(t > 2, v, 0)", TypeError, "where", "Value"),
    ("t / [1.0, 0.0, 2.0]", ZeroDivisionError, "2.0 / 0.0", "[0, 1]"), ("(t - 5).log()", ValueError, "log(-4.0)", "[0, 0]"),
    ("(t * 1000).exp()", OverflowError, "exp(1000.0)", "[0, 0]"), ("(t - 2) ** 0.5", ValueError, "-1.0 ** 0.5", "[0, 0]"),
    ("t @ t", ValueError, "matmul", "(2, 3) @ (2, 3)", "3 and 2"), ("t @ 3", ValueError, "matmul"), ("3 @ t", ValueError, "matmul", "(2, 3)"),
    ("t @ [1.0, 2.0]", ValueError, "matmul", "(2,)"), ("[1.0] @ t", ValueError, "matmul", "(1,) @ (2, 3)"),
    ("Tensor.ones(2, 2, 3) @ Tensor.ones(3, 3, 2)", ValueError, "matmul", "(2,)", "(3,)"), ("t @ 'a'", TypeError, "@"),
    ("t.sum(2)", IndexError, "sum", "dim 2", "2 dimensions"), ("t.mean(-3)", IndexError, "mean", "-3"), ("t.sum('a')", TypeError, "sum", "'a'"),
    ("t.sum(1.5)", TypeError, "sum", "1.5"), ("t.max((0, 0))", ValueError, "max", "twice"), ("t.min((0, -2))", ValueError, "min", "twice"),
    ("t[0:1].var(0)", ValueError, "var", "1 element"), ("Tensor([]).mean()", ValueError, "mean", "0 element"),
    ("Tensor([]).max()", ValueError, "max"), ("Tensor([]).argmax()", ValueError, "argmax"), ("t.argmax(2)", IndexError, "argmax", "dim 2"),
    ("t.softmax(2)", IndexError, "softmax", "dim 2"), ("t.log_softmax(None)", TypeError, "log_softmax", "None"),
    ("t.softmax((0, 1))", TypeError, "softmax"), ("t.logsumexp(5)", IndexError, "logsumexp", "5"), ("t.var(7)", IndexError, "var", "7"),
    ("t.reshape(4, 2)", ValueError, "reshape", "(2, 3)", "6", "(4, 2)"), ("t.reshape(-1, 4)", ValueError, "reshape", "6"),
    ("t.reshape(-1, -1)", ValueError, "reshape", "-1"), ("t.reshape(2.0, 3)", TypeError, "reshape", "2.0"),
    ("t.reshape(-2, -3)", ValueError, "reshape", "-2"),
    ("t.permute(0)", ValueError, "permute", "1 dim", "2 dim"), ("t.permute(0, 0)", ValueError, "permute", "twice"),
    ("t.permute(0, 2)", IndexError, "permute", "dim 2"), ("t.transpose(0, 2)", IndexError, "transpose", "dim 2"),
    ("t.transpose(0, None)", TypeError, "transpose", "None"), ("t.unsqueeze(4)", IndexError, "unsqueeze", "4"),
    ("t.squeeze(2)", IndexError, "squeeze", "2"), ("t.flatten(1, 0)", ValueError, "flatten", "1", "0"),
    ("t.broadcast_to(3, 3)", ValueError, "broadcast_to", "(2, 3)", "(3, 3)"), ("t.broadcast_to(3)", ValueError, "broadcast_to"),
    ("Tensor([[1.0]]).broadcast_to(1)", ValueError, "broadcast_to", "(1, 1)"),
    ("t[2]", IndexError, "index", "2", "dimension 0", "size 2"), ("t[0, -4]", IndexError, "-4", "dimension 1", "size 3"),
    ("t[0, 0, 0]", IndexError, "3 indices", "(2, 3)"), ("t[..., 0, ...]", IndexError, "..."), ("t[1.0]", TypeError, "1.0"),
    ("t['a']", TypeError, "'a'"), ("t[t > 2]", TypeError, "where"), ("t[[True, False]]", TypeError, "where"), ("t[v]", TypeError, "index"),
    ("t[[0, 2]]", IndexError, "2", "dimension 0"), ("t[[0, 1], [0]]", IndexError, "lengths"), ("t[[0, 1], :, [0, 1]]", IndexError, "index"),
    ("t[[0], [[0]]]", IndexError, "index"), ("t[[[0, 1], [1]]]", ValueError, "ragged"), ("t[::0]", ValueError, "index", "step"),
    ("Tensor.ones(2, 2, 2)[0, :, [1]]", IndexError, "ambiguous"), ("t[0] = 1.0", TypeError, "assign", "where"),
    ("t.item()", ValueError, "item", "(2, 3)"), ("bool(t)", ValueError, "(2, 3)", "ambiguous"), ("len(Tensor(1.0))", TypeError, "len"),
    ("list(Tensor(1.0))", TypeError, "0 dim"), ("Tensor(1.0)[0]", IndexError, "1 indices", "()"),
    ("Tensor.zeros(2, -1)", ValueError, "zeros", "-1"), ("Tensor.ones(2.0)", TypeError, "ones", "2.0"), ("Tensor.zeros(0, 3)", ValueError, "(0, 3)"),
    ("Tensor.full(2.5, 1)", TypeError, "full", "2.5"), ("Tensor.full((2,), [1, 2])", TypeError, "full"),
    ("Tensor.eye(-1)", ValueError, "eye", "-1"), ("Tensor.arange(0, 3, 0)", ValueError, "arange", "step"),
    ("cat([])", ValueError, "cat", "no tensors"), ("cat([t, [1.0]])", ValueError, "cat", "(2, 3)", "(1,)"), ("cat([t, t], 2)", IndexError, "cat", "2"),
    ("cat([t, [[1.0]]])", ValueError, "cat", "(2, 3)", "(1, 1)"), ("cat([t, v])", TypeError, "cat", "Value"), ("cat([t, 'a'])", TypeError, "cat"),
    ("cat(t)", TypeError, "cat"), ("cat(5)", TypeError, "cat"), ("stack(5)", TypeError, "stack"),
    ("stack([])", ValueError, "stack", "no tensors"), ("stack([t, t[0]])", ValueError, "stack", "(2, 3)", "(3,)"), ("stack([t], 3)", IndexError, "3"),
    ("linear(t, t.T)", ValueError, "linear", "(2, 3)"), ("linear(1.0, t)", ValueError, "linear"), ("linear(t, t, [1.0])", ValueError, "linear", "(1,)"),
    # gradients
    ("(t > 2).backward()", ValueError, "backward", "constant"), ("t.backward([1.0])", ValueError, "backward", "(1,)", "(2, 3)"),
    ("t.backward('a')", TypeError, "backward"), ("t.backward(v)", TypeError, "backward", "Value"), ("x = t * 2; t.grad = [1.0]; x.backward()", ValueError, "grad"),
    ("grad(t, v)", ValueError, "grad", "input 0"), ("grad(v, [v, Value(1.0)])", ValueError, "grad", "input 1"), ("grad(v, 'a')", TypeError, "grad"),
    ("grad(3.0, v)", TypeError, "grad", "float"), ("grad(v, [1.0])", TypeError, "grad", "input 0"), ("grad(v, 5)", TypeError, "grad"),
    ("x = Value(0.0); y = x.sqrt() + v * v; y.backward()", ZeroDivisionError, "sqrt", "0.0"),
    ("x = Tensor([4.0, 0.0]); y = (x.sqrt() * 2 + x).sum() + t.sum(); y.backward()", ZeroDivisionError, "sqrt"),
    ("gradcheck(lambda: v)", ValueError, "gradcheck"), ("gradcheck(lambda x: 3.0, v)", TypeError, "grad", "float"), ("gradcheck(Value.exp, 2.0)", TypeError, "gradcheck"),
    ("elementwise('not a name', abs, abs)", ValueError, "not a name"), ("elementwise('sum', abs, abs)", ValueError, "sum"),
    ("elementwise('data', abs, abs)", ValueError, "data"), ("elementwise(3, abs, abs)", (TypeError, ValueError), "3"),
    # networks
    ("MLP(2, [])", ValueError, "MLP"), ("MLP(0, [1])", ValueError, "0"), ("MLP(2, [3, 0])", ValueError, "0"), ("MLP(2, 3)", TypeError, "MLP"),
    ("MLP(2.5, [1])", ValueError, "2.5"), ("MLP(2, [1], act='rellu')", ValueError, "rellu", "relu", "tanh"), ("Neuron(2, act=3)", ValueError, "3"),
    ("Neuron(2, act=['relu'])", ValueError, "relu"), ("Layer(2, -1)", ValueError, "Layer", "-1"), ("Linear(0, 1)", ValueError, "Linear", "0"), ("Linear(1, 1.5)", ValueError, "1.5"),
    ("model([1.0])", ValueError, "1", "2"), ("model([1.0, 2.0, 3.0])", ValueError, "3", "2"), ("model(['a', 'b'])", TypeError, "'a'"),
    ("model(t)", TypeError, "Tensor", "tolist"), ("model(None)", TypeError, "None"), ("model([[1.0, 2.0], [3.0, 4.0]])", TypeError, "[1.0, 2.0]"),
    ("net(t)", ValueError, "linear", "(2, 3)", "2"), ("net([v, v])", TypeError, "Value"), ("net('ab')", TypeError, "linear"),
    ("Sequential(net, 3)", TypeError, "Sequential", "step 1", "3"), ("Module()(1.0)", NotImplementedError, "Module"),
    ("net.load_state_dict({})", ValueError, "missing", "0.weight"), ("net.load_state_dict(dict(net.state_dict(), extra=1.0))", ValueError, "unexpected", "extra"),
    ("state = net.state_dict(); state['2.bias'] = [1.0, 2.0]; net.load_state_dict(state)", ValueError, "2.bias", "(2,)", "(1,)"),
    ("state = net.state_dict(); state['2.bias'] = ['a']; net.load_state_dict(state)", TypeError, "2.bias", "'a'"),
    ("state = net.state_dict(); state['0.weight'][0] = [1.0]; net.load_state_dict(state)", ValueError, "0.weight", "ragged"),
    ("net.load_state_dict([1.0])", TypeError, "load_state_dict"), ("net.load_state_dict({1: 2.0})", (TypeError, ValueError), "load_state_dict", "1"),
    # losses
    ("mse_loss(t, [1.0, 2.0])", ValueError, "mse_loss", "(2, 3)", "(2,)"), ("mse_loss([v, v], [1.0])", ValueError, "mse_loss", "(2,)", "(1,)"),
    ("mse_loss(t, t, reduction='avg')", ValueError, "mse_loss", "avg", "mean"), ("hinge_loss([v], [1.0], 'no')", ValueError, "hinge_loss", "no"),
    ("mse_loss([v], t[0, :1])", TypeError, "mse_loss", "Value", "Tensor"), ("mse_loss([[v, v], [v]], [[1.0, 1.0], [1.0]])", ValueError, "mse_loss"),
    ("mse_loss('a', [1.0])", TypeError, "mse_loss"), ("binary_cross_entropy_with_logits(t, [1.0])", ValueError, "binary_cross_entropy_with_logits", "(1,)"),
    ("cross_entropy(t, [0])", ValueError, "cross_entropy", "(2, 3)", "1"), ("cross_entropy(t, [0, 3])", ValueError, "cross_entropy", "target 1", "3"),
    ("cross_entropy(t, [0, -1])", ValueError, "target 1", "-1"), ("cross_entropy(t, [0, 1.0])", (TypeError, ValueError), "target 1", "1.0"),
    ("cross_entropy(t, 1)", (TypeError, ValueError), "cross_entropy"), ("cross_entropy(Tensor(1.0), 0)", ValueError, "cross_entropy", "()"),
    ("cross_entropy([[v, v], [v]], [0, 0])", ValueError, "cross_entropy"), ("cross_entropy(t, [0, 1], 'all')", ValueError, "all"),
    ("cross_entropy(Tensor.ones(2, 2, 2), [0, 0])", ValueError, "(2, 2, 2)"), ("cross_entropy([v, v], 2)", ValueError, "target", "2"),
    # optimizers
    ("SGD([], 0.1)", ValueError, "SGD", "no parameters"), ("SGD([v, v], 0.1)", ValueError, "SGD", "twice"), ("SGD(v, 0.1)", TypeError, "SGD", "list"),
    ("SGD(model, 0.1)", TypeError, "SGD", "parameters()"), ("Adam([1.0])", TypeError, "Adam", "parameter 0", "1.0"), ("SGD(None, 0.1)", TypeError, "SGD"),
    ("SGD([v], -0.1)", ValueError, "lr", "-0.1"), ("SGD([v], '0.1')", (TypeError, ValueError), "lr", "'0.1'"), ("Adam([v], lr=nan)", ValueError, "lr", "nan"),
    ("sgd.lr = -1", ValueError, "lr", "-1"), ("SGD([v], 0.1, momentum=-1)", ValueError, "momentum"), ("SGD([v], 0.1, weight_decay=-1)", ValueError, "weight_decay"),
    ("SGD([v], 0.1, nesterov=True)", ValueError, "nesterov", "momentum"), ("Adam([v], betas=(0.9, 1.0))", ValueError, "betas", "1.0"),
    ("Adam([v], betas=(-0.1, 0.5))", ValueError, "betas"), ("Adam([v], betas=(0.9,))", ValueError, "betas"), ("Adam([v], betas=0.9)", (TypeError, ValueError), "betas"),
    ("Adam([v], eps=-1)", ValueError, "eps"), ("AdamW([v], weight_decay=-1)", ValueError, "AdamW", "weight_decay"), ("Adam([v], weight_decay='a')", (TypeError, ValueError), "weight_decay"),
    ("net[0].weight.grad, net[2].bias.grad = [[1.0, 1.0]] * 3, [1.0, 2.0]; sgd.step()", ValueError, "step", "parameter 3", "(1,)", "(2,)"),
    ("net[2].weight.grad = 5.0; adam.step()", ValueError, "step", "parameter 2", "(1, 3)"),
    ("v.grad = [1.0]; adam.step()", ValueError, "step", "parameter 4"), ("v.grad = 'a'; adam.step()", TypeError, "step", "parameter 4"),
    ("sgd.load_state_dict({})", ValueError, "lr", "missing"), ("sgd.load_state_dict({'lr': -1.0})", ValueError, "lr", "-1"),
    ("sgd.load_state_dict({'lr': 0.5, '9.momentum_buffer': [1.0]})", ValueError, "9.momentum_buffer"), ("adam.load_state_dict(sgd.state_dict())", ValueError, "momentum_buffer"),
    ("state = adam.state_dict(); state['0.exp_avg'] = [1.0]; adam.load_state_dict(state)", ValueError, "0.exp_avg", "(1,)", "(3, 2)"),
    ("state = adam.state_dict(); state['4.step'] = -1; adam.load_state_dict(state)", ValueError, "4.step", "-1"),
    ("state = adam.state_dict(); del state['4.exp_avg']; adam.load_state_dict(state)", ValueError, "4.exp_avg", "missing"),
    ("sgd.load_state_dict(None)", TypeError, "load_state_dict"), ("sgd.load_state_dict({'lr': 'a'})", TypeError, "lr", "'a'"),
    ("clip_grad_norm([v], -1.0)", ValueError, "clip_grad_norm", "-1.0"), ("clip_grad_norm([v], 'a')", (TypeError, ValueError), "max_norm", "'a'"),
    ("clip_grad_norm(t, 1.0)", TypeError, "clip_grad_norm", "list"), ("clip_grad_norm(net, 1.0)", TypeError, "clip_grad_norm", "parameters()"),
]


def prepared():
    """All that a wrong use could change, in the middle of training."""
    random.seed(1)
    v, t = Value(2.0), Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    model, net = MLP(2, [3, 1]), Sequential(Linear(2, 3), Tensor.tanh, Linear(3, 1))
    sgd, adam = SGD(net.parameters(), 0.1, momentum=0.9), Adam(net.parameters() + [v])
    for _ in "12":
        (v * v + model([v, 1.0])).backward()
        (t.sum() + net(t[:, :2]).sum()).backward()
        sgd.step()
        adam.step()
    return {**vars(micrograd), "v": v, "t": t, "model": model, "net": net, "sgd": sgd, "adam": adam, "nan": nan}


def all_numbers(names):
    for name, thing in sorted(names.items()):
        if isinstance(thing, (Value, Tensor)):
            yield name, thing.data, thing.grad, thing._due
        elif hasattr(thing, "state_dict") and not isinstance(thing, type):
            yield name, thing.state_dict(), [(p.grad, p.data) for p in getattr(thing, "params", None) or thing.parameters()]


@pytest.mark.parametrize("code, error, words", [(code, error, words) for code, error, *words in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_use_is_named_and_changes_nothing(code, error, words):
    names, (*setup, last) = prepared(), ast.parse(code).body
    exec(compile(ast.Module(setup, []), "setup", "exec"), names)
    before = repr(list(all_numbers(names)))
    with pytest.raises(error) as caught:
        exec(compile(ast.Module([last], []), "wrong use", "exec"), names)
    assert all(word in str(caught.value) for word in words), f"{caught.value} should name {words}"
    assert repr(list(all_numbers(names))) == before and "grad=2" not in str(caught.value)


def test_there_are_wrong_uses_enough():
    assert len(WRONG) >= 100


# ----------------------------------------------------------------------------------------------------
# Documents
# ----------------------------------------------------------------------------------------------------

def test_examples_in_docstrings(registry):
    result = doctest.testmod(micrograd)
    assert result.attempted > 20 and result.failed == 0


def test_public_names_have_docstrings():
    for name in PUBLIC - set(REFLECTED):
        for owner in micrograd, Value, Tensor:
            thing = inspect.getattr_static(owner, name, None)
            if not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing) or isinstance(thing, property)):
                assert thing.__doc__, name


def test_code_in_the_readme(tmp_path, monkeypatch):
    """Blocks run in order in one namespace; `# prints ...` in a block is what it prints, ... being anything."""
    path = os.path.join(os.path.dirname(os.path.abspath(micrograd.__file__)), "README.md")
    text = io.open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        with redirect_stdout(io.StringIO()) as output:
            exec(compile(block, "README.md", "exec"), names)
        promised = re.findall(r"# prints (.*)", block)
        if promised:
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output("\n".join(promised) + "\n", output.getvalue(), options), (
                f"{block}\nprinted\n{output.getvalue()}")
