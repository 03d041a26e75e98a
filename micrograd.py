# mypy: ignore-errors
"""micrograd.py: automatic differentiation and neural networks in one file of pure Python.

Copy this file into your project; it needs nothing but Python 3.8 or newer. `python3 micrograd.py` checks
it. Read it from top to bottom:

    the chain rule   a graph of operations, and how gradients flow back through it
    the rules        every elementwise operation, next to its derivative
    Value            one number
    checking         what may go in, what errors say, and gradients against finite differences
    nested lists     broadcasting, reductions and matrix products on plain lists, without any graph
    Tensor           nested lists of numbers that remember where they come from
    networks · losses · optimizers
    ... which is all that a first look needs (helpers that only check what users give, such as _nodes,
    _dims and _sizes, are in small print). Then come
    more of Tensor   methods that are rarer: extremes, pieces, triangles, assignment
    small print      what users write in many ways; how things look
    more modules     embeddings, norms, dropout, attention, as PyTorch has them
    source code      a function of Values, and its gradient, as plain Python or C
    saving           safetensors files, which PyTorch and others open
    drawing          the graph as a picture
    the course       the names under which users of PyTorch know all this
    fast paths       parts of it again, faster: without this section everything is the same
    types            what the annotations say, for type checkers

>>> a, b = Value(2.0), Value(-3.0)
>>> loss = (a * b + 5) ** 2
>>> loss.backward()                   # fills .grad of everything that loss depends on
>>> a.grad, b.grad
(6.0, -4.0)

MIT License.
"""
from __future__ import annotations

import math
import operator
import os
import random
import struct
import sys
from bisect import bisect_left
from collections import Counter, deque, namedtuple
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import lru_cache, partial, wraps
from itertools import accumulate, chain, product
from numbers import Number
from reprlib import recursive_repr
from threading import RLock

TYPE_CHECKING = False       # type checkers take it for True; what annotations say stands near the end

try:
    from math import sumprod    # type: ignore[attr-defined]  # Python 3.12: three times as fast, more exact
except ImportError:
    def sumprod(p: Iterable[Any], q: Iterable[Any]) -> Any:  # type: ignore[misc]
        """The sum of the products of the numbers in p and q."""
        return sum(map(operator.mul, p, q))

__version__ = "2.0.0"
_new = object.__new__
_outdated = [globals()[name] for name in ("Value", "Tensor") if name in globals()]  # before a reload, if any


# ---- The chain rule --------------------------------------------------------------------------------
# An operation makes a node, which keeps its operands and for each of them a rule. For out = x * y:
#
#     rule(g, out, *operands)         of x: lambda g, out, x, y: g * y        of y: lambda g, out, x, y: g * x
#
# A gradient says how much the final result grows for each little step that something grows. A rule gets
# g, the gradient of out, and gives that of its operand: g times the derivative of out by the operand,
# which is the chain rule. An operand that is used several times gets the sum. Rules are written with
# operators and with operations of this file, so that one and the same rule works on numbers, on Tensors,
# and on Values or Tensors that record a graph themselves. That is all there is to gradients of gradients.
#
# Why the order matters: take x = 2, y = 3 and
#
#     p = x * y = 6       q = p + x = 8       loss = p * q = 48
#
# Backwards, loss has the gradient 1. It pays 1 * p = 6 to q, and 1 * q = 8 to p. But p is used twice, by
# loss and by q, and may hand on what it has only when both have paid; 8 would be a part of it. So q is
# next: it pays 6 to x, and 6 to p, which now has 14. Then p pays 14 * y = 42 to x, and 14 * x = 28 to y.
# So x has 48.

_LEAF: Tuple[str, Sequence[Optional[Rule]]] = ("", ())      # made by no operation


class Node:
    """What Value and Tensor share: data, its gradient, and the operation that made it.

    `_operands` are nodes and plain numbers; `_made` is the name of the operation, and a rule for each
    operand, or None where there is nothing to differentiate. A node refers to its operands and never
    back. Without cycles, a graph is freed the moment its result is, and the garbage collector has
    nothing to find.

    Where Values and Tensors differ, a backward pass asks the node:

        _seed(gradient)       where to start: 1, or the given gradient
        _check_graph()        an error when there is nothing below
        _take_in(paid, d)     paid + d, in the shape of this node; paid is None at first
        _settle(paid)         the finished gradient, when all that use the node have paid
        _grad_plus(g, taken)  what .grad becomes: the old one and g, in lists of its own
        _node(x)              an operand or a gradient as a node of this class
    """

    __slots__ = ("_data", "_grad", "label", "_made", "_operands", "__weakref__")
    __array_ufunc__ = None      # NumPy arrays and numbers on the left of an operator leave it to us
    _NO_GRAD: Any = None        # what .grad is before any backward pass
    requires_grad: bool
    label: str
    _op = property(lambda node: node._made[0], doc='The name of the operation, "" for a leaf.')
    _rules = property(lambda node: node._made[1], doc="A rule, or None, for each operand.")
    if TYPE_CHECKING:                           # what "The rules" and "Small print" add
        def _unary(self: N) -> N: ...
        def _binary(self: N, other: Operand) -> N: ...
        exp = log = sqrt = sin = cos = tanh = sigmoid = relu = gelu = silu = softplus = log1p = expm1 = _unary
        erf = atan = sign = floor = round = __neg__ = __abs__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = maximum = minimum = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = _binary
        def clip(self: N, low: Optional[float] = None, high: Optional[float] = None) -> N: ...
        def leaky_relu(self: N, slope: float = 0.01) -> N: ...

    @property
    def _prev(self: N) -> Tuple[N, ...]:
        """The operands as nodes; plain numbers among them as constant leaves."""
        return tuple([self._node(operand) for operand in self._operands])

    def backward(self, gradient: Optional[Operand] = None) -> None:
        """Add d self / d node into `.grad` of every node that self depends on, itself included.

        `gradient`, of the shape of self, is where to start instead of ones: the result is then the
        gradient of the sum of gradient * self. Called twice, it adds twice. ValueError without a graph
        (made of constants, under no_grad, unpickled); ValueError or ArithmeticError where a derivative
        does not exist, as that of sqrt at 0; RuntimeError when data were replaced in between. After an
        error no `.grad` has changed.
        """
        seed = self._seed(gradient)
        self._check_graph()
        _add_to_grads(_gradients(self, seed))

_depth = ContextVar("depth", default=0)     # how many no_grad blocks hold in this thread, or asyncio task

def _recording():
    """Do operations record a graph? Not inside no_grad."""
    return not _depth.get()

def _gradients(root, seed, create_graph=False):
    """{node: d root / d node} for root and all below it, starting with the gradient `seed` for root.

    Nothing is recorded meanwhile, unless create_graph. The switch for that, _depth, is set in a copy of
    the context, so that it need not be set back after an error.
    """
    return copy_context().run(_pass, root, seed, 0 if create_graph else 1)

def _pass(root, seed, depth):
    """The place of recursion takes a list that grows while we walk it: a graph may be a million nodes deep.
    All state is in dicts of its own: when it fails, nothing was touched. (Values: see "Fast paths", too.)"""
    _depth.set(depth)
    uses, nodes = {root: 0}, [root]
    for node in nodes:                              # how many operations use each node
        for operand, rule in zip(node._operands, node._rules):
            if rule:
                if operand not in uses:
                    uses[operand] = 0
                    nodes.append(operand)
                uses[operand] += 1
    gradients, ready = {root: seed}, [root]
    for node in ready:                              # a node is ready when all that use it have paid
        g, operands = node._settle(gradients[node]), node._operands
        gradients[node] = g
        for operand, rule in zip(operands, node._rules):
            if rule:
                try:
                    d = rule(g, node, *operands)    # for Values it may be a number: see _take_in
                    gradients[operand] = operand._take_in(gradients.get(operand), d)
                except (ArithmeticError, ValueError, TypeError) as error:
                    raise _no_derivative(node, error) from error
                uses[operand] -= 1
                if not uses[operand]:
                    ready.append(operand)
    return gradients

_lock = RLock()                 # held while .grad is written, so that threads may share parameters

def _add_to_grads(gradients):
    with _lock: _write_grads(gradients)     # on one line, so that Ctrl-C cannot fall between it and its end

def _write_grads(gradients):
    """All or, after an error or Ctrl-C, nothing."""
    taken = set()                           # lists of numbers that are some node's own by now
    changes = [(node, node._grad, node._grad_plus(g, taken)) for node, g in gradients.items()]
    try:
        for node, _, total in changes:
            node._grad = total
    except BaseException:
        for node, before, _ in changes:
            node._grad = before
        raise

def grad(output: N, inputs: Union[N, Iterable[N]], create_graph: bool = False,
         allow_unused: bool = False) -> Tuple[N, ...]:
    """The gradients of output with respect to inputs (a node, or a sequence of nodes), as a tuple.

    No `.grad` is touched. With `create_graph=True` the gradients can be differentiated again. A Tensor
    of more than one element stands for the sum of its elements. For an input that output does not depend
    on: ValueError, or None with `allow_unused=True`.

    >>> x = Value(3.0)
    >>> slope, = grad(x ** 3, x, create_graph=True)
    >>> slope.data, grad(slope, x)[0].data
    (27.0, 18.0)
    """
    wanted = _nodes("grad", "input", [inputs] if isinstance(inputs, Node) else inputs)
    _nodes("grad", "output", [output])
    gradients = _gradients(output, output._seed(None), create_graph)
    for i, x in enumerate(wanted):
        if x not in gradients and not allow_unused:
            raise ValueError(f"grad: the output does not depend on input {i}, {x!r:.200}; "
                             "allow_unused=True gives None for it")
    return tuple([x._node(gradients[x]) if x in gradients else None for x in wanted])


# ---- The rules -------------------------------------------------------------------------------------
# One entry per operation: its name, what it does to numbers, and for each operand its rule. Value and
# Tensor both take their operations from here.

def _operation(name, forward, *rules, text=""):
    """Enter an operation: a function of Values, of Tensors or of plain numbers.

    `text` is forward as a Python expression in x, y, z, w for "Source code", where forward is neither an
    operator nor a function of math. The attributes are what _apply reads.
    """
    def operation(*operands):
        node = next((x for x in operands if isinstance(x, Node)), None)
        if node is None:
            return _compute(name, forward, *[_accepted(name, x, _number(x)) for x in operands])
        return node._apply(operation, [_accepted(name, x, node._operand(name, x)) for x in operands])
    operation.name, operation.forward, operation.rules, operation.text = name, forward, rules, text
    _OPERATIONS[name] = operation
    return operation

_OPERATIONS: Dict[str, Any] = {}            # by name

def _operators(operation):
    """An operator, and its reflection: 3 - x asks x for __rsub__."""
    def method(x, y):
        y = x._operand(operation.name, y)
        return y if y is NotImplemented else x._apply(operation, (x, y))

    def reflected(x, y):
        y = x._operand(operation.name, y)
        return y if y is NotImplemented else x._apply(operation, (y, x))
    return method, reflected

def _power(x, y):
    out = x ** y
    if type(out) is complex and complex not in (type(x), type(y)):
        raise ValueError("a negative number to a fractional power is not real")
    return out

def _power_base(g, out, x, y):
    """y * x**(y - 1); 0 for y = 0, at x = 0 too, where x**-1 does not exist: the exponent is made 0."""
    if not isinstance(y, Node):
        return g * (y * x ** (y - 1)) if y else _gate(g, 0)
    more = _is_zero(y) * (_is_zero(x) if y.requires_grad else 1)    # for d/dy, only where it must be
    return g * (y * x ** (y - 1 + more))

def _power_exponent(g, out, x, y):
    """x**y * log(x): 0 at x = 0, as PyTorch has it, and nan for x < 0."""
    return g * out * _log_of_base(x)

_ARITHMETIC = {
    #            symbol forward          rule for x                     rule for y
    "add":     ("+",  operator.add,     lambda g, out, x, y: g,        lambda g, out, x, y: g),
    "sub":     ("-",  operator.sub,     lambda g, out, x, y: g,        lambda g, out, x, y: -g),
    "mul":     ("*",  operator.mul,     lambda g, out, x, y: g * y,    lambda g, out, x, y: g * x),
    "truediv": ("/",  operator.truediv, lambda g, out, x, y: g / y,    lambda g, out, x, y: -g * (out / y)),
    "pow":     ("**", _power,           _power_base,                   _power_exponent),
}
for _name, _entry in _ARITHMETIC.items():
    for _prefix, _operator in zip(("", "r"), _operators(_operation(*_entry))):
        _operator.__name__ = f"__{_prefix}{_name}__"
        setattr(Node, _operator.__name__, _operator)

# Rules with pieces. A gate lets g pass, or makes it 0: a product with 1 or 0 would not do, since inf * 0
# is nan. It lets g pass at nan, so that a nan in the data is not hidden by a 0 in the gradient. The
# share of one of two equals is g / 2 and not g * 0.5, which would make a float of a Fraction. In their own
# rules g is an operand, and h the gradient of the result. (Names end in _ to leave the rest to users.)
_gate = _operation("gate_", lambda g, x: type(g)(0) if x <= 0 else g,
                   lambda h, out, g, x: _gate(h, x), None, text="0.0 if y <= 0 else x")
_share = _operation("share_", lambda g, x, y: type(g)(0) if x < y else g / 2 if x == y else g,
                    lambda h, out, g, x, y: _share(h, x, y), None, None,
                    text="0.0 if y < z else x / 2 if y == z else x")
_is_zero = _operation("is_zero_", lambda x: int(x == 0), None, text="1 if x == 0 else 0")
_log_of_base = _operation("log_of_base_", lambda x: math.log(x) if x > 0 else 0.0 if x == 0 else math.nan,
                          lambda g, out, x: g / x,
                          text="math.log(x) if x > 0 else 0.0 if x == 0 else math.nan")
_maximum = _operation("maximum", lambda x, y: x if x >= y or x != x else y,
                      lambda g, out, x, y: _share(g, x, y), lambda g, out, x, y: _share(g, y, x),
                      text="x if x >= y or x != x else y")
_minimum = _operation("minimum", lambda x, y: x if x <= y or x != x else y,
                      lambda g, out, x, y: _share(g, y, x), lambda g, out, x, y: _share(g, x, y),
                      text="x if x <= y or x != x else y")

FUNCTIONS: Dict[str, Function] = {}     # by name: those below, and those made by elementwise

def _function(name: str, doc: str, forward: Callable[[Any], Any], rule: Rule, text: str = "") -> Function:
    """Enter a function of one number, and give Value and Tensor a method of its name."""
    operation = _operation(name, forward, rule, text=text)

    def function(x):
        return operation(x)
    function.__name__, function.__qualname__, function.__doc__ = name, f"Node.{name}", doc
    FUNCTIONS[name] = function
    setattr(Node, name, function)
    return function

def _sigmoid(x):
    e = math.exp(-abs(x))           # never overflows
    return 1 / (1 + e) if x >= 0 else e / (1 + e)

def _whole(f):
    """f as a float; inf and nan pass."""
    return lambda x: float(f(x)) if x - x == 0 else x           # x - x is 0 for what is finite

_neg = _operation("neg", operator.neg, lambda g, out, x: -g, text="-x")
_sign = _operation("sign_", lambda x: x if x != x else (x > 0) - (x < 0), None,
                   text="x if x != x else 1 if x > 0 else -1 if x < 0 else 0")
_abs = _operation("abs", abs, lambda g, out, x: g * _sign(x), text="abs(x)")
exp = _function("exp", "e to the power of x.", math.exp, lambda g, out, x: g * out)
expm1 = _function("expm1", "exp(x) - 1, exact for small x.", math.expm1, lambda g, out, x: g * (out + 1))
log = _function("log", "The natural logarithm; ValueError for x <= 0.", math.log, lambda g, out, x: g / x)
log1p = _function("log1p", "log(1 + x), exact for small x; ValueError for x <= -1.", math.log1p,
                  lambda g, out, x: g / (1 + x))
sqrt = _function("sqrt", "The square root; ValueError for x < 0, no derivative at 0.", math.sqrt,
                 lambda g, out, x: g / (2 * out))
sin = _function("sin", "The sine of x radians.", math.sin, lambda g, out, x: g * cos(x))
cos: Function = _function("cos", "The cosine of x radians.", math.cos, lambda g, out, x: -g * sin(x))
atan = _function("atan", "The arc tangent, in radians from -pi/2 to pi/2.", math.atan,
                 lambda g, out, x: g / (1 + x * x))
tanh = _function("tanh", "The hyperbolic tangent, from -1 to 1.", math.tanh,
                 lambda g, out, x: g * (1 - out * out))
sigmoid = _function("sigmoid", "1 / (1 + exp(-x)), from 0 to 1.", _sigmoid,
                    lambda g, out, x: g * out * (1 - out),
                    text="1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))")
relu = _function("relu", "x where x > 0, and 0 elsewhere.", lambda x: type(x)(0) if x < 0 else x,
                 lambda g, out, x: _gate(g, x), text="0.0 if x < 0 else x")
silu = _function("silu", "x * sigmoid(x), also called swish (https://arxiv.org/abs/1702.03118).",
                 lambda x: x * _sigmoid(x), lambda g, out, x: g * sigmoid(x) * (1 + x * sigmoid(-x)),
                 text="x * (1 / (1 + math.exp(-x))) if x >= 0 else x * (math.exp(x) / (1 + math.exp(x)))")
softplus = _function("softplus", "log(1 + exp(x)), a smooth relu.",
                     lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), lambda g, out, x: g * sigmoid(x),
                     text="x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))")
gelu = _function("gelu", "x times the normal distribution function of x (https://arxiv.org/abs/1606.08415).",
                 lambda x: x * (math.erfc(-x / math.sqrt(2)) / 2),
                 lambda g, out, x: g * (_normal_cdf(x) + x * _normal_pdf(x)),
                 text=f"x * (math.erfc(-x / {math.sqrt(2)}) / 2)")
_normal_cdf = _operation("normal_cdf_", lambda x: math.erfc(-x / math.sqrt(2)) / 2,
                         lambda g, out, x: g * _normal_pdf(x), text=f"math.erfc(-x / {math.sqrt(2)}) / 2")
_normal_pdf = _operation("normal_pdf_", lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
                         lambda g, out, x: -g * out * x,
                         text=f"math.exp(-x * x / 2) / {math.sqrt(2 * math.pi)}")
erf = _function("erf", "The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x.",
                math.erf, lambda g, out, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))
sign = _function("sign", "1 for x > 0, -1 for x < 0, 0 for 0. Its gradient is 0.",
                 lambda x: x if x != x else float((x > 0) - (x < 0)), lambda g, out, x: _gate(g, 0),
                 text="x if x != x else 1.0 if x > 0 else -1.0 if x < 0 else 0.0")
floor = _function("floor", "The largest whole number up to x. Its gradient is 0.", _whole(math.floor),
                  lambda g, out, x: _gate(g, 0), text="math.floor(x) + 0.0 if x - x == 0 else x")
_round = _function("round", "The nearest whole number, the even one of two. Its gradient is 0.",
                   _whole(round), lambda g, out, x: _gate(g, 0), text="round(x) + 0.0 if x - x == 0 else x")
_BUILT_IN = frozenset(FUNCTIONS)
Node.__neg__, Node.__abs__ = (lambda x: _neg(x)), (lambda x: _abs(x))      # of just one operand


# ---- Value: one number -----------------------------------------------------------------------------

class _NoGrad(float):
    """The 0.0 in the .grad of a Value before any pass. Optimizers leave alone what has this very object
    there, but not a 0.0 that a pass has found."""

    def __reduce__(self):
        return "_NO_GRAD"

_NO_GRAD = _NoGrad()


class Value(Node):
    """A number that remembers where it came from.

    `data` is any of Python's numbers: float, int, Fraction (gradients of + - * / and integer powers are
    then exact), Decimal, complex. Operators take Values and numbers on either side; comparisons compare
    the data, and the truth value is that of the data. TypeError when data is not a number.

    >>> x = Value(3.0, label="x")
    >>> y = x * x + 2
    >>> y.backward()
    >>> y, x.grad
    (Value(data=11.0, grad=1.0), 6.0)
    """

    __slots__ = ("_b", "_uses", "_paid")            # for "Fast paths" only
    _NO_GRAD = _NO_GRAD
    _STATE = ("_data", "_grad", "label")
    requires_grad = True
    grad: Any = Node._grad              # another name for the same slot: any number, or None
    if TYPE_CHECKING:
        def _compared(self, other: Operand) -> bool: ...
        __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __init__(self, data: Scalar, *more: NoReturn, label: str = "") -> None:
        if more:
            _no_more("Value", more, "Value(data, label=...) takes one number")
        self._data = _accepted_data("Value", data, False)
        self._grad, self.label, self._made, self._operands = _NO_GRAD, label, _LEAF, ()

    @staticmethod
    def _make(data, op, operands, rules):
        """A Value made by an operation. Operands that are plain numbers have no rule."""
        out = Value(data)
        if _recording():
            out._operands = operands
            out._made = op, [rule if isinstance(p, Value) else None for p, rule in zip(operands, rules)]
        elif _tracing:
            _refuse_frozen(f"{op} without a graph", *operands)
        return out

    def _apply(self, operation, operands):
        """An elementwise operation, on data."""
        numbers = [p._data if isinstance(p, Value) else p for p in operands]
        data = _compute(operation.name, operation.forward, *numbers)
        return Value._make(data, operation.name, operands, operation.rules)

    @staticmethod
    def _operand(name, x):
        """x as an operand beside a Value: a Value, a plain number, or NotImplemented."""
        return x if isinstance(x, Value) else _mixed(name, x) if hasattr(x, "_made") else _number(x)

    @staticmethod
    def _node(x):
        """An operand or a gradient as a Value."""
        return x if isinstance(x, Value) else Value(x)

    # what a backward pass asks

    def _check_graph(self):
        if not any(self._rules):
            raise ValueError("backward: nothing to differentiate: a leaf, a copy, constants or no_grad")

    def _seed(self, gradient):
        one = type(self._data)(1)
        seed = one if gradient is None else _accepted("backward", gradient, _number(gradient))
        return seed * one if type(seed) is int else seed        # an int becomes a number of this kind

    def _take_in(self, paid, d):
        """What was paid so far, and d. Where no graph is recorded, a Value is no more than its number."""
        if isinstance(d, Value):
            d = d if _recording() else d._data
        elif _number(d) is NotImplemented:
            raise TypeError(f"the rule gave {d!r:.200}, which is no number and no Value")
        return d if paid is None else paid + d

    def _settle(self, paid):
        return paid

    def _grad_plus(self, g, taken):
        before = self._gradient()
        return g if before is None else before + g

    def _gradient(self):
        """The gradient as a number, None when there is none. TypeError when something else was assigned."""
        g = self._grad
        return None if g is _NO_GRAD or g is None else _accepted_data("Value.grad", g, True)

    # what users see

    @property
    def data(self) -> Any:
        """The number. What is assigned must be one; TypeError otherwise."""
        return self._data

    @data.setter
    def data(self, number: Any) -> None:
        self._data = _accepted_data("Value.data", number, True)

    def _assign(self, number):
        """Replace the number by one that is known to be good."""
        self._data = number

    def _compare(self, operation, y):
        if _tracing:
            _refuse_frozen(operation.name, self, y)
        return operation.forward(self._data, y._data if isinstance(y, Value) else y)

    def __bool__(self) -> bool:
        if _tracing:
            _refuse_frozen("truth value", self)
        return bool(self._data)

    def __repr__(self) -> str:
        return f"Value(data={self._data}, grad={self._grad})"

def _comparison(operation, name):
    def method(x, y):
        y = x._operand(operation.name, y)
        return y if y is NotImplemented else x._compare(operation, y)
    method.__name__, method.__qualname__ = name, f"Node.{name}"
    setattr(Node, name, method)

for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    _comparison(_operation(_symbol, getattr(operator, _name), None, None), f"__{_name}__")
Node.__hash__ = lambda node: id(node)       # as keys nodes are themselves: ids differ, so == is not asked


# ---- Checking --------------------------------------------------------------------------------------
# What may go in, what an error says, and whether gradients are right.

_PLAIN = frozenset([float, int, bool])    # the usual types of numbers, told apart faster than by isinstance

def _number(x):
    """x as one of Python's numbers (those of NumPy are converted), or NotImplemented."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, Number) or getattr(x, "shape", None) == () and not isinstance(x, Node):
        return x.item() if hasattr(x, "item") else x
    return NotImplemented

def _accepted(name, given, result):
    """result, or a TypeError where it is NotImplemented because of what was given."""
    if result is NotImplemented:
        hint = " here: a plain number, or the same kind" if isinstance(given, Node) else _hint(given)
        raise TypeError(f"{name}: cannot take {given!r:.200}{hint}")
    return result

def _accepted_data(name, given, values):
    """A number, or a TypeError; a Value gives its own if `values`."""
    number = given._data if values and isinstance(given, Value) else _number(given)
    if number is NotImplemented:
        hint = ", of a Value, .data" if isinstance(given, Value) else ""
        raise TypeError(f"{name}: the data must be a number{hint}, not {given!r:.200}")
    return number

def _compute(name, forward, *numbers, where=""):
    """forward(*numbers); an error names the operation and its operands, inf and nan pass through."""
    try:
        return forward(*numbers)
    except (ArithmeticError, ValueError, TypeError) as error:
        if not isinstance(error, TypeError) and any(isinstance(x, float) and x - x != 0 for x in numbers):
            return numbers[0] * math.copysign(math.inf, numbers[1]) if name == "/" else math.nan
        infix = len(numbers) == 2 and not name.isidentifier()
        texts = [f"{x!r:.60}" for x in numbers]
        if infix and texts[0].startswith("-"):
            texts[0] = f"({texts[0]})"
        call = f" {name} ".join(texts) if infix else f"{name}({', '.join(texts)})"
        raise type(error)(f"{call}{where}: {error}") from None

def _no_derivative(node, error):
    at = ", ".join(f"{p._data}" if isinstance(p, Value) else f"shape {p.shape}" for p in node._prev)
    if isinstance(error, TypeError):
        return TypeError(f"backward: {node._op} at {at}: {error}")
    return type(error)(f"backward: no finite derivative of {node._op} at {at}: {error}")

def gradcheck(f: Callable[..., Node], *inputs: Node, eps: Any = 1e-6, tol: Any = 1e-5) -> bool:
    """Compare the gradients of f(*inputs) with central differences, (f(x + eps) - f(x - eps)) / (2 eps).

    inputs are Values or Tensors, and so is the result. Its elements are weighted 1 to 7 in turn, so that
    errors cannot cancel. True, or an AssertionError with the input, the element and both numbers, when
    they differ by more than tol * max(1, |gradient|).

    >>> gradcheck(lambda x, y: (x * y).sin(), Value(0.5), Value(2.0))
    True
    """
    if not callable(f):
        raise TypeError(f"gradcheck: needs a function and its inputs, not {f!r:.80}")
    if not inputs or not eps:
        raise ValueError(f"gradcheck: {'eps must not be 0' if inputs else 'no inputs to differentiate by'}")
    _nodes("gradcheck", "input", inputs)

    def weighted():
        out, = _nodes("gradcheck", "result", [f(*inputs)])
        if isinstance(out, Value):
            return out
        return (out * nest([1 + i % 7 for i in range(out.numel())], out.shape)).sum()

    def moved(x, index, step):
        kept = x._data
        x._assign(add_at(copied(kept), index, step))
        try:
            return weighted()._data         # not under no_grad: f may call grad itself
        finally:
            x._assign(kept)

    for i, (x, gradient) in enumerate(zip(inputs, grad(weighted(), inputs))):
        for index in product(*map(range, shape_of(x._data))):
            numeric = (moved(x, index, eps) - moved(x, index, -eps)) / (2 * eps)
            exact = take(gradient._data, index)
            if not abs(exact - numeric) <= tol * max(1, abs(exact)):
                raise AssertionError(
                    f"gradcheck: input {i}{f', element {list(index)}' if index else ''}: the gradient is "
                    f"{exact}, finite differences give {numeric}; near a tie or a corner, or for numbers "
                    f"much larger or smaller than 1, try another eps than {eps}")
    return True


# ---- Nested lists ----------------------------------------------------------------------------------
# The arithmetic of Tensors, on plain nested lists: no graph, no gradients. Recursion goes over the
# dimensions (there are few); the loops over numbers run in C: map, zip, sum, sumprod.

def shape_of(data: Nested) -> Shape:
    """The lengths of nested lists along each dimension, () for a number.

    >>> shape_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    return (len(data), *(shape_of(data[0]) if data else ())) if type(data) is list else ()

def nested(data: Any, name: str = "Tensor", values: bool = False, where: str = "") -> Nested:
    """data as nested lists that are its own. It may be a number, lists, tuples, ranges and other iterables
    of numbers, or anything with .tolist() or .__array__(), such as a Tensor, an array or a table.

    TypeError for what is no number, ValueError for a ragged list; both say where. Values pass if
    `values`.
    """
    if type(data) in _PLAIN or values and isinstance(data, Value):
        return data
    if type(data) not in (list, tuple):
        if hasattr(data, "__array__") and not hasattr(data, "tolist"):
            data = data.__array__()
        if hasattr(data, "tolist") and not (isinstance(data, Tensor) and (where or values)):
            data = data.tolist()
        if isinstance(data, (Node, str, bytes, dict, set, frozenset)) or not hasattr(data, "__iter__"):
            number, place = _number(data), where and f" at {where}"
            if number is NotImplemented:
                hint = (f", but a {type(data).__name__}" if not isinstance(data, Node) else
                        "; Values and Tensors do not mix, and stack(...) joins Tensors")
                raise TypeError(f"{name}: {data!r:.200}{place} is not a number{hint}")
            return number
    data = list(data)
    if set(map(type, data)) <= _PLAIN:
        return data
    if len(where) > 200:
        raise ValueError(f"{name}: lists nested too deeply (does one contain itself?)")
    items = [nested(item, name, values, f"{where}[{i}]") for i, item in enumerate(data)]
    shapes = list(map(shape_of, items))
    if len(set(shapes)) > 1:
        i, shape = next((i, shape) for i, shape in enumerate(shapes) if shape != shapes[0])
        raise ValueError(f"{name}: ragged: {where}[{i}] has shape {shape}, {where}[0] has {shapes[0]}")
    return items

def flat(data: Nested) -> List[Any]:
    """All numbers of data in one list, row by row.

    >>> flat([[1, 2], [3, 4]])
    [1, 2, 3, 4]
    """
    if type(data) is not list:
        return [data]
    while data and type(data[0]) is list:
        data = list(chain.from_iterable(data))
    return data[:]

def nest(numbers: Sequence[Any], shape: Shape) -> Nested:
    """The opposite of flat.

    >>> nest([1, 2, 3, 4], (2, 2))
    [[1, 2], [3, 4]]
    """
    if not shape:
        return numbers[0]
    if 0 in shape:                              # what comes after a 0 cannot be seen in nested lists
        return copied(expand(0, (), shape[:shape.index(0) + 1]))
    numbers = list(numbers)
    for size in reversed(shape[1:]):
        numbers = [numbers[i:i + size] for i in range(0, len(numbers), size)]
    return numbers

def copied(data: Nested) -> Nested:
    """data with lists of its own: new rows, and zip_map makes the lists above them."""
    return zip_map(list, len(shape_of(data)) - 1, data) if type(data) is list else data

def zip_map(f: Callable[..., Any], ndim: int, *operands: Nested) -> Nested:
    """f of the corresponding items of operands of one shape, ndim dimensions deep.

    The items are numbers if these are all dimensions, rows if they are all but one, and so on.

    >>> zip_map(max, 2, [[1, 2], [3, 4]], [[4, 3], [2, 1]])
    [[4, 3], [3, 4]]
    """
    if ndim == 2:
        return [list(map(f, *rows)) for rows in zip(*operands)]
    if ndim == 1:
        return list(map(f, *operands))
    return [zip_map(f, ndim - 1, *items) for items in zip(*operands)] if ndim else f(*operands)

def map_rows(f: Callable[..., Any], ndim: int, *operands: Nested) -> Nested:
    """Like zip_map, but f gets whole rows and gives a row; a number counts as a row of one."""
    return zip_map(f, ndim - 1, *operands) if ndim else f(*[[x] for x in operands])[0]

def broadcast_shape(name: str, *shapes: Shape) -> Shape:
    """The shape to which NumPy broadcasts the given ones; ValueError names the operation and all shapes.

    >>> broadcast_shape("+", (2, 1, 3), (4, 1))
    (2, 4, 3)
    """
    ndim, sizes = max(map(len, shapes)), []
    for column in zip(*((1,) * (ndim - len(shape)) + shape for shape in shapes)):
        different = set(column) - {1}
        if len(different) > 1:
            raise ValueError(f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast: "
                             f"sizes {column} must be equal or 1")
        sizes.append(different.pop() if different else 1)
    return tuple(sizes)

def expand(data: Nested, shape: Shape, target: Shape) -> Nested:
    """data of the given shape, repeated to the target shape. Rows are repeated by reference, not copied.

    >>> expand([[1], [2]], (2, 1), (2, 3))
    [[1, 1, 1], [2, 2, 2]]
    """
    if shape == target:
        return data
    if len(shape) < len(target):
        return [expand(data, shape, target[1:])] * target[0]
    if shape[0] != target[0]:
        return [expand(data[0], shape[1:], target[1:])] * target[0]
    return data if shape[1:] == target[1:] else [expand(item, shape[1:], target[1:]) for item in data]

def permuted(data: Nested, dims: Sequence[int]) -> Nested:
    """data with its dimensions in the order dims: (1, 0) transposes a matrix.

    >>> permuted([[1, 2, 3], [4, 5, 6]], (1, 0))
    [[1, 4], [2, 5], [3, 6]]
    """
    order = list(range(len(dims)))                  # of the dimensions as they stand
    if order == [*dims]:
        return data
    for i, d in enumerate(dims):                    # d moves forward to i, past one other dimension at a time
        at = order.index(d)
        for k in reversed(range(i, at)):
            data = zip_map(lambda block: list(map(list, zip(*block))), k, data)
        order.insert(i, order.pop(at))
    return data

def reduce_dim(f: Callable[[List[Any]], Any], data: Nested, *dims: int) -> Nested:
    """f of the list of all numbers along these dimensions, which disappear.

    >>> reduce_dim(sum, [[1, 2], [3, 4]], 0), reduce_dim(sum, [[1, 2], [3, 4]], 0, 1)
    ([4, 6], 10)
    """
    if dims == (0,) and len(shape_of(data)) == 2:
        return list(map(f, zip(*data)))
    rest = [d for d in range(len(shape_of(data))) if d not in dims]
    blocks = permuted(data, [*rest, *dims])         # what is reduced comes last, as in one row
    return zip_map(f if len(dims) == 1 else lambda block: f(flat(block)), len(rest), blocks)

def products(x: Nested, w: Nested, bias: Optional[List[Any]] = None) -> Nested:
    """x @ w.T + bias, each row of x times each row of w: (..., n, k), (m, k), (m) -> (..., n, m).

    >>> products([[1, 2]], [[3, 4], [5, 6]], [0, 100])
    [[11, 117]]
    """
    if x and x[0] and type(x[0][0]) is list:
        return [products(item, w, bias) for item in x]
    if bias is None:
        return [[sumprod(row, other) for other in w] for row in x]
    return [[sumprod(row, other) + b for other, b in zip(w, bias)] for row in x]

def matmul(x: Nested, y: Nested) -> Nested:
    """The product of matrices: (..., n, k) and (k, m) -> (..., n, m); of Tensors, as @."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x @ y
    return products(x, list(map(list, zip(*y))))        # lists: PyPy is slow with numbers in tuples

# An index is a tuple with, for each dimension in turn: an int, a range, None (a new dimension), or a
# list of ints, of such lists, or of tuples of ints (an int for each of several dimensions).

def take(data: Nested, index: Tuple[Any, ...]) -> Nested:
    """The part of data at the index.

    >>> take([[1, 2, 3], [4, 5, 6]], (1, range(0, 2))), take([[1, 2], [3, 4]], ([(0, 1), (1, 0)],))
    ([4, 5], [2, 3])
    """
    if not index:
        return data
    first, rest = index[0], index[1:]
    if type(first) is int:
        return take(data[first], rest)
    if type(first) is range:
        part = data[_slice(first)]
        return [take(item, rest) for item in part] if rest else part
    if first is None:
        return [take(data, rest)]
    return [take(data, (i if type(i) is tuple else (i,)) + rest) for i in first]

def add_at(data: Nested, index: Tuple[Any, ...], values: Nested) -> Nested:
    """The opposite of take: data, which is changed, plus values at the index; what is named twice adds
    up.

    >>> add_at([0, 0, 0], ([2, 2, 0],), [1, 10, 100])
    [100, 0, 11]
    """
    return _put_at(data, index, values, lambda old, new: zip_map(operator.add, len(shape_of(old)), old, new))

def _put_at(data, index, values, f):
    """data, which is changed: at the index, the old items become f(old, new)."""
    if not index:
        return f(data, values)
    first, rest = index[0], index[1:]
    if first is None:
        return _put_at(data, rest, values[0], f)
    if type(first) is int:
        data[first] = _put_at(data[first], rest, values, f)
        return data
    if type(first) is range and not rest:
        data[_slice(first)] = f(data[_slice(first)], values)
        return data
    for i, value in zip(first, values):
        data = _put_at(data, (i if type(i) is tuple else (i,)) + rest, value, f)
    return data

def _slice(places):
    """A range of indices as a slice: a list does in one step what takes a loop over them many."""
    stop = places.stop if places.stop >= 0 else None
    return slice(places.start, stop, places.step) if places else slice(0, 0)

def _zero(data):
    """0 as a number of the kind in data."""
    while type(data) is list:
        data = data[0] if data else 0.0
    return type(data)(0)

def _nan_or(best, row):
    """best(row), max or min, but nan when there is one, wherever it stands."""
    return next((x for x in row if x != x), None) or best(row)

def _exponentials(row):
    """The largest number, exp(x - largest) for each, which cannot overflow, and their sum."""
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    return top, exps, sum(exps)

def _softmax(row):
    _, exps, total = _exponentials(row)
    return [e / total for e in exps]

def _logsumexp(row):
    top = _nan_or(max, row)
    return top if math.isinf(top) else top + math.log(_exponentials(row)[2])

def _log_softmax(row):
    top, _, total = _exponentials(row)
    log_total = math.log(total)
    return [x - top - log_total for x in row]


# ---- Tensor: nested lists of numbers ---------------------------------------------------------------
# Names, shapes and numbers are PyTorch's. Each operation is a kernel from the section above, and its rules.


class _Random:
    """Where all random numbers come from: the random module, so that random.seed fixes them."""

    def uniform(self, low, high, count):
        return [random.uniform(low, high) for _ in range(count)]

    def normal(self, mean, std, count):
        return [random.gauss(mean, std) for _ in range(count)]

    def doubles(self, count):
        return [random.random() for _ in range(count)]

_rng = _Random()

def _broadcast(operation, operands):
    """An elementwise operation on the numbers of Tensors and plain numbers, broadcast to one shape."""
    datas = [p._data if isinstance(p, Tensor) else p for p in operands]
    shapes = [p._shape if isinstance(p, Tensor) else () for p in operands]
    shape = shapes[0]
    if shapes.count(shape) < len(shapes):
        a_number = len(shapes) == 2 and () in shapes        # then the shape is that of the other
        shape = max(shapes) if a_number else broadcast_shape(operation.name, *shapes)
        datas = [expand(data, own, shape) for data, own in zip(datas, shapes)]
    try:
        return zip_map(operation.forward, len(shape), *datas)
    except (ArithmeticError, ValueError, TypeError):        # once more, slowly, to say where
        places = map(list, product(*map(range, shape)))
        return zip_map(lambda *numbers: _compute(operation.name, operation.forward, *numbers,
                                                 where=f" at index {next(places)}"), len(shape), *datas)

def _tensor(name, x):
    """x as a Tensor; TypeError when it cannot be."""
    x = x if isinstance(x, Tensor) else _accepted(name, x, Tensor._operand(name, x))
    return x if isinstance(x, Tensor) else Tensor._from(x)

def _unbroadcast(d, shape):
    """Undo broadcasting: sum the gradient d over the dimensions along which an operand was repeated."""
    have = d._shape
    added = len(have) - len(shape)              # dimensions in front
    d = d.sum([i for i in range(len(have)) if i < added or shape[i - added] != have[i]])
    return d if d._shape == shape else d.reshape(shape)

def _put(g, index, x):
    """The gradient of x where that of x[index] is g, and all other numbers count for nothing."""
    data = add_at(copied(expand(_zero(x._data), (), x._shape)), index, g._data)
    return Tensor._make(data, "put", (g,), (lambda h, out, g: h._take(index),))

_clock = [0]        # counts how often data of any Tensor were replaced

def _tick(tensor, data):
    """Replace the data of a Tensor, and note when."""
    with _lock: _clock[0] += 1; tensor._data, tensor._time = data, _clock[0]

# The rules of these do not read the numbers of their operands, which may have changed since.
_SHAPING = frozenset("+ - neg sum mean reshape permute broadcast_to index put cat cumsum".split())

def _stale(g, out, *operands):
    raise RuntimeError("backward: x[i] = y or x.data = y has changed a result, or has put one into another "
                       "Tensor, and is not recorded: use where(...), cat(...) or stack(...), or a copy, "
                       "x.detach()")

def _reduction(name, doc, f, rule=None, least=0):
    """A method that reduces dimensions. rule(g, out, x, dims) gets g and out with these dimensions kept."""
    def method(self: Tensor, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        dim, keepdim = _numpy_names(name, dim, keepdim, names) if names else (dim, keepdim)
        return self._reduce(name, f, rule, dim, keepdim, least)
    return _documented(method, name, doc)

def _documented(method, name, doc):
    method.__name__, method.__qualname__, method.__doc__ = name, f"Tensor.{name}", doc
    return method

def _numpy_names(name, dim, keepdim, names):
    """dim and keepdim, which may be called axis and keepdims, as NumPy does."""
    dim, keepdim = names.pop("axis", dim), names.pop("keepdims", keepdim)
    if names:
        raise TypeError(f"{name}: unexpected {', '.join(names)}; it takes dim and keepdim")
    return dim, keepdim

def _length(x, dims):
    """How many elements become one."""
    return math.prod([x._shape[d] for d in dims])

if TYPE_CHECKING:
    class _Rarer:                       # what "More of Tensor" adds
        def max(self, dim: Optional[int] = None, keepdim: bool = False) -> Any: ...
        def std(self, dim: Dim = None, *, correction: int = 1, unbiased: Optional[bool] = None,
                keepdim: bool = False) -> Tensor: ...
        def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor: ...
        min, var, all, prod = max, std, any, any
        amax = amin = argmax = argmin = logsumexp = any
        def cumsum(self, dim: int) -> Tensor: ...
        def view(self, *shape: Any) -> Tensor: ...
        expand = flip = view
        def split(self, size: Union[int, Sequence[int]], dim: int = 0) -> Tuple[Tensor, ...]: ...
        def chunk(self, chunks: int, dim: int = 0) -> Tuple[Tensor, ...]: ...
        def unbind(self, dim: int = 0) -> Tuple[Tensor, ...]: ...
        def tril(self, diagonal: int = 0) -> Tensor: ...
        triu = tril
        def masked_fill(self, mask: Any, value: Any) -> Tensor: ...
        @staticmethod
        def eye(n: int, m: Optional[int] = None, *, requires_grad: bool = True) -> Tensor: ...
        @staticmethod
        def arange(start: Any, end: Any = None, step: Any = 1, *, requires_grad: bool = True) -> Tensor: ...
        @staticmethod
        def zeros_like(x: Any, *, requires_grad: bool = True) -> Tensor: ...
        ones_like = zeros_like
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        __index__ = __int__

    class _Added(_Rarer):               # and "The names of the course"
        dtype: Any
        device: str
        def _same(self) -> Tensor: ...
        def _tensor(self, *args: Any, **options: Any) -> Tensor: ...
        def _other(self, *args: Any, **options: Any) -> Any: ...
        clone = contiguous = cpu = t = abs = log10 = float = double = long = int = bool = _same
        to = pow = clamp = roll = gather = multinomial = _tensor
        topk = histogram = allclose = retain_grad = dim = nelement = numpy = _other
else:
    _Added = object


class Tensor(Node, _Added):
    """Nested lists of numbers, of any number of dimensions, that remember where they come from.

    `data` is a number, nested lists (or tuples, ranges, other iterables) of numbers, or anything with
    .tolist() (an array.array, a NumPy array); it is copied. `requires_grad=False` makes a constant.
    `.data` are plain nested lists, `.grad` is None until a backward pass, then a constant Tensor.
    Operators broadcast as NumPy's do and take numbers and nested lists on either side; comparisons give
    constant Tensors of bools. ValueError for a ragged list, TypeError for what is no number.

    >>> w = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (w @ [1.0, 10.0]).sum().backward()
    >>> w.grad.data
    [[1.0, 10.0], [1.0, 10.0]]
    """

    __slots__ = ("requires_grad", "_shape", "_time")
    _STATE = ("_data", "_grad", "label", "_shape", "requires_grad")
    if TYPE_CHECKING:
        def _compared(self, other: Operand) -> Tensor: ...
        __lt__ = __le__ = __gt__ = __ge__ = _compared
        def __eq__(self, other: object) -> Tensor: ...          # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...          # type: ignore[override]

    def __init__(self, data: Any, *more: NoReturn, label: str = "", requires_grad: bool = True) -> None:
        if more:
            _no_more("Tensor", more, "Tensor(data, label=..., requires_grad=...) takes one number or nested "
                     f"list; for zeros write Tensor.zeros({', '.join(f'{x!r:.20}' for x in (data, *more))})")
        self._data = nested(data)
        self._grad, self.label, self._made, self._operands = None, label, _LEAF, ()
        self.requires_grad, self._shape, self._time = bool(requires_grad), shape_of(self._data), _clock[0]

    @staticmethod
    def _from(data):
        """A constant of lists that are known to be good, and not copied."""
        out = _new(Tensor)
        out._data, out._grad, out.label, out._made, out._operands = data, None, "", _LEAF, ()
        out.requires_grad, out._shape, out._time = False, shape_of(data), _clock[0]
        return out

    @staticmethod
    def _make(data, op, operands, rules):
        """A Tensor made by an operation. Operands that need no gradient have no rule."""
        out = Tensor._from(data)
        if _recording():
            rules = [rule if isinstance(p, Tensor) and p.requires_grad else None
                     for p, rule in zip(operands, rules)]
            if any(rules):
                out._made, out._operands, out.requires_grad = (op, rules), operands, True
        return out

    def _apply(self, operation, operands):
        """An elementwise operation, on data."""
        return Tensor._make(_broadcast(operation, operands), operation.name, operands, operation.rules)

    @staticmethod
    def _operand(name, x):
        """x as an operand beside a Tensor: a Tensor, a number, or NotImplemented."""
        if isinstance(x, Tensor) or type(x) in _PLAIN:
            return x
        if hasattr(x, "_made"):
            _mixed(name, x)
        if isinstance(x, (list, tuple, range)) or hasattr(x, "tolist"):
            return Tensor._from(nested(x, name))
        return _number(x)

    @staticmethod
    def _node(x):
        """An operand or a gradient as a Tensor."""
        return x if isinstance(x, Tensor) else Tensor._from(x)

    # what a backward pass asks

    def _check_graph(self):
        if not self.requires_grad:
            raise ValueError("backward: nothing to differentiate: made of constants only, or under no_grad")

    def _seed(self, gradient):
        ones = Tensor._from(zip_map(lambda x: type(x)(1), len(self._shape), self._data))
        if gradient is None:
            return ones
        seed = _tensor("backward", gradient)
        if seed._shape != self._shape:
            raise ValueError(f"backward: the gradient has shape {seed._shape}, the Tensor {self._shape}")
        return seed.detach() * ones     # an int becomes a number of this kind

    def _take_in(self, paid, d):
        """What was paid so far, and d. Broadcasting is undone here and nowhere else: an operand that was
        repeated to fit gets the sum over its copies."""
        if type(d) is not Tensor or d._shape != self._shape:
            d = _tensor("rule", d)
            d = _unbroadcast(d, self._shape) if d._shape else d._expand(self._shape)
        return d if paid is None else paid + d

    def _settle(self, paid):
        """The gradient. RuntimeError when data that the rules need were replaced."""
        if _clock[0] > self._time and self._op not in _SHAPING:
            for i, p in enumerate(self._operands):
                if isinstance(p, Tensor) and p._time > self._time:
                    raise RuntimeError(
                        f"backward: the data of operand {i} of {self._op}, of shape {p._shape}, were "
                        "replaced after the forward pass (by an optimizer's step?): call backward before, or "
                        "compute again")
        return paid

    def _grad_plus(self, g, taken):
        """What .grad will be: lists of its own, since + hands one gradient to both operands."""
        if self._grad is not None:
            return Tensor._from(zip_map(operator.add, len(self._shape), self._grad._data, g._data))
        if id(g._data) in taken or not self._operands:
            return g.detach()
        taken.add(id(g._data))
        return g

    def _gradient(self):
        """The lists of the gradient, or None when there is none."""
        return None if self._grad is None else self._grad._data

    # data and grad

    @property
    def data(self) -> Any:
        """The numbers, as nested lists. What is assigned is copied, and must have the shape they had."""
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        if data is self._data:
            if self._shape and len(data) != self._shape[0]:
                joined = (len(data), *self._shape[1:])
                del data[self._shape[0]:]
                raise TypeError(f"Tensor.data: += with a list joins two lists, to {joined} from "
                                f"{self._shape}; write p.data += Tensor(list), or p.data = [...]")
        else:
            data = nested(data, "Tensor.data")
            if shape_of(data) != self._shape:
                raise ValueError(f"Tensor.data: shape {shape_of(data)} assigned to a Tensor of shape "
                                 f"{self._shape}")
        self._assign(data)

    def _assign(self, data):
        """Replace the data by lists that are known to be good."""
        if self._rules:
            self._made = self._op, [rule and _stale for rule in self._rules]
        _tick(self, data)

    @property
    def grad(self) -> Optional[Tensor]:
        """The gradient, a constant Tensor, or None. Numbers or lists that are assigned become one."""
        return self._grad

    @grad.setter
    def grad(self, g: Any) -> None:
        if g is not None:
            g = Tensor._from(nested(g, "Tensor.grad"))
            if not g._shape:
                g = g.broadcast_to(self._shape)
            if g._shape != self._shape:
                raise ValueError(f"Tensor.grad: shape {g._shape} assigned to a Tensor of shape {self._shape}")
        self._grad = g

    # creation: sizes as ints or as one tuple; what is made requires gradients unless requires_grad=False

    @staticmethod
    def _fill(name, shape, draw, requires_grad):
        """A Tensor of the numbers draw(count)."""
        sizes = _sizes(name, shape)
        out = Tensor._from(nest(draw(math.prod(sizes)), sizes))
        out.requires_grad = bool(requires_grad)
        return out

    @staticmethod
    def full(shape: Any, value: Scalar, *, requires_grad: bool = True) -> Tensor:
        """One number everywhere."""
        number = _accepted("full", value, _number(value))
        return Tensor._fill("full", (shape,), lambda n: [number] * n, requires_grad)

    @staticmethod
    def zeros(*shape: Any, requires_grad: bool = True) -> Tensor:
        """0.0 everywhere."""
        return Tensor._fill("zeros", shape, lambda n: [0.0] * n, requires_grad)

    @staticmethod
    def ones(*shape: Any, requires_grad: bool = True) -> Tensor:
        """1.0 everywhere."""
        return Tensor._fill("ones", shape, lambda n: [1.0] * n, requires_grad)

    @staticmethod
    def rand(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Uniform random numbers in [0, 1)."""
        return Tensor._fill("rand", shape, partial(_rng.uniform, 0, 1), requires_grad)

    @staticmethod
    def randn(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Normal random numbers of mean 0 and standard deviation 1."""
        return Tensor._fill("randn", shape, partial(_rng.normal, 0, 1), requires_grad)

    @staticmethod
    def uniform(low: float, high: float, *shape: Any, requires_grad: bool = True) -> Tensor:
        """Uniform random numbers between low and high."""
        return Tensor._fill("uniform", shape, partial(_rng.uniform, low, high), requires_grad)

    # what it is

    @property
    def shape(self) -> Shape:
        """The lengths along each dimension, () for a single number."""
        return self._shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._shape)

    def size(self, dim: Optional[int] = None) -> Any:
        """The shape, or the length along one dimension."""
        return self._shape if dim is None else self._shape[_one_dim("size", dim, len(self._shape))]

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._shape)

    def item(self) -> float:
        """The only element as a number; ValueError when there is not exactly one."""
        if self.numel() != 1:
            raise ValueError(f"item: the Tensor has shape {self._shape}, not a single element")
        return flat(self._data)[0]

    def tolist(self) -> Any:
        """A copy of the data."""
        return copied(self._data)

    def detach(self) -> Tensor:
        """A constant copy, outside the graph."""
        return Tensor._from(copied(self._data))

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len: a Tensor of 0 dimensions has no length")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.__getitem__, range(len(self)))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(f"a Tensor of shape {self._shape} is ambiguous as a truth value: use .any(), "
                             ".all() or .item()")
        return bool(self.item())

    def _compare(self, operation, y):
        return Tensor._from(_broadcast(operation, (self, y)))

    # matrix products

    def __matmul__(self, other: Operand) -> Tensor:
        """The matrix product as NumPy has it: 1-d operands are rows or columns, leading dims broadcast."""
        other = _tensor("matmul", other)
        xs, ys = self._shape, other._shape
        if not xs or not ys or xs[-1] != ys[-2:][0]:
            why = f"inner sizes {xs[-1]} and {ys[-2:][0]} differ" if xs and ys else "for numbers, use *"
            raise ValueError(f"matmul: {xs} @ {ys}: {why}")
        if len(xs) == 1:
            return (self.reshape(1, *xs) @ other).squeeze(-2 if len(ys) > 1 else 0)
        if len(ys) == 1:
            return (self @ other.reshape(*ys, 1)).squeeze(-1)
        # out_ij = sum_k x_ik y_kj: so x_ik gets sum_j g_ij y_kj, and y_kj gets sum_i x_ik g_ij
        if len(ys) == 2:                        # a batch is one product
            return Tensor._make(matmul(self._data, other._data), "matmul", (self, other),
                                (lambda g, out, x, y: g @ y.mT,
                                 lambda g, out, x, y: x._rows().mT @ g._rows()))
        batch = xs[:-2] if xs[:-2] == ys[:-2] else broadcast_shape(f"matmul: {xs} @ {ys}", xs[:-2], ys[:-2])
        data = zip_map(matmul, len(batch), expand(self._data, xs, batch + xs[-2:]),
                       expand(other._data, ys, batch + ys[-2:]))
        return Tensor._make(data, "matmul", (self, other),
                            (lambda g, out, x, y: g @ y.mT, lambda g, out, x, y: x.mT @ g))

    def __rmatmul__(self, other: Nested) -> Tensor:
        return _tensor("matmul", other) @ self

    def _rows(self):
        """All dimensions but the last made one."""
        return self if len(self._shape) == 2 else self.reshape(-1, self._shape[-1])

    # reductions: dim is None for all dimensions, an int or several; keepdim leaves them in with size 1

    def _reduce(self, name, f, rule, dim, keepdim, least):
        """f of the elements along dim, which must be at least so many."""
        shape = self._shape
        dims = _dims(name, dim, len(shape))
        n = math.prod([shape[d] for d in dims])
        if n < least:
            raise ValueError(f"{name}: {n} elements along dim {dim} of shape {shape}, {least} needed")
        kept = tuple([1 if i in dims else size for i, size in enumerate(shape)])
        whole = len(dims) == len(shape)
        data = f(flat(self._data)) if whole else reduce_dim(f, self._data, *dims)
        if keepdim:
            data = nest(flat(data), kept)

        def own_rule(g, out, x):
            if not keepdim and not whole:
                g, out = g.reshape(kept), out.reshape(kept)
            return rule(g, out, x, dims)
        return Tensor._make(data, name, (self,), (rule and own_rule,))

    sum = _reduction("sum", "The sum over dim.", sum, lambda g, out, x, dims: g._expand(x._shape))
    mean = _reduction("mean", "The mean over dim; ValueError when there is nothing to average.",
                      lambda row: sum(row) / len(row),
                      lambda g, out, x, dims: (g / _length(x, dims))._expand(x._shape), least=1)

    def _along(self, name, f, dim, rule):
        """A function from rows to rows along dim."""
        dims, d = list(range(self.ndim)) or [0], _one_dim(name, dim, self.ndim)
        dims[d], dims[-1] = dims[-1], d
        if not self.numel():
            data = copied(self._data)
        else:
            data = permuted(map_rows(f, self.ndim, permuted(self._data, dims)), dims)
        return Tensor._make(data, name, (self,), (rule,))

    def softmax(self, dim: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along dim."""
        return self._along("softmax", _softmax, dim,        # d out_i / d x_j = out_i * ((i == j) - out_j)
                           lambda g, out, x: out * (g - (g * out).sum(dim, keepdim=True)))

    def log_softmax(self, dim: int = -1) -> Tensor:
        """log(softmax(x)) along dim."""
        return self._along("log_softmax", _log_softmax, dim,
                           lambda g, out, x: g - out.exp() * g.sum(dim, keepdim=True))

    # shapes

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements, row by row, in another shape; one size may be -1."""
        return self._reshaped("reshape", shape)

    def _reshaped(self, name, shape):
        sizes, own = _sizes(name, shape, least=-1), self._shape
        size, rest = math.prod(own), -math.prod(sizes)
        if sizes.count(-1) == 1 and rest:
            sizes = tuple(size // rest if n == -1 else n for n in sizes)
        if -1 in sizes or math.prod(sizes) != size:
            raise ValueError(f"{name}: {own} has {size} elements, which do not fit into {shape}")
        data = nest(flat(self._data), sizes)
        return Tensor._make(data, "reshape", (self,), (lambda g, out, x: g.reshape(own),))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """All dimensions from start_dim to end_dim made one."""
        shape = self._shape or (1,)
        start, end = _one_dim("flatten", start_dim, len(shape)), _one_dim("flatten", end_dim, len(shape))
        if start > end:
            raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        return self.reshape(*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:])

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order, each given once."""
        given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        given = [_an_int("permute", "a dim", d) for d in given]
        if len(given) != self.ndim or given and len(_dims("permute", given, self.ndim)) < self.ndim:
            raise ValueError(f"permute: {len(given)} dims for a Tensor of {self.ndim} dimensions")
        return self._permute([d % self.ndim for d in given])

    def _permute(self, order):
        if not self.numel():
            _sizes("permute", tuple([self._shape[d] for d in order]))       # for its error
        back, data = sorted(range(len(order)), key=order.__getitem__), permuted(self._data, order)
        data = data if order == [1, 0] else copied(data)        # which may share rows with self
        return Tensor._make(data, "permute", (self,), (lambda g, out, x: g._permute(back),))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        a, b = _one_dim("transpose", dim0, self.ndim), _one_dim("transpose", dim1, self.ndim)
        order = list(range(self.ndim)) or [0]
        order[a], order[b] = b, a
        return self._permute(order[:self.ndim])

    @property
    def T(self) -> Tensor:
        """All dimensions in reverse order: the transpose of a matrix."""
        return self._permute([*reversed(range(self.ndim))])

    @property
    def mT(self) -> Tensor:
        """The last two dimensions exchanged: the transpose of each matrix."""
        n = self.ndim
        if n < 2:
            raise ValueError(f"mT: needs at least two dimensions, not shape {self._shape}")
        return self._permute([*range(n - 2), n - 1, n - 2])

    def unsqueeze(self, dim: int) -> Tensor:
        """A new dimension of size 1 at dim."""
        at = _one_dim("unsqueeze", dim, self.ndim + 1)
        return self.reshape(*self._shape[:at], 1, *self._shape[at:])

    def squeeze(self, dim: Dim = None) -> Tensor:
        """The dimensions of size 1 left out: all of them, or those of dim that are."""
        dims = _dims("squeeze", dim, self.ndim)
        return self.reshape([n for i, n in enumerate(self._shape) if n != 1 or i not in dims])

    def broadcast_to(self, *shape: Any) -> Tensor:
        """Repeated along new dimensions in front and dimensions of size 1; the gradient sums the copies."""
        return self._broadcast_to("broadcast_to", _sizes("broadcast_to", shape))

    def _broadcast_to(self, name, sizes):
        if len(sizes) < self.ndim or broadcast_shape(name, self._shape, sizes) != sizes:
            raise ValueError(f"{name}: {self._shape} does not broadcast to {sizes}")
        return self._expand(sizes)

    def _expand(self, sizes):
        data = copied(expand(self._data, self._shape, sizes))
        return Tensor._make(data, "broadcast_to", (self,), (lambda g, out, x: g,))

    # indexing

    def __getitem__(self, index: Any) -> Tensor:
        """Ints, slices, ... and None as in NumPy; a (nested) list or Tensor of ints picks along a
        dimension.

        Several of them are broadcast and pick single places: logits[range(n), targets]. A list or Tensor
        of bools is a mask: x[x > 0].
        """
        order, index = _index(index, self._shape)
        return (self if order is None else self._permute(order))._take(index)

    def _take(self, index):
        if not self._shape or type(index[0]) is not int or len(index) > 1:
            _shape_at(index, self._shape)       # for its error
        return Tensor._make(copied(take(self._data, index)), "index", (self,),
                            (lambda g, out, x: _put(g, index, x),))

_where = _operation("where", lambda c, x, y: x if c else y, None,
                    lambda g, out, c, x, y: _where(c, g, _zero(g._data)),
                    lambda g, out, c, x, y: _where(c, _zero(g._data), g))

def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where condition is true (not 0), b elsewhere; all three broadcast. The condition is a constant."""
    if isinstance(condition, bool):
        raise TypeError(f"where: the condition is {condition}, one bool for all; compare a Tensor")
    return _where(_tensor("where", condition).detach(), a, b)

def cat(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors joined along dim; their other sizes must be equal (ValueError)."""
    parts = tuple([_tensor("cat", t) for t in _listed("cat", tensors)])
    shapes = [t._shape for t in parts]
    if not parts:
        raise ValueError("cat: no tensors")
    if () in shapes:
        raise ValueError("cat: needs Tensors of at least one dimension; stack(...) joins single numbers")
    d = _one_dim("cat", dim, len(shapes[0]))
    if len({(len(shape), shape[:d], shape[d + 1:]) for shape in shapes}) > 1:
        raise ValueError(f"cat: shapes {', '.join(map(str, shapes))} differ elsewhere than in dim {dim}")
    if len(parts) > 100:            # in groups: each rule gets all operands, so n of them would cost n * n
        return cat([cat(parts[i:i + 100], d) for i in range(0, len(parts), 100)], d)
    ends = [0, *accumulate([shape[d] for shape in shapes])]
    data = zip_map(lambda *blocks: list(chain(*blocks)), d, *[t._data for t in parts])

    def piece(start, end):
        return lambda g, out, *parts: g._take((*map(range, g._shape[:d]), range(start, end)))
    return Tensor._make(copied(data), "cat", parts, list(map(piece, ends, ends[1:])))

def stack(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    parts = [_tensor("stack", t) for t in _listed("stack", tensors)]
    if len({t._shape for t in parts}) != 1:
        shapes = ", ".join(str(t._shape) for t in parts)
        raise ValueError(f"stack: shapes {shapes} differ" if parts else "stack: no tensors")
    at = _one_dim("stack", dim, parts[0].ndim + 1)
    return cat([t.unsqueeze(at) for t in parts], at)

def linear(x: Any, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """x @ weight.T + bias as one node: (..., nin), (nout, nin), (nout) -> (..., nout)."""
    x, weight = _tensor("linear", x), _tensor("linear", weight)
    bias, ws = bias if bias is None else _tensor("linear", bias), weight._shape
    if not x.ndim or len(ws) != 2 or x._shape[-1] != ws[1] or bias is not None and bias._shape != ws[:1]:
        raise ValueError(f"linear: x of shape {x._shape} does not fit a weight of shape {ws}"
                         + (f" and a bias of shape {bias._shape}" if bias is not None else ""))
    if x.ndim == 1:
        return linear(x.reshape(1, -1), weight, bias).reshape(-1)
    operands = (x, weight) if bias is None else (x, weight, bias)
    data = products(x._data, weight._data, None if bias is None else bias._data)
    return Tensor._make(data, "linear", operands, (lambda g, out, x, weight, *bias: g @ weight,
                                                   lambda g, out, x, *rest: g._rows().mT @ x._rows(),
                                                   lambda g, out, *operands: g._rows().sum(0)))


# ---- Networks --------------------------------------------------------------------------------------
# What has parameters, and what is made of such parts. Names, numbers and saved files are PyTorch's.

def dot(weights: Iterable[Union[Value, Scalar]], inputs: Iterable[Union[Value, Scalar]],
        bias: Union[Value, Scalar] = 0) -> Value:
    """sum(w * x for w, x in zip(weights, inputs)) + bias as one node: a whole neuron.

    Values and numbers may be mixed. ValueError when the lengths differ.

    >>> dot([Value(2.0), 3.0], [10.0, Value(1.0)], bias=0.5).data
    23.5
    """
    ws, xs = _listed("dot", weights), _listed("dot", inputs)
    if len(ws) != len(xs):
        raise ValueError(f"dot: {len(ws)} weights for {len(xs)} inputs")
    return _dot(ws, xs, bias)

def _dot(ws, xs, bias):
    operands = [_accepted("dot", p, Value._operand("dot", p)) for p in (*ws, *xs, bias)]
    *numbers, number = [p._data if isinstance(p, Value) else p for p in operands]
    out = sumprod([*numbers[:len(ws)], number], [*numbers[len(ws):], 1])
    if not any(isinstance(p, Value) for p in operands):
        return Value(out)
    return Value._make(out, "dot", tuple(operands), _dot_rules(len(ws)))

@lru_cache(maxsize=None)
def _dot_rules(n):
    """A weight gets g times its input, an input g times its weight, the bias g."""
    def times(i):
        return lambda g, out, *operands: g * operands[i]
    return [*map(times, range(n, 2 * n)), *map(times, range(n)), lambda g, out, *operands: g]


class Module:
    """Something with parameters: Values and Tensors in its attributes, in lists, dicts and modules.

    They are named by the way to them: `layers.0.neurons.2.b`. A constant Tensor is no parameter, but is
    saved with them. A subclass defines forward, and is called with what that takes.
    """

    training = True                 # what train() and eval() set

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module makes of its inputs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def _children(self):
        return vars(self).items()

    def modules(self) -> List[Module]:
        """All modules in this one, each after those that it is made of, and so itself last."""
        return list(_Search(self).modules)

    def named_parameters(self, prefix: str = "") -> Iterator[Tuple[str, Node]]:
        """(name, parameter) for everything that requires a gradient, each parameter once."""
        first: Dict[Node, str] = {}
        for name, p in _Search(self, prefix).nodes.items():
            if p.requires_grad and first.setdefault(p, name) == name:
                yield name, p

    def parameters(self) -> List[Any]:
        """All that an optimizer should change."""
        return list(dict.fromkeys([p for p in _Search(self).nodes.values() if p.requires_grad]))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with set_to_none=False, make them 0."""
        _forget(self.parameters(), set_to_none)

    def train(self: M, mode: bool = True) -> M:
        """Set `training`, which Dropout and BatchNorm1d obey, in all modules."""
        return self.apply(lambda module: setattr(module, "training", mode))

    def eval(self: M) -> M:
        """train(False)."""
        return self.train(False)

    def apply(self: M, f: Callable[[Module], object]) -> M:
        """Call f with each of modules()."""
        for module in self.modules():
            f(module)
        return self

    def to(self: M, device: object) -> M:
        """The module itself, on the only device, "cpu"."""
        if device not in ("cpu", float):
            raise ValueError(f"to: {device!r} is not the device 'cpu'")
        return self

    def register_buffer(self, name: str, tensor: Optional[Tensor]) -> None:
        """Make a constant an attribute."""
        setattr(self, name, tensor.detach() if tensor is not None and tensor.requires_grad else tensor)

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of all data, as numbers and nested lists by name; constants are included."""
        return {name: copied(p._data) for name, p in _Search(self, prefix).nodes.items()}

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "", strict: bool = True) -> None:
        """Take the data from state, which must have the names and shapes of state_dict(prefix).

        With a prefix, other names are left alone. ValueError when a shape differs or, if strict, a name
        is missing or unknown; nothing is changed then.
        """
        given, mine = _with_prefix(state, prefix), _Search(self, prefix).nodes
        if not strict:
            mine = {name: p for name, p in mine.items() if name in given}
            given = {name: given[name] for name in mine}
        new = _matching(given, {name: shape_of(p._data) for name, p in mine.items()})
        _all_or_nothing([(p._assign, new[name], p._data) for name, p in mine.items()])

    @recursive_repr("...")
    def __repr__(self) -> str:
        """A line per child, with its shape and number of parameters."""
        name, total = type(self).__name__, sum(len(flat(p._data)) for p in self.parameters())
        lines = [f"  {key}: {_summary(child)}" for key, child in self._children() if _summary(child)]
        return "\n".join([f"{name}(", *lines, f")  # {total} parameters"]) if lines else f"{name}()"


def _at_least_1(what, n):
    if isinstance(n, bool) or not hasattr(n, "__index__") or operator.index(n) < 1:
        raise ValueError(f"{what} must be an int of at least 1, not {n!r}")
    return operator.index(n)


class Neuron(Module):
    """act(w . x + b) of Values, one node for the dot product: nin inputs (numbers, Values) -> one Value.

    The weights are random.uniform(-1, 1), the bias is 0. `act` is "linear", the name of a function of
    Value ("relu", "tanh", ...) or any function of a Value; nonlin=False means "linear".
    """

    def __init__(self, nin: int, act: Act = "relu", nonlin: bool = True) -> None:
        if isinstance(act, bool):           # micrograd's Neuron(nin, nonlin)
            act = "relu" if act else "linear"
        known = ["linear", "leaky_relu", *FUNCTIONS]
        if not callable(act) and act not in known:
            raise ValueError(f"act must be a function or one of {', '.join(sorted(known))}, not {act!r}")
        if getattr(act, "__module__", "") == "math":
            name = act.__name__
            raise ValueError(f"act: math.{name} takes plain numbers only; write act={name!r}")
        act = act if nonlin else "linear"
        self.w = [Value(random.uniform(-1, 1)) for _ in range(_at_least_1("Neuron: nin", nin))]
        self.b = Value(0)
        self.act, self.nonlin = act, act != "linear"

    def __call__(self, x: Inputs) -> Value:
        x = _inputs(x)
        if len(x) != len(self.w):
            raise ValueError(f"Neuron: {len(x)} inputs given, {len(self.w)} expected")
        return self._act(dot(self.w, x, self.b))

    def _act(self, x):
        if type(self.act) is str:
            return x if self.act == "linear" else getattr(x, self.act)()
        out = self.act(x)
        if not isinstance(out, Value):
            raise TypeError(f"Neuron: act must give a Value, which has a gradient, not {out!r:.200}")
        return out

    def __repr__(self) -> str:
        act = self.act
        name = act if isinstance(act, str) else getattr(act, "__name__", type(act).__name__)
        return f"{'ReLU' if name == 'relu' else name.capitalize()}Neuron({len(self.w)})"


def _inputs(x):
    """The inputs of a neuron as a list."""
    if isinstance(x, Tensor):
        raise TypeError("a network of Values takes numbers or Values, not a Tensor; use x.tolist()")
    x = x.tolist() if hasattr(x, "tolist") else x
    x = [x] if isinstance(x, (Value, Number)) else _listed("inputs", x)
    if any(isinstance(item, (list, tuple)) for item in x):
        raise TypeError(f"a network of Values takes one example, not {x!r:.200}: for a batch, write "
                        "[model(x) for x in batch]")
    return x


class Layer(Module):
    """nout Neurons with the same nin inputs -> a list of nout Values, or the bare Value of only one."""

    def __init__(self, nin: int, nout: int, act: Act = "relu", nonlin: bool = True) -> None:
        self.neurons = [Neuron(nin, act, nonlin) for _ in range(_at_least_1("Layer: nout", nout))]

    def __call__(self, x: Inputs) -> Any:
        x = _inputs(x)
        out = [neuron(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(repr, self.neurons))}]"


class MLP(Module):
    """A multi-layer perceptron of Values: hidden layers use `act`, the last one is linear.

    >>> random.seed(1)
    >>> model = MLP(2, [3, 1], act="tanh")
    >>> model
    MLP of [Layer of [TanhNeuron(2), TanhNeuron(2), TanhNeuron(2)], Layer of [LinearNeuron(3)]]
    >>> len(model.parameters()), round(model([1.0, -1.0]).data, 4)
    (13, 0.0994)
    """

    def __init__(self, nin: int, nouts: Sequence[int], act: Act = "relu") -> None:
        sizes = [nin, *_listed("MLP", nouts)]
        if len(sizes) < 2:
            raise ValueError("MLP: nouts must name at least one layer")
        self.layers = [Layer(n, m, act, nonlin=i < len(sizes) - 1)
                       for i, (n, m) in enumerate(zip(sizes, sizes[1:]), 1)]

    def __call__(self, x: Inputs) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


class Linear(Module):
    """x @ weight.T + bias of Tensors: (..., nin) -> (..., nout). Each row of weight is one neuron.

    weight (nout, nin) and bias (nout) are uniform between -k and k = 1 / sqrt(nin), as PyTorch's.
    """

    def __init__(self, nin: int, nout: int, bias: bool = True) -> None:
        nin, nout = _at_least_1("Linear: nin", nin), _at_least_1("Linear: nout", nout)
        bound = 1 / math.sqrt(nin)
        self.weight = Tensor.uniform(-bound, bound, nout, nin)
        self.bias = Tensor.uniform(-bound, bound, nout) if bias else None

    def forward(self, x: Operand) -> Tensor:
        return linear(x, self.weight, self.bias)

    def __repr__(self) -> str:
        nout, nin = self.weight.shape
        return f"Linear({nin}, {nout}, bias={self.bias is not None})"


class Sequential(Module, list):
    """Modules and functions in a row: Sequential(Linear(2, 16), Tensor.relu, Linear(16, 1))."""

    __hash__ = Module.__hash__

    def __init__(self, *steps: Callable[[Any], Any]) -> None:
        for i, step in enumerate(steps):
            if not callable(step):
                raise TypeError(f"Sequential: step {i} is no Module and no function: {step!r:.200}")
        super().__init__(steps)

    def _children(self):
        return chain(enumerate(self), vars(self).items())

    def forward(self, x: Any) -> Any:
        for step in self:
            x = step(x)
        return x


# ---- Losses ----------------------------------------------------------------------------------------
# What a prediction x costs where the target is t, and the rules for x and t. Predictions are a Tensor or
# (nested) lists of Values; `reduction` is "mean", "sum" or "none". On Tensors, a loss is one node.

def _loss(name, sensible, cost, to_x, to_t, doc):
    """A loss, from what a target must be, the cost of a pair (of numbers or Values), and the two rules."""
    def loss(predictions, targets, reduction="mean"):
        x = _predictions(name, predictions)
        t = _tensor(name, targets) if isinstance(x, Tensor) else nested(targets, name, values=True)
        data, goals = [p._data if isinstance(p, Tensor) else p for p in (x, t)]
        have, want = shape_of(data), shape_of(goals)
        if have != want:
            hint = "put the Value into a list" if isinstance(x, Value) else "reshape one of them"
            raise ValueError(f"{name}: predictions of shape {have}, targets of shape {want}; {hint}")
        if sensible:
            for goal in {t._data if isinstance(t, Value) else t for t in flat(goals)}:
                if not sensible(goal):
                    raise ValueError(f"{name}: {goal!r} is no target. {doc}")
        costs = zip_map(cost, len(have), data, goals)
        if isinstance(x, Tensor):
            return _reduced(name, costs, reduction, (x, t), (to_x, to_t))
        return _reduced(name, costs, reduction)
    loss.__name__, loss.__qualname__, loss.__doc__ = name, name, doc
    return loss

def _squared_error(x, t):
    error = x - t
    return error * error

mse_loss: Loss = _loss(
    "mse_loss", None, _squared_error,
    lambda g, out, x, t: 2 * g * (x - t), lambda g, out, x, t: 2 * g * (t - x),
    "Mean squared error, (prediction - target)**2; targets of the same shape.")
hinge_loss: Loss = _loss(
    "hinge_loss", lambda t: t in (-1, 1), lambda x, t: relu(1 - t * x),
    lambda g, out, x, t: _gate(t * -g, 1 - t * x), lambda g, out, x, t: _gate(x * -g, 1 - t * x),
    "The max-margin loss relu(1 - target * score), for targets of -1 and 1 of the same shape.")
binary_cross_entropy_with_logits: Loss = _loss(
    "binary_cross_entropy_with_logits", lambda t: 0 <= t <= 1,
    lambda x, t: t * softplus(-x) + (1 - t) * softplus(x),
    lambda g, out, x, t: g * (sigmoid(x) - t), lambda g, out, x, t: -g * x,
    "-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), targets t from 0 to 1, of the same shape.")

def cross_entropy(logits: Predictions[N], targets: Any, reduction: str = "mean",
                  ignore_index: int = -100) -> N:
    """-log(softmax(logits))[target]; logits (n, classes) and n class indices, or (classes) and one.

    Logits (n, classes, d, ...) go with indices (n, d, ...). Targets of ignore_index count for nothing.

    >>> cross_entropy(Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 0]).item() == math.log(2) / 2
    True
    """
    x, indices = _predictions("cross_entropy", logits), nested(targets, "cross_entropy: targets")
    data = x._data if isinstance(x, Tensor) else x
    shape, places = shape_of(data), shape_of(indices)
    dim, depth = min(1, len(shape) - 1), len(places)            # dim: that of the classes
    if not shape or places != shape[:dim] + shape[dim + 1:]:
        raise ValueError(f"cross_entropy: logits of shape {shape} and targets of shape {places}: "
                         "(n, classes) and n class indices are needed, or (classes) and one")
    for i, t in enumerate(flat(indices)):
        if type(t) is not int or not 0 <= t < shape[dim] and t != ignore_index:
            raise ValueError(f"cross_entropy: target {i} is {t!r}, no int from 0 to {shape[dim] - 1}")
    order = [*range(dim), *range(dim + 1, len(shape)), dim]             # with the classes last
    rows, count = permuted(data, order), sum([t != ignore_index for t in flat(indices)])
    if not isinstance(x, Tensor):
        costs = zip_map(partial(_cost_of_values, ignore_index), depth, rows, indices)
        return _reduced("cross_entropy", costs, reduction, count=count)
    costs = zip_map(partial(_cost, ignore_index), depth, rows, indices)
    rule = _target_rule(dim, indices, ignore_index)
    return _reduced("cross_entropy", costs, reduction, (x,), (rule,), count)

def _cost(ignore_index, row, target):
    if target == ignore_index:
        return 0.0
    top, _, total = _exponentials(row)
    return math.log(total) - (row[target] - top)

def _target_rule(dim, indices, ignore_index):
    """Softmax, less 1 at the target."""
    depth = len(shape_of(indices))

    def rule(g, out, x):
        hits = zip_map(lambda t: [int(c == t) for c in range(x._shape[dim])], depth, indices)
        hits = Tensor._from(hits)._permute([*range(dim), depth, *range(dim, depth)])    # classes back to dim
        used = Tensor._from(zip_map(lambda t: int(t != ignore_index), depth, indices))
        return (x.softmax(dim) - hits) * (g * used).unsqueeze(dim)
    return rule

def _cost_of_values(ignore_index, row, target):
    if target == ignore_index:
        return Value(0.0)
    top = max(x._data for x in row)             # as in _exponentials
    shifted = [x - top for x in row]
    return dot([x.exp() for x in shifted], [1] * len(row)).log() - shifted[target]

def _predictions(name, x):
    """A Tensor, or nested lists of Values where there is a Value among them."""
    if isinstance(x, (Value, list, tuple)):
        x = nested(x, name, values=True)
        if any(isinstance(v, Value) for v in flat(x)):
            return zip_map(lambda v: v if isinstance(v, Value) else Value(v), len(shape_of(x)), x)
    return _tensor(name, x)

def _reduced(name, costs, reduction, operands=(), rules=(), count=None):
    """All costs, their sum, or their mean over count: a node of the operands, or of costs as Values."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    if reduction == "none":
        return Tensor._make(costs, name, operands, rules) if operands else costs
    costs = flat(costs)
    count = len(costs) if count is None else count
    if reduction == "mean" and not count:
        raise ValueError(f"{name}: no prediction has a target, so there is no mean")
    total = sum(costs) if operands else dot(costs, [1] * len(costs))
    if reduction == "mean":
        total, rules = total / count, [_of_mean(rule, count) for rule in rules]
    return Tensor._make(total, name, operands, rules) if operands else total

def _of_mean(rule, count):
    return lambda g, out, *operands: rule(g / count, out, *operands)


# ---- Optimizers ------------------------------------------------------------------------------------
# The formulas and keywords are PyTorch's. A step works out all new numbers before it changes any.

def _not_negative(name, x):
    if _number(x) is NotImplemented or isinstance(x, complex) or not x >= 0:
        raise ValueError(f"{name} must be a number of at least 0, not {x!r}")


class Optimizer:
    """What SGD and Adam share: parameters (Values and Tensors, also mixed), settings, a state for each.

    Settings, such as .lr, can be assigned. ValueError without parameters, or with one twice; TypeError
    for what is no Value or Tensor.
    """

    _KEYS: Tuple[str, ...] = ()     # what the state of a parameter holds
    lr: float

    def __init__(self, params: Iterable[Node], **settings: Any) -> None:
        name = type(self).__name__
        if type(self) is Optimizer:
            raise TypeError("Optimizer is what all optimizers share: use SGD, Adam or AdamW")
        self.params = _nodes(name, "parameter", params)
        if not self.params or len(set(self.params)) < len(self.params):
            what = "a parameter appears twice" if self.params else "no parameters"
            raise ValueError(f"{name}: {what}")
        for i, p in enumerate(self.params):
            if isinstance(p, Tensor) and p._op:
                raise ValueError(f"{name}: parameter {i} is a result of {p._op}: use Tensor(x.data)")
        self.state: List[Dict[str, Any]] = [{} for _ in self.params]
        for key, x in settings.items():
            setattr(self, key, x)

    def __setattr__(self, name: str, x: Any) -> None:
        self._check(name, x)
        super().__setattr__(name, x)

    def _check(self, name, x):
        if name in ("lr", "weight_decay", "momentum", "eps"):
            _not_negative(f"{type(self).__name__}: {name}", x)

    @property
    def param_groups(self) -> List[Dict[str, Any]]:
        """The settings as PyTorch has them: `for group in optimizer.param_groups: group["lr"] = 0.1`."""
        return [vars(self)]

    def __repr__(self) -> str:
        settings = [f"{key}={x!r}" for key, x in vars(self).items() if key not in ("params", "state")]
        total = sum(len(flat(p._data)) for p in self.params)
        return f"{type(self).__name__}({', '.join(settings)})  # {total} parameters"

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with set_to_none=False, make them 0."""
        _forget(self.params, set_to_none)

    def step(self) -> None:
        """Change every parameter by its gradient; those without one are left alone."""
        for key, x in vars(self).items():           # what came by param_groups is checked here
            self._check(key, x)
        if len(self.state) != len(self.params):
            raise ValueError("step: params have changed since the optimizer was made: make a new one")
        writes, states = [], self.state[:]
        for i, (p, state) in enumerate(zip(self.params, states)):
            if p._gradient() is not None:
                shape, numbers, g = shape_of(p._data), flat(p._data), flat(p._gradient())
                before = [len(x) for key, x in state.items() if key != "step"]
                if {len(numbers), len(g), *before} != {len(numbers)}:
                    raise ValueError(f"step: parameter {i}: its shape was another before it was {shape}")
                try:
                    numbers, states[i] = self._update(*self._decayed(numbers, g), state)
                except (TypeError, ArithmeticError, ValueError) as error:
                    raise type(error)(f"step: parameter {i}: {error}") from error
                writes.append((p._assign, nest(numbers, shape), p._data))
        _all_or_nothing([*writes, (partial(setattr, self, "state"), states, self.state)])

    def _decayed(self, p, g):
        return p, _plus(g, self.weight_decay, p) if self.weight_decay else g

    def _update(self, p, g, state):
        """New numbers and state of one parameter, from its numbers and gradient, all as flat lists."""
        raise NotImplementedError

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of lr and of what the optimizer remembers, as numbers and nested lists by name."""
        state: Dict[str, Nested] = {f"{prefix}lr": self.lr}
        for i, (p, mine) in enumerate(zip(self.params, self.state)):
            state.update({f"{prefix}{i}.{key}": x if key == "step" else nest(x, shape_of(p._data))
                          for key, x in mine.items()})
        return state

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "") -> None:
        """Go on from a state_dict(prefix). ValueError when it does not fit; nothing is changed then."""
        given, shapes = _with_prefix(state, prefix), {f"{prefix}lr": ()}
        for i, p in enumerate(self.params):
            mine = {f"{prefix}{i}.{key}": shape_of(p._data) if key != "step" else ()
                    for key in self._KEYS}
            if mine.keys() & given.keys():          # else it has made no step yet
                shapes.update(mine)
        (_, lr), *found = _matching(given, shapes).items()
        new: List[Dict[str, Any]] = [{} for _ in self.params]
        for name, x in found:
            number, key = name[len(prefix):].split(".")
            if key == "step" and not (x >= 1 and x % 1 == 0):
                raise ValueError(f"load_state_dict: {name} must be 1 or another whole number, not {x}")
            new[int(number)][key] = int(x) if key == "step" else flat(x)
        self.lr, self.state = lr, new


def _plus(x, factor, y):
    return [xi + factor * yi for xi, yi in zip(x, y)]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's momentum and weight decay.

    >>> w = Value(1.0)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> w.data
    0.8
    """

    _KEYS = ("momentum_buffer",)

    def __init__(self, params: Iterable[Node], lr: float, momentum: float = 0, nesterov: bool = False,
                 weight_decay: float = 0) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _update(self, p, g, state):
        if not self.momentum:
            return _plus(p, -self.lr, g), {}
        v = _plus(g, self.momentum, state["momentum_buffer"]) if state else g
        g = _plus(g, self.momentum, v) if self.nesterov else v
        return _plus(p, -self.lr, g), {"momentum_buffer": v}


class Adam(Optimizer):
    """Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980); weight_decay adds to the gradient."""

    _KEYS = ("step", "exp_avg", "exp_avg_sq")

    def __init__(self, params: Iterable[Node], lr: float = 0.001,
                 betas: Tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(
                _number(b) is not NotImplemented and 0 <= b < 1 for b in betas):
            name = type(self).__name__
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), not {betas!r}")

    def _update(self, p, g, state):
        (b1, b2), t, zeros = self.betas, state.get("step", 0) + 1, [0.0] * len(p)
        c1, c2, root = 1 - b1, 1 - b2, math.sqrt(1 - b2 ** t)
        m = [b1 * mi + c1 * gi for mi, gi in zip(state.get("exp_avg", zeros), g)]
        v = [b2 * vi + c2 * gi * gi for vi, gi in zip(state.get("exp_avg_sq", zeros), g)]
        # p - lr * m / (1 - b1**t) / (sqrt(v / (1 - b2**t)) + eps), with one division instead of three
        size, eps = self.lr / (1 - b1 ** t) * root, self.eps * root
        p = [pi - size * mi / (vi + eps) for pi, mi, vi in zip(p, m, map(math.sqrt, v))]
        return p, {"step": t, "exp_avg": m, "exp_avg_sq": v}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101)."""

    def __init__(self, params: Iterable[Node], lr: float = 0.001,
                 betas: Tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.01) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decayed(self, p, g):
        return [pi * (1 - self.lr * self.weight_decay) for pi in p], g


# Here a first reading may stop.


# ---- More of Tensor --------------------------------------------------------------------------------
# Methods that a first reading can do without, in a class that is dissolved: they become Tensor's.


def _share_hits(g, out, x, dims):
    """The gradient of a largest or smallest element: equal ones share it."""
    hits = _equal(x, out)
    return _gate(g, hits) / hits.sum(dims, keepdim=True)

_equal = _operation("equal_", lambda x, y: int(x == y or x != x), None, None)    # nan is what max has found

def _place(row, best):
    """Where the best one stands; a nan is equal to nothing."""
    return next(i for i, x in enumerate(row) if x != x) if best != best else row.index(best)

def _variance(name, doc, root):
    """var, or its root."""
    def method(self: Tensor, dim: Dim = None, *, correction: int = 1, unbiased: Optional[bool] = None,
               keepdim: bool = False, **names: Any) -> Tensor:
        dim, keepdim = _numpy_names(name, dim, keepdim, names) if names else (dim, keepdim)
        less = correction if unbiased is None else int(unbiased)

        def f(row):
            mean = sum(row) / len(row)
            return root(sum([(x - mean) * (x - mean) for x in row]) / (len(row) - less))

        def rule(g, out, x, dims):
            g = 2 * g if name == "var" else _gate(g, out) / (out + _is_zero(out))
            return (x - x.mean(dims, keepdim=True)) * g / (_length(x, dims) - less)
        return self._reduce(name, f, rule, dim, keepdim, less + 1)
    return _documented(method, name, doc)

_Extreme = namedtuple("_Extreme", "values indices")
_Extreme.__name__ = "extreme"       # what its repr shows

def _extreme(name, best):
    """max or min."""
    def method(self: Tensor, dim: Optional[int] = None, keepdim: bool = False, **names: Any) -> Any:
        dim, keepdim = _numpy_names(name, dim, keepdim, names) if names else (dim, keepdim)
        if isinstance(dim, Node):
            raise TypeError(f"{name}: takes one Tensor; the larger or smaller of two is {name}imum(x, y)")
        if isinstance(dim, (tuple, list)):
            raise TypeError(f"{name}: one dim gives a pair (values, indices); for several, a{name}({dim})")
        values = getattr(self, "a" + name)(dim, keepdim)
        return values if dim is None else _Extreme(values, getattr(self, "arg" + name)(dim, keepdim))
    return _documented(method, name, f"""Without dim the {best} element; over one dim a pair, their .values
        and the .indices where they stand.

        Equal ones share the gradient, as in a{name}; PyTorch gives it to the one at the index.""")


class _More:
    """Methods of Tensor."""

    # creation

    @staticmethod
    def zeros_like(x: Any, *, requires_grad: bool = True) -> Tensor:
        """0.0 everywhere, in the shape of x."""
        return Tensor.zeros(_tensor("zeros_like", x)._shape, requires_grad=requires_grad)

    @staticmethod
    def ones_like(x: Any, *, requires_grad: bool = True) -> Tensor:
        """1.0 everywhere, in the shape of x."""
        return Tensor.ones(_tensor("ones_like", x)._shape, requires_grad=requires_grad)

    @staticmethod
    def eye(n: int, m: Optional[int] = None, *, requires_grad: bool = True) -> Tensor:
        """n rows of m (default n) numbers, 1.0 on the diagonal, 0.0 elsewhere."""
        n, m = _sizes("eye", (n, n if m is None else m))
        return Tensor([[float(i == j) for j in range(m)] for i in range(n)], requires_grad=requires_grad)

    @staticmethod
    def arange(start: Any, end: Any = None, step: Any = 1, *, requires_grad: bool = True) -> Tensor:
        """start, start + step, ... up to end, which is left out; arange(n) counts from 0."""
        start, end = (0, start) if end is None else (start, end)
        for x in start, end, step:
            if _number(x) is NotImplemented or isinstance(x, complex):
                raise TypeError(f"arange: start, end and step must be real numbers, not {x!r:.80}")
        if step != step or not step or start - start != 0 or end - end != 0:
            raise ValueError(f"arange: cannot count from {start} to {end} in steps of {step}")
        return Tensor(_counted(start, end, step), requires_grad=requires_grad)

    # reductions

    amax = _reduction("amax", "The largest element over dim, or nan; equal ones share the gradient.",
                      partial(_nan_or, max), _share_hits, least=1)
    amin = _reduction("amin", "The smallest element over dim, or nan; equal ones share the gradient.",
                      partial(_nan_or, min), _share_hits, least=1)
    argmax = _reduction("argmax", "The index of the first largest element, of all or along dim. A constant.",
                        lambda row: _place(row, _nan_or(max, row)), least=1)
    logsumexp = _reduction("logsumexp", "log(sum(exp(x))) over dim.", _logsumexp,
                           lambda g, out, x, dims: g * (x - out).exp(), least=1)
    argmin = _reduction("argmin", "The index of the first smallest element, of all or along dim. A constant.",
                        lambda row: _place(row, _nan_or(min, row)), least=1)
    var = _variance("var", "The variance over dim, with the divisor n - correction, which must be above 0.",
                    lambda v: v)
    std = _variance("std", "The square root of var; where that is 0, so is the gradient.", math.sqrt)
    max, min = _extreme("max", "largest"), _extreme("min", "smallest")
    any = _reduction("any", "Is any element true? A constant Tensor of bools.", any)
    all = _reduction("all", "Are all elements true? A constant Tensor of bools.", all)

    def prod(self, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        """The product over dim. It is made by halves, so no gradient divides, and zeros are no exception."""
        dim, keepdim = _numpy_names("prod", dim, keepdim, names)
        dims = _dims("prod", dim, self.ndim)
        rest = [d for d in range(self.ndim) if d not in dims]
        kept = [1 if d in dims else n for d, n in enumerate(self._shape) if keepdim or d not in dims]
        x = self
        if not x.requires_grad:                         # bools become ints
            x = Tensor._from(zip_map(operator.pos, self.ndim, self._data))
        x = x._permute([*rest, *dims]).reshape(*[self._shape[d] for d in rest],
                                                  math.prod([self._shape[d] for d in dims]))
        if not x._shape[-1]:
            return Tensor.ones(kept, requires_grad=False)
        while x._shape[-1] > 1:
            half = x._shape[-1] // 2
            x = cat([x[..., :half] * x[..., half:2 * half], x[..., 2 * half:]], -1)
        return x.reshape(kept)

    def cumsum(self, dim: int) -> Tensor:
        """The sums of the first element, the first two, and so on, along dim."""
        return self._along("cumsum", lambda row: list(accumulate(map(operator.pos, row))), dim,
                           lambda g, out, x: g.flip(dim).cumsum(dim).flip(dim))

    # shapes

    def view(self, *shape: Any) -> Tensor:
        """As reshape."""
        return self._reshaped("view", shape)

    def expand(self, *shape: Any) -> Tensor:
        """As broadcast_to; -1 keeps a size."""
        sizes = _sizes("expand", shape, least=-1)
        own = (-1,) * (len(sizes) - self.ndim) + self._shape
        sizes = tuple([o if n == -1 else n for n, o in zip(sizes, own)]) if len(own) == len(sizes) else sizes
        return self._broadcast_to("expand", _sizes("expand", sizes))

    def split(self, size: Union[int, Sequence[int]], dim: int = 0) -> Tuple[Tensor, ...]:
        """Pieces of this size along dim (the last may be shorter), or of these sizes, which must add up."""
        d = _one_dim("split", dim, self.ndim)
        length = self._shape[d] if self._shape else 1
        if not isinstance(size, (tuple, list)):
            size = _an_int("split", "the size", size)
            if size < 1:
                raise ValueError(f"split: the size must be at least 1, not {size}")
            size = [min(size, length - i) for i in range(0, length, size)] or [0]
        size = [_an_int("split", "a size", n) for n in size]
        if not self._shape or sum(size) != length or min(size) < 0:
            raise ValueError(f"split: sizes {list(size)} do not add up to dim {dim} of shape {self._shape}")
        ends = [0, *accumulate(size)]
        return tuple([self[(slice(None),) * d + (slice(a, b),)] for a, b in zip(ends, ends[1:])])

    def chunk(self, chunks: int, dim: int = 0) -> Tuple[Tensor, ...]:
        """At most so many pieces of one size along dim; the last may be shorter."""
        if _an_int("chunk", "chunks", chunks) < 1:
            raise ValueError(f"chunk: chunks must be at least 1, not {chunks}")
        return self.split(max(1, -(-self.size(dim) // chunks)), dim)

    def unbind(self, dim: int = 0) -> Tuple[Tensor, ...]:
        """All pieces along dim, without it."""
        d = _one_dim("unbind", dim, self.ndim)
        return tuple([self[(slice(None),) * d + (i,)] for i in range(len(self) if not d else self._shape[d])])

    def flip(self, *dims: Any) -> Tensor:
        """The order reversed along these dims."""
        given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        turned = _dims("flip", given, self.ndim) if given else ()
        return self[tuple([slice(None, None, -1 if d in turned else 1) for d in range(self.ndim)])]

    def tril(self, diagonal: int = 0) -> Tensor:
        """The part of each matrix on and below a diagonal (1 is the one above the main one); 0 elsewhere."""
        diagonal = _an_int("tril", "the diagonal", diagonal)
        return self._triangle("tril", lambda i, j: j - i <= diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The part of each matrix on and above a diagonal; 0 elsewhere."""
        diagonal = _an_int("triu", "the diagonal", diagonal)
        return self._triangle("triu", lambda i, j: j - i >= diagonal)

    def _triangle(self, name, inside):
        if self.ndim < 2:
            raise ValueError(f"{name}: needs at least two dimensions, not shape {self._shape}")
        n, m = self._shape[-2:]
        mask = Tensor._from([[inside(i, j) for j in range(m)] for i in range(n)])
        return where(mask, self, _zero(self._data))

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """value where the mask is true, self elsewhere."""
        value = self._node(_accepted("masked_fill", value, self._operand("masked_fill", value)))
        mask = _tensor("masked_fill", mask)
        broadcast_shape("masked_fill", self._shape, mask._shape, value._shape)
        return where(mask, value, self)

    # as Python's own

    def __setitem__(self, index: Any, value: Any) -> None:
        """Replace a part of the numbers, by one number or by what broadcasts. Not recorded: it is for
        data, for results that nobody differentiates, and under no_grad for parameters. What x[i] gives is
        a copy: write x[i, j] = y, since x[i][j] = y would change the copy.
        """
        value = _tensor("x[i] = y", value)
        if self.requires_grad and not self._rules and _recording():
            raise RuntimeError("x[i] = y: x requires a gradient; write with no_grad(): x[i] = y to change "
                               "its numbers, or where(mask, y, x) for a new Tensor")
        order, index = _index(index, self._shape)
        data = permuted(copied(self._data), order) if order else copied(self._data)
        target, shape = shape_of(take(data, index)), value._shape
        while len(shape) > len(target) and shape[0] == 1:
            shape = shape[1:]
        if broadcast_shape("x[i] = y", shape, target) != target:
            raise ValueError(f"x[i] = y: y of shape {value._shape} does not fit into x[i] of shape {target}")
        new = copied(expand(nest(flat(value._data), shape), shape, target))
        data = _put_at(data, index, new, lambda old, new: new)
        self._assign(permuted(data, sorted(range(len(order)), key=order.__getitem__)) if order else data)
        if value.requires_grad and _recording() and not self._rules:
            self._made, self._operands, self.requires_grad = ("x[i] = y", [_stale]), (value,), True

    def __contains__(self, x: Any) -> bool:
        hits = self == x
        return isinstance(hits, Tensor) and bool(hits.any())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return operator.index(self.item())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy            # type: ignore  # only NumPy calls this
        return numpy.array(self._data, dtype)

    def __repr__(self) -> str:
        """As PyTorch: four decimals, or none if all are whole; of a large Tensor only the corners."""
        shape, large = self._shape, self.numel() > 1000
        numbers = _corners(self._data) if large else self._data
        spec = _spec(flat(numbers))
        words = zip_map(lambda x: _word(x, spec), len(shape), numbers)
        width = max(map(len, flat(words)), default=0)
        words = zip_map(lambda word: word.rjust(width), len(shape), words)
        return f"Tensor({_written(words, shape, 8)}{f', shape={shape}' if large or 0 in shape else ''})"

for _name, _f in vars(_More).items():
    if callable(getattr(_f, "__func__", _f)):
        getattr(_f, "__func__", _f).__qualname__ = f"Tensor.{_name}"
        setattr(Tensor, _name, _f)

def _augmented(name):
    """An operator such as +=. Of a parameter it is an update in place, and only under no_grad."""
    def method(self, other):
        if not self.requires_grad or self._rules:
            return NotImplemented               # Python takes the operator itself: a new node
        if _recording():
            raise RuntimeError(f"{name}= of a parameter: write with no_grad(): p {name}= ... for an update, "
                               f"or p = p {name} ... for a new Tensor; a constant has requires_grad=False")
        new = _OPERATIONS[name](self, other)
        if new._shape != self._shape:
            raise ValueError(f"{name}=: shape {new._shape} does not fit a parameter of shape {self._shape}")
        self._assign(new._data)
        return self
    return method

for _name, _entry in _ARITHMETIC.items():
    setattr(Tensor, f"__i{_name}__", _augmented(_entry[0]))

def one_hot(indices: Any, num_classes: Optional[int] = None) -> Tensor:
    """Constant rows of 0, 1 at the index: (...) -> (..., num_classes), by default the largest index + 1."""
    indices = _tensor("one_hot", _plain_ints(indices))
    numbers = [_an_int("one_hot", "an index", i) for i in flat(indices._data)]
    n = max(numbers, default=-1) + 1 if num_classes in (None, -1) else num_classes
    n = _an_int("one_hot", "num_classes", n)
    for i in numbers:
        if not 0 <= i < n:
            raise ValueError(f"one_hot: index {i} for {n} classes")
    return Tensor._from(zip_map(lambda i: [int(i == j) for j in range(n)], indices.ndim, indices._data))


# ---- Small print -----------------------------------------------------------------------------------
# Dims, sizes and indices as users write them; how Tensors look; where arange ends; no_grad around
# generators; where modules have their parameters.

def _method(f):
    """Give both classes this function as a method."""
    f.__qualname__ = f"Node.{f.__name__}"
    setattr(Node, f.__name__, f)
    return f

@_method
def __pos__(x: N) -> N:
    """x itself."""
    return x

@_method
def maximum(x: N, other: Operand) -> N:
    """The larger of both, elementwise; equal ones get half the gradient each."""
    return _maximum(x, other)

@_method
def minimum(x: N, other: Operand) -> N:
    """The smaller of both, elementwise; equal ones get half the gradient each."""
    return _minimum(x, other)

_between = _operation("between_", lambda g, x, low, high: type(g)(0) if x < low or x > high else g,
                      lambda h, out, g, x, low, high: _between(h, x, low, high), None, None, None,
                      text="0.0 if y < z or y > w else x")
_clip = _operation("clip", lambda x, low, high: _minimum.forward(_maximum.forward(x, low), high),
                   lambda g, out, x, low, high: _between(g, x, low, high), None, None,
                   text="y if x < y else z if x > z else x")

@_method
def clip(x: N, low: Optional[float] = None, high: Optional[float] = None) -> N:
    """x, at least low and at most high (numbers, or None); the gradient passes at the bounds too."""
    if low is None and high is None:
        raise ValueError("clip: give low, high or both")
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return _clip(x, *[_accepted("clip", bound, _number(bound)) for bound in (low, high)])

_step = _operation("step_", lambda x, low: low if x <= 0 else 1, None, None, text="y if x <= 0 else 1")
_leaky_relu = _operation("leaky_relu", lambda x, slope: slope * x if x <= 0 else x,
                         lambda g, out, x, slope: g * _step(x, slope), None, text="y * x if x <= 0 else x")

@_method
def leaky_relu(x: N, slope: float = 0.01) -> N:
    """x where x > 0, slope * x elsewhere."""
    return _leaky_relu(x, _accepted("leaky_relu", slope, _number(slope)))

def _hint(given):
    return "; for a batch, write [model(x) for x in batch]" if isinstance(given, (list, tuple)) else ""

def _mixed(name, x):
    if not isinstance(x, Node):
        _made_before()
    raise TypeError(f"{name}: a Value and a Tensor do not mix in one operation; make all parameters and "
                    "inputs of one kind")

def _no_more(name, more, hint):
    raise TypeError(f"{name}: {hint}; more were given: {', '.join(f'{x!r:.80}' for x in more)}")

def _listed(name, items):
    """items as a list; TypeError when it is a single thing."""
    if isinstance(items, (Node, Module, str)) or not hasattr(items, "__iter__"):
        hint = "give a list of parameters, model.parameters(), " if isinstance(items, Module) else ""
        raise TypeError(f"{name}: {hint or 'needs a list, '}not {items!r:.200}")
    return list(items)

def _nodes(name, what, items):
    """items as a list of Values and Tensors."""
    nodes = _listed(name, items)
    for i, x in enumerate(nodes):
        if not isinstance(x, Node):
            kind = type(x).__name__
            raise TypeError(f"{name}: {what} {i} must be a Value or a Tensor, not the {kind} {x!r:.200}")
    return nodes

def elementwise(name: str, forward: Callable[[Any], Any], rule: Rule) -> Function:
    """Give Value and Tensor a method `name`, differentiable to any order; returns it as a function.

    forward(x) works on plain numbers. rule(g, out, x) is the gradient of x where g is the gradient of
    out = forward(x), written with operators and with functions that this one returns. ValueError when
    `name` is no identifier, or a method already that was not made here; TypeError when they are no
    functions, and later, when one of them gives something else than a number or node.

    >>> softsign = elementwise("softsign", lambda x: x / (1 + abs(x)),
    ...                        lambda g, out, x: g / (1 + abs(x)) ** 2)
    >>> Value(-3.0).softsign().data, softsign(1.0)
    (-0.75, 0.5)
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"elementwise: {name!r} is not an identifier")
    taken = hasattr(Value, name) or hasattr(Tensor, name) or name in _OPERATIONS
    if taken and name not in _FOREIGN | FUNCTIONS.keys() - _BUILT_IN:
        raise ValueError(f"elementwise: {name!r} is a method already")
    for what, f in ("forward", forward), ("rule", rule):
        if not callable(f):
            raise TypeError(f"elementwise: the {what} of {name} must be a function, not {f!r:.200}")
    _FOREIGN.add(name)
    if name in vars(Tensor):                # a name of PyTorch, with a hint
        delattr(Tensor, name)
    return _function(name, f"{name}, elementwise.", _checked_forward(forward), _rule_from_outside(rule))

_FOREIGN = set()                # operations from outside: their rules may do anything

def _checked_forward(forward):
    """A function of a number that was given to elementwise: it must give a number."""
    @wraps(forward)
    def checked(x):
        y = forward(x)
        if _number(y) is NotImplemented:
            raise TypeError(f"the function given to elementwise gave {y!r:.80}, which is no number")
        return y
    return checked

def _rule_from_outside(rule):
    """A rule that was given to elementwise: it may build graphs of its own, though a pass records none."""
    def recorded(*operands):
        _depth.set(0)
        return rule(*operands)

    def checked(*operands):
        d = copy_context().run(recorded, *operands)
        return d.detach() if isinstance(d, Tensor) and not _recording() else d
    return checked

def _dims(name, dim, ndim):
    """dim (None or () for all, an int or several, negative from the end) as a sorted tuple."""
    if dim is None or isinstance(dim, (tuple, list)) and not dim:
        return tuple(range(ndim))
    given = [_an_int(name, "a dim", d) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    for d in given:
        if not -max(ndim, 1) <= d < max(ndim, 1):       # a single number takes 0 and -1, as in PyTorch
            raise IndexError(f"{name}: dim {d} is out of range for a Tensor of {ndim} dimensions")
    dims = sorted({d % ndim for d in given}) if ndim else []
    if ndim and len(dims) < len(given):
        raise ValueError(f"{name}: a dim appears twice in {dim}")
    return tuple(dims)

def _an_int(name, what, x):
    """An int, or something that is one, as those of NumPy."""
    try:
        return x if type(x) is int else operator.index(None if isinstance(x, bool) else x)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {what} must be an int, not {x!r:.80}") from None

def _one_dim(name, dim, ndim):
    """dim, one int, counted from the front; 0 for a Tensor of 0 dimensions."""
    return (*_dims(name, (dim,), ndim), 0)[0]

def _sizes(name, shape, least=0):
    """A shape given as (2, 3) or ((2, 3),); no size below least."""
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    sizes = tuple([_an_int(name, "a size", size) for size in given])
    for size in sizes:
        if size < least:
            raise ValueError(f"{name}: size {size} in shape {sizes}")
    if 0 in sizes[:-1]:
        raise ValueError(f"{name}: nested lists cannot hold shape {sizes}: only the last size may be 0")
    return sizes

def _index(index, shape):
    """The order of dimensions for an index, or None, and the index as `take` wants it, in this shape."""
    items = [_index_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    used, dots = sum(map(_width, items)), items.count(Ellipsis)
    if used > len(shape) or dots > 1:
        what = "more than one ..." if dots > 1 else f"{used} indices"
        raise IndexError(f"index: {what} for a Tensor of shape {shape}")
    at = items.index(Ellipsis) if dots else len(items)
    items[at:at + 1] = [slice(None)] * (len(shape) - used)
    checked, dim = [], 0
    for i in items:
        checked += _mask_places(i, dim, shape) if _is_mask(i) else [_in_range(i, dim, shape)]
        dim += _width(i)
    return _paired(checked, len(shape))

def _index_item(i):
    """None, ..., a slice, an int, or nested lists: of ints or, if it is a mask, of bools."""
    if type(i) is int or i is None or i is Ellipsis or isinstance(i, slice):
        return i
    if isinstance(i, (list, range)) or hasattr(i, "tolist"):
        i = nested(_plain_ints(i), "index")
    try:
        return i if type(i) is list else operator.index(None if isinstance(i, bool) else i)
    except TypeError:
        raise TypeError(f"index: {i!r:.200} is no int, slice, ..., None, list of ints, or mask of "
                        "bools") from None

def _plain_ints(x):
    """(Nested) lists of things that are ints, as those of NumPy are, as lists of ints."""
    x = x.tolist() if hasattr(x, "tolist") else x
    if isinstance(x, (list, tuple, range)):
        return list(map(_plain_ints, x))
    return operator.index(x) if hasattr(x, "__index__") and not isinstance(x, bool) else x

def _is_mask(i):
    return type(i) is list and set(map(type, flat(i))) == {bool}

def _width(i):
    """How many dimensions an item of an index is for."""
    return len(shape_of(i)) if _is_mask(i) else int(i is not None and i is not Ellipsis)

def _mask_places(mask, dim, shape):
    """The places where a mask is True: a list of them for each of its dimensions."""
    sizes = shape_of(mask)
    if sizes != shape[dim:dim + len(sizes)]:
        raise IndexError(f"index: a mask of shape {sizes} at dim {dim} of a Tensor of shape {shape}")
    places = [at for at, hit in zip(product(*map(range, sizes)), flat(mask)) if hit]
    return [[at[k] for at in places] for k in range(len(sizes))]

def _in_range(i, dim, shape):
    """An item of an index for one dimension, with its places counted from the front; None stays None."""
    if isinstance(i, slice):
        if i.step == 0:
            raise ValueError("index: the step of a slice must not be 0")
        return range(*i.indices(shape[dim]))
    if isinstance(i, list):
        return zip_map(lambda k: _in_range(_an_int("index", "a place", k), dim, shape),
                       len(shape_of(i)), i)
    if i is not None and not -shape[dim] <= i < shape[dim]:
        raise IndexError(f"index: {i} is out of range for dimension {dim} of size {shape[dim]}")
    return i if i is None else i % shape[dim]

def _paired(items, ndim):
    """Several lists of ints become one of tuples; what stands between them moves behind, as in NumPy."""
    lists = [k for k, i in enumerate(items) if type(i) is list]
    picks = [k for k, i in enumerate(items) if type(i) in (int, list)]
    together = not lists or picks[-1] - picks[0] < len(picks)
    if not together and len(picks) > len(lists):
        raise IndexError("index: ints and lists with a gap between are ambiguous; index in two steps")
    if len(lists) < 2:
        return None, tuple(items)
    first, last = lists[0], lists[-1]
    paired = [i for i in items[first:last + 1] if type(i) in (int, list)]   # an int between two, too
    shapes = list(map(shape_of, paired))
    shape = broadcast_shape("index", *shapes)
    rows = [expand(row, own, shape) for row, own in zip(paired, shapes)]
    one = [zip_map(lambda *places: places, len(shape), *rows)]
    one += [0] * (len(paired) - 1) * (0 in shape)       # a list without a tuple does not tell its dimensions
    if together:
        return None, (*items[:first], *one, *items[last + 1:])
    dims = [k - items[:k].count(None) for k in lists]
    order = dims + [d for d in range(ndim) if d not in dims]
    return order, (*one, *[i for i in items if type(i) is not list])

def _shape_at(index, shape):
    """The shape of what is at the index; ValueError where nested lists cannot hold it."""
    sizes, dim = [], 0
    for i in index:
        place = next(iter(flat(i)), 0) if type(i) is list else i
        dim += len(place) if type(place) is tuple else place is not None
        sizes += (1,) if i is None else (len(i),) if type(i) is range else shape_of(i)    # (): an int
    return _sizes("index", (*sizes, *shape[dim:]))

def _corners(data):
    """Three items from each end of each dimension of more than six."""
    if type(data) is not list:
        return data
    return list(map(_corners, data if len(data) <= 6 else data[:3] + data[-3:]))

def _spec(numbers):
    """The format of all numbers, if one is a float: "1." if they are whole, 1e4 if they differ much."""
    numbers = [x for x in numbers if isinstance(x, (int, float, complex))]
    if all(isinstance(x, int) for x in numbers):
        return ""
    sizes = [abs(p) for x in numbers for p in (x.real, x.imag) if p and p - p == 0]     # the finite
    low, high = min(sizes, default=1), max(sizes, default=1)
    if high > 1000 * low or high > 1e8 or low < 1e-4:
        return ".4e"
    return ".4f" if any(size % 1 for size in sizes) else "#.0f"

def _word(x, spec):
    """A number as text: ints, Fractions and Decimals in full where there is no format for them."""
    try:
        return format(x, spec) if isinstance(x, (int, float, complex)) else str(x)
    except (OverflowError, ValueError):         # an int beyond float, or of too many digits
        return "..."

def _written(words, shape, indent):
    """Nested lists as text: rows below each other, at most 80 wide; an empty line between matrices."""
    if not shape:
        return words
    items = [_written(item, shape[1:], indent + 1) for item in words]
    fit = max((81 - indent) // (len(items[0]) + 2), 1) if items and len(shape) == 1 else 1  # on one line
    if len(items) < shape[0]:
        items.insert(3, "..." if len(shape) > 1 else " ...")
    lines = [", ".join(items[i:i + fit]) for i in range(0, len(items), fit)]
    return "[" + ("," + "\n" * max(len(shape) - 1, 1) + " " * indent).join(lines) + "]"

@_method
def __format__(self: Node, spec: str) -> str:
    """The number in this format, f"{loss:.4f}"; without one only a Tensor of no dimensions is a number."""
    if spec or isinstance(self, Tensor) and not self._shape:
        return format(self._data if isinstance(self, Value) else self.item(), spec)
    return str(self)

@_method
def __reduce__(self: Node) -> Tuple[Any, ...]:
    """Pickle and deepcopy keep data, grad and label. The graph, however deep, stays behind."""
    state = [getattr(self, name) for name in self._STATE]
    if self._made is not _LEAF and isinstance(self, Tensor):
        state[-1] = False                   # requires_grad: a result without its graph is a constant
    return _restored, (type(self), *state), getattr(self, "__dict__", None)

def _restored(cls, *state):
    node = _new(cls)
    (Value if issubclass(cls, Value) else Tensor).__init__(node, 0)
    for name, x in zip(cls._STATE, state):
        setattr(node, name, x)
    return node

def _made_before(*operands):
    raise TypeError("a Value or Tensor from before importlib.reload meets the new module: make all of "
                    "them again, and the models")

for _class in _outdated:
    for _name in (*_ARITHMETIC, "matmul", "neg", "abs", "eq", "lt"):
        setattr(_class, f"__{_name}__", _made_before)
        setattr(_class, f"__r{_name}__", _made_before)
    _class.maximum = _class.minimum = _class.leaky_relu = _made_before

@_method
def _backward(self: Node) -> None:
    """This node's own step of the chain rule, as the first lecture calls it by hand: from its `.grad`
    into the `.grad` of its operands. ValueError when it has none."""
    if self._grad is None and any(self._rules):
        raise ValueError(f"_backward: the result of {self._op} has no gradient yet: assign one, out.grad = 1.0")
    with no_grad():
        paid = [(operand, operand._take_in(None, rule(self._grad, self, *self._operands)))
                for operand, rule in zip(self._operands, self._rules) if rule]
    for operand, d in paid:
        operand._grad = operand._grad_plus(operand._settle(d), set())

def _counted(start, end, step):
    """The numbers of arange. A quotient of floats may be off by one: the elements themselves decide."""
    if all(isinstance(x, int) for x in (start, end, step)):
        return list(range(start, end, step))
    count = max(0, math.ceil((end - start) / step))
    numbers = [start + i * step if i else start for i in range(count + 1)]
    return [x for x in numbers if (x < end if step > 0 else x > end)]


class no_grad:
    """Context manager and decorator: operations record no graph, and so cost less.

    It holds in its own thread, and in asyncio in its own task. As a decorator it takes functions,
    generator functions and `async` ones. A `yield` inside a `with` block leaves the block open for the
    caller, though.

    >>> w = Value(2.0)
    >>> with no_grad():
    ...     y = w * 3
    >>> y._prev
    ()
    """

    def __new__(cls, function: Any = None) -> Any:      # @no_grad is @no_grad()
        return super().__new__(cls) if function is None else _quietly(function)

    def __enter__(self) -> None:
        _depth.set(_depth.get() + 1)

    def __exit__(self, *error: object) -> None:
        _depth.set(max(_depth.get() - 1, 0))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _quietly(function)

def _quietly(function):
    """function, which records no graph while it runs; of generators and coroutines, each step."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & 0x20:                        # a generator function: not quiet while it waits at a yield
        def quiet(*args, **kwargs):
            return (yield from _QuietSteps(function(*args, **kwargs)))
    elif flags & 0x200:                     # an async generator function
        def quiet(*args, **kwargs):
            return _QuietSteps(function(*args, **kwargs))
    elif flags & 0x80:                      # an async function
        async def quiet(*args, **kwargs):
            with no_grad():
                return await function(*args, **kwargs)
    else:
        def quiet(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)
    return wraps(function)(quiet)


def _quiet_step(name):
    return _quietly(lambda self, *args: getattr(self.steps, name)(*args))

def _quiet_async_step(name):
    async def step(self, *args):
        return await getattr(self.steps, name)(*args)
    return _quietly(step)


class _QuietSteps:
    """A generator, also an async one, each step of which is under no_grad."""

    def __init__(self, steps):
        self.steps = steps

    def __iter__(self):
        return self

    __aiter__ = __iter__
    __next__, send, throw, close = map(_quiet_step, ("__next__", "send", "throw", "close"))
    __anext__, asend, athrow, aclose = map(_quiet_async_step, ("__anext__", "asend", "athrow", "aclose"))


class _Search:
    """The parameters and constants in a module by name, and its modules.

    ValueError when two have one name, TypeError when a parameter is where nobody looks for it.
    """

    def __init__(self, module, prefix=""):
        self.nodes, self.modules, self.held, self.name = {}, {}, [], type(module).__name__
        self._enter(module, prefix, "", ())
        results = {x for x in self.nodes.values() if x._made is not _LEAF}
        if results or self.held:
            self._check(set(self.nodes.values()), results)

    def _check(self, known, results):
        for node, place in self.held:
            if node.requires_grad and not node._op and node not in known:
                raise TypeError(f"{self.name}: a parameter in a {place} would not be found: use "
                                "attributes, lists, tuples, dicts and modules")
        leaves = {x for x in known - results if x.requires_grad}
        results = {x for x in results if not leaves.isdisjoint(_graph([x]))}       # kept to be looked at
        self.nodes = {name: x for name, x in self.nodes.items() if x not in results}

    def _enter(self, x, prefix, holder, above):
        """Search x; holder is the type of what holds it and is not searched, such as a set, or ""."""
        if id(x) in above:
            return                  # modules may be in themselves
        above += (id(x),)
        if isinstance(x, (Module, dict)):
            items = x._children() if isinstance(x, Module) else x.items()
        elif isinstance(x, (list, tuple)):
            many = holder and len(x) > 1000         # a set of data
            items = () if many or _ATOMS.issuperset(map(type, x)) else enumerate(x)
        else:
            items, holder = () if holder else _held(x), type(x).__name__
        for key, child in items:
            if isinstance(child, (Value, Tensor)):
                name = f"{prefix}{key}"
                if holder:
                    self.held.append((child, f"{holder} ({name})"))
                elif self.nodes.setdefault(name, child) is not child:
                    raise ValueError(f"{self.name}: two parameters have the name {name}")
            elif type(child) not in _ATOMS and not isinstance(child, Node):
                self._enter(child, f"{prefix}{key}.", holder, above)
        if isinstance(x, Module):
            if _slot_names(type(x)):
                self._enter(_in_slots_of(x), prefix, "__slots__", above)
            self.modules[x] = None

_ATOMS = frozenset([float, int, str, bool, type(None), type(len), type(lambda: 0)])     # hold nothing

def _held(x):
    """(key, item) of what x holds, which is no module, list, tuple or dict."""
    if isinstance(x, (set, frozenset, deque)):
        return enumerate(x)
    if isinstance(x, (type, type(math))):
        return ()
    return chain(getattr(x, "__dict__", {}).items(), _in_slots_of(x).items())

def _in_slots_of(x):
    return {name: getattr(x, name) for name in _slot_names(type(x)) if hasattr(x, name)}

@lru_cache(maxsize=None)
def _slot_names(cls):
    return [name for base in cls.__mro__ for name in vars(base).get("__slots__", ()) if name[:2] != "__"]

def _graph(roots, operands_of=operator.attrgetter("_prev")):
    """{node: its operands} for the roots and all below them, operands first."""
    seen, graph, stack = {}, {}, [*reversed(roots)]
    while stack:
        node = stack[-1]
        if node in seen:                            # back again, after its operands
            graph[stack.pop()] = seen[node]
        else:
            seen[node] = operands_of(node)
            stack += [p for p in reversed(seen[node]) if p not in seen]
    return graph

def _forget(params, set_to_none):
    for p in params:
        p.grad = p._NO_GRAD if set_to_none or p._gradient() is None else zip_map(
            lambda x: 0.0, len(shape_of(p._data)), p._data)

def _all_or_nothing(writes):
    """write(new) for each (write, new, old); after an error or Ctrl-C, write(old) for each."""
    try:
        for write, new, _ in writes:
            write(new)
    except BaseException:
        for write, _, old in writes:
            write(old)
        raise

def clip_grad_norm(params: Iterable[Node], max_norm: float) -> float:
    """Scale all gradients so that together they are no longer than max_norm; returns the norm before.

    A nan, or an inf, goes to all gradients, as in PyTorch.
    """
    _not_negative("clip_grad_norm: max_norm", max_norm)
    params = [p for p in _nodes("clip_grad_norm", "parameter", params) if p._gradient() is not None]
    rows, unit = [flat(p._gradient()) for p in params], 1.0
    norm = math.sqrt(sum([sumprod(row, row) for row in rows]))
    if not 1e-100 < norm < 1e100:       # squares overflow or vanish: take a unit near the largest number
        largest = max(map(abs, chain(*rows)), default=0)
        if 0 < largest < math.inf:
            unit = 2.0 ** (math.frexp(largest)[1] - 1)              # a power of 2 divides exactly
            rows = [[g / unit for g in row] for row in rows]
            norm = math.sqrt(sum([sumprod(row, row) for row in rows]))
    scale = max_norm / (norm + (1e-6 / unit if unit > 1e-20 else 0))        # 1e-6 as PyTorch has it
    if not scale >= unit:
        new = [nest([g * scale for g in row], shape_of(p._data)) for p, row in zip(params, rows)]
        _all_or_nothing([(partial(setattr, p, "grad"), g, p.grad) for p, g in zip(params, new)])
    return norm * unit

def _with_prefix(state, prefix):
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in [prefix, *state]):
        raise TypeError("load_state_dict: needs a dict with names, and a prefix that is a str, not "
                        f"{state!r:.200} and {prefix!r}")
    return {name: x for name, x in state.items() if name.startswith(prefix)}

def _matching(given, shapes):
    """The data that are given, which must have just these names and shapes, in this order."""
    if given.keys() != shapes.keys():
        missing, unexpected = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
        raise ValueError(f"load_state_dict: missing {missing}, unexpected {unexpected}")
    data = {}
    for name, shape in shapes.items():
        x = given[name]
        data[name] = nested(x._data if isinstance(x, Value) else x, f"load_state_dict: {name}")
        given_shape = shape_of(data[name])
        if given_shape != shape:
            raise ValueError(f"load_state_dict: {name} has shape {given_shape}, here it is {shape}")
    return data

def _summary(child):
    if isinstance(child, (Tensor, Value)):
        return f"{type(child).__name__} {shape_of(child._data)}"
    if isinstance(child, Module):
        return repr(child).replace("\n", "\n  ")
    if isinstance(child, (list, tuple)) and any(isinstance(item, (Module, Node)) for item in child):
        return "[" + ", ".join(map(_summary, child)) + "]"
    return getattr(child, "__name__", "") if callable(child) else ""


# ---- More modules ----------------------------------------------------------------------------------
# Those that deeper networks are made of, as PyTorch has them.

class Embedding(Module):
    """dim numbers for each of n things: indices of shape s -> (*s, dim). weight (n, dim) is normal."""

    def __init__(self, n: int, dim: int) -> None:
        self.weight = Tensor.randn(_at_least_1("Embedding: n", n), _at_least_1("Embedding: dim", dim))

    def forward(self, indices: Any) -> Tensor:
        indices = _tensor("Embedding", _plain_ints(indices))
        if any(type(i) is bool for i in flat(indices._data)):
            raise TypeError("Embedding: takes indices, not bools")
        return self.weight[indices]


class Dropout(Module):
    """In training, each number becomes 0 with probability p, and is divided by 1 - p otherwise."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be from 0 to 1, not {p!r}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"

def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each number 0 with probability p, and divided by 1 - p otherwise; x itself when not training."""
    if not p or not training:
        return x
    kept = Tensor._fill("dropout", (x.shape,), _rng.doubles, False) < 1 - p
    return x * (kept * (1 / (1 - p) if p < 1 else 0.0))

def _fused(name, defined, operands, data, back):
    """One node for defined(*operands), which has these data. back(g) gives the gradients of all operands
    on lists; where they are recorded, those of the definition are taken."""
    once = lru_cache(maxsize=1)(back)

    def rule(i):
        def to_operand(g, out, *operands):
            if not _recording():
                return Tensor._from(once(g)[i])
            nodes = (*operands, g)
            leaves = [Tensor._from(p._data) for p in nodes]     # here the pass ends; one may be there twice
            for leaf, p in zip(leaves, nodes):
                leaf.requires_grad = p.requires_grad
            d, = grad((defined(*leaves[:-1]) * leaves[-1]).sum(), leaves[i], create_graph=True)
            for leaf, p in zip(leaves, nodes):                  # then they are hung where they belong
                if p.requires_grad:
                    leaf._made, leaf._operands = ("+", [lambda g, out, x: g]), (p,)
            return d
        return to_operand
    return Tensor._make(data, name, operands, [rule(i) for i in range(len(operands))])

def layer_norm(x: Operand, normalized_shape: Union[int, Shape], weight: Optional[Tensor] = None,
               bias: Optional[Tensor] = None, eps: float = 1e-5) -> Tensor:
    """Each row of x, of length normalized_shape, with mean 0 and variance 1; times weight, plus bias."""
    return _norm("layer_norm", x, normalized_shape, eps, weight, bias)

def rms_norm(x: Operand, normalized_shape: Union[int, Shape], weight: Optional[Tensor] = None,
             eps: Optional[float] = None) -> Tensor:
    """Each row of x, of length normalized_shape, with mean square 1, times weight. eps=None: 2.2e-16."""
    eps = sys.float_info.epsilon if eps is None else eps
    return _norm("rms_norm", x, normalized_shape, eps, weight, None)

def _norm(name, x, shape, eps, weight, bias):
    x, shape = _tensor(name, x), tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)
    if len(shape) != 1 or x.shape[-1:] != shape or not x.numel():
        raise ValueError(f"{name}: rows of {shape} numbers are needed, x has shape {x.shape}")
    weight = Tensor._from([1.0] * shape[0]) if weight is None and bias is not None else weight
    factors = [_tensor(name, t) for t in (weight, bias) if t is not None]
    if any(t.shape != shape for t in factors):
        raise ValueError(f"{name}: weight and bias must have shape {shape}")
    n, w, centered = shape[0], factors and factors[0]._data, name != "rms_norm"

    def defined(x, weight=1.0, bias=0.0):
        d = x - x.mean(-1, keepdim=True) if centered else x
        return d * ((d * d).mean(-1, keepdim=True) + eps) ** -0.5 * weight + bias

    def back(g):
        gs = nest(flat(g._data), (len(rows), n))
        weighted, to_x = [[gi * wi for gi, wi in zip(row, w)] for row in gs] if w else gs, []
        for row, y, scale in zip(weighted, rows, scales):
            mean, share = sum(row) / n if centered else 0.0, sumprod(row, y) / n
            to_x.append([scale * (gi - mean - share * yi) for gi, yi in zip(row, y)])
        columns = list(map(list, zip(*gs))) if w else []
        return (nest(to_x, x.shape[:-1]), list(map(sumprod, columns, map(list, zip(*rows)))),
                list(map(sum, columns)))
    rows = nest(flat(x._data), (x.numel() // n, n))
    if centered:
        rows = [[xi - mean for xi in row] for row, mean in zip(rows, [sum(row) / n for row in rows])]
    scales = [_compute(name, lambda v: 1 / math.sqrt(v + eps), sumprod(row, row) / n) for row in rows]
    rows = [[xi * scale for xi in row] for row, scale in zip(rows, scales)]
    data = [[yi * wi for yi, wi in zip(row, w)] for row in rows] if w else rows
    for b in factors[1:]:
        data = [list(map(operator.add, row, b._data)) for row in data]
    return _fused(name, defined, (x, *factors), nest(data, x.shape[:-1]), back)


class LayerNorm(Module):
    """layer_norm over the last dimension, of size n; weight starts as ones, bias as zeros."""

    def __init__(self, n: int, eps: float = 1e-5, bias: bool = True) -> None:
        self.weight = Tensor.ones(_at_least_1("LayerNorm: n", n))
        self.bias = Tensor.zeros(n) if bias else None
        self.eps = eps

    def forward(self, x: Operand) -> Tensor:
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """rms_norm over the last dimension, of size n; weight starts as ones."""

    def __init__(self, n: int, eps: Optional[float] = None) -> None:
        self.weight, self.eps = Tensor.ones(_at_least_1("RMSNorm: n", n)), eps

    def forward(self, x: Operand) -> Tensor:
        return rms_norm(x, self.weight.shape, self.weight, self.eps)


class BatchNorm1d(Module):
    """Each of n channels with mean 0 and variance 1 over the batch, times weight, plus bias.

    (batch, n) or (batch, n, length) -> the same shape. In training, running_mean and running_var take
    `momentum` of each batch's (None: their average over all batches); after eval() they stand for them.
    """

    def __init__(self, n: int, eps: float = 1e-5, momentum: Optional[float] = 0.1) -> None:
        self.weight, self.bias = Tensor.ones(_at_least_1("BatchNorm1d: n", n)), Tensor.zeros(n)
        self.running_mean = Tensor.zeros(n, requires_grad=False)
        self.running_var = Tensor.ones(n, requires_grad=False)
        self.num_batches_tracked = Tensor(0, requires_grad=False)
        self.eps, self.momentum = eps, momentum

    def forward(self, inputs: Operand) -> Tensor:
        x, n = _tensor("BatchNorm1d", inputs), len(self.weight)
        if x.ndim not in (2, 3) or x.shape[1] != n:
            raise ValueError(f"BatchNorm1d: needs (batch, {n}) or (batch, {n}, length), not {x.shape}")
        weight, bias, mean, var = [t if x.ndim == 2 else t.unsqueeze(1) for t in (
            self.weight, self.bias, self.running_mean, self.running_var)]
        if not self.training:
            return (x - mean) / (var + self.eps).sqrt() * weight + bias
        channels = x.transpose(0, 1)
        rows = channels.reshape(n, -1)
        out = _norm("batch_norm", rows, rows.shape[1], self.eps, None, None)
        self._follow(rows.detach())
        return out.reshape(channels.shape).transpose(0, 1) * weight + bias

    def _follow(self, rows):
        """Let the running numbers take their part in those of a batch, with a row for each channel."""
        if rows.shape[1] < 2:
            raise ValueError("BatchNorm1d: one number has no variance: a larger batch, or model.eval()")
        count = self.num_batches_tracked._data + 1
        part = 1 / count if self.momentum is None else self.momentum
        mean = (1 - part) * self.running_mean + part * rows.mean(1)
        var = (1 - part) * self.running_var + part * rows.var(1)
        _all_or_nothing([(t._assign, new, t._data) for t, new in (
            (self.running_mean, mean._data), (self.running_var, var._data),
            (self.num_batches_tracked, count))])

def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor,
                                 attn_mask: Optional[Operand] = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: Optional[float] = None) -> Tensor:
    """softmax(query @ key.mT * scale + attn_mask) @ value.

    (..., n, d), (..., m, d), (..., m, e) -> (..., n, e). Each query gets the values in shares that say
    how well their keys fit. If is_causal, query t sees keys 0 to t only; a mask of bools says what it
    sees. scale is 1 / sqrt(d) unless given.
    """
    operands = query, key, value = [_tensor("attention", x) for x in (query, key, value)]
    if query.ndim < 2:
        raise ValueError(f"attention: needs queries of shape (..., n, d), not {query.shape}")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    mask = None if attn_mask is None else _tensor("attention", attn_mask)

    def defined(q, k, v):
        scores = q @ k.mT * scale
        if mask is not None:
            scores = scores + mask if mask.dtype is not bool else where(mask, scores, -math.inf)
        if is_causal:
            scores = where(Tensor.ones(scores.shape[-2:], requires_grad=False).tril(), scores, -math.inf)
        return dropout(scores.softmax(-1), dropout_p) @ v
    fits = query.shape[-1:] == key.shape[-1:] and key.shape[:-1] == value.shape[:-1]
    if mask is not None or dropout_p or not fits or query.shape[:-2] != key.shape[:-2]:
        return defined(query, key, value)       # or is an error
    heads = list(zip(*[_matrices(p._data, p.ndim) for p in operands]))
    shares = [[_softmax([x * scale for x in row[:t]]) + [0.0] * (len(row) - t)
               for t, row in enumerate(products(q, k), 1)] if is_causal else
              [_softmax([x * scale for x in row]) for row in products(q, k)] for q, k, _ in heads]

    def back(g):
        paid = []
        for (q, k, v), p, g in zip(heads, shares, _matrices(g._data, query.ndim)):
            d = [[pi * (di - mean) * scale for pi, di in zip(row, ds)] for row, ds, mean in
                 [(row, ds, sumprod(row, ds)) for row, ds in zip(p, products(g, v))]]
            paid.append([products(x, _turned(y)) for x, y in ((d, k), (_turned(d), q), (_turned(p), g))])
        return [nest(part, query.shape[:-2]) for part in zip(*paid)]
    data = [products(p, _turned(v)) for p, (_, _, v) in zip(shares, heads)]
    return _fused("attention", defined, operands, nest(data, query.shape[:-2]), back)

def _matrices(data, ndim):
    """All matrices in data, one after the other."""
    for _ in range(ndim - 3):
        data = list(chain.from_iterable(data))
    return data if ndim > 2 else [data]

def _turned(matrix):
    return list(map(list, zip(*matrix)))


class ModuleList(Module, list):
    """A list of modules as a Module; a plain list in an attribute does as well."""
    __hash__, _children = Module.__hash__, Sequential._children


class ModuleDict(Module, dict):
    """A dict of modules as a Module; they are attributes too."""

    __hash__ = Module.__hash__

    def _children(self):
        return chain(self.items(), vars(self).items())

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"ModuleDict: no {name!r}")
        return self[name]


def _activation(name, f):
    return type(name, (Module,), {"forward": staticmethod(f), "__doc__": f"{f.__name__} as a module.",
                                  "__module__": __name__})

ReLU, Tanh, GELU = map(_activation, ("ReLU", "Tanh", "GELU"), (relu, tanh, gelu))

def Parameter(data: Operand, requires_grad: bool = True) -> Tensor:
    """A Tensor of a copy of data."""
    return Tensor(data, requires_grad=requires_grad)

def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill a Tensor with normal random numbers; gives it back."""
    draw = partial(_rng.normal, mean, std)
    return _filled(tensor, Tensor._fill("normal_", (tensor.shape,), draw, False))

def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill a Tensor with uniform random numbers; gives it back."""
    return _filled(tensor, Tensor.uniform(a, b, tensor.shape, requires_grad=False))

def zeros_(tensor: Tensor) -> Tensor:
    """Fill a Tensor with 0.0; gives it back."""
    return _filled(tensor, Tensor.zeros(tensor.shape, requires_grad=False))

def ones_(tensor: Tensor) -> Tensor:
    """Fill a Tensor with 1.0; gives it back."""
    return _filled(tensor, Tensor.ones(tensor.shape, requires_grad=False))

def _filled(tensor, new):
    tensor._assign(new._data)
    return tensor


# ---- Source code -----------------------------------------------------------------------------------
# Rules are written with operators, so the gradient of a graph is a graph of the same operations. trace
# writes both down as text, and the engine is gone: what remains is the straight-line arithmetic that a
# person would have derived by hand, in Python or in C. On the way from the graph to the text, a _Program
# makes it a list of steps in which nothing stands twice, and a _Writer gives names and writes lines.

_tracing: Dict[int, Set[Value]] = {}        # the inputs of each trace that is running

def trace(f: Callable[..., Any], *example: Any, gradient: bool = True,
          max_operations: int = 100_000) -> Traced:
    """f, a function of Values, and its gradient, as plain source code that needs no engine.

    f runs once, with Values in the place of the numbers of `example`: numbers or nested lists of them.
    (A Value there is taken as it is, so `model.parameters()` can be an argument.) It gives one Value or,
    with `gradient=False`, nested lists of Values. All else that f reads becomes a constant: other Values
    (weights, say), and what it reads from `.data`.

    TypeError for numbers that are no floats, for Tensors, for a comparison of Values that depend on the
    inputs (its outcome would be frozen), and for functions made by elementwise that take plain numbers
    only. ValueError when the result depends on no input, or takes more than `max_operations`.

    >>> cone = trace(lambda r, h: r ** 2 * h / 3, 1.0, 1.0)
    >>> cone(3.0, 2.0)
    (6.0, (4.0, 3.0))
    >>> print(cone.python.partition("def ")[2])
    f(r, h):
        t1 = r ** 2
        return t1 * h / 3, (0.3333333333333333 * h * (2 * r), 0.3333333333333333 * t1)
    <BLANKLINE>
    """
    arguments = _map_nest(partial(_traceable, "the example"), list(example))
    inputs = _each(arguments)
    if len(set(inputs)) < len(inputs) or not inputs:
        raise ValueError(f"trace: the example needs numbers, and each Value once, not {example!r:.200}")
    _tracing[id(inputs)] = set(inputs)
    try:
        program = copy_context().run(_record, f, arguments, gradient)
    finally:
        del _tracing[id(inputs)]
    if program.operations > max_operations:
        raise ValueError(f"trace: {program.operations} operations, more than max_operations="
                         f"{max_operations}: they take long to compile; trace a part, or raise it")
    return Traced(program)


class Traced:
    """What trace gives: called with numbers, nested as the example was, it runs the text.

    It gives (value, gradients), with one gradient per argument, or with `gradient=False` the values
    alone. Errors are Python's own, "math domain error" for one (for the sine of inf, too, which the
    engine lets pass). `python` is a module that imports math alone, `c` the same in C99: `double f(const
    double *x, double *gradient)` or `void f(const double *x, double *out)`, where x holds all arguments.
    """

    def __init__(self, program: _Program) -> None:
        self._program = program
        self.python: str = _Writer(program, in_c=False).python()
        names: Dict[str, Any] = {}
        exec(compile(self.python, f"<trace of {program.name}>", "exec"), names)
        # A class of its own, so that to call this object is to call the function, with nothing between.
        self.__class__ = type("Traced", (Traced,), {"__call__": staticmethod([*names.values()][-1])})

    def __call__(self, *numbers: Any) -> Any:
        raise NotImplementedError

    @property
    def c(self) -> str:
        """The text in C. ValueError for a function that C99 does not have."""
        return _Writer(self._program, in_c=True).c()

    def save(self, path: Path) -> None:
        """Write the text into a file: Python when its name ends in .py, C when in .c."""
        _write_text("save", path, self, {".py": "python", ".c": "c"})

    def __repr__(self) -> str:
        return f"<Traced {self._program.name}: {self._program.operations} operations>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return Traced, (self._program,)

def _refuse_frozen(name, *values):
    """TypeError for what depends on the inputs of a trace, and decides something outside of its text."""
    if _inputs_traced().intersection(_in_order([x for x in values if isinstance(x, Value)])):
        raise TypeError(f"trace: {name} depends on the inputs, but would be frozen as it is for the "
                        "example: decide with maximum, minimum, clip, relu, abs or sign; differentiate "
                        "with create_graph=True")

def _record(f, arguments, gradient):
    """What f of these Values is, and its gradient."""
    _depth.set(0)                       # a no_grad around the trace is no matter
    given = _map_nest(lambda x: x, arguments)           # lists of its own, which it may change
    results = _map_nest(partial(_traceable, "what the function gives"), f(*given))
    if not gradient:
        return _Program(f, arguments, results, {})
    if not isinstance(results, Value):
        raise TypeError("trace: only one Value has a gradient; gradient=False is for a list of results")
    nodes = [*_in_order([results])]
    if not _inputs_traced().intersection(nodes):
        raise ValueError("trace: the result depends on no input (was it made of .data?)")
    slopes = zip(nodes, grad(results, nodes, create_graph=True, allow_unused=True))
    slopes = {node: slope for node, slope in slopes if slope is not None}
    gradients = _map_nest(lambda x: slopes.get(x, Value(0.0)), tuple(arguments))
    return _Program(f, arguments, (results, gradients), slopes)

def _inputs_traced():
    return set().union(*_tracing.values())

def _map_nest(f, data):
    """f of each thing in nested lists and tuples, which need not be of one shape."""
    if hasattr(data, "tolist") and not isinstance(data, Node):
        data = data.tolist()
    if not isinstance(data, (list, tuple)):
        return f(data)
    return (tuple if isinstance(data, tuple) else list)([_map_nest(f, item) for item in data])

def _each(data):
    """Each thing in nested lists and tuples, as one list."""
    return [x for item in data for x in _each(item)] if isinstance(data, (list, tuple)) else [data]

def _traceable(what, x):
    """x as a Value."""
    number = x._data if isinstance(x, Value) else _number(x)
    if not isinstance(number, (int, float)):
        hint = "; build it of Values" if isinstance(x, Tensor) else ""
        raise TypeError(f"trace: {what} must be Values or floats, not {x!r:.200}{hint}")
    return x if isinstance(x, Value) else Value(number)

def _in_order(nodes):
    """{node: its operands} for all below these, operands first. The inputs of a trace have none."""
    inputs = _inputs_traced()

    def operands_of(node):
        return () if node in inputs else node._prev if _text_of(node._op) else _forward_traced(node)
    return _graph(nodes, operands_of)

def _forward_traced(node):
    """The operand of a function without a text: what its forward makes of Values."""
    forward = _OPERATIONS[node._op].forward.__wrapped__
    try:
        return (_traceable(f"what {node._op} gives", forward(*node._prev)),)
    except TypeError as error:
        raise TypeError(f"trace: the function given to elementwise for {node._op} must be one of math, "
                        f"or take Values, as x / (1 + abs(x)) and x.exp() do: {error}") from error

def _text_of(name):
    """The text of an operation, an expression of its operands x, y, z, w; "" where there is none."""
    if not name.isidentifier() or name == "dot":
        return f"{name}(x, y)" if "." in name else f"x {name} y"
    operation = _OPERATIONS[name]
    function = getattr(operation.forward, "__module__", "") == "math" and operation.forward.__name__
    return f"math.{function}(x)" if function else operation.text

# How strongly an operation binds, and its operands must: from 0 for a condition to 7 for a name.
_BINDS = {"+": (3, 3, 4), "-": (3, 3, 4), "*": (4, 4, 5), "/": (4, 4, 5), "**": (6, 7, 5), "neg": (4, 4)}
_NEUTRAL = (("*", 1), ("+", 0), ("-", 0), ("/", 1), ("**", 1),
            ("maximum", -math.inf), ("minimum", math.inf))

# How to write an operation: a format, the strengths, how often each operand is written (2 in a
# condition, where it shall be a name), and the body of a function to define, if any.
_Form = namedtuple("_Form", "pattern binds least times body")

@lru_cache(maxsize=None)
def _form(name, text):
    import re
    call, body = re.fullmatch(r"[\w.]+\([xy, ]+\)", text), ""
    if "(" in text and not call:
        text, body = f"_{name.rstrip('_')}(x)", text
    pattern = re.sub(r"\b[xyzw]\b", lambda match: "{%d}" % "xyzw".index(match[0]), text)
    times = [2 if " if " in pattern else pattern.count("{%d}" % i) for i in range(4)]
    binds, *least = _BINDS.get(name, (7 if call or body else 0, 0, 0, 0, 0))
    return _Form(pattern, binds, least, times, body)


class _Program:
    """Operations as a list of steps (name, operands): operands are places in the list, or one constant.

    Equal steps stand once. What changes no bit (but the sign of a zero) is simplified on the way in.
    """

    def __init__(self, f, arguments, results, slopes):
        name, code = getattr(f, "__name__", "f"), getattr(f, "__code__", None)
        names = code.co_varnames[hasattr(f, "__self__"):code.co_argcount] if code else ()
        names += tuple([f"x{i}" for i in range(len(names), len(arguments))])
        self.name = name if name.isidentifier() else "f"
        self.steps, self.labels, self.known = [], {}, {}
        inputs = _inputs_traced()
        at = {x: self.once("an input", i) for i, x in enumerate(_each(arguments))}
        for node, operands in _in_order(_each(results)).items():
            if node not in at:
                if node in inputs:
                    _refuse_frozen("what a trace inside a trace reads", node)
                at[node] = self.take(node, [at[x] for x in operands])
            if node.label:
                self.labels.setdefault(at[node], node.label)
        self.slopes = {at[slope]: at[x] for x, slope in slopes.items() if slope in at}
        self.gradient, self.results = bool(slopes), _map_nest(at.get, results)
        self.arguments = [*zip(names, _map_nest(at.get, arguments))]
        self.count()

    def take(self, node, operands):
        """The place of a node whose operands have places."""
        if all(self.steps[x][0] == "a number" for x in operands):
            return self.once("a number", node._data)
        if node._op == "dot":
            n, total = len(operands) // 2, self.once("a number", 0)
            for w, x in zip(operands[:n], operands[n:]):
                total = self.add("+", total, self.add("*", w, x))
            return self.add("+", total, operands[-1])
        if node._op == "clip":
            return self.add("minimum", self.add("maximum", *operands[:2]), operands[2])
        return self.add(node._op, *operands) if _text_of(node._op) else operands[0]

    def once(self, name, *operands):
        """The place of a step, a new one unless an equal one has been there."""
        key = name, repr(sorted(operands) if name in "+*" else operands)    # repr tells 1 from 1.0
        if key not in self.known:
            self.known[key] = len(self.steps)
            self.steps.append((name, operands))
        return self.known[key]

    def add(self, name, *operands):
        """The place of an operation, simplified."""
        (x, a), (y, b) = [(place, self.number(place)) for place in (*operands, operands[0])[:2]]
        if name == "neg" and self.steps[x][0] == "neg":
            return self.steps[x][1][0]
        if (name, b) in _NEUTRAL:
            return x
        if (name, a) in _NEUTRAL[:2]:
            return y
        if name == "gate_" and b is not None:
            return self.once("a number", 0.0) if b <= 0 else x
        if name == "*" and -1 in (a, b):
            return self.add("neg", y if a == -1 else x)
        if name == "**" and not (b is not None and b % 1 == 0 or a is not None and a > 0):
            name = "math.pow"           # x ** 0.5 would be complex for a negative x
        return self.once(name, *operands)

    def number(self, place):
        """The constant at a place, or None."""
        name, operands = self.steps[place]
        return operands[0] if name == "a number" and isinstance(operands[0], (int, float)) else None

    def count(self):
        """How often each step is written: {place: times}, nothing for what is not needed."""
        self.operations, self.forms, uses = 0, {}, Counter(_each(self.results))
        for place in reversed(range(len(self.steps))):
            name, operands = self.steps[place]
            if place in uses and name not in ("a number", "an input"):
                self.operations += 1
                self.forms[name] = _form(name, _text_of(name))
                for x, times in zip(operands, self.forms[name].times):
                    uses[x] += times
        self.uses = dict(sorted(uses.items()))

_C_FUNCTIONS = ("acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 "
                "expm1 fabs floor fmod hypot lgamma log log10 log1p log2 pow rint sin sinh sqrt tan "
                "tanh tgamma trunc").split()
_C_WORDS = ("auto break case char const continue default do double else enum extern float for goto if "
            "inline int long register restrict return short signed sizeof static struct switch typedef "
            "union unsigned void volatile while main x gradient out fdim fma fmax fmin frexp ilogb "
            "ldexp logb modf nan nearbyint nextafter remainder round").split()
_IN_C = {"abs": "fabs", "round": "rint", "gamma": "tgamma", "inf": "INFINITY", "nan": "NAN", "or": "||"}

def _in_c(text):
    """The C of an expression in Python."""
    import re

    def word(match):
        name = _IN_C.get(match[1], match[1])
        if match[2] and name[0] != "_" and name not in _C_FUNCTIONS:
            raise ValueError(f"trace: C99 has no function {name}")
        return name + match[2]

    value, condition, rest = text.partition(" if ")
    if condition:
        test, _, other = rest.partition(" else ")
        return f"{_in_c(test)} ? {_in_c(value)} : {_in_c(other)}"
    return re.sub(r"(?:math\.)?\b([a-z_]\w*)(\(?)", word, text)

def _literal(x, in_c):
    """A number that reads back exactly."""
    if not isinstance(x, (int, float)):
        raise TypeError(f"trace: the text calculates with floats; the constant {x!r:.200} is none")
    if in_c and x - x == 0 and (abs(x) >= 1e9 or 16 * x % 1):
        return float(x).hex()
    text = repr(float(x) if in_c else x).replace("inf", "math.inf").replace("nan", "math.nan")
    return _in_c(text) if in_c else text


class _Writer:
    """The text of a program. An expression is a pair: its text, and how strongly it binds."""

    def __init__(self, program, in_c):
        from keyword import kwlist
        reserved = [*kwlist, "math", "abs", *(_C_FUNCTIONS + _C_WORDS if in_c else ["round"])]
        self.taken, self.texts, self.lines = {"": 0, **dict.fromkeys(reserved, 1)}, {}, []
        self.program, self.in_c = program, in_c
        self.name = self.new_name(program.name, "f")
        self.title = f"{self.name}{' and its gradient' * program.gradient}, by micrograd.py."
        self.parameters = [self.parameter(*pair) for pair in program.arguments]
        self.lines = self.lines or ["(void)x;"] * in_c
        self.write()

    def new_name(self, *wanted):
        """A name that is not taken, close to the first of these that can be one."""
        words = ["".join([c if c.isalnum() and c < "~" else "_" for c in x]).strip("_") for x in wanted]
        base = name = next(filter(str.isidentifier, words), "")
        while not name or name in self.taken:
            self.taken[base] += 1
            name = f"{base}_{self.taken[base]}" if base else f"t{self.taken[base]}"
        self.taken[name] = 1
        return name

    def parameter(self, argument, nest):
        """Name the numbers of an argument, and unpack them; gives the parameter of Python."""
        nested = isinstance(nest, (list, tuple))
        for i, place in enumerate(_each(nest)):
            name = self.program.labels.get(place, f"{argument}{i}" if nested else argument)
            name = self.new_name("x0" if self.in_c and name == "x" else name)
            self.texts[place] = name, 7
            if self.in_c and place in self.program.uses:
                self.lines.append(f"const double {name} = x[{self.program.steps[place][1][0]}];")
        if not nested or self.in_c:
            return self.nest(nest)
        name = self.new_name(argument)
        self.lines.append(f"{self.nest(nest)} = {name}")
        return name

    def write(self):
        """Write the steps as lines. What is short and used once goes into its use instead."""
        for place, times in self.program.uses.items():
            name, operands = self.program.steps[place]
            if name == "a number":
                text = _literal(*operands, self.in_c)
                self.texts[place] = text, 5 if text[0] == "-" else 7
            elif name != "an input":
                text, binds = self.expression(name, operands)
                negative = name == "neg" and text[1:].isidentifier()        # short enough to repeat
                self.texts[place] = text, 5 if negative else binds
                if not negative and (times > 1 or len(text) > _FOLD) or place in self.program.labels:
                    self.assign(place)

    def expression(self, name, operands):
        form = self.program.forms[name]
        if self.in_c and name == "**":
            form = _form("math.pow", "math.pow(x, y)")
        pairs = zip([self.texts[x] for x in operands], form.least)
        texts = [text if binds >= least else f"({text})" for (text, binds), least in pairs]
        text = (_in_c(form.pattern) if self.in_c else form.pattern).format(*texts)
        return text.replace("--", "").replace(" + -", " - ").replace(" - -", " + "), form.binds

    def assign(self, place):
        """Give the expression at a place a name, by a line."""
        of, binds = self.texts.get(self.program.slopes.get(place), ("", 0))
        of = f"d_{of}" if binds == 7 and of.isidentifier() else ""
        name = self.new_name(self.program.labels.get(place, ""), of)
        line = f"{name} = {self.texts[place][0]}"
        self.lines.append(f"const double {line};" if self.in_c else line)
        self.texts[place] = name, 7

    def nest(self, nest):
        """The texts of places, nested as they are."""
        if not isinstance(nest, (list, tuple)):
            return self.texts[nest][0]
        text = ", ".join([self.nest(x) for x in nest])
        return f"[{text}]" if isinstance(nest, list) else f"({text}{',' * (len(nest) == 1)})"

    def python(self):
        """A module."""
        import re
        program, result = self.program, self.nest(self.program.results)
        if program.gradient and len(result) < 90:
            result = result[1:-1]
        lines = [f"def {self.name}({', '.join(self.parameters)}):", *self.lines, f"return {result}\n"]
        lines = [re.sub(r"(.{60,90},) ", r"\1\n        ", line) if len(line) > 96 else line
                 for line in lines]
        parts = [f"def {form.pattern[:-5]}(x):\n    return {form.body}\n" for form in self.defined()]
        parts.append("\n    ".join(lines))
        imports = "import math\n" * ("math." in "".join(parts))
        return "\n\n".join([f'"""{self.title}"""\n{imports}', *parts])

    def c(self):
        """A file."""
        kind, out, ends = "void", "out", [self.texts[x][0] for x in _each(self.program.results)]
        if self.program.gradient:
            kind, out, (value, *ends) = "double", "gradient", ends
        lines = [f"{kind} {self.name}(const double *x, double *{out})\n{{", *self.lines]
        lines += [f"{out}[{i}] = {text};" for i, text in enumerate(ends)]
        lines += [f"return {value};"] if self.program.gradient else []
        parts = [f"static double {form.pattern[:-5]}(double x)\n{{\n    return {_in_c(form.body)};\n}}\n"
                 for form in self.defined()]
        parts.append("\n    ".join(lines) + "\n}\n")
        return "\n".join([f"/* {self.title} */\n#include <math.h>\n", *parts])

    def defined(self):
        """The forms of functions that the text must define."""
        return [form for form in self.program.forms.values() if form.body]

_FOLD = 36                      # a line with two operands of this length has at most 100 columns


# ---- Saving ----------------------------------------------------------------------------------------
# A safetensors file is the length of a header (8 bytes, little-endian), the header (JSON: dtype, shape
# and place of each tensor by name), then the numbers of all tensors, row by row, end to end. Nothing in
# it is ever executed, but a length or a shape can lie: `load` checks every rule before it takes memory,
# and `save` keeps to the same rules.

_CODES = {"F64": "d", "F32": "f", "F16": "e", "BF16": "H", "I64": "q", "I32": "i", "I16": "h", "I8": "b",
          "U64": "Q", "U32": "I", "U16": "H", "U8": "B", "BOOL": "?"}   # the letters of struct
_MAX_HEADER = 100_000_000                       # bytes

def save(path: Path, state: Union[Module, Optimizer, Mapping[str, Operand]],
         metadata: Optional[Mapping[str, str]] = None, dtype: str = "F64") -> None:
    """Write `state` to `path` as a safetensors file, its numbers as `dtype`: "F64" (exact) or "F32".

    `state`: a Module, an optimizer, or a dict of name to Tensor, Value, number or nested lists. Ints are
    written as "I64" and bools as "BOOL", if they are no parameter. TypeError or ValueError names what
    cannot be saved, or not exactly (F32 rounds floats). After a crash the old file or the new is there.
    """
    _require(isinstance(path, (str, bytes, os.PathLike)),
             f"save: the path comes first, save(path, state), not {type(path).__name__}", TypeError)
    if isinstance(state, Module):
        state = _Search(state).nodes        # in a state_dict it is forgotten what is a parameter
    entries = state.state_dict() if hasattr(state, "state_dict") else state
    _require(isinstance(entries, dict), f"save: a Module or dict, not {type(state).__name__}", TypeError)
    _require(_maps_strings(metadata or {}), "save: metadata is a dict of string to string", TypeError)
    _require(dtype in ("F64", "F32"), f'save: dtype must be "F64" or "F32", not {dtype!r}')
    header: Dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data, size = [], 0
    for name, value in entries.items():
        header[name], raw = _encode(name, value, dtype)
        header[name]["data_offsets"] = size, size + len(raw)
        data.append(raw)
        size += len(raw)
    import json                                 # here: it takes a third of the time of import micrograd
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)             # so that the numbers are aligned
    _read_header(text, size)
    _replace(path, [struct.pack("<Q", len(text)), text, *data])

def load(path: Path) -> Dict[str, Nested]:
    """The content of a safetensors file: name to nested lists (a number when 0-d), in the file's order.

    Reads F64 F32 F16 BF16, all int dtypes and BOOL. ValueError names the file and the rule it breaks.
    """
    with open(path, "rb") as file:
        try:
            room = os.fstat(file.fileno()).st_size - 8
            length = int.from_bytes(file.read(8), "little")
            _require(length <= min(room, _MAX_HEADER), f"{length} bytes of header in {room + 8} of file")
            entries = _read_header(file.read(length), room - length)
            return {name: _decode(file.read(end - begin), dtype, shape)
                    for begin, end, name, dtype, shape in entries}
        except (ValueError, RecursionError, struct.error) as error:    # struct: it is shorter by now
            raise ValueError(f"load: {os.fspath(path)!r} is not safetensors: {error!s:.300}") from None

def _encode(name, value, dtype):
    """The dtype and shape of an entry, as they stand in the header, and its bytes."""
    what, learns = f"save: entry {name!r}", isinstance(value, Node) and value.requires_grad
    _require(isinstance(name, str), f"{what}: a name must be a string", TypeError)
    _require(name != "__metadata__", f"{what}: the name is reserved; use the argument metadata")
    data = nested(value._data if isinstance(value, Node) else value, what)
    numbers = flat(data)
    kinds = set(map(type, numbers))
    if kinds and kinds <= {int, bool} and not learns:
        dtype = "I64" if int in kinds else "BOOL"
        _require(all(-2 ** 63 <= x < 2 ** 63 for x in numbers),
                 f"{what}: an int is beyond 64 bits; put it into metadata, as text")
    form = f"<{len(numbers)}{_CODES[dtype]}"
    try:
        name.encode()                           # ValueError for half a surrogate pair
        raw = struct.pack(form, *(map(float, numbers) if dtype[0] == "F" else numbers))
        for x, kept in zip(numbers, struct.unpack(form, raw)) if kinds - {float} else ():
            if x != kept and not isinstance(x, float):
                raise ValueError(f"{dtype} cannot hold {x!r:.80} exactly; float(...) rounds it")
    except (TypeError, ValueError, OverflowError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{what}: {error}") from None
    return {"dtype": dtype, "shape": shape_of(data)}, raw

def _decode(raw, dtype, shape):
    """Nested lists from the bytes of an entry."""
    if dtype == "BF16":                         # the upper half of an F32
        wide = bytearray(2 * len(raw))
        wide[2::4], wide[3::4] = raw[::2], raw[1::2]
        raw, dtype = bytes(wide), "F32"
    return nest(struct.unpack(f"<{math.prod(shape)}{_CODES[dtype]}", raw), tuple(shape))

def _read_header(raw, size):
    """(begin, end, name, dtype, shape) of each entry, in the order of the `size` bytes of data."""
    import json
    _require(raw[:1] == b"{" and len(raw) <= _MAX_HEADER, "the header begins without { or is too long")
    header = json.loads(raw.decode(), object_pairs_hook=_unique, parse_int=_size)
    _require(_maps_strings(header.pop("__metadata__", {})), "__metadata__ must map strings to strings")
    entries = sorted((_read_entry(*item) for item in header.items()), key=lambda entry: entry[:2])
    last = 0
    for begin, end, name, _, _ in entries:
        _require(begin == last, f"the data of {name!r} begin at byte {begin}, not at {last}")
        last = end
    _require(last == size, f"the data end at byte {last} of {size}")
    # A list takes memory even where it holds no bytes, as the many of shape [2**40, 0] would.
    lists = sum(math.prod(shape[:dim]) for *_, shape in entries for dim in range(len(shape)))
    _require(lists <= len(raw) + size + 100_000, f"{lists} lists in so small a file")
    return entries

def _read_entry(name, info):
    _require(isinstance(info, dict) and set(info) == {"dtype", "shape", "data_offsets"},
             f"{name!r} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    _require(isinstance(dtype, str) and dtype in _CODES, f"{name!r} has the unknown dtype {dtype!r}")
    _require(_are_sizes(shape) and len(shape) <= 64, f"{name!r} has the shape {shape!r}")
    _require(_are_sizes(offsets) and len(offsets) == 2, f"{name!r} has the offsets {offsets!r}")
    needed = math.prod(shape) * struct.calcsize("<" + _CODES[dtype])
    _require(offsets[1] - offsets[0] == needed, f"{name!r} has offsets {offsets} for {needed} bytes")
    return (*offsets, name, dtype, shape)

def _unique(pairs):
    """A JSON object as a dict; ValueError for a name that is there twice or is half a surrogate pair."""
    names = dict(pairs)
    _require(len(names) == len(pairs), "a name is there twice")
    "".join(names).encode()
    return names

def _size(digits):
    """An int of a header: each is a size or a place."""
    _require(digits.isdecimal() and len(digits) < 20, f"the header has the number {digits}")
    return int(digits)

def _are_sizes(x):
    return isinstance(x, list) and all(type(n) is int for n in x)       # True is an int, but no size

def _maps_strings(x):
    return isinstance(x, dict) and all(isinstance(text, str) for pair in x.items() for text in pair)

def _require(condition, message, kind=ValueError):
    if not condition:
        raise kind(message)

def _write_text(name, path, x, attributes):
    """Write the text in the attribute of x that belongs to the ending of path."""
    ending = os.path.splitext(path)[1]
    _require(ending in attributes, f"{name}: {str(path)!r} must end in {' or '.join(attributes)}")
    _replace(path, [getattr(x, attributes[ending]).encode()])

def _replace(path, chunks):
    """Put these bytes in the place of `path`; the old ones stay until the new ones are on the disk."""
    path = os.path.realpath(os.fsdecode(path))  # a symbolic link stays one
    _require(os.path.isfile(path) or not os.path.exists(path), f"save: {path!r} is not a file", OSError)
    temporary = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            with suppress(OSError):             # the first of its name, or a disk without permissions
                os.chmod(temporary, os.stat(path).st_mode)
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):       # in its place by now
            os.remove(temporary)


# ---- Drawing ---------------------------------------------------------------------------------------
# A node stands one column before the first that uses it, and its line goes on up to the last. A point is
# (n, 0), the node itself, or (n, k), its line k columns further on. Sweeping to and fro, each column is
# sorted by the mean position of its neighbours, so that few lines cross, and moved there as far as there
# is room. x is along the lines and y across; from top to bottom (`turn` is -1) the two are exchanged.

_CHARACTER, _LINE, _PADDING = 7.25, 16, 7       # pixels
_DOT_ESCAPES = str.maketrans({**{c: "\\" + c for c in '\\"{}|<>'}, "&": "&amp;", "\n": "\\n"})
_XML_ESCAPES = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_COLORS = {"box": 'fill="#ffffff" stroke="#57606a"', "op": 'fill="#ddf4ff" stroke="#0969da" rx="12"'}
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" class="micrograd" width="{2:.0f}" height="{3:.0f}" \
viewBox="{0:.0f} {1:.0f} {2:.0f} {3:.0f}" font-family="monospace" font-size="12" text-anchor="middle" \
xml:space="preserve"><style>@media (prefers-color-scheme: dark) {{
.micrograd .box {{ fill: #161b22; stroke: #8b949e }} .micrograd .op {{ fill: #12325c; stroke: #58a6ff }}
.micrograd text {{ fill: #e6edf3 }} }}</style>
{4}
</svg>
"""


class Drawing:
    """A picture of a graph, which notebooks show: `.svg`, laid out here, and `.source`, for Graphviz."""

    def __init__(self, source: str, svg: str) -> None:
        self.source, self.svg = source, svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return (f"Drawing of {self.svg.count('<g ')} nodes: a notebook shows it if it is trusted, "
                ".save('graph.svg') and .save('graph.dot') write it")

    def save(self, path: Path) -> None:
        """Write `.svg` or `.source`, as `path` ends in .svg or .dot; ValueError for another ending."""
        _write_text("Drawing.save", path, self, {".svg": "svg", ".dot": "source"})

def draw_dot(root: Union[Node, Sequence[Node]], rankdir: str = "LR", max_nodes: int = 500) -> Drawing:
    """The Drawing of all that `root`, a Value, a Tensor or a list of them, was computed from.

    `rankdir` is "LR" (left to right) or "TB" (top to bottom). ValueError above `max_nodes` nodes.
    """
    roots = _nodes("draw_dot", "root", root if isinstance(root, (list, tuple)) and root else [root])
    _require(rankdir in ("LR", "TB"), f"draw_dot: rankdir is 'LR' or 'TB', not {rankdir!r:.80}")
    graph = _graph(roots)
    _require(len(graph) <= max_nodes, f"draw_dot: the graph has {len(graph)} nodes, more than "
             f"max_nodes={max_nodes}: draw a smaller part, or pass max_nodes={len(graph)}")
    place = {node: i for i, node in enumerate(graph)}
    operands = [[place[p] for p in prev] for prev in graph.values()]
    numbers = {p for node, prev in graph.items() for p, again in zip(prev, node._prev) if p is not again}
    texts = [_texts(node, node in numbers) for node in graph]
    ops = [_one_line(node._op) for node in graph]
    return Drawing(_dot_text(texts, ops, operands, rankdir), _svg_text(texts, ops, operands, rankdir))

def _texts(node, is_number):
    """What stands in the box of a node: label, shape, data, gradient; no numbers of a large Tensor."""
    texts = [_one_line(node.label)] if node.label else []
    if isinstance(node, Tensor) and not is_number:
        texts.append(f"shape {node.shape}")
    if isinstance(node, Value) or node.numel() <= 8:
        gradient = node._gradient()
        texts.append("data " + _rows(node._data))
        if node.requires_grad and not is_number:
            texts.append("grad " + _rows(node._NO_GRAD if gradient is None else gradient))
    return texts

def _one_line(text):
    """At most 40 characters of text, without line breaks and what XML forbids."""
    text = str(text) if len(str(text)) <= 40 else str(text)[:39] + "…"
    return "".join(c if c.isprintable() else " " for c in text)

def _rows(data):
    """A number, or a line for each innermost list, aligned behind a caption of five characters."""
    numbers, length = [_decimals(x) for x in flat(data)], (shape_of(data) or (1,))[-1] or 1
    width = max(map(len, numbers), default=0)
    numbers = [text.rjust(width, "\xa0") for text in numbers]       # Graphviz squeezes plain spaces
    lines = ["\xa0".join(numbers[i:i + length]) for i in range(0, len(numbers), length)]
    return ("\n" + "\xa0" * 5).join(lines)

def _decimals(x):
    """x to four decimals, a short Fraction as it is, and in any case short."""
    try:
        if hasattr(x, "limit_denominator"):
            if max(abs(x.numerator), x.denominator) < 10**9:
                return str(x)
            x = float(x)
        text = format(x, ".4f")
        return text if len(text) <= 20 else format(x, ".4g")
    except (OverflowError, TypeError, ValueError):                  # an int beyond float, None
        return "None" if x is None else "…"

def _dot_text(texts, ops, operands, rankdir):
    """A record for each node and, in front of it, an ellipse for its operation."""
    lines = ["digraph {", f'rankdir={rankdir}; node [fontname="monospace"]']
    for n, op in enumerate(ops):
        fields = " | ".join(text.translate(_DOT_ESCAPES) for text in texts[n])
        lines.append(f'n{n} [shape=record, label="{{ {fields} }}"]')
        if op:
            lines += [f'op{n} [label="{op.translate(_DOT_ESCAPES)}"]', f"op{n} -> n{n}"]
        lines += [f"n{p} -> {'op' if op else 'n'}{n}" for p in operands[n]]
    return "\n".join(lines + ["}\n"])

def _svg_text(texts, ops, operands, rankdir):
    """The same as a picture."""
    turn, (left, columns), parts = 1 if rankdir == "LR" else -1, _points(operands), []
    drawn = {p: ("", 0.0, 0.0) for p in left}
    drawn.update({(n, 0): _node(op, texts[n], turn) for n, op in enumerate(ops)})
    y = _sweep(left, columns, {p: width + 14 for p, (_, _, width) in drawn.items()})
    before = end = 0.0
    for points in columns:                          # far from the one before where lines are steep
        x = end + max([min(30 + abs(y[p] - y[q]) / 8, 120) for p in points for q in left[p]], default=0)
        before, end = end, x + max(drawn[p][1] for p in points)
        for p in points:
            svg, length, _ = drawn[p]
            for i, q in enumerate(left[p]):
                apart = 18 * ((left[p][:i].count(q) + 0.5) / left[p].count(q) - 0.5)    # both of a + a
                y0, y1 = y[q] + apart * (not q[1]), y[p] + apart * (not p[1])
                parts.append(_link(before, y0, x, y1, end - length, not p[1], turn))
            place = "%.1f,%.1f" % (end - length, y[p])[::turn]
            parts.append(f'<g class="node" transform="translate({place})">{svg}</g>' * (not p[1]))
    edges = [y[p] + side * drawn[p][2] / 2 for p in left for side in (-1, 1)]
    corner, extent = (0, min(edges))[::turn], (end, max(edges) - min(edges))[::turn]
    return _SVG.format(*[at - _PADDING for at in corner], *[size + 2 * _PADDING for size in extent],
                       "\n".join(filter(None, parts)))

def _points(operands):
    """{point: its neighbours in the column before}, and the points of each column."""
    column = [0] * len(operands)                    # steps on the longest path to the end
    for n in reversed(range(len(operands))):
        for p in operands[n]:
            column[p] = max(column[p], column[n] + 1)
    left, columns = {}, [[] for _ in range(max(column) + 1)]
    for n, places in enumerate(operands):
        left[n, 0] = [(p, column[p] - column[n] - 1) for p in places]
        for p, k in left[n, 0]:
            left.update({(p, i): [(p, i - 1)] for i in range(1, k + 1)})
    for n, k in left:
        columns[k - column[n] - 1].append((n, k))
    return left, columns

def _sweep(left, columns, room):
    """{point: its y}. Leaves weigh next to nothing, so that what is computed runs straight."""
    right = {p: [] for p in left}
    for p, neighbours in left.items():
        for q in neighbours:
            right[q].append(p)
    y, weight = dict.fromkeys(left, 0.0), {p: 1.0 if left[p] else 0.001 for p in left}
    for sweep in range(12):
        near, far, step = (left, right, 1) if sweep % 2 else (right, left, -1)
        for points in columns[::step]:
            wish = {}
            for p in points:
                others = near[p] or far[p] or [p]
                wish[p] = sum(weight[q] * y[q] for q in others) / sum(weight[q] for q in others)
            if sweep < 5:
                points.sort(key=wish.__getitem__)
            y.update(_settled(points, wish, weight, room))
    return y

def _settled(points, wish, weight, room):
    """{point: the y nearest to its wish, by least squares}, in their order and with room for each."""
    blocks, end = [], 0.0                           # of points that touch: start, weight, members
    for p in points:
        start, heavy, members = wish[p] - end - room[p] / 2, weight[p], [(p, end + room[p] / 2)]
        end += room[p]
        while blocks and blocks[-1][0] >= start:
            start0, heavy0, members0 = blocks.pop()
            start = (start0 * heavy0 + start * heavy) / (heavy0 + heavy)
            heavy, members = heavy0 + heavy, members0 + members
        blocks.append((start, heavy, members))
    return {p: start + offset for start, _, members in blocks for p, offset in members}

def _node(op, texts, turn):
    """A node from x = 0 along y = 0: its operation, an arrow, its box; with its length and width."""
    svg, x, width = "", 0.0, 0.0
    for kind, row in [("op", [op])] * bool(op) + [("box", texts)]:
        if svg:
            svg, x = svg + _link(x, 0, x, 0, x + 20, True, turn), x + 20
        sizes = [_text_size(text)[::turn] for text in row]
        across = max(size for _, size in sizes)
        for text, (length, _) in zip(row, sizes):
            svg += _rectangle(kind, text, (x + length / 2, 0.0)[::turn], (length, across)[::turn])
            x += length
        width = max(width, across)
    return svg, x, width

def _text_size(text):
    """Width and height of a text with some space around it; Chinese and emoji are twice as wide."""
    lines = text.split("\n")
    return (max(sum(1 + (c > "\u2e7f") for c in line) for line in lines) * _CHARACTER + 2 * _PADDING,
            len(lines) * _LINE + _PADDING)

def _rectangle(kind, text, middle, size):
    """A text in the middle of a rectangle."""
    (x, y), (width, height), lines = middle, size, text.translate(_XML_ESCAPES).split("\n")
    svg = (f'<rect class="{kind}" {_COLORS[kind]} x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
           f'width="{width:.1f}" height="{height:.1f}"/>')
    for i, line in enumerate(lines):
        svg += f'<text x="{x:.1f}" y="{y + 4 + (i - (len(lines) - 1) / 2) * _LINE:.1f}">{line}</text>'
    return svg

def _link(x0, y0, x1, y1, x2, arrow, turn):
    """A curve from x0, y0 to x1, y1, then a line to x2 and, if wanted, the head of an arrow."""
    middle, path = (x0 + x1) / 2, "M{} C{} {} {} L{}" + " M{} L{} L{}" * arrow
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1), (x2, y1)]
    points += [(x2 - 6, y1 - 4), (x2, y1), (x2 - 6, y1 + 4)]
    path = path.format(*("%.1f,%.1f" % point[::turn] for point in points))
    return f'<path d="{path}" fill="none" stroke="#848d97" stroke-width="1.3"/>'


# ---- The names of the course -----------------------------------------------------------------------
# import micrograd as torch, import micrograd.nn.functional as F: code for PyTorch, such as the lectures
# of Zero to Hero, runs with nothing else changed. The names hand over to what is there; new are only
# PyTorch's random numbers. What these functions make are constants unless requires_grad=True:
# tensor(...) is for data, Tensor(...) for what learns.

engine = nn = functional = optim = init = sys.modules[__name__]
for _alias in ("engine", "nn", "nn.functional", "nn.init", "optim"):
    sys.modules.setdefault(f"{__name__}.{_alias}", engine)

uint8 = int8 = int16 = int32 = int64 = short = long = int       # float, int, bool: see __getattr__
bfloat16 = float16 = float32 = float64 = half = double = float
inference_mode, clip_grad_norm_, device = no_grad, clip_grad_norm, str

class cuda:
    """There is none."""
    is_available = staticmethod(lambda: False)
    manual_seed = manual_seed_all = synchronize = empty_cache = staticmethod(lambda *seed: None)

class Generator:
    """PyTorch's random numbers: after manual_seed(n), the same draws in the same order give the same.

    They are made of words of 32 bits from the Mersenne Twister, which is Python's generator too, but is
    seeded in another way; without a seed, of Python's words. Numbers are float32 where PyTorch's are.

    >>> Generator().manual_seed(42).uniform(0, 1, 2)
    [0.8822692632675171, 0.9150039553642273]
    """

    def __init__(self) -> None:
        self._bits: Callable[[int], int] = random.getrandbits
        self._spare: List[float] = []

    def manual_seed(self, seed: int) -> Generator:
        """Start from an int; gives the generator itself."""
        words = [operator.index(seed) & 0xFFFFFFFF]
        for i in range(1, 624):                         # Knuth's recurrence
            words.append(1812433253 * (words[-1] ^ words[-1] >> 30) + i & 0xFFFFFFFF)
        twister = random.Random(0)
        twister.setstate((3, (*words, 624), None))
        self._bits, self._spare = twister.getrandbits, []
        return self

    def _words(self, count, pairs=False):
        words = iter([self._bits(32) for _ in range(2 * count if pairs else count)])
        return [high << 32 | low for high, low in zip(words, words)] if pairs else words

    def uniform(self, low: float, high: float, count: int) -> List[float]:
        """Numbers from low to high, of 24 bits."""
        low, high = _float32([low, high])
        span, = _float32([high - low])
        return _float32([word % 2**24 * 2.0**-24 * span + low for word in self._words(count)])

    def doubles(self, count: int) -> List[float]:
        """Numbers from 0 to 1, of 53 bits."""
        return [word % 2**53 * 2.0**-53 for word in self._words(count, pairs=True)]

    def normal(self, mean: float, std: float, count: int) -> List[float]:
        """Normal numbers, by Box and Muller: in blocks of 16, or in pairs if they are fewer."""
        if count < 16:
            return _float32([self._normal() * std + mean for _ in range(count)])
        starts, numbers = self.uniform(0, 1, count), []
        for i in range(0, count - 15, 16):
            numbers += _normals(starts[i:i + 16], mean, std)
        if count % 16:                                  # the last block is drawn anew
            numbers[count - 16:] = _normals(self.uniform(0, 1, 16), mean, std)
        return numbers

    def _normal(self):
        if not self._spare:
            x, y = self.doubles(2)
            radius, angle = math.sqrt(-2 * math.log1p(-y)), 2 * math.pi * x
            self._spare = [radius * math.sin(angle), radius * math.cos(angle)]
        return self._spare.pop()

    def integers(self, low: int, high: int, count: int) -> List[int]:
        """Ints from low up to high, which is left out."""
        return [low + word % (high - low) for word in self._words(count, pairs=high - low >= 2**28)]

    def permutation(self, count: int) -> List[int]:
        """The ints below count, shuffled."""
        places = list(range(count))
        for i, word in enumerate(self._words(count - 1)):
            j = i + word % (count - i)
            places[i], places[j] = places[j], places[i]
        return places

    def choices(self, weights: List[float], count: int, replacement: bool) -> List[int]:
        """Places in weights, drawn as often as the weights say."""
        weights = _float32(weights)
        if replacement and count > 1:
            sums = list(accumulate(weights, lambda total, p: _float32([total + p])[0]))
            sums = _float32([total / sums[-1] for total in sums])
            return [bisect_left(sums, x) for x in self.doubles(count)]
        waits = _float32([-math.log1p(-x) for x in self.doubles(len(weights))])
        first = _float32([p / wait for p, wait in zip(weights, waits)])     # the larger, the sooner
        return sorted(range(len(weights)), key=first.__getitem__, reverse=True)[:count]

def _float32(numbers):
    form = f"{len(numbers)}f"
    return list(struct.unpack(form, struct.pack(form, *numbers)))

def _normals(block, mean, std):
    """Sixteen normal numbers from sixteen uniform ones, in PyTorch's order and with its roundings."""
    mean, std, turn = _float32([mean, std, 2 * math.pi])
    radii = _float32([math.sqrt(-2 * x) for x in _float32([math.log(1 - x) for x in block[:8]])])
    angles = _float32([turn * x for x in block[8:]])
    waves = _float32([*map(math.cos, angles), *map(math.sin, angles)])
    return _float32([x * std + mean for x in _float32([*map(operator.mul, radii * 2, waves)])])

def manual_seed(seed: int) -> Generator:
    """From now on all random numbers are PyTorch's for this seed, those of modules too."""
    global _rng
    _rng = generator = Generator().manual_seed(seed)
    return generator

def _drawing(generator):
    """Who draws: the given Generator, that of manual_seed, or one without a seed."""
    return generator or (_rng if isinstance(_rng, Generator) else Generator())

def _creation(make):
    """A function that makes constants, with PyTorch's keywords."""
    def function(*args, dtype=None, device="cpu", requires_grad=False, **options):
        x = make(*args, **options)
        x.requires_grad = False
        x = x.to(device, dtype)
        x.requires_grad = bool(requires_grad)
        return x
    function.__name__ = function.__qualname__ = make.__name__
    function.__doc__ = make.__doc__
    return function

@_creation
def tensor(data):
    """A constant with a copy of data, that learns if requires_grad=True. dtype: float, int or bool."""
    return Tensor(data)

@_creation
def full_like(x, value):
    """One number everywhere, in the shape of x and of its kind of numbers."""
    return Tensor._from(zip_map(lambda old: type(old)(value), x.ndim, x._data))

zeros, ones, full, eye, arange = map(_creation, (
    Tensor.zeros, Tensor.ones, Tensor.full, Tensor.eye, Tensor.arange))
empty, zeros_like, ones_like = zeros, partial(full_like, value=0), partial(full_like, value=1)

@_creation
def linspace(start, end, steps):
    """`steps` numbers from start to end, both included, at equal distances."""
    steps, = _sizes("linspace", (steps,))
    step = (end - start) / max(steps - 1, 1)
    return Tensor([start + i * step if 2 * i < steps else end - (steps - 1 - i) * step
                   for i in range(steps)])

@_creation
def rand(*shape, generator=None):
    """Uniform random numbers from 0 to 1."""
    return Tensor._fill("rand", shape, partial(_drawing(generator).uniform, 0, 1), False)

@_creation
def randn(*shape, generator=None):
    """Normal random numbers of mean 0 and standard deviation 1."""
    return Tensor._fill("randn", shape, partial(_drawing(generator).normal, 0, 1), False)

@_creation
def randint(low=0, high=None, size=None, generator=None):
    """randint(high, size) or randint(low, high, size): random ints from 0 or low up to high - 1."""
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    low, high = _an_int("randint", "low", low), _an_int("randint", "high", high)
    if low >= high:
        raise ValueError(f"randint: there are no ints from {low} up to {high}")
    return Tensor._fill("randint", (size,), partial(_drawing(generator).integers, low, high), False)

@_creation
def randperm(n, generator=None):
    """The ints below n, shuffled."""
    return Tensor._from(_drawing(generator).permutation(*_sizes("randperm", (n,))))

def _course(f):
    """Make this function a method of Tensor, too."""
    setattr(Tensor, f.__name__, f)
    return f

@_course
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Optional[Generator] = None) -> Tensor:
    """Places in each row, drawn as often as its numbers say: (..., n) -> (..., num_samples).

    They need not add up to 1. ValueError for one below 0, inf or nan, and where fewer are above 0 than
    are drawn without replacement.
    """
    x, rng = _tensor("multinomial", input), _drawing(generator)
    num_samples = _at_least_1("multinomial: num_samples", num_samples)
    least = 1 if replacement else num_samples

    def drawn(row):
        if not all([0 <= p < math.inf for p in row]) or sum(map(bool, row)) < least:
            raise ValueError(f"multinomial: cannot draw {num_samples} from {row!r:.200}")
        return rng.choices(row, num_samples, replacement)
    return Tensor._from(map_rows(drawn, x.ndim, x._data))

@_course
def gather(input: Tensor, dim: int, index: Any) -> Tensor:
    """What stands where index says along dim, and in its own place along the others; shaped as index."""
    x, index = _tensor("gather", input), _tensor("gather", index)
    d = _one_dim("gather", dim, x.ndim)
    if x.ndim != index.ndim:
        raise ValueError(f"gather: an index of shape {index.shape} for a Tensor of shape {x.shape}")
    places = [arange(n).reshape([n if i == k else 1 for i in range(index.ndim)])
              for k, n in enumerate(index.shape)]
    places[d] = index
    return x[tuple(places)]

@_course
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True) -> Any:
    """A pair (values, indices): the k largest (or smallest) along dim, in order."""
    x = _tensor("topk", input)
    k = _at_least_1("topk: k", k)
    if k > x.size(dim):
        raise ValueError(f"topk: k is {k}, the size of dim {dim} of shape {x.shape} less")

    def best(row):
        return sorted(range(len(row)), key=lambda i: (row[i] != row[i], row[i]), reverse=largest)[:k]
    places = x.detach()._along("topk", best, dim, None)
    return _Extreme(gather(x, dim, places), places)

@_course
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """All elements moved on by shifts along dims, the last to the start; without dims, as one row."""
    x = _tensor("roll", input)
    if dims is None:
        return roll(x.reshape(-1), shifts, 0).reshape(x.shape)
    shifts, dims = [item if isinstance(item, (tuple, list)) else (item,) for item in (shifts, dims)]
    if len(shifts) != len(dims):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(dims)} dims")
    for shift, d in zip(shifts, dims):
        ahead = _an_int("roll", "a shift", shift) % x.size(d)
        x = cat(x.split([x.size(d) - ahead, ahead], d)[::-1], d) if ahead else x.clone()
    return x

@_course
def allclose(input: Tensor, other: Any, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Is |x - y| <= atol + rtol * |y| everywhere?"""
    x, y = _tensor("allclose", input), _tensor("allclose", other)
    shape = broadcast_shape("allclose", x.shape, y.shape)
    pairs = zip(*[flat(expand(z._data, z.shape, shape)) for z in (x, y)])
    return all([a == b or abs(a - b) <= atol + rtol * abs(b) for a, b in pairs])

@_course
def histogram(input: Tensor, bins: int = 100, *, range: Optional[Tuple[float, float]] = None,
              density: bool = False) -> Any:
    """A pair (hist, bin_edges): how many numbers are in each bin; with density=True, their area is 1."""
    numbers = flat(_tensor("histogram", input)._data)
    low, high = range or (min(numbers, default=0), max(numbers, default=1))
    low, high = (low, high) if low != high else (low - 0.5, high + 0.5)
    counts, width = [0.0] * _at_least_1("histogram: bins", bins), (high - low) / bins
    if not 0 < width < math.inf:
        raise ValueError(f"histogram: there are no bins from {low} to {high}")
    for x in numbers:
        if low <= x <= high:
            counts[min(int((x - low) / width), bins - 1)] += 1
    scale = (sum(counts) or 1) * width if density else 1
    return _Histogram(tensor([n / scale for n in counts]), linspace(low, high, bins + 1))

_Histogram = namedtuple("_Histogram", "hist bin_edges")

@_course
def to(self: Tensor, *kinds: Any, device: Any = "cpu", dtype: Any = None) -> Tensor:
    """The Tensor itself, on the only device, "cpu"; with a dtype, its numbers as float, int or bool."""
    for kind in (*kinds, device, dtype):
        if kind not in (float, int, bool):
            if kind is not None and str(kind) != "cpu":
                raise ValueError(f"to: {kind!r:.80} is not the device 'cpu' or a dtype float, int, bool")
        elif not set(map(type, flat(self._data))) <= {kind}:
            rule = (lambda g, out, x: g) if kind is float else None
            self = Tensor._make(zip_map(kind, self.ndim, self._data), "to", (self,), (rule,))
    return self

for _name, _f in {
        "float": lambda x: x.to(float), "double": lambda x: x.to(float), "long": lambda x: x.to(int),
        "int": lambda x: x.to(int), "bool": lambda x: x.to(bool), "cpu": lambda x: x,
        "contiguous": lambda x: x, "retain_grad": lambda x: None, "numpy": lambda x: x.__array__(),
        "clone": lambda x: Tensor._make(copied(x._data), "clone", (x,), (lambda g, out, x: g,)),
        "abs": lambda x: abs(x), "pow": lambda x, exponent: x ** exponent, "t": lambda x: x.T,
        "clamp": lambda x, min=None, max=None: x.clip(min, max), "dim": lambda x: x.ndim,
        "log10": lambda x: x.log() / math.log(10), "nelement": lambda x: x.numel()}.items():
    _f.__name__, _f.__qualname__, _f.__doc__ = _name, f"Tensor.{_name}", "As in PyTorch."
    setattr(Tensor, _name, _f)
setattr(Tensor, "dtype", property(lambda x: type((flat(x._data) or [0.0])[0]), doc="A kind of numbers."))
setattr(Tensor, "device", property(lambda x: "cpu", doc="'cpu'."))

_NO_METHOD = {          # of PyTorch's Tensor: what to write instead
    "bmm mm mv outer": "x @ y", "norm": "(x * x).sum().sqrt()", "zero_": "p.grad = None",
    "sort argsort": "topk(x, n), a pair (values, indices)", "bernoulli": "rand(...) < p",
    "add_ sub_ mul_ div_": "x = x + y", "requires_grad_": "x.requires_grad = True", "type": "x.float()",
    "cuda": "leave it out"}
_INSTEAD = {            # and of PyTorch
    **_NO_METHOD, "einsum": "permute, reshape and @", "from_numpy as_tensor": "tensor(array)",
    "normal": "randn(...) * std + mean", "set_grad_enabled enable_grad": "with no_grad()",
    "conv1d conv2d Conv1d Conv2d": "slices, stack and @: a convolution is a product with each window",
    "RNN LSTM GRU": "the recurrence as a loop, as examples/makemore.py does",
    "MultiheadAttention Transformer": "scaled_dot_product_attention, as examples/gpt.py does",
    "utils DataLoader Dataset": "a batch as X[torch.randint(len(X), (32,))]",
    "compile jit autocast amp backends distributed": "leave it out",
    "Sigmoid Softmax SiLU LeakyReLU Flatten": "the function as a step, Sequential(..., Tensor.sigmoid)",
    "CrossEntropyLoss NLLLoss": "cross_entropy(logits, targets)",
    "MSELoss": "mse_loss(predictions, targets)",
    "BCELoss BCEWithLogitsLoss": "binary_cross_entropy_with_logits(logits, targets)"}

def __getattr__(name: str) -> Any:
    """Methods of Tensor as functions: softmax(x, 1). Here, max, abs, float and so on are Python's."""
    if name in ("float", "int", "bool"):
        return {"float": float, "int": int, "bool": bool}[name]
    if not name.startswith("_") and callable(getattr(Tensor, name, None)):
        return lambda x, *args, **options: getattr(_tensor(name, x), name)(*args, **options)
    raise _no_such("micrograd", name)

def _no_such(owner, name):
    hints = [hint for names, hint in _INSTEAD.items() if name in names.split()]
    return AttributeError(f"{owner} has no {name}" + "".join(f"; instead: {hint}" for hint in hints))

class _NoMethod:
    """An attribute that says what to write instead. (With a __getattr__ all others would be slower.)"""

    def __init__(self, name):
        self.name, self.__doc__ = name, f"{_no_such('Tensor', name)}."

    def __get__(self, x, cls):
        raise _no_such("Tensor", self.name)

for _name in " ".join(_NO_METHOD).split():
    setattr(Tensor, _name, _NoMethod(_name))

__all__ = [         # from micrograd import *
    "Value", "Tensor", "grad", "no_grad", "gradcheck", "elementwise", "FUNCTIONS", "exp", "expm1",
    "log", "log1p", "sqrt", "sin", "cos", "atan", "tanh", "sigmoid", "relu", "leaky_relu", "silu",
    "softplus", "gelu", "erf", "sign", "floor", "maximum", "minimum", "clip", "dot", "where", "cat",
    "stack", "one_hot", "linear", "shape_of", "nested", "flat", "nest", "Module", "Neuron", "Layer",
    "MLP", "Linear", "Sequential", "Embedding", "LayerNorm", "RMSNorm", "BatchNorm1d", "Dropout",
    "ModuleList", "ModuleDict", "Parameter", "ReLU", "Tanh", "GELU", "layer_norm", "rms_norm",
    "dropout", "scaled_dot_product_attention", "mse_loss", "hinge_loss", "cross_entropy",
    "binary_cross_entropy_with_logits", "Optimizer", "SGD", "Adam", "AdamW", "clip_grad_norm", "trace",
    "Traced", "save", "load", "draw_dot", "Drawing", "tensor", "zeros", "ones", "full", "empty", "eye",
    "arange", "linspace", "rand", "randn", "randint", "randperm", "multinomial", "full_like", "gather",
    "topk", "roll", "allclose", "histogram", "Generator", "manual_seed"]

# ---- Fast paths ------------------------------------------------------------------------------------
# Everything up to here is right without this section, which only does some of it again, faster, under
# the same names. How much each piece wins was measured on CPython 3.13, by leaving it out. Lines that
# fill the same slots again and again are on purpose: a call would cost as much as all of them.

# A Value keeps its operands in slots, _a and _b, and has their rules at hand: _made is (name, rules,
# rule of _a, rule of _b). _b is None for one operand. Where there are more, _a is all of them, and _MANY
# the rule of _b. A Value in a graph takes 136 bytes, and not 330.

def _MANY(g, node):
    """What an operation of many operands pays to them; of two, when a Value among them has no rule."""
    numbers = [p._data if isinstance(p, Node) else p for p in node._a]
    return [(p, rule(g, node._data, *numbers)) for p, rule in zip(node._a, node._made[1]) if rule]

def _made_by(name, rules):
    """_made of an operation of one or two operands, a plain number where there is no rule."""
    return (name, rules, *rules, None)[:4]

def _get_operands(node):
    made = node._made
    if made is _LEAF:
        return ()
    if made[3] is _MANY:
        return node._a
    return (node._a, node._b) if len(made[1]) == 2 else (node._a,)

@staticmethod
def _make_value(data, op, operands, rules):
    """A Value made by an operation."""
    out = Value(data)
    if _recording():
        rules = tuple([rule if isinstance(p, Value) else None for p, rule in zip(operands, rules)])
        numbers = [p for p, rule in zip(operands, rules) if rule is None]
        if len(rules) > 2 or any([isinstance(p, Node) for p in numbers]):
            out._a, out._b, out._made = tuple(operands), None, (op, rules, None, _MANY)
        else:
            out._a, out._b = (*operands, None)[:2]
            out._made = _made_by(op, rules)
    elif _tracing:
        _refuse_frozen(f"{op} without a graph", *operands)
    return out

def _fast_init(self, data, *more, label=""):
    if type(data) not in _PLAIN or more:
        _slow_init(self, data, *more, label=label)
        data = self._data
    self._data, self._made, self._uses = data, _LEAF, 0
    self._grad, self.label = _NO_GRAD, label
    self._a = self._b = None

Value._a = Node._operands           # the same slot
_slow_init, Value.__init__ = Value.__init__, wraps(Value.__init__)(_fast_init)
Value._make, Value._operands = _make_value, property(_get_operands, lambda node, operands: None)

_open: List[None] = []              # not empty: a no_grad or a pass is open somewhere; quicker than _depth

def _recording():
    return not _open or not _depth.get()

def _enter_no_grad(self):
    _open.append(None)
    _deeper(self)

def _exit_no_grad(self, *error):
    _less_deep(self, *error)
    _open.pop()

_deeper, _less_deep = no_grad.__enter__, no_grad.__exit__
no_grad.__enter__, no_grad.__exit__ = _enter_no_grad, _exit_no_grad

_blank = partial(_new, Value)       # with nothing in its slots yet

def _set_for_values(name, f):
    """A method of Values in the place of Node's."""
    wraps(getattr(Node, name))(f).__qualname__ = f"Value.{name}"        # where pickle finds it
    setattr(Value, name, f)

def _fast_operators(operation, general, general_reflected):
    """Operators of Values that fill the slots of the result themselves. A chain of them: 4 times as fast."""
    name, forward, (da, db) = operation.name, operation.forward, operation.rules
    both, left, right = _BOTH[name], _made_by(name, (da, None)), _made_by(name, (None, db))

    def method(x, other):
        out = _blank()
        try:
            if type(other) is Value:
                out._data = forward(x._data, other._data)
                out._made = both
            elif type(other) in _PLAIN:
                out._data = forward(x._data, other)
                out._made = left
            else:
                return general(x, other)
        except (ArithmeticError, ValueError, TypeError):
            return general(x, other)
        out._grad, out.label, out._uses = _NO_GRAD, "", 0
        out._a, out._b = x, other
        return general(x, other) if _open else out

    def reflected(x, y):
        out = _blank()
        try:
            if type(y) not in _PLAIN or _open:
                return general_reflected(x, y)
            out._data = forward(y, x._data)
        except (ArithmeticError, ValueError, TypeError):
            return general_reflected(x, y)
        out._grad, out.label, out._uses = _NO_GRAD, "", 0
        out._made, out._a, out._b = right, y, x
        return out

    return method, reflected

_BOTH = {name: _made_by(name, operation.rules) for name, operation in _OPERATIONS.items()
         if len(operation.rules) == 2}
_PAIRS = {symbol: (f"__{name}__", f"__r{name}__") for name, (symbol, *_) in _ARITHMETIC.items()}
for _name, _pair in {**_PAIRS, "maximum": ("maximum",), "minimum": ("minimum",)}.items():
    _general = [getattr(Node, _method_name) for _method_name in _pair]
    for _method_name, _operator in zip(_pair, _fast_operators(_OPERATIONS[_name], _general[0], _general[-1])):
        _set_for_values(_method_name, _operator)

def _leaky(x, slope=0.01):
    return _fast_leaky(x, slope) if type(slope) in _PLAIN else Node.leaky_relu(x, slope)

_fast_leaky, _ = _fast_operators(_OPERATIONS["leaky_relu"], Node.leaky_relu, None)
_set_for_values("leaky_relu", _leaky)

def _fast_function(operation, general):
    """Functions likewise; and straight to forward for plain floats, with which rules call them: 5 times."""
    forward, made = operation.forward, _made_by(operation.name, operation.rules)

    def function(x):
        try:
            if type(x) is not Value or _open:
                if type(x) is Tensor:
                    return x._apply(operation, (x,))
                return forward(x) if type(x) is float else general(x)
            out = _blank()
            out._data = forward(x._data)
        except (ArithmeticError, ValueError, TypeError):
            return general(x)
        out._grad, out.label, out._uses = _NO_GRAD, "", 0
        out._made, out._a, out._b = made, x, None
        return out
    return wraps(general)(function)

def _relu_rule(g, out, x):
    return (g if x > 0 else 0.0) if type(g) is float is type(x) and x == x else _gate(g, x)

_OPERATIONS["relu"].rules = (_relu_rule,)
for _name in FUNCTIONS:
    _function_of_x = _fast_function(_OPERATIONS[_name], FUNCTIONS[_name])
    FUNCTIONS[_name] = globals()["_round" if _name == "round" else _name] = _function_of_x
    setattr(Node, _name, _function_of_x)
for _name in ("neg", "abs"):
    setattr(Node, f"__{_name}__", _fast_function(_OPERATIONS[_name], getattr(Node, f"__{_name}__")))

_VALUES, _SCALARS = {Value}, {Value, *_PLAIN}
_writes = [0]       # changes before data of a Value are replaced, for Ctrl-C, and after, for other threads

def _assign_data(self, number):
    _writes[0] += 1
    self._data = number
    _writes[0] += 1

def _set_data(self, number):
    _assign_data(self, number if type(number) in _PLAIN else _accepted_data("Value.data", number, True))

Value.data, Value._assign = Value.data.setter(_set_data), _assign_data


class _Row(Node):
    """Several Values and numbers as one operand, so that a whole neuron is one node with two operands.

    A graph of neurons uses the same row again and again: the weights for every example, the inputs for
    every neuron of a layer. What a dot product pays into a row is just g and the other row. When all have
    paid, the gradient of the row is the sum of g * other row over them: column by column, again a dot
    product. That is the step from single numbers to a product of matrices.
    """

    __slots__ = ("requires_grad", "_uses", "_paid", "_a", "_b", "key", "time")
    _node = staticmethod(Value._node)

    def __init__(self, values, more=(), kinds=None):
        self.key, self.time = None, _writes[0]          # for _neuron
        kinds, made = kinds or set(map(type, values)), _row_made(len(values))
        if kinds == _VALUES:
            self._data, self.requires_grad = [v._data for v in values], True
        elif kinds <= _PLAIN:
            self._data, self.requires_grad, made = list(values), False, _row_made(0)
        else:
            values = tuple([_accepted("dot", v, Value._operand("dot", v)) for v in values])
            self._data = [v._data if isinstance(v, Value) else v for v in values]
            rules = [rule if isinstance(v, Value) else None for v, rule in zip(values, made[1])]
            made, self.requires_grad = ("dot", rules, None, _PAY_ROW), any(rules)
        self._data += more                              # the 1 that belongs to a bias
        self._made, self._operands, self._a, self._b = made, values, values, None
        self._uses, self._grad, self.label = 0, _NO_GRAD, ""

    def _take_in(self, paid, d):
        return d if paid is None else paid + d

    def _settle(self, paid):
        return paid

    def _grad_plus(self, g, taken):
        return _NO_GRAD

    def __reduce__(self):       # a copy of a neuron has no row yet
        return type(None), ()

def _PAY_ROW(paid, row):
    """What a row pays to its Values: column by column, the sum of g * the other rows."""
    row._paid, gs, others = _NO_GRAD, paid[::2], zip(*paid[1::2])
    if not gs:                                  # every g was 0
        return [(v, type(row._data[0])(0)) for v, rule in zip(row._a, row._made[1]) if rule]
    return [(v, sumprod(gs, column)) for v, rule, column in zip(row._a, row._made[1], others) if rule]

@lru_cache(maxsize=None)
def _row_made(n):
    """Of a row of n Values: rules for the general pass; _PAY_ROW pays all at once."""
    def item(i):
        return lambda paid, out, *values: sum([g * (*other._operands, 1)[i]
                                               for g, other in zip(paid[::2], paid[1::2])])
    return "dot", tuple(map(item, range(n))), None, _PAY_ROW

_TO_W, _TO_X = lambda g, out, w, x: [g, x], lambda g, out, w, x: [g, w]
_DOT, _DOT_OF_W, _DOT_OF_X = [_made_by("dot", rules) for rules in (
    (_TO_W, _TO_X), (_TO_W, None), (None, _TO_X))]

def _dot_of_rows(w, x):
    """The dot product of two rows; the last weight is the bias, the last input its 1."""
    out = _blank()
    out._data = sumprod(w._data, x._data)
    out._grad, out.label, out._uses = _NO_GRAD, "", 0
    out._made, out._a, out._b = _DOT, w, x
    return out if w.requires_grad and x.requires_grad and not _open else _dot_with_constants(out, w, x)

def _dot_with_constants(out, w, x):
    if _recording() and (w.requires_grad or x.requires_grad):
        if not (w.requires_grad and x.requires_grad):
            out._made = _DOT_OF_W if w.requires_grad else _DOT_OF_X
    else:
        out._made, out._a, out._b = _LEAF, None, None
        if _tracing:
            _refuse_frozen("dot without a graph", *w._operands, *x._operands)
    return out

def _dot(ws, xs, bias):
    return _dot_of_rows(_Row((*ws, bias)), _Row(tuple(xs), (1,)))

def _row_of(x):
    """The inputs of a neuron as a row."""
    kinds = set(map(type, x)) if type(x) is list else {list}
    return _Row(tuple(x), (1,), kinds) if kinds <= _SCALARS else _Row(tuple(_inputs(x)), (1,))

def _neuron(self, x):
    """A neuron that keeps its weights as a row until one changes. A network: 5 times as fast."""
    x = x if type(x) is _Row else _row_of(x)
    row, w, b = self._row, tuple(self.w), self.b
    if row is None or row.key is None or row.key != hash(w) or row._a[-1] is not b or not (
            row.time == _writes[0] or _unchanged(row)):
        row = _Row((*w, b))
        if set(map(type, row._a)) == _VALUES:           # else it is not kept: others may be equal, and differ
            row.key = hash(w)
        self._row = row
    if len(row._data) != len(x._data):
        raise ValueError(f"Neuron: {len(x._data) - 1} inputs given, {len(w)} expected")
    out, act = _dot_of_rows(row, x), self.act
    if type(act) is not str:
        return self._act(out)
    return out if act == "linear" else getattr(out, act)()

def _unchanged(row):
    """Some data were replaced; were they of this row?"""
    time, numbers = _writes[0], [v._data for v in row._a]
    if numbers == row._data and list(map(type, numbers)) == list(map(type, row._data)):
        row.time = time
    return row.time == time

Neuron._row = None

def _layer(self, x):
    """A layer makes the row of its inputs once."""
    row = _row_of(x)
    out = [neuron.__call__(row) if type(neuron) is Neuron else neuron([*row._a])    # faster than neuron(row)
           for neuron in self.neurons]
    return out[0] if len(out) == 1 else out

Neuron.__call__, Layer.__call__ = wraps(Neuron.__call__)(_neuron), wraps(Layer.__call__)(_layer)

@property
def _prev(self):
    """The operands as nodes, those in rows, too."""
    operands = self._operands
    if self._op == "dot" and type(operands[0]) is _Row:
        (*weights, bias), inputs = operands[0]._operands, operands[1]._operands
        operands = (*weights, *inputs, bias)
    return tuple([self._node(operand) for operand in operands])

Node._prev = _prev
_own_step = Node._backward

@wraps(_own_step)
def _step_through_rows(self):
    if self._op != "dot" or type(self._a) is not _Row:
        return _own_step(self)
    (*weights, bias), inputs = self._a._operands, self._b._operands
    twin, operands = Value(self._data), (*weights, *inputs, bias)
    rules = [rule if isinstance(p, Value) else None for p, rule in zip(operands, _dot_rules(len(inputs)))]
    twin._a, twin._b, twin._made, twin._grad = operands, None, ("dot", rules, None, _MANY), self._grad
    return _own_step(twin)

Node._backward = _step_through_rows

# The pass of Values: on plain numbers, and in slots of the nodes. A chain: 6 times as fast, a network 17.

def _in_slots(root, seed, pay, finish):
    """What _gradients does, for Values: finish(nodes, kept) when all are paid. False when the general pass
    must do it: inside a pass or a trace, for a rule from outside, which may do anything, and after errors."""
    if _tracing or _lock._is_owned():       # owned by this thread: we are inside a pass that uses the slots
        return False
    nodes, kept, done = [root], [], False
    try:
        try:
            _lock.acquire()                 # half as long as a with block takes
            if _count_uses(nodes, kept):
                root._paid = seed
                pay(root)
                finish(nodes, kept)
                done = True
        except (ArithmeticError, ValueError, TypeError):    # the general pass says what is wrong
            pass
        if done:
            _lock.release()
        else:
            _give_up(nodes)
    except BaseException:                   # such as Ctrl-C
        _give_up(nodes)
        raise
    return done

def _give_up(nodes):
    if _lock._is_owned():                   # it may not have come so far
        try:
            _reset(nodes)
            _lock.release()
        except BaseException:               # Ctrl-C once more
            if _lock._is_owned():
                _reset(nodes)
                _lock.release()
            raise

def _reset(nodes):
    for node in nodes:
        node._uses = node._paid = 0

def _count_uses(nodes, kept):
    """Append every node below nodes[0], and count its uses (of a leaf, which pays nobody, only that it is
    used); to kept, those with a gradient. False when a rule is from outside."""
    for node in nodes:
        if node._grad is not _NO_GRAD:
            kept.append(node)
        node._paid = 0
        made = node._made
        if made is _LEAF:
            continue
        _, rules, da, db = made
        if da is not None:
            a = node._a
            if not a._uses:
                nodes.append(a)
                a._uses = 1
            elif a._made is not _LEAF:
                a._uses += 1
        if db is not None:
            b = node._b
            if b is None:
                _count_many(node, db, rules, nodes)
            elif not b._uses:
                nodes.append(b)
                b._uses = 1
            elif b._made is not _LEAF:
                b._uses += 1
    return not _FOREIGN or _FOREIGN.isdisjoint([node._made[0] for node in nodes])

def _count_many(node, db, rules, nodes):
    for p, rule in zip(node._a, rules):
        if rule is not None:
            if not p._uses:
                nodes.append(p)
            p._uses += 1
    if db is _PAY_ROW:
        node._paid = []                 # g, numbers of the other row, g, ...

_PLUS, _TIMES = _BOTH["+"], _BOTH["*"]

def _pay(root):
    """The chain rule. The rules of + and *, most of what scalar code does, and dot are written out: a
    call costs more than they do. A dot product with g = 0 (many are, behind a relu) pays nothing, not
    even nan for an inf."""
    ready = [root]
    for node in ready:
        made = node._made
        if made is _LEAF:
            continue
        _, _, da, db = made
        g, a, b = node._paid, node._a, node._b
        if db is None:
            if b is None:
                a._paid += da(g, node._data, a._data)
            elif made is not _DOT_OF_W:
                a._paid += da(g, node._data, a._data, b)            # b is a number
            elif g:
                a._paid += g, b._data
            if a._uses == 1:
                a._uses = 0
                ready.append(a)
            elif a._uses:
                a._uses -= 1
            continue
        if made is _TIMES:
            a._paid += g * b._data
            b._paid += g * a._data
        elif made is _PLUS:
            a._paid += g
            b._paid += g
        elif made is _DOT:
            if g:
                paid = a._paid
                paid.append(g)
                paid.append(b._data)
                paid = b._paid
                paid.append(g)
                paid.append(a._data)
        elif da is not None:
            a._paid += da(g, node._data, a._data, b._data)
            b._paid += db(g, node._data, a._data, b._data)
        else:
            paid = db(g, node) if b is None else [(b, db(g, node._data, getattr(a, "_data", a), b._data))]
            for p, d in paid:
                p._paid += d
                if p._uses == 1:
                    p._uses = 0
                    ready.append(p)
                elif p._uses:
                    p._uses -= 1
            continue
        if b._uses == 1:
            b._uses = 0
            ready.append(b)
        elif b._uses:
            b._uses -= 1
        if a._uses == 1:
            a._uses = 0
            ready.append(a)
        elif a._uses:
            a._uses -= 1

def _pay_nodes(root):
    """The chain rule with create_graph: rules get nodes, and give nodes. 1.3 times as fast."""
    ready = [root]

    def pay(p, d):
        p._paid = d if p._paid is _UNPAID else p._paid + d
        if p._uses == 1:
            ready.append(p)
        p._uses -= p._uses > 0

    for node in ready:
        if node._made is _LEAF:
            continue
        _, rules, da, db = node._made
        g, a, b = node._paid, node._a, node._b
        if db is None:
            pay(a, da(g, node, a) if b is None else da(g, node, a, b))
        elif b is None:
            for p, rule in zip(a, rules):
                if rule:
                    pay(p, rule(g, node, *a))
        else:
            if da is not None:
                pay(a, da(g, node, a, b))
            pay(b, db(g, node, a, b))

_UNPAID = 0         # what _count_uses leaves in _paid

def _write(nodes, kept):
    """Add to .grad, all or nothing."""
    before = totals = ()
    if kept:
        before = [node._grad for node in kept]
        totals = [g + node._paid if type(g) is float else node._grad_plus(node._paid, None)
                  for node, g in zip(kept, before)]
    try:
        for node in nodes:
            node._grad = node._paid
        for node, total in zip(kept, totals):
            node._grad = total
    except BaseException:
        for node in nodes:
            node._grad = _NO_GRAD
        for node, g in zip(kept, before):
            node._grad = g
        raise

_gradients_by_dicts = _gradients

def _general_pass(root, seed, create_graph=False):
    if create_graph:
        return _gradients_by_dicts(root, seed, True)
    _open.append(None)
    try:
        return _gradients_by_dicts(root, seed)
    finally:
        _open.pop()

def _gradients(root, seed, create_graph=False):
    found, pay = {}, _pay_nodes if create_graph else _pay

    def read(nodes, kept):
        found.update([(node, node._paid) for node in nodes])
        _reset(nodes)                      # a gradient that is a node would keep its graph alive
    if isinstance(root, Value) and not (create_graph and _open) and _in_slots(root, seed, pay, read):
        return found
    return _general_pass(root, seed, create_graph)

def _backward_of_value(self, gradient=None):
    seed = 1.0 if gradient is None and type(self._data) is float else self._seed(gradient)
    if self._made is _LEAF or self._made[2] is None:
        self._check_graph()
    if not _in_slots(self, seed, _pay, _write):
        _add_to_grads(_general_pass(self, seed))

_set_for_values("backward", _backward_of_value)

# Products of matrices: a batch is one product (1.06 times as fast in WaveNet), columns of zeros share
# one (1.2 times in MNIST, where a third of the pixels is dark in all pictures of a batch), long rows go
# in blocks (4 times).

@wraps(products)
def _fast_products(x, w, bias=None):
    if x and x[0] and type(x[0][0]) is list:
        rows = products(list(chain.from_iterable(x)), w, bias)
        return [rows[i:i + len(x[0])] for i in range(0, len(rows), len(x[0]))]
    if x and len(x[0]) > 2 * _BLOCK:
        return _in_blocks(x, w, bias)
    if bias is not None:
        neurons = list(zip(w, bias))
        return [[sumprod(row, other) + b for other, b in neurons] for row in x]
    if x and len(x[0]) == 1:                        # a product of two numbers is not worth a call
        column = [other for other, in w]
        return [[number * other for other in column] for number, in x]
    return [[sumprod(row, other) for other in w] for row in x]

_BLOCK = 512

def _in_blocks(x, w, bias):
    """The products of long rows, a part of all rows at a time: whole rows do not fit into the cache."""
    total = [bias if bias is not None else [0] * len(w)] * len(x)
    for i in range(0, len(x[0]), _BLOCK):
        part = products([row[i:i + _BLOCK] for row in x], [row[i:i + _BLOCK] for row in w])
        total = zip_map(operator.add, 2, total, part)
    return total

@wraps(matmul)
def _fast_matmul(x, y):
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x @ y
    columns = list(map(list, zip(*y)))
    used = [k for k, column in enumerate(columns) if any(column)]
    if len(columns) < 20 or len(used) > 0.9 * len(columns):
        return products(x, columns)
    zeros = next(k for k, column in enumerate(columns) if not any(column))
    place = {k: i for i, k in enumerate(used)}
    arrange = operator.itemgetter(*[place.get(k, len(used)) for k in range(len(columns))])
    rows = products(x, [columns[k] for k in used + [zeros]])
    return zip_map(lambda row: list(arrange(row)), len(shape_of(x)) - 1, rows)

@wraps(shape_of)
def _fast_shape_of(data):
    if type(data) is not list:
        return ()
    if not data or type(data[0]) is not list:
        return (len(data),)
    row = data[0]
    return (len(data), len(row)) if not row or type(row[0]) is not list else (len(data), *shape_of(row))

products, matmul, shape_of = _fast_products, _fast_matmul, _fast_shape_of


class _Pieces:
    """A gradient that is paid in pieces: that of x[i] belongs at i. `whole` is what was paid for all of x.

    They are put together only when all have paid. So a loop over the rows of x costs as much as x, not
    as much as x for every row.
    """

    def __init__(self, index, g):
        self.whole, self.indices, self.pieces = None, [index], [g]

    def put(self, x):
        """All of it as one Tensor, for x."""
        data = copied(expand(_zero(x._data), (), x._shape))
        for index, piece in zip(self.indices, self.pieces):
            data = add_at(data, index, piece._data)

        def taken(index):
            return lambda g, out, *pieces: g._take(index)
        out = Tensor._make(data, "put", tuple(self.pieces), [taken(index) for index in self.indices])
        return out if self.whole is None else out + self.whole

def _put(g, index, x):
    return _Pieces(index, g)

def _take_in_pieces(self, paid, d):
    if type(d) is not _Pieces:
        if type(paid) is not _Pieces:
            return _take_in_whole(self, paid, d)
        paid.whole = _take_in_whole(self, paid.whole, d)
        return paid
    if type(paid) is not _Pieces:
        d.whole = paid
        return d
    paid.indices += d.indices
    paid.pieces += d.pieces
    return paid

def _settle_pieces(self, paid):
    paid = _settle_whole(self, paid)
    return paid.put(self) if type(paid) is _Pieces else paid

_take_in_whole, _settle_whole = Tensor._take_in, Tensor._settle
Tensor._take_in, Tensor._settle = _take_in_pieces, _settle_pieces

_recorded_target_rule = _target_rule

def _target_rule(dim, indices, ignore_index):
    """Without a graph, on lists: 2.5 times as fast."""
    places, recorded = shape_of(indices), _recorded_target_rule(dim, indices, ignore_index)
    order = [*range(dim), *range(dim + 1, len(places) + 1), dim]

    def back(row, t, g):
        if t == ignore_index:
            return [0.0] * len(row)
        _, exps, total = _exponentials(row)
        row = [e * (g / total) for e in exps]
        row[t] -= g
        return row

    def rule(g, out, x):
        if _recording():
            return recorded(g, out, x)
        gs = expand(g._data, g._shape, places)
        rows = zip_map(back, len(places), permuted(x._data, order), indices, gs)
        return Tensor._from(permuted(rows, sorted(order, key=order.__getitem__)))
    return rule

# Rows of Tensors: a comprehension, not a call for each number. The moons: 1.1 times as fast.

def _relu_rows(ndim, xs):
    zero = _zero(xs)
    if ndim == 2:
        return [[zero if x < 0 else x for x in row] for row in xs]
    return map_rows(lambda row: [zero if x < 0 else x for x in row], ndim, xs)

def _gate_rows(ndim, gs, xs):
    zero = _zero(gs)
    if ndim == 2:
        return [[zero if x <= 0 else g for g, x in zip(*rows)] for rows in zip(gs, xs)]
    return map_rows(lambda gs, xs: [zero if x <= 0 else g for g, x in zip(gs, xs)], ndim, gs, xs)

_ROW_FORMS, _by_number = {"relu": _relu_rows, "gate_": _gate_rows}, _broadcast

def _broadcast(operation, operands):
    x, y = operands[0], operands[-1]
    if operation.name in _ROW_FORMS and type(x) is Tensor and type(y) is Tensor and x._shape == y._shape:
        try:
            return _ROW_FORMS[operation.name](len(x._shape), *[p._data for p in operands])
        except (ArithmeticError, ValueError, TypeError):
            pass
    return _by_number(operation, operands)

def _of_a_square(g, out, x, y):
    return g * (x + y)

def _fast_tensor_operator(operation, general, swapped):
    """Operators of a Tensor and a number, or a Tensor of its shape or of no dimensions: there is nothing to
    convert, and little to broadcast. Small ones: 1.2 to 1.4 times as fast."""
    name, forward, (da, db) = operation.name, operation.forward, operation.rules

    def method(x, y):
        if type(y) is Tensor and (y._shape == x._shape or not y._shape):
            other, learns = y._data, y.requires_grad
            if y._shape != x._shape:
                other = expand(other, (), x._shape)
        elif type(y) in _PLAIN:
            other, learns = expand(y, (), x._shape), False
        else:
            return general(x, y)
        out = _new(Tensor)
        try:
            if swapped:
                out._data = zip_map(forward, len(x._shape), other, x._data)
            else:
                out._data = zip_map(forward, len(x._shape), x._data, other)
        except (ArithmeticError, ValueError, TypeError):
            return general(x, y)
        out._grad, out.label, out._shape, out._time = None, "", x._shape, _clock[0]
        out._made, out._operands, out.requires_grad = _LEAF, (), False
        if (x.requires_grad or learns) and (not _open or _recording()):
            out.requires_grad = True
            first, second = (learns, x.requires_grad) if swapped else (x.requires_grad, learns)
            out._made = name, (da if first else None, db if second else None)
            out._operands = (y, x) if swapped else (x, y)
            if y is x and name == "*":
                out._made = "*", (None, _of_a_square)       # paid once: 1.01 times in the moons
        return out
    method.__name__, method.__qualname__ = general.__name__, f"Tensor.{general.__name__}"
    return method

for _symbol, _pair in _PAIRS.items():
    for _method_name, _swapped in zip(_pair, (False, True)):
        _general = getattr(Node, _method_name)
        setattr(Tensor, _method_name, _fast_tensor_operator(_OPERATIONS[_symbol], _general, _swapped))

_any_index = _index

def _index(index, shape):
    """An int alone, for a loop over the rows: 1.2 times as fast."""
    if type(index) is int and shape and -shape[0] <= index < shape[0]:
        return None, (index % shape[0],)
    return _any_index(index, shape)

if sys.implementation.name == "cpython":    # the same without a call (1.1 times); PyPy's need not be unique
    Value.__hash__ = Tensor.__hash__ = object.__hash__


# ---- Types -----------------------------------------------------------------------------------------
# What the annotations say. For type checkers only: to import typing takes longer than anything else here.

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction
    from typing import (Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Mapping, Optional,
                        Protocol, Sequence, Set, Tuple, TypeVar, Union, overload)
    N = TypeVar("N", bound="Node")                      # a Value or a Tensor
    Scalar = Union[int, float, complex, Fraction, Decimal]
    Nested = Any                                        # a number, or lists of one shape
    Operand = Union["Node", Scalar, Sequence[Any]]
    Shape = Tuple[int, ...]
    Dim = Union[None, int, Sequence[int]]
    Path = Union[str, "os.PathLike[str]"]
    Rule = Callable[..., Any]                           # rule(g, out, *operands)

    M = TypeVar("M", bound="Module")
    Act = Union[bool, str, Callable[["Value"], "Value"]]
    Inputs = Union["Value", Scalar, Sequence[Any]]
    Predictions = Union[N, Sequence[N], Sequence[Sequence[N]]]

    class Loss(Protocol):
        """What the losses are: Tensor to Tensor, lists of Values to Value."""
        def __call__(self, predictions: Predictions[N], targets: Operand, reduction: str = ...) -> N: ...

    class Function(Protocol):
        """What "The rules" makes: Value to Value, Tensor to Tensor, number to number."""
        __name__: str
        @overload
        def __call__(self, x: N) -> N: ...
        @overload
        def __call__(self, x: float) -> float: ...


# ---- The file checks itself ------------------------------------------------------------------------

def _self_check() -> bool:
    """Are all examples in docstrings right, and all first and second derivatives? Prints what is not."""
    import doctest
    unary = [*FUNCTIONS.values(), operator.neg, abs, leaky_relu, lambda a: a.clip(0.4, 1.3)]
    binary = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, maximum, minimum]
    tensors = [
        lambda a: a.sum(0), lambda a: a.mean(-1), Tensor.var, lambda a: a.std(1), Tensor.prod,
        lambda a: a.amax(0), lambda a: a.min(1).values, lambda a: a.cumsum(1), lambda a: a.softmax(0),
        Tensor.log_softmax, lambda a: a.logsumexp(1), lambda a: a.T, lambda a: a.reshape(-1),
        lambda a: a.unsqueeze(1).broadcast_to(2, 4, 3), lambda a: a[[1, 1, 0], 1:],
        lambda a: a[range(2), [2, 0]], lambda a: a[a > 1], lambda a: cat([a, a], 1),
        lambda a: stack([a, a], 1), lambda a: where(a > 1, a, 0), lambda a: a @ a.T,
        lambda a: linear(a, a, a[:, 0]), lambda a: layer_norm(a, 3), lambda a: rms_norm(a, 3),
        lambda a: scaled_dot_product_attention(a, a * 2, a), lambda a: cross_entropy(a, [2, 0]),
        lambda a: mse_loss(a, [[1.0] * 3] * 2), lambda a: hinge_loss(a, [[1, -1, 1]] * 2),
        lambda a: binary_cross_entropy_with_logits(a, [[1, 0, 1]] * 2)]
    x, y = Value(0.6), Value(1.7)
    t, u = Tensor([[0.3, 1.4, 0.8], [1.1, 0.7, 1.9]]), Tensor([1.2, 0.9, 0.4])
    cases = [(lambda a, b: dot([a, b], [b, 3.0], a), (x, y))]
    cases += [(f, inputs) for f in binary for inputs in ((x, y), (t, u))]
    cases += [(f, inputs) for f in unary for inputs in ((x,), (t,))] + [(f, (t,)) for f in tensors]
    wrong = 0
    for f, inputs in cases:
        def slopes(*inputs):
            gradients = grad(f(*inputs) ** 2, inputs, create_graph=True)
            return sum([g * x for g, x in zip(gradients, inputs)])
        try:
            gradcheck(f, *inputs)
            gradcheck(slopes, *inputs)
        except AssertionError as error:
            wrong += 1
            print(f"{getattr(f, '__name__', f)} of {type(inputs[0]).__name__}: {error}")
    failures, tests = doctest.testmod(engine)
    print(f"{tests - failures} of {tests} examples in docstrings are right, and the first and second "
          f"derivatives of {len(cases) - wrong} of {len(cases)} operations")
    return not failures and not wrong


if __name__ == "__main__":
    sys.exit(0 if _self_check() else 1)
