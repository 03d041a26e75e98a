"""micrograd.py: automatic differentiation and neural networks in one file of pure Python.

Copy this file into your project; it needs nothing but Python 3.8 or newer. Read it from top to bottom:

    the chain rule   a graph of operations, and how gradients flow back through it
    the rules        every elementwise operation, next to its derivative
    Value            one number
    nested lists     broadcasting, reductions and matrix products on plain lists, without any graph
    Tensor           nested lists of numbers that remember where they come from
    networks         Neuron, Layer and MLP of Values; Linear and Sequential of Tensors
    losses           mean squared error, hinge, cross entropy
    optimizers       SGD, Adam, AdamW
    checking         gradients against finite differences
    saving           safetensors files, which PyTorch and others open
    drawing          the graph as a picture

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
import random
import sys
from contextlib import ContextDecorator
from itertools import chain, cycle, islice, product, repeat
from numbers import Number
from threading import get_ident
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

__version__ = "1.0.0"

_new = object.__new__
Rule = Callable[..., Any]


# ----------------------------------------------------------------------------------------------------
# The chain rule
#
# Every operation makes a node that keeps its operands and, for each operand, a rule: a function that
# turns g, the gradient of the final result with respect to the node, into the gradient with respect to
# that operand. For out = x * y the rules are g * y and g * x. Rules are written with operators only, so
# one and the same rule works on plain numbers, on Tensors, and on Values or Tensors that record a graph
# themselves: that is all there is to gradients of gradients.
# ----------------------------------------------------------------------------------------------------

_LEAF: Tuple[str, Optional[Rule], Optional[Rule]] = ("", None, None)


class Node:
    """What Value and Tensor share: data, its gradient, and the operation that made it.

    `_a` and `_b` are the operands (a tuple of nodes counts as one) and `_rule` is (name of the operation,
    rule for a, rule for b). An operand without a rule is a constant: nothing is computed for it. A node
    refers to its operands and never back. Without cycles, a graph is freed the moment its result is, and
    the garbage collector has nothing to find.
    """

    __slots__ = ("data", "grad", "label", "_a", "_b", "_rule", "_due", "__weakref__")
    __array_ufunc__ = None      # NumPy arrays and numbers on the left of an operator leave it to us
    _NO_GRAD: Any = None        # what .grad is before any backward pass
    _STATE: Tuple[str, ...] = ("data", "grad", "label")
    requires_grad: bool
    data: Any
    grad: Any
    label: str

    @property
    def _op(self) -> str:
        """The name of the operation that made this node, "" for a leaf."""
        return self._rule[0]

    @property
    def _prev(self) -> Tuple[Any, ...]:
        """The operands as nodes; plain numbers among them as constant leaves."""
        return tuple(p if isinstance(p, Node) else self._constant(p)
                     for p in _operands(self._a) + _operands(self._b))

    def backward(self, gradient: Any = None) -> None:
        """Add d self / d node into `.grad` of every node that self depends on, itself included.

        `gradient`, of the shape of self, is where to start instead of ones: the result is then the
        gradient of the sum of gradient * self. Called twice, it adds twice. When it fails (sqrt has no
        derivative at 0) the error names the operation, and every `.grad` is as it was.
        """
        _backpropagate(self, gradient, False, _add_to_grad)

    def __neg__(self) -> Any:
        return _neg(self)

    def __abs__(self) -> Any:
        return _abs(self)

    def maximum(self, other: Any) -> Any:
        """The larger of both, elementwise; equal ones get half the gradient each."""
        return _or_type_error("maximum", self._maximum(other))

    def minimum(self, other: Any) -> Any:
        """The smaller of both, elementwise; equal ones get half the gradient each."""
        return _or_type_error("minimum", self._minimum(other))

    def leaky_relu(self, slope: float = 0.01) -> Any:
        """x where x > 0, slope * x elsewhere."""
        return _function("leaky_relu", lambda x: x if x > 0 else slope * x,
                         lambda g, out, x: g * (_positive(x) + slope * (1 - _positive(x))))(self)

    def clip(self, low: Any = None, high: Any = None) -> Any:
        """x, but no less than low and no more than high (numbers, or None); at a bound the gradient passes."""
        if low is None and high is None:
            raise ValueError("clip: give low, high or both")

        def clipped(x: Any) -> Any:
            x = low if low is not None and x < low else x
            return high if high is not None and x > high else x
        return _function("clip", clipped, lambda g, out, x: g * _step(lambda x: x == clipped(x))(x))(self)

    def __reduce__(self) -> Tuple[Any, ...]:
        """Pickle and deepcopy keep data, grad and label. The graph, however deep, stays behind."""
        return _restore, (type(self), {name: getattr(self, name) for name in self._STATE})


def _or_type_error(name: str, out: Any) -> Any:
    if out is NotImplemented:
        raise TypeError(f"{name}: the other operand must be of the same kind, or a number")
    return out


def _restore(cls: Any, state: Dict[str, Any]) -> Any:
    node = _new(cls)
    node._a = node._b = None
    node._rule, node._due = _LEAF, 0
    for name, value in state.items():
        setattr(node, name, value)
    return node


def _operands(operand: Any) -> Tuple[Any, ...]:
    """What stands in the place of one operand: nothing, a node or number, or several."""
    if isinstance(operand, _Row):
        return operand._b
    if isinstance(operand, (tuple, list)):
        return tuple(operand)
    return () if operand is None else (operand,)


def _backpropagate(root: Any, gradient: Any, create_graph: bool, finish: Rule) -> Any:
    """Put d root / d node into `.grad` of each node below root, and return finish(nodes, kept).

    Why the order matters: in `b = a + a; c = b + b`, b must hand its gradient on to a only once, when
    both uses of b have paid in; too early, and a is counted wrong. So we first count how often each node
    is used (`_due`), and let a node pay its operands when all its users have paid. A list that grows
    while we walk it takes the place of recursion: a graph may be a million operations deep.

    What `.grad` held before is kept aside, so that only this pass's gradients flow. After an error
    (or Ctrl-C) all is put back.
    """
    seed = root._seed(gradient)
    numbers = isinstance(root, Value) and not create_graph
    nodes: List[Any] = [root]
    kept: List[Tuple[Any, Any]] = []
    try:
        _count_uses(nodes, kept, 0 if numbers else None)
        root.grad = seed
        if numbers:
            _pay_numbers(root)
        elif create_graph:
            _pay_nodes(root)
        else:
            with no_grad():
                _pay_nodes(root)
        return finish(nodes, kept)
    except BaseException:
        _put_back(nodes, kept)
        raise


def _count_uses(nodes: List[Any], kept: List[Tuple[Any, Any]], zero: Any) -> None:
    """Append every node below nodes[0], count its uses into `_due`, and set its `.grad` to zero."""
    push = nodes.append
    for node in nodes:
        if node.grad:
            kept.append((node, node.grad))
        node.grad = zero
        _, da, db = node._rule
        if db is not None:
            b = node._b
            if type(b) is tuple:
                _count_several(b, push)
                if type(node) is _Row:
                    node.grad = []
            elif b._due:
                b._due += 1
            else:
                b._due = 1
                push(b)
        if da is not None:
            a = node._a
            if a._due:
                a._due += 1
            else:
                a._due = 1
                push(a)


def _count_several(operands: Tuple[Any, ...], push: Rule) -> None:
    for operand in operands:
        if getattr(operand, "requires_grad", False):
            if not operand._due:
                push(operand)
            operand._due += 1


def _pay_numbers(root: Any) -> None:
    """The chain rule on plain numbers: the hot path of Value, so one and two operands are unrolled.

    The rules of +, * and dot, most of what scalar code does, are written out: a call costs more than they do.
    """
    ready = [root]
    push = ready.append
    node = root
    try:
        for node in ready:
            _, da, db = node._rule
            a = node._a
            b = node._b
            g = node.grad
            if db is None:
                if da is None:
                    continue                                    # a leaf
                if b is None:
                    a.grad += da(g, node.data, a.data)
                else:
                    a.grad += da(g, node.data, a.data, b)       # b is a constant
            elif da is not None:
                if da is _times_y:
                    a.grad += g * b.data
                    b.grad += g * a.data
                elif db is _same:
                    a.grad += g
                    b.grad += g
                elif db is _DOT[2]:
                    if g:
                        a.grad.append((g, b.data))
                        b.grad.append((g, a.data))
                else:
                    a.grad += da(g, node.data, a.data, b.data)
                    b.grad += db(g, node.data, a.data, b.data)
                if b._due == 1:
                    b._due = 0
                    push(b)
                else:
                    b._due -= 1
            elif type(b) is not tuple:                          # a is a constant
                b.grad += db(g, node.data, a, b.data)
                a = b
            else:                                               # the Values of a row
                for operand, d in zip(b, db(g)):
                    if isinstance(operand, Node):
                        operand.grad += d
                        operand._due -= 1
                        if not operand._due:
                            push(operand)
                node.grad = None
                continue
            if a._due == 1:
                a._due = 0
                push(a)
            else:
                a._due -= 1
    except (ArithmeticError, ValueError) as error:
        raise _no_derivative(node, error) from error


def _pay_nodes(root: Any) -> None:
    """The chain rule where gradients are nodes themselves: for Tensors, and for gradients of gradients.

    Broadcasting is undone here and nowhere else: an operand that was repeated to fit gets the sum over
    its copies.
    """
    ready = [root]

    def pay(operand: Any, d: Any) -> None:
        if type(operand) is tuple:
            for part, part_d in zip(operand, d):
                if getattr(part, "requires_grad", False):
                    pay(part, part_d)
            return
        if isinstance(operand, Tensor):
            d = _unbroadcast(d, operand.shape)
        if operand.grad is None:
            operand.grad = d
        else:
            operand.grad += d
        operand._due -= 1
        if not operand._due:
            ready.append(operand)

    node = root
    try:
        for node in ready:
            _, da, db = node._rule
            a, b, g = node._a, node._b, node.grad
            operands = (a,) if b is None else (b,) if a is None else (a, b)
            if da is not None:
                pay(a, da(g, node, *operands))
            if db is not None:
                pay(b, db(g, node, *operands) if type(node) is not _Row else db(g))
    except (ArithmeticError, ValueError) as error:
        raise _no_derivative(node, error) from error


def _no_derivative(node: Any, error: Exception) -> Exception:
    at = ", ".join(f"{p.data}" if isinstance(p, Value) else f"shape {p.shape}" for p in node._prev)
    return type(error)(f"backward: no finite derivative of {node._op} at {at}: {error}")


def _add_to_grad(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> None:
    """End of backward(): add what `.grad` held before."""
    if isinstance(nodes[0], Value):
        for node, before in kept:
            node.grad += before
    else:
        grads = [copied(node.grad.data) for node in nodes]    # one gradient may serve several nodes
        for node, data in zip(nodes, grads):
            node.grad = data
        for node, before in kept:
            node.grad = zip_map(operator.add, len(shape_of(before)), before, node.grad)


def _put_back(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> None:
    for node in nodes:
        node.grad, node._due = node._NO_GRAD, 0
    for node, before in kept:
        node.grad = before


def grad(output: Any, inputs: Any, create_graph: bool = False) -> Tuple[Any, ...]:
    """The gradients of output with respect to inputs (a node, or a sequence of nodes), as a tuple.

    No `.grad` is touched. With `create_graph=True` the gradients can be differentiated again. A Tensor
    of more than one element stands for the sum of its elements. ValueError when output does not depend
    on an input.

    >>> x = Value(3.0)
    >>> slope, = grad(x ** 3, x, create_graph=True)
    >>> slope.data, grad(slope, x)[0].data
    (27.0, 18.0)
    """
    wanted = [inputs] if isinstance(inputs, Node) else list(inputs)
    for i, node in enumerate([output] + wanted):
        if not isinstance(node, (Value, Tensor)):
            what = f"input {i - 1}" if i else "the output"
            raise TypeError(f"grad: {what} must be a Value or a Tensor, not {type(node).__name__}")

    def read(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> Tuple[Any, ...]:
        known = set(map(id, nodes))
        for i, node in enumerate(wanted):
            if id(node) not in known:
                raise ValueError(f"grad: the output does not depend on input {i}, {node!r}")
        found = tuple(n.grad if isinstance(n.grad, Node) else Value(n.grad) for n in wanted)
        _put_back(nodes, kept)
        return found

    return _backpropagate(output, None, create_graph, read)


_paused: Dict[int, int] = {}    # thread -> how many no_grad blocks it is in; empty nearly always


class no_grad(ContextDecorator):
    """Context manager and decorator: operations in this thread record no graph, so they cost less.

    >>> w = Value(2.0)
    >>> with no_grad():
    ...     y = w * 3
    >>> y._prev
    ()
    """

    def __enter__(self) -> None:
        _paused[get_ident()] = _paused.get(get_ident(), 0) + 1

    def __exit__(self, *error: Any) -> None:
        _paused[get_ident()] -= 1
        if not _paused[get_ident()]:
            del _paused[get_ident()]


# ----------------------------------------------------------------------------------------------------
# The rules
#
# One entry per operation: its name, what it does to numbers, and what it does to the gradient g of its
# result. Value and Tensor both take their operations from here.
# ----------------------------------------------------------------------------------------------------

def _power(x: Any, y: Any) -> Any:
    out = x ** y
    if type(out) is complex and complex not in (type(x), type(y)):
        raise ValueError("a negative number to a fractional power is not real")
    return out


def _power_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """d x**y / dx = y * x**(y - 1), and 0 for y = 0 even at x = 0, where x**-1 does not exist."""
    if not isinstance(y, Node):
        return g * (y * x ** (y - 1)) if y else 0 * g
    return g * (y * x ** (y - 1 + _is_zero(x) * _is_zero(y)))


def _same(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g


def _times_y(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * y


#            name  forward            gradient of x                   gradient of y
_ADD = ("+", operator.add,
        _same,                        _same)
_SUB = ("-", operator.sub,
        _same,                        lambda g, out, x, y: -g)
_MUL = ("*", operator.mul,
        _times_y,                     lambda g, out, x, y: g * x)
_DIV = ("/", operator.truediv,
        lambda g, out, x, y: g / y,   lambda g, out, x, y: -g * out / y)
_POW = ("**", _power,
        _power_base,                  lambda g, out, x, y: g * out * _log_of_base(x))
_MAXIMUM = ("maximum", lambda x, y: x if x >= y or x != x else y,
            lambda g, out, x, y: g * _wins(x, y) / 2, lambda g, out, x, y: g * _wins(y, x) / 2)
_MINIMUM = ("minimum", lambda x, y: x if x <= y or x != x else y,
            lambda g, out, x, y: g * _wins(y, x) / 2, lambda g, out, x, y: g * _wins(x, y) / 2)


def _step(forward: Rule) -> Rule:
    """A piecewise constant function of numbers, for use in rules: its own derivative is 0."""
    def apply(x: Any, *more: Any) -> Any:
        if isinstance(x, Tensor):
            return Tensor._from(_broadcast("", forward, x, *more))
        return forward(x.data if isinstance(x, Value) else x, *(y.data if isinstance(y, Value) else y for y in more))
    return apply


def _positive(x: Any) -> Any:
    return Tensor._from(_broadcast(">", operator.gt, x, 0)) if isinstance(x, Tensor) else x > 0


_is_zero = _step(lambda x: x == 0)
_sign = _step(lambda x: (x > 0) - (x < 0))
_equal = _step(lambda x, y: x == y or x != x)      # nan counts as equal: it is what max has found
_wins = _step(lambda x, y: (x > y) + (x >= y))      # 2 for the larger, 1 each for equals


def _function(name: str, forward: Rule, rule: Rule) -> Rule:
    """A function of one Value, Tensor or number, from what it does to a number and its derivative."""
    node_rule = (name, rule, None)

    def apply(x: Any) -> Any:
        if isinstance(x, Value):
            out = _new(Value)
            try:
                out.data = forward(x.data)
            except (ArithmeticError, ValueError) as error:
                out.data = _explain(error, name, x.data)
            out.grad, out.label, out._due, out._b = 0.0, "", 0, None
            if _paused and get_ident() in _paused:
                out._a, out._rule = None, _LEAF
            else:
                out._a, out._rule = x, node_rule
            return out
        if isinstance(x, Tensor):
            return _result(_broadcast(name, forward, x), name, x, rule)
        return forward(x)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{name}, elementwise."
    return apply


FUNCTIONS: Dict[str, Rule] = {}     # all that elementwise has made


def elementwise(name: str, forward: Rule, rule: Rule) -> Rule:
    """Give Value and Tensor a method `name`, differentiable to any order; returns it as a function.

    forward(x) works on plain numbers. rule(g, out, x) is the gradient of x where g is the gradient of
    out = forward(x), written with operators and with functions that this one returns. ValueError when
    `name` is no identifier, or a method already that was not made here.

    >>> softsign = elementwise("softsign", lambda x: x / (1 + abs(x)),
    ...                        lambda g, out, x: g / (1 + abs(x)) ** 2)
    >>> Value(-3.0).softsign().data, softsign(1.0)
    (-0.75, 0.5)
    """
    taken = name not in FUNCTIONS and any(hasattr(cls, name) for cls in [Node] + Node.__subclasses__())
    if taken or not name.isidentifier():
        raise ValueError(f"elementwise: {name!r} is {'taken' if taken else 'not an identifier'}")
    FUNCTIONS[name] = function = _function(name, forward, rule)
    setattr(Node, name, function)
    return function


def _explain(error: Exception, name: str, *numbers: Any, where: str = "") -> Any:
    """Raise an error that names the operation and its operands; inf and nan instead pass through."""
    if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
        return numbers[0] * math.copysign(math.inf, numbers[1]) if name == "/" else math.nan
    infix = len(numbers) == 2 and not name.isidentifier()
    call = f" {name} ".join(map(repr, numbers)) if infix else f"{name}({', '.join(map(repr, numbers))})"
    raise type(error)(f"{call}{where}: {error}") from None


def _sigmoid(x: Any) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    e = math.exp(x)             # never overflows: x < 0
    return e / (1 + e)


_neg = _function("neg", operator.neg, lambda g, out, x: -g)
_abs = _function("abs", abs, lambda g, out, x: g * _sign(x))
exp = elementwise("exp", math.exp, lambda g, out, x: g * out)
log = elementwise("log", math.log, lambda g, out, x: g / x)
sqrt = elementwise("sqrt", math.sqrt, lambda g, out, x: g / (2 * out))
sin = elementwise("sin", math.sin, lambda g, out, x: g * cos(x))
cos = elementwise("cos", math.cos, lambda g, out, x: -g * sin(x))
tanh = elementwise("tanh", math.tanh, lambda g, out, x: g * (1 - out * out))
sigmoid = elementwise("sigmoid", _sigmoid, lambda g, out, x: g * out * (1 - out))
relu = elementwise("relu", lambda x: type(x)(0) if x < 0 else x, lambda g, out, x: g * _positive(x))
silu = elementwise("silu", lambda x: x * _sigmoid(x),
                   lambda g, out, x: g * sigmoid(x) * (1 + x * sigmoid(-x)))
softplus = elementwise("softplus", lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
                       lambda g, out, x: g * sigmoid(x))
gelu = elementwise("gelu", lambda x: x * (0.5 + 0.5 * math.erf(x / math.sqrt(2))),
                   lambda g, out, x: g * (_normal_cdf(x) + x * _normal_pdf(x)))
_normal_cdf = _function("normal_cdf", lambda x: 0.5 + 0.5 * math.erf(x / math.sqrt(2)),
                        lambda g, out, x: g * _normal_pdf(x))
_normal_pdf = _function("normal_pdf", lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
                        lambda g, out, x: -g * out * x)
# The exponent's gradient is x**y * log(x): 0 at x = 0, as PyTorch has it, and nan where x < 0.
_log_of_base = _function("log", lambda x: math.log(x) if x > 0 else 0.0 if x == 0 else math.nan,
                         lambda g, out, x: g / x)


# ----------------------------------------------------------------------------------------------------
# Value: one number
# ----------------------------------------------------------------------------------------------------

_PLAIN = frozenset([float, int])    # the usual types of numbers, told apart faster than by isinstance


def _number(x: Any) -> Any:
    """x as one of Python's numbers (NumPy's are converted), or NotImplemented."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, Number):
        return x.item() if hasattr(x, "item") else x
    return NotImplemented


def _value(data: Any, rule: Tuple[str, Optional[Rule], Optional[Rule]], a: Any, b: Any) -> Value:
    """A Value made by an operation."""
    out = _new(Value)
    out.data, out.grad, out.label, out._due = data, 0.0, "", 0
    if _paused and get_ident() in _paused:
        a, b, rule = None, None, _LEAF
    out._a, out._b, out._rule = a, b, rule
    return out


def _value_operators(name: str, forward: Rule, da: Rule, db: Rule) -> Tuple[Any, Any]:
    """An operator of Value, and its reflection (number - Value), from its entry in the rules."""
    both, left, right = (name, da, db), (name, da, None), (name, None, db)

    def method(x: Any, y: Any) -> Any:
        out = _new(Value)                       # as in _value, but inline: this is the hot path
        try:
            if type(y) is Value:
                out.data = forward(x.data, y.data)
                out._rule = both
            elif type(y) in _PLAIN:
                out.data = forward(x.data, y)
                out._rule = left
            else:
                return other_kind(x, y)
        except (ArithmeticError, ValueError) as error:
            out.data = _explain(error, name, x.data, y.data if type(y) is Value else y)
            out._rule = both if type(y) is Value else left
        out.grad = 0.0
        out.label = ""
        out._due = 0
        out._a = x
        out._b = y
        if _paused and get_ident() in _paused:
            out._a = out._b = None
            out._rule = _LEAF
        return out

    def other_kind(x: Any, y: Any) -> Any:      # of number, or a subclass of Value
        number = y.data if isinstance(y, Value) else _number(y)
        if number is NotImplemented:
            return number
        try:
            data = forward(x.data, number)
        except (ArithmeticError, ValueError) as error:
            data = _explain(error, name, x.data, number)
        return _value(data, both, x, y) if isinstance(y, Value) else _value(data, left, x, number)

    def reflected(x: Any, y: Any) -> Any:
        y = _number(y)
        if y is NotImplemented:
            return y
        try:
            data = forward(y, x.data)
        except (ArithmeticError, ValueError) as error:
            data = _explain(error, name, y, x.data)
        return _value(data, right, y, x)

    return method, reflected


def _value_comparison(compare: Rule) -> Any:
    def method(x: Any, y: Any) -> Any:
        y = y.data if isinstance(y, Value) else _number(y)
        return y if y is NotImplemented else compare(x.data, y)
    return method


class Value(Node):
    """A number that remembers where it came from.

    `data` is any of Python's numbers: float, int, Fraction (gradients of + - * / and integer powers are
    then exact), Decimal, complex. Operators take Values and numbers on either side; < <= > >= compare
    the data, == is identity. TypeError when data is not a number.

    >>> x = Value(3.0, label="x")
    >>> y = x * x + 2
    >>> y.backward()
    >>> y, x.grad
    (Value(data=11.0, grad=1.0), 6.0)
    """

    __slots__ = ()
    _NO_GRAD = 0.0
    requires_grad = True

    def __init__(self, data: Any, label: str = "") -> None:
        number = _number(data)
        if number is NotImplemented:
            raise TypeError(f"Value: data must be a number, not {data!r}")
        self.data, self.grad, self.label = number, 0.0, label
        self._a, self._b, self._rule, self._due = None, None, _LEAF, 0

    __add__, __radd__ = _value_operators(*_ADD)
    __sub__, __rsub__ = _value_operators(*_SUB)
    __mul__, __rmul__ = _value_operators(*_MUL)
    __truediv__, __rtruediv__ = _value_operators(*_DIV)
    __pow__, __rpow__ = _value_operators(*_POW)
    _maximum, _minimum = _value_operators(*_MAXIMUM)[0], _value_operators(*_MINIMUM)[0]
    __lt__, __le__ = _value_comparison(operator.lt), _value_comparison(operator.le)
    __gt__, __ge__ = _value_comparison(operator.gt), _value_comparison(operator.ge)

    def _seed(self, gradient: Any) -> Any:
        seed = type(self.data)(1) if gradient is None else _number(gradient)
        if seed is NotImplemented:
            raise TypeError(f"backward: the gradient of a Value is a number, not {gradient!r}")
        return seed

    _constant = classmethod(lambda cls, number: Value(number))

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"


class _Row(Node):
    """Several Values (and numbers) as one operand, so that a whole neuron is one node of the graph.

    A graph of neurons uses the same row again and again: the weights for every example, the inputs for
    every neuron of a layer. What a dot product pays into a row is just the pair (g, the other row). When
    all pairs are in, the gradient of the row is the sum of g * other row over them: column by column,
    again a dot product. That is the step from single numbers to a product of matrices.
    """

    __slots__ = ("requires_grad",)

    def __init__(self, values: Tuple[Any, ...], more: Tuple[Any, ...] = ()) -> None:
        kinds = set(map(type, values))
        self.requires_grad = not kinds <= _PLAIN
        if kinds == {Value}:
            self.data = [v.data for v in values]
        elif kinds <= _PLAIN:
            self.data = list(values)
        else:
            values = tuple(v if isinstance(v, Value) else _number(v) for v in values)
            if NotImplemented in values:
                raise TypeError("dot: weights, inputs and bias must be Values or numbers")
            self.requires_grad = any(isinstance(v, Value) for v in values)
            self.data = [v.data if isinstance(v, Value) else v for v in values]
        self.data += more                               # the 1 that belongs to a bias
        self._a, self._b, self._rule, self._due = None, values, _ROW, 0
        self.grad, self.label = None, ""

    def __iter__(self) -> Iterator[Any]:
        return chain(self._b, self.data[len(self._b):])


def _spread(pairs: List[Tuple[Any, Any]]) -> List[Any]:
    if not pairs:
        return repeat(0)
    gs, rows = zip(*pairs)
    return [sumprod(gs, column) for column in zip(*rows)]


_ROW = ("row", None, _spread)
_DOT = ("dot", lambda g, out, w, x: [(g, x)], lambda g, out, w, x: [(g, w)])
_DOT_CONSTANT_INPUTS, _DOT_CONSTANT_WEIGHTS = ("dot", _DOT[1], None), ("dot", None, _DOT[2])


def dot(weights: Iterable[Any], inputs: Iterable[Any], bias: Any = 0) -> Value:
    """sum(w * x for w, x in zip(weights, inputs)) + bias as one node: a whole neuron.

    Values and numbers may be mixed. ValueError when the lengths differ.

    >>> dot([Value(2.0), 3.0], [10.0, Value(1.0)], bias=0.5).data
    23.5
    """
    weights, inputs = tuple(weights), tuple(inputs)
    if len(weights) != len(inputs):
        raise ValueError(f"dot: {len(weights)} weights for {len(inputs)} inputs")
    return _dot(_Row((*weights, bias)), _Row(inputs, (1,)))


def _dot(w: _Row, x: _Row) -> Value:
    """The dot product of two rows; the last weight is the bias, the last input its 1."""
    out = _new(Value)
    out.data = sumprod(w.data, x.data)
    out.grad = 0.0
    out.label = ""
    out._due = 0
    out._a = w
    out._b = x
    out._rule = _DOT
    if not x.requires_grad or not w.requires_grad or _paused:
        return _dot_with_constants(out, w, x)
    return out


def _dot_with_constants(out: Value, w: _Row, x: _Row) -> Value:
    if not w.requires_grad and not x.requires_grad or _paused and get_ident() in _paused:
        out._a, out._b, out._rule = None, None, _LEAF
    elif not x.requires_grad:
        out._b, out._rule = x.data, _DOT_CONSTANT_INPUTS
    elif not w.requires_grad:
        out._a, out._rule = w.data, _DOT_CONSTANT_WEIGHTS
    return out


# ----------------------------------------------------------------------------------------------------
# Nested lists
#
# The arithmetic of Tensors, on plain nested lists: no graph, no gradients. Recursion goes over the
# dimensions (there are few); the loops over numbers run in C: map, zip, sum, sumprod.
# ----------------------------------------------------------------------------------------------------

Nested = Any        # a number, or a list of Nested of one shape
Shape = Tuple[int, ...]

try:
    from math import sumprod    # Python 3.12: three times as fast, and more exact
except ImportError:
    def sumprod(p: Iterable[Any], q: Iterable[Any]) -> Any:  # type: ignore[misc]
        """The sum of the products of the numbers in p and q."""
        return sum(map(operator.mul, p, q))


def shape_of(data: Nested) -> Shape:
    """The lengths of nested lists along each dimension, () for a number.

    >>> shape_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    shape = []
    while type(data) is list:
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def nested(data: Any, name: str = "Tensor", where: str = "") -> Nested:
    """A copy of data, checked: a number, nested lists or tuples of numbers, or anything with .tolist().

    TypeError for what is no number, ValueError for a ragged list; both say where.
    """
    if hasattr(data, "tolist"):
        data = data.tolist()
    if not isinstance(data, (list, tuple)):
        number = _number(data)
        if number is NotImplemented:
            hint = "; use Values by themselves, or their .data" if isinstance(data, Value) else ""
            raise TypeError(f"{name}: {data!r}{where and ' at ' + where} is not a number{hint}")
        return number
    if set(map(type, data)) <= _PLAIN:
        return list(data)
    if len(where) > 200:
        raise ValueError(f"{name}: lists nested too deeply (does one contain itself?)")
    items = [nested(item, name, f"{where}[{i}]") for i, item in enumerate(data)]
    shapes = list(map(shape_of, items))
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"{name}: ragged list: {where}[{i}] has shape {shape}, {where}[0] has {shapes[0]}")
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
    return list(data)


def nest(numbers: Sequence[Any], shape: Shape) -> Nested:
    """The opposite of flat.

    >>> nest([1, 2, 3, 4], (2, 2))
    [[1, 2], [3, 4]]
    """
    if not shape:
        return numbers[0]
    if 0 in shape:
        return copied(expand(0, (), shape))
    for size in reversed(shape[1:]):
        numbers = [list(numbers[i:i + size]) for i in range(0, len(numbers), size)]
    return list(numbers)


def copied(data: Nested) -> Nested:
    """data with lists of its own."""
    if type(data) is not list:
        return data
    return list(map(copied, data)) if data and type(data[0]) is list else data[:]


def zip_map(f: Rule, ndim: int, *operands: Nested) -> Nested:
    """f of the corresponding numbers of operands of one shape, of ndim dimensions.

    >>> zip_map(max, 2, [[1, 2], [3, 4]], [[4, 3], [2, 1]])
    [[4, 3], [3, 4]]
    """
    if ndim == 2:
        return [list(map(f, *rows)) for rows in zip(*operands)]
    if ndim == 1:
        return list(map(f, *operands))
    if ndim == 0:
        return f(*operands)
    return [zip_map(f, ndim - 1, *items) for items in zip(*operands)]


def map_rows(f: Rule, ndim: int, *operands: Nested) -> Nested:
    """Like zip_map, but f gets whole rows and gives a row; a number counts as a row of one."""
    if ndim == 0:
        return f(*([x] for x in operands))[0]
    if ndim == 1:
        return f(*operands)
    return [map_rows(f, ndim - 1, *items) for items in zip(*operands)]


def broadcast_shape(name: str, *shapes: Shape) -> Shape:
    """The shape to which NumPy broadcasts the given ones; ValueError names the operation and all shapes.

    >>> broadcast_shape("+", (2, 1, 3), (4, 1))
    (2, 4, 3)
    """
    ndim = max(map(len, shapes))
    sizes = []
    for column in zip(*((1,) * (ndim - len(shape)) + shape for shape in shapes)):
        different = set(column) - {1}
        if len(different) > 1:
            listed = " and ".join(map(str, shapes))
            raise ValueError(f"{name}: shapes {listed} do not broadcast: sizes {column} must be equal or 1")
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


def reduce_dim(f: Rule, data: Nested, dim: int) -> Nested:
    """f of the numbers along one dimension, which disappears.

    >>> reduce_dim(sum, [[1, 2], [3, 4]], 0), reduce_dim(sum, [[1, 2], [3, 4]], 1)
    ([4, 6], [3, 7])
    """
    if dim:
        return [reduce_dim(f, item, dim - 1) for item in data]
    if data and type(data[0]) is list:
        return [reduce_dim(f, column, 0) for column in zip(*data)]
    return f(data)


def permuted(data: Nested, dims: Sequence[int]) -> Nested:
    """data with its dimensions in the order dims: (1, 0) transposes a matrix.

    >>> permuted([[1, 2, 3], [4, 5, 6]], (1, 0))
    [[1, 4], [2, 5], [3, 6]]
    """
    if list(dims) == sorted(dims):
        return data
    first, rest = dims[0], [d - (d > dims[0]) for d in dims[1:]]
    data = _to_front(data, first)
    return data if rest == sorted(rest) else [permuted(item, rest) for item in data]


def _to_front(data: Nested, dim: int) -> Nested:
    if dim == 0:
        return data
    return list(map(list, zip(*(_to_front(item, dim - 1) for item in data))))   # exchange the two outer dimensions


def products(x: Nested, w: Nested) -> Nested:
    """The dot product of each row of x with each row of w, x @ w.T: (..., n, k) and (m, k) -> (..., n, m).

    Row by row, since that needs no transpose.

    >>> products([[1, 2]], [[3, 4], [5, 6]])
    [[11, 17]]
    """
    if x and type(x[0]) is list and x[0] and type(x[0][0]) is list:
        return [products(item, w) for item in x]
    return [[sumprod(row, other) for other in w] for row in x]


def matmul(x: Nested, y: Nested, ndim: int) -> Nested:
    """Matrix products over equal leading dimensions: (..., n, k) and (..., k, m) -> (..., n, m)."""
    if ndim > 2:
        return [matmul(a, b, ndim - 1) for a, b in zip(x, y)]
    return products(x, list(zip(*y)))


def concatenated(datas: Sequence[Nested], dim: int) -> Nested:
    """Nested lists joined along one dimension."""
    if dim:
        return [concatenated(items, dim - 1) for items in zip(*datas)]
    return list(chain.from_iterable(datas))


# An index is a tuple with, for each dimension in turn: an int, a range, None (a new dimension), or a list
# of ints, of such lists, or of tuples of ints (an int for each of several dimensions).

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
    if first is None:
        return [take(data, rest)]
    return [take(data, (i if type(i) is tuple else (i,)) + rest) for i in first]


def add_at(data: Nested, index: Tuple[Any, ...], values: Nested) -> Nested:
    """The opposite of take: data, a copy of one's own, plus values at the index; what is named twice adds up.

    >>> add_at([0, 0, 0], ([2, 2, 0],), [1, 10, 100])
    [100, 0, 11]
    """
    if not index:
        return zip_map(operator.add, len(shape_of(data)), data, values)
    first, rest = index[0], index[1:]
    if first is None:
        return add_at(data, rest, values[0])
    if type(first) is int:
        data[first] = add_at(data[first], rest, values)
        return data
    for i, value in zip(first, values):
        data = add_at(data, (i if type(i) is tuple else (i,)) + rest, value)
    return data


# ----------------------------------------------------------------------------------------------------
# Tensor: nested lists of numbers
#
# Names, shapes and numbers are PyTorch's. Each operation is a kernel from the section above, and a rule.
# ----------------------------------------------------------------------------------------------------

def _broadcast(name: str, forward: Rule, *operands: Any) -> Nested:
    """forward on the numbers of Tensors or plain numbers, broadcast to one shape."""
    datas = [p.data if isinstance(p, Tensor) else p for p in operands]
    shapes = [shape_of(data) for data in datas]
    shape = shapes[0]
    if any(other != shape for other in shapes):
        shape = broadcast_shape(name, *shapes)
        datas = [expand(data, own, shape) for data, own in zip(datas, shapes)]
    try:
        return zip_map(forward, len(shape), *datas)
    except (ArithmeticError, ValueError):
        return nest([_attempt(name, forward, [take(data, index) for data in datas], index)
                     for index in product(*map(range, shape))], shape)


def _attempt(name: str, forward: Rule, numbers: List[Any], index: Tuple[int, ...]) -> Any:
    try:
        return forward(*numbers)
    except (ArithmeticError, ValueError) as error:
        return _explain(error, name, *numbers, where=f" at index {list(index)}")


def _result(data: Nested, name: str, a: Any, da: Optional[Rule], b: Any = None, db: Optional[Rule] = None) -> Tensor:
    """A Tensor made by an operation. Operands that need no gradient lose their rule."""
    out = _new(Tensor)
    out.data, out.grad, out.label, out._due = data, None, "", 0
    rule_a, rule_b = da if _needs_grad(a) else None, db if _needs_grad(b) else None
    if (rule_a is None and rule_b is None) or (_paused and get_ident() in _paused):
        out._a, out._b, out._rule, out.requires_grad = None, None, _LEAF, False
    else:
        out._a, out._b, out._rule, out.requires_grad = a, b, (name, rule_a, rule_b), True
    return out


def _needs_grad(operand: Any) -> bool:
    if type(operand) is tuple:
        return any(map(_needs_grad, operand))
    return isinstance(operand, Tensor) and operand.requires_grad


def _operand(name: str, x: Any) -> Any:
    """x as an operand of a Tensor: a Tensor, a number, or NotImplemented."""
    if isinstance(x, Tensor) or type(x) in _PLAIN:
        return x
    if isinstance(x, Value):
        raise TypeError(f"{name}: a Value and a Tensor do not mix; use tensor.item() or Tensor(value.data)")
    if isinstance(x, (list, tuple)) or hasattr(x, "tolist"):
        return Tensor(nested(x, name), requires_grad=False)
    return _number(x)


def _tensor(name: str, x: Any) -> Tensor:
    """x as a Tensor; TypeError when it cannot be."""
    x = _operand(name, x)
    if x is NotImplemented:
        raise TypeError(f"{name}: needs a Tensor, nested lists or a number")
    return x if isinstance(x, Tensor) else Tensor(x, requires_grad=False)


def _unbroadcast(d: Tensor, shape: Shape) -> Tensor:
    """Undo broadcasting: sum the gradient d over the dimensions along which an operand was repeated."""
    have = d.shape
    if have == shape:
        return d
    new = len(have) - len(shape)
    return d.sum(tuple(i for i in range(len(have)) if i < new or shape[i - new] < have[i])).reshape(shape)


def _tensor_operators(name: str, forward: Rule, da: Rule, db: Rule) -> Tuple[Any, Any]:
    """An operator of Tensor, and its reflection, from its entry in the rules."""
    def method(x: Any, y: Any) -> Any:
        y = _operand(name, y)
        return y if y is NotImplemented else _result(_broadcast(name, forward, x, y), name, x, da, y, db)

    def reflected(x: Any, y: Any) -> Any:
        y = _operand(name, y)
        return y if y is NotImplemented else _result(_broadcast(name, forward, y, x), name, y, da, x, db)

    return method, reflected


def _tensor_comparison(name: str, compare: Rule) -> Any:
    def method(x: Any, y: Any) -> Any:
        y = _operand(name, y)
        if y is NotImplemented:
            return y
        return Tensor._from(_broadcast(name, lambda p, q: 1.0 if compare(p, q) else 0.0, x, y))
    return method


def _dims(name: str, dim: Any, ndim: int) -> Tuple[int, ...]:
    """dim (None for all, an int or several, negative from the end) as a sorted tuple."""
    dims = tuple(range(ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    for d in dims:
        if type(d) is not int:
            raise TypeError(f"{name}: dim must be an int or several, not {d!r}")
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(f"{name}: dim {d} is out of range for a Tensor of {ndim} dimensions")
    dims = tuple(sorted(d % ndim for d in dims)) if ndim else ()
    if len(set(dims)) < len(dims):
        raise ValueError(f"{name}: a dim appears twice in {dim}")
    return dims


def _one_dim(name: str, dim: Any, ndim: int) -> Any:
    """dim, one int, counted from the front; None for a Tensor of 0 dimensions."""
    if type(dim) is not int:
        raise TypeError(f"{name}: dim must be an int, not {dim!r}")
    return (_dims(name, dim, ndim) or (None,))[0]


def _sizes(name: str, shape: Tuple[Any, ...], least: int = 0) -> Shape:
    """A shape given as (2, 3) or ((2, 3),); no size below least."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    for size in shape:
        if type(size) is not int:
            raise TypeError(f"{name}: sizes must be ints, not {size!r}")
        if size < least:
            raise ValueError(f"{name}: size {size} in shape {shape}")
    if 0 in shape[:-1]:
        raise ValueError(f"{name}: nested lists cannot hold shape {shape}: only the last size may be 0")
    return shape


def _largest(row: Sequence[Any]) -> Any:
    """max, but nan when there is one, wherever it stands."""
    for x in row:
        if x != x:
            return x
    return max(row)


def _smallest(row: Sequence[Any]) -> Any:
    return -_largest([-x for x in row])


def _index_of_largest(row: Sequence[Any]) -> int:
    top = _largest(row)
    return next(i for i, x in enumerate(row) if x == top or x != x)


# Stable for any finite input, because the largest exponent is 0.

def _softmax(row: Sequence[Any]) -> List[float]:
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    total = sum(exps)
    return [e / total for e in exps]


def _logsumexp(row: Sequence[Any]) -> float:
    top = _largest(row)
    return top if math.isinf(top) else top + math.log(sum([math.exp(x - top) for x in row]))


def _log_softmax(row: Sequence[Any]) -> List[float]:
    top = max(row)
    log_total = math.log(sum([math.exp(x - top) for x in row]))
    return [x - top - log_total for x in row]


class Tensor(Node):
    """Nested lists of numbers, of any number of dimensions, that remember where they come from.

    `data` is a number, nested lists or tuples of numbers, or anything with .tolist() (an array.array, a
    NumPy array); it is copied. `requires_grad=False` makes a constant. `.data` and `.grad` are plain
    nested lists, `.grad` is None until a backward pass. Operators broadcast as NumPy's do and take
    numbers and nested lists on either side; < <= > >= give a constant Tensor of 0.0 and 1.0, == is
    identity. ValueError for a ragged list, TypeError for what is no number.

    >>> w = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (w @ [1.0, 10.0]).sum().backward()
    >>> w.grad
    [[1.0, 10.0], [1.0, 10.0]]
    """

    __slots__ = ("requires_grad",)
    _STATE = ("data", "grad", "label", "requires_grad")

    def __init__(self, data: Any, label: str = "", requires_grad: bool = True) -> None:
        self.data, self.grad, self.label, self.requires_grad = nested(data), None, label, requires_grad
        self._a, self._b, self._rule, self._due = None, None, _LEAF, 0

    @classmethod
    def _from(cls, data: Nested, requires_grad: bool = False) -> Tensor:
        """A leaf of lists that are known to be good, and not copied."""
        out = _new(Tensor)
        out.data, out.grad, out.label, out.requires_grad = data, None, "", requires_grad
        out._a, out._b, out._rule, out._due = None, None, _LEAF, 0
        return out

    _constant = classmethod(lambda cls, number: Tensor(number, requires_grad=False))

    def _seed(self, gradient: Any) -> Tensor:
        if not self.requires_grad:
            raise ValueError("backward: nothing to differentiate: made of constants only, or under no_grad")
        if gradient is None:
            return Tensor._from(zip_map(lambda x: type(x)(1), self.ndim, self.data))
        seed = _tensor("backward", gradient).detach()
        if seed.shape != self.shape:
            raise ValueError(f"backward: the gradient has shape {seed.shape}, the Tensor {self.shape}")
        return seed

    # creation: shapes as ints or one tuple; a leaf that requires gradients unless requires_grad=False

    @staticmethod
    def full(shape: Any, value: Any, *, requires_grad: bool = True) -> Tensor:
        """A Tensor of the given shape with one value everywhere."""
        return Tensor._fill("full", (shape,) if isinstance(shape, int) else shape, lambda: value, requires_grad)

    @staticmethod
    def _fill(name: str, shape: Any, draw: Callable[[], Any], requires_grad: bool) -> Tensor:
        sizes = _sizes(name, tuple(shape))
        numbers = [draw() for _ in range(math.prod(sizes))]
        return Tensor(nest(numbers, sizes), requires_grad=requires_grad)

    @staticmethod
    def zeros(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Zeros."""
        return Tensor._fill("zeros", shape, lambda: 0.0, requires_grad)

    @staticmethod
    def ones(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Ones."""
        return Tensor._fill("ones", shape, lambda: 1.0, requires_grad)

    @staticmethod
    def rand(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Uniform random numbers in [0, 1), from random.random."""
        return Tensor._fill("rand", shape, random.random, requires_grad)

    @staticmethod
    def randn(*shape: Any, requires_grad: bool = True) -> Tensor:
        """Normal random numbers of mean 0 and standard deviation 1, from random.gauss."""
        return Tensor._fill("randn", shape, lambda: random.gauss(0.0, 1.0), requires_grad)

    @staticmethod
    def uniform(low: float, high: float, *shape: Any, requires_grad: bool = True) -> Tensor:
        """Uniform random numbers between low and high, from random.uniform."""
        return Tensor._fill("uniform", shape, lambda: random.uniform(low, high), requires_grad)

    @staticmethod
    def eye(n: int, m: Optional[int] = None, *, requires_grad: bool = True) -> Tensor:
        """n rows of m (default n) numbers, 1.0 on the diagonal, 0.0 elsewhere."""
        n, m = _sizes("eye", (n, n if m is None else m))
        return Tensor([[1.0 if i == j else 0.0 for j in range(m)] for i in range(n)], requires_grad=requires_grad)

    @staticmethod
    def arange(start: Any, end: Any = None, step: Any = 1, *, requires_grad: bool = True) -> Tensor:
        """start, start + step, ... up to end, which is left out; arange(n) counts from 0."""
        start, end = (0, start) if end is None else (start, end)
        if step == 0:
            raise ValueError("arange: step must not be 0")
        count = max(0, math.ceil((end - start) / step))
        return Tensor([start + i * step for i in range(count)], requires_grad=requires_grad)

    # what it is

    @property
    def shape(self) -> Shape:
        """The lengths along each dimension, () for a single number."""
        return shape_of(self.data)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def item(self) -> Any:
        """The only element as a number; ValueError when there are more."""
        if self.size != 1:
            raise ValueError(f"item: the Tensor has shape {self.shape}, not a single element")
        return flat(self.data)[0]

    def tolist(self) -> Nested:
        """A copy of the data."""
        return copied(self.data)

    def detach(self) -> Tensor:
        """A constant copy, outside the graph."""
        return Tensor._from(copied(self.data))

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len: a Tensor of 0 dimensions has no length")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.__getitem__, range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a Tensor of shape {self.shape} is ambiguous: use .item(), min or max")
        return bool(self.item())

    # elementwise

    __add__, __radd__ = _tensor_operators(*_ADD)
    __sub__, __rsub__ = _tensor_operators(*_SUB)
    __mul__, __rmul__ = _tensor_operators(*_MUL)
    __truediv__, __rtruediv__ = _tensor_operators(*_DIV)
    __pow__, __rpow__ = _tensor_operators(*_POW)
    _maximum, _minimum = _tensor_operators(*_MAXIMUM)[0], _tensor_operators(*_MINIMUM)[0]
    __lt__, __le__ = _tensor_comparison("<", operator.lt), _tensor_comparison("<=", operator.le)
    __gt__, __ge__ = _tensor_comparison(">", operator.gt), _tensor_comparison(">=", operator.ge)

    # matrix products

    def __matmul__(self, other: Any) -> Any:
        """The matrix product as NumPy defines it: 1-d operands are rows or columns, leading dims broadcast."""
        other = _operand("matmul", other)
        if not isinstance(other, Tensor):
            return NotImplemented
        xs, ys = self.shape, other.shape
        if not xs or not ys or xs[-1] != ys[-2 if len(ys) > 1 else 0]:
            why = f"inner sizes {xs[-1]} and {ys[-2:][0]} differ" if xs and ys else "a number has no rows, use *"
            raise ValueError(f"matmul: {xs} @ {ys}: {why}")
        x = self if len(xs) > 1 else self.reshape(1, *xs)
        y = other if len(ys) > 1 else other.reshape(*ys, 1)
        xs, ys = x.shape, y.shape
        batch = xs[:-2] if xs[:-2] == ys[:-2] else broadcast_shape("matmul", xs[:-2], ys[:-2])
        data = matmul(expand(x.data, xs, batch + xs[-2:]), expand(y.data, ys, batch + ys[-2:]), len(batch) + 2)
        out = _result(data, "matmul", x, lambda g, out, x, y: g @ y.transpose(-1, -2),
                      y, lambda g, out, x, y: x.transpose(-1, -2) @ g)
        if self.ndim > 1 and other.ndim > 1:
            return out
        return out.reshape(batch + xs[-2:-1] * (self.ndim > 1) + ys[-1:] * (other.ndim > 1))

    def __rmatmul__(self, other: Any) -> Any:
        return _tensor("matmul", other) @ self

    # reductions: dim is None for all dimensions, an int or several; keepdim leaves them in with size 1

    def _kept(self, dims: Tuple[int, ...]) -> Shape:
        return tuple(1 if i in dims else size for i, size in enumerate(self.shape))

    def _reduce(self, name: str, reduction: Rule, dims: Tuple[int, ...], keepdim: bool, rule: Rule) -> Any:
        """Reduce over dims; rule gets g and out with these dimensions kept, so that they broadcast."""
        kept, data = self._kept(dims), self.data
        if len(dims) == len(kept):
            data = reduction(flat(data))
        else:
            for dim in reversed(dims):
                data = reduce_dim(reduction, data, dim)
        if keepdim:
            data = nest(flat(data), kept)
        return _result(data, name, self, lambda g, out, x: rule(g.reshape(kept), out, x, kept))

    def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The sum over dim."""
        return self._reduce("sum", sum, _dims("sum", dim, self.ndim), keepdim,
                            lambda g, out, x, kept: g.broadcast_to(x.shape))

    def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The mean over dim; ValueError when there is nothing to average."""
        return self.sum(dim, keepdim) / self._count("mean", dim, 1)

    def var(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The unbiased variance over dim: the divisor is n - 1; ValueError for fewer than two elements."""
        n = self._count("var", dim, 2)
        deviation = self - self.mean(dim, keepdim=True)
        return (deviation * deviation).sum(dim, keepdim) / (n - 1)

    def _count(self, name: str, dim: Any, least: int) -> int:
        n = math.prod(self.shape[d] for d in _dims(name, dim, self.ndim))
        if n < least:
            raise ValueError(f"{name}: {n} elements along dim {dim} of shape {self.shape}, at least {least} needed")
        return n

    def max(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The largest element over dim; equal ones share the gradient. nan when there is one."""
        return self._extreme("max", _largest, dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The smallest element over dim; equal ones share the gradient. nan when there is one."""
        return self._extreme("min", _smallest, dim, keepdim)

    def _extreme(self, name: str, reduction: Rule, dim: Any, keepdim: bool) -> Tensor:
        dims = _dims(name, dim, self.ndim)
        self._count(name, dim, 1)

        def rule(g: Any, out: Any, x: Any, kept: Shape) -> Any:
            hits = _equal(x, out.detach().reshape(kept))
            return g * hits / hits.sum(dims, keepdim=True)
        return self._reduce(name, reduction, dims, keepdim, rule)

    def argmax(self, dim: Optional[int] = None) -> Any:
        """The index of the (first) largest element over dim, as an int or nested lists of ints."""
        self._count("argmax", dim, 1)
        if dim is None:
            return _index_of_largest(flat(self.data))
        d = _one_dim("argmax", dim, self.ndim)
        return 0 if d is None else reduce_dim(_index_of_largest, self.data, d)

    def logsumexp(self, dim: Any, keepdim: bool = False) -> Tensor:
        """log(sum(exp(x))) over dim."""
        self._count("logsumexp", dim, 1)
        return self._reduce("logsumexp", _logsumexp, _dims("logsumexp", dim, self.ndim), keepdim,
                            lambda g, out, x, kept: g * (x - out.reshape(kept)).exp())

    def _along(self, name: str, f: Rule, dim: int, rule: Rule) -> Tensor:
        """A function from rows to rows along dim."""
        self._count(name, dim, 1)
        dims, d = list(range(self.ndim)), _one_dim(name, dim, self.ndim)
        if d is not None:
            dims[d], dims[-1] = dims[-1], d
        data = permuted(map_rows(f, self.ndim, permuted(self.data, dims)), dims)
        return _result(data, name, self, rule)

    def softmax(self, dim: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along dim."""
        return self._along("softmax", _softmax, dim,
                           lambda g, out, x: out * (g - (g * out).sum(dim, keepdim=True)))

    def log_softmax(self, dim: int = -1) -> Tensor:
        """log(softmax(x)) along dim."""
        return self._along("log_softmax", _log_softmax, dim,
                           lambda g, out, x: g - out.exp() * g.sum(dim, keepdim=True))

    # shapes

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements, row by row, in another shape; one size may be -1."""
        sizes, size = _sizes("reshape", shape, -1), self.size
        if sizes.count(-1) == 1:
            rest = -math.prod(sizes)
            sizes = tuple(size // rest if n == -1 and rest else n for n in sizes)
        if any(n < 0 for n in sizes) or math.prod(sizes) != size:
            raise ValueError(f"reshape: {self.shape} has {size} elements, which do not fit into {shape}")
        return _result(nest(flat(self.data), sizes), "reshape", self, lambda g, out, x: g.reshape(x.shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """All dimensions from start_dim to end_dim made one."""
        if not self.ndim:
            return self.reshape(1)
        start, end = _one_dim("flatten", start_dim, self.ndim), _one_dim("flatten", end_dim, self.ndim)
        if start > end:
            raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        shape = self.shape
        return self.reshape(*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:])

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order, each given once."""
        order = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        _dims("permute", order, self.ndim)
        if len(order) != self.ndim:
            raise ValueError(f"permute: {len(order)} dims for a Tensor of {self.ndim} dimensions")
        order = tuple(d % self.ndim for d in order)
        back = tuple(order.index(d) for d in range(len(order)))
        return _result(permuted(self.data, order), "permute", self, lambda g, out, x: g.permute(*back))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        a, b = _one_dim("transpose", dim0, self.ndim), _one_dim("transpose", dim1, self.ndim)
        order = list(range(self.ndim))
        if order:
            order[a], order[b] = b, a
        return self.permute(*order)

    @property
    def T(self) -> Tensor:
        """All dimensions in reverse order: the transpose of a matrix."""
        return self.permute(*reversed(range(self.ndim)))

    def unsqueeze(self, dim: int) -> Tensor:
        """A new dimension of size 1 at dim."""
        at = _one_dim("unsqueeze", dim, self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def squeeze(self, dim: Any = None) -> Tensor:
        """The dimensions of size 1 left out: all of them, or those of dim that are."""
        dims = _dims("squeeze", dim, self.ndim)
        return self.reshape(*(n for i, n in enumerate(self.shape) if n != 1 or i not in dims))

    def broadcast_to(self, *shape: Any) -> Tensor:
        """Repeated along new dimensions in front and dimensions of size 1; the gradient sums the copies."""
        sizes = _sizes("broadcast_to", shape)
        if broadcast_shape("broadcast_to", self.shape, sizes) != sizes:
            raise ValueError(f"broadcast_to: {self.shape} does not broadcast to {sizes}")
        return _result(copied(expand(self.data, self.shape, sizes)), "broadcast_to", self, lambda g, out, x: g)

    # indexing

    def __getitem__(self, index: Any) -> Tensor:
        """Ints, slices, ... and None as in NumPy; a (nested) list of ints picks along a dimension.

        A tuple of int lists of equal length picks single places: logits[range(n), targets].
        """
        return self._take(_index(index, self.shape))

    def _take(self, index: Tuple[Any, ...]) -> Tensor:
        shape = self.shape
        return _result(copied(take(self.data, index)), "index", self, lambda g, out, x: g._put(index, shape))

    def _put(self, index: Tuple[Any, ...], shape: Shape) -> Tensor:
        """The opposite of _take: self at the index of a Tensor of zeros."""
        zero = type((flat(self.data) or [0.0])[0])(0)
        data = add_at(copied(expand(zero, (), shape)), index, self.data)
        return _result(data, "put", self, lambda g, out, x: g._take(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("items of a Tensor cannot be assigned: use where(...), or set .data of a leaf")

    def __repr__(self) -> str:
        """Short numbers; of a large Tensor only the corners, and the shape."""
        shape, many = self.shape, self.size > 1000
        corners = self.data
        for dim in range(len(shape)):
            corners = _shortened(corners, dim) if many else corners
        words = zip_map(_word, len(shape_of(corners)), corners)
        width = max(map(len, flat(words)), default=0)
        return f"Tensor({_written(words, width, 8)}{f', shape={shape}' if many or 0 in shape else ''})"


def _word(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def _shortened(data: Nested, dim: int) -> Nested:
    if dim:
        return [_shortened(item, dim - 1) for item in data]
    return data if len(data) <= 7 else data[:3] + [_dots(data[0])] + data[-3:]


def _dots(data: Nested) -> Nested:
    return [_dots(item) for item in data] if type(data) is list else "..."


def _written(words: Nested, width: int, indent: int) -> str:
    if type(words) is not list:
        return words.rjust(width)
    deep = words and type(words[0]) is list
    between = ",\n" + " " * indent if deep else ", "
    return f"[{between.join(_written(item, width, indent + 1) for item in words)}]"


def _index(index: Any, shape: Shape) -> Tuple[Any, ...]:
    """An index as `take` wants it, checked against the shape."""
    items = list(index) if isinstance(index, tuple) else [index]
    items = [i.tolist() if hasattr(i, "tolist") and not isinstance(i, Node) else i for i in items]
    items = [list(i) if isinstance(i, range) else i for i in items]
    lists = [i for i in items if isinstance(i, list)]
    if len(lists) > 1:
        return _paired(items, lists, shape)
    if items.count(Ellipsis) > 1:
        raise IndexError("index: more than one ...")
    used = sum(i is not None and i is not Ellipsis for i in items)
    if used > len(shape):
        raise IndexError(f"index: {used} indices for a Tensor of shape {shape}")
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at:at + 1] = [slice(None)] * (len(shape) - used)
    picks = [k for k, i in enumerate(items) if type(i) in (int, list)]
    if lists and picks[-1] - picks[0] >= len(picks):
        raise IndexError("index: an int and a list with a slice between them are ambiguous; index in two steps")
    dims = iter(enumerate(shape))
    return tuple(None if i is None else _checked_index(i, *next(dims)) for i in items)


def _checked_index(i: Any, dim: int, size: int) -> Any:
    if isinstance(i, slice):
        return range(*i.indices(size))
    if isinstance(i, list):
        return [_checked_index(k, dim, size) for k in i]
    if type(i) is not int:
        hint = "; for a mask use where(...)" if isinstance(i, (bool, Tensor)) else ""
        raise TypeError(f"index: {i!r} is no int, slice, ..., None or list of ints{hint}")
    if not -size <= i < size:
        raise IndexError(f"index: {i} is out of range for dimension {dim} of size {size}")
    return i % size


def _paired(items: List[Any], lists: List[List[Any]], shape: Shape) -> Tuple[Any, ...]:
    if len(lists) < len(items) or len(items) > len(shape) or len(set(map(len, lists))) > 1:
        raise IndexError(f"index: {len(lists)} lists of lengths {[len(i) for i in lists]} for shape {shape}: several "
                         "lists must be of equal length, with nothing beside them; index in two steps instead")
    checked = [_checked_index(i, dim, shape[dim]) for dim, i in enumerate(lists)]
    return (list(zip(*checked)),)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where condition is true (not 0), b elsewhere; all three broadcast. The condition is a constant."""
    mask, a, b = _tensor("where", condition).detach(), _operand("where", a), _operand("where", b)
    if NotImplemented in (a, b):
        raise TypeError("where: a and b must be Tensors, nested lists or numbers")
    data = _broadcast("where", lambda c, x, y: x if c else y, mask, a, b)
    return _result(data, "where", a, lambda g, out, x, y: where(mask, g, _zero(g)),
                   b, lambda g, out, x, y: where(mask, _zero(g), g))


def _zero(g: Tensor) -> Any:
    return type((flat(g.data) or [0.0])[0])(0)


def cat(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors joined along dim; their other sizes must be equal (ValueError)."""
    parts = tuple(_tensor("cat", t) for t in tensors)
    if not parts:
        raise ValueError("cat: no tensors")
    shapes = [t.shape for t in parts]
    d = _one_dim("cat", dim, len(shapes[0]))
    if d is None or len({shape[:d] + shape[d + 1:] + (len(shape),) for shape in shapes}) > 1:
        raise ValueError(f"cat: shapes {', '.join(map(str, shapes))} differ elsewhere than in dim {dim}")

    def split(g: Any, out: Any, parts: Any) -> List[Any]:
        ends = [sum(shape[d] for shape in shapes[:i]) for i in range(len(shapes) + 1)]
        return [g._take((range(n) if k != d else range(start, end)) for k, n in enumerate(g.shape))
                for start, end in zip(ends, ends[1:])]
    return _result(concatenated([t.data for t in parts], d), "cat", None, None, parts, split)


def stack(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    parts = [_tensor("stack", t) for t in tensors]
    if len({t.shape for t in parts}) > 1:
        raise ValueError(f"stack: shapes {', '.join(str(t.shape) for t in parts)} differ")
    return cat([t.unsqueeze(dim) for t in parts], dim)


def linear(x: Any, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """x @ weight.T + bias as one node: (..., nin), (nout, nin), (nout) -> (..., nout)."""
    x, (nout, nin) = _tensor("linear", x), weight.shape
    if not x.ndim or x.shape[-1] != nin:
        raise ValueError(f"linear: x of shape {x.shape} does not fit a layer from {nin} to {nout}")
    if x.ndim == 1:
        return linear(x.reshape(1, nin), weight, bias).reshape(nout)
    data = products(x.data, weight.data)
    if bias is None:
        return _result(data, "linear", x, lambda g, out, x, w: g @ w,
                       weight, lambda g, out, x, w: g.transpose(-1, -2) @ x)
    add_bias = bias.data
    data = map_rows(lambda row: list(map(operator.add, row, add_bias)), x.ndim, data)
    return _result(data, "linear", x, lambda g, out, x, p: g @ p[0],
                   (weight, bias), lambda g, out, x, p: (g.transpose(-1, -2) @ x, g))


# ----------------------------------------------------------------------------------------------------
# Networks
# ----------------------------------------------------------------------------------------------------

class Module:
    """Something with parameters: the Values and Tensors in its attributes, in lists, dicts and modules there.

    Parameters are named by the way to them: `layers.0.neurons.2.b`.
    """

    def _children(self) -> Iterable[Tuple[Any, Any]]:
        return vars(self).items()

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def named_parameters(self, prefix: str = "") -> List[Tuple[str, Any]]:
        """(name, parameter) for everything that requires a gradient, each parameter once."""
        first = {p: path for path, p in reversed(_leaves(self)) if p.requires_grad}
        return [(prefix + ".".join(map(str, path)), p) for p, path in reversed(list(first.items()))]

    def parameters(self) -> List[Any]:
        """All that an optimizer should change."""
        return list(dict.fromkeys([p for _, p in _leaves(self) if p.requires_grad]))

    def _named(self, prefix: str) -> Dict[str, Any]:
        return {prefix + ".".join(map(str, path)): p for path, p in _leaves(self)}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = p._NO_GRAD

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of all data, as numbers and nested lists by name; constants are included."""
        return {name: copied(p.data) for name, p in self._named(prefix).items()}

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "") -> None:
        """Take the data from state, which must have the names and shapes of state_dict(prefix).

        With a prefix, other names are left alone. ValueError when a name is missing or unknown, or a
        shape differs; nothing is changed then.
        """
        mine = self._named(prefix)
        given = {name for name in state if name.startswith(prefix)}
        if mine.keys() != given:
            raise ValueError(f"load_state_dict: missing {sorted(mine.keys() - given)}, "
                             f"unexpected {sorted(given - mine.keys())}")
        new = {name: nested(state[name], name) for name in mine}
        for name, p in mine.items():
            if shape_of(new[name]) != shape_of(p.data):
                raise ValueError(f"load_state_dict: {name} has shape {shape_of(new[name])}, "
                                 f"the module's is {shape_of(p.data)}")
        for name, p in mine.items():
            p.data = new[name]

    def __repr__(self) -> str:
        """A line per child, with its shape and number of parameters."""
        lines = [f"  {name}: {_summary(child)}" for name, child in self._children() if _summary(child)]
        total = sum(len(flat(p.data)) for p in self.parameters())
        return "\n".join([f"{type(self).__name__}(", *lines, f")  # {total} parameters"])


def _leaves(value: Any, path: Tuple[Any, ...] = (), above: Tuple[Any, ...] = ()) -> List[Tuple[Any, Any]]:
    """(path, node) of all Values and Tensors below value; above guards against modules in themselves."""
    if isinstance(value, Module):
        children = value._children()
    else:
        children = value.items() if isinstance(value, dict) else enumerate(value)
    found: List[Tuple[Any, Any]] = []
    for key, child in children:
        kind = type(child)
        if kind is Value or kind is Tensor:
            found.append((path + (key,), child))
        elif isinstance(child, (Module, list, tuple, dict)) and not any(child is other for other in above):
            found += _leaves(child, path + (key,), above + (value,))
    return found


def _summary(child: Any) -> str:
    if isinstance(child, Tensor):
        return f"Tensor {child.shape}"
    if isinstance(child, (Module, Value)):
        return repr(child).replace("\n", "\n  ")
    if isinstance(child, (list, tuple)) and any(isinstance(item, (Module, Node)) for item in child):
        return "[" + ", ".join(map(_summary, child)) + "]"
    return getattr(child, "__name__", "") if callable(child) else ""


def _size(what: str, n: Any) -> int:
    if type(n) is not int or n < 1:
        raise ValueError(f"{what} must be an int of at least 1, not {n!r}")
    return n


class Neuron(Module):
    """act(w . x + b) of Values, one node for the dot product; nin inputs (numbers or Values) -> one Value.

    The weights are random.uniform(-1, 1), the bias is 0. `act` is "linear", the name of a function of
    Value ("relu", "tanh", ...) or any function of a Value; nonlin=False means "linear".
    """

    def __init__(self, nin: int, act: Any = "relu", nonlin: bool = True) -> None:
        act = act if nonlin else "linear"
        if act != "linear" and act not in FUNCTIONS and act != "leaky_relu" and not callable(act):
            raise ValueError(f"act must be 'linear', one of {sorted(FUNCTIONS)} or a function, not {act!r}")
        self.w = [Value(random.uniform(-1, 1)) for _ in range(_size("Neuron: nin", nin))]
        self.b = Value(0)
        self.act, self._act = act, FUNCTIONS.get(act, act)
        self._weights()

    def __call__(self, x: Any) -> Value:
        if type(x) is not _Row:
            x = _inputs(x)
        row = self._row
        if row.data != [v.data for v in row._b] or row._b[-1] is not self.b or self._seen != self.w:
            row = self._weights()
        if len(row.data) != len(x.data):
            raise ValueError(f"Neuron: {len(x.data) - 1} inputs given, {len(row.data) - 1} expected")
        out = _dot(row, x)
        return out if self.act == "linear" else self._act(out)

    def _weights(self) -> _Row:
        """One row for all examples, until a weight changes."""
        self._seen = self.w[:]
        self._row = _Row((*self.w, self.b))
        return self._row

    def __getstate__(self) -> Dict[str, Any]:
        return {**vars(self), "_row": None}

    def __repr__(self) -> str:
        name = self.act if isinstance(self.act, str) else getattr(self.act, "__name__", "")
        return f"{'ReLU' if name == 'relu' else name.capitalize()}Neuron({len(self.w)})"


def _inputs(x: Any) -> _Row:
    """The inputs of a neuron as a row; a layer makes it once for all its neurons."""
    if type(x) is _Row:
        return x
    if isinstance(x, Tensor):
        raise TypeError("a network of Values takes numbers or Values, not a Tensor; use x.tolist()")
    if hasattr(x, "tolist"):
        x = x.tolist()
    return _Row((x,) if isinstance(x, (Value, Number)) else tuple(x), (1,))


class Layer(Module):
    """nout Neurons that see the same nin inputs -> a list of nout Values, or the bare Value of a single one."""

    def __init__(self, nin: int, nout: int, act: Any = "relu", nonlin: bool = True) -> None:
        self.neurons = [Neuron(nin, act, nonlin) for _ in range(_size("Layer: nout", nout))]

    def __call__(self, x: Any) -> Any:
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

    def __init__(self, nin: int, nouts: Sequence[int], act: Any = "relu") -> None:
        if not nouts:
            raise ValueError("MLP: nouts must name at least one layer")
        sizes = [nin, *nouts]
        self.layers = [Layer(sizes[i], sizes[i + 1], act, nonlin=i < len(nouts) - 1) for i in range(len(nouts))]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


class Linear(Module):
    """x @ weight.T + bias of Tensors: (..., nin) -> (..., nout). Each row of weight is one neuron.

    weight (nout, nin) and bias (nout) are drawn from random.uniform(-k, k) with k = 1 / sqrt(nin), as
    PyTorch's.
    """

    def __init__(self, nin: int, nout: int, bias: bool = True) -> None:
        bound = 1 / math.sqrt(_size("Linear: nin", nin))
        self.weight = Tensor.uniform(-bound, bound, _size("Linear: nout", nout), nin)
        self.bias = Tensor.uniform(-bound, bound, nout) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return linear(x, self.weight, self.bias)

    def __repr__(self) -> str:
        nout, nin = self.weight.shape
        return f"Linear({nin}, {nout}, bias={self.bias is not None})"


class Sequential(Module):
    """Modules and functions, one after the other: Sequential(Linear(2, 16), Tensor.relu, Linear(16, 1))."""

    def __init__(self, *steps: Callable[[Any], Any]) -> None:
        for i, step in enumerate(steps):
            if not callable(step):
                raise TypeError(f"Sequential: step {i} must be a Module or a function, not {step!r}")
        self.steps = list(steps)

    def _children(self) -> Iterable[Tuple[Any, Any]]:
        return enumerate(self.steps)

    def __call__(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x

    def __getitem__(self, i: int) -> Any:
        return self.steps[i]

    def __len__(self) -> int:
        return len(self.steps)


# ----------------------------------------------------------------------------------------------------
# Losses
#
# One formula each, for a Tensor or for (nested) lists of Values. `reduction` is "mean", "sum" or "none".
# ----------------------------------------------------------------------------------------------------

def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Mean squared error, (prediction - target)**2; targets of the same shape."""
    return _loss("mse_loss", lambda p, t: (p - t) * (p - t), predictions, targets, reduction)


def hinge_loss(scores: Any, targets: Any, reduction: str = "mean") -> Any:
    """The max-margin loss relu(1 - target * score), for targets of -1 and 1 of the same shape."""
    return _loss("hinge_loss", lambda s, t: (1 - t * s).relu(), scores, targets, reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)) for targets t of 0 and 1 (or between)."""
    return _loss("binary_cross_entropy_with_logits",
                 lambda x, t: t * (-x).softplus() + (1 - t) * x.softplus(), logits, targets, reduction)


def cross_entropy(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-log(softmax(logits))[target]; logits (n, classes) and n class indices, or (classes) and one.

    >>> cross_entropy(Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 0]).item() == math.log(2) / 2
    True
    """
    of_values = _has_values(logits)
    logits = _lists(logits) if of_values else _tensor("cross_entropy", logits)
    shape = shape_of(logits) if of_values else logits.shape
    targets = targets.tolist() if hasattr(targets, "tolist") else targets
    single = len(shape) == 1
    indices = [targets] if single else list(targets)
    if not 1 <= len(shape) <= 2 or (not single and len(indices) != shape[0]):
        raise ValueError(f"cross_entropy: logits of shape {shape} for {len(indices)} targets; "
                         "(n, classes) and n class indices are needed")
    for i, t in enumerate(indices):
        if type(t) is not int or not 0 <= t < shape[-1]:
            raise ValueError(f"cross_entropy: target {i} must be an int from 0 to {shape[-1] - 1}, not {t!r}")
    if of_values:
        losses = [_value_logsumexp(row) - row[t] for row, t in zip([logits] if single else logits, indices)]
        return _reduced("cross_entropy", losses[0] if single else losses, reduction)
    log_p = logits.log_softmax(-1)
    return _reduced("cross_entropy", -log_p[indices[0] if single else (range(len(indices)), indices)], reduction)


def _value_logsumexp(row: List[Any]) -> Value:
    top = max(x.data if isinstance(x, Value) else x for x in row)
    exps = [(x - top).exp() if isinstance(x, Value) else math.exp(x - top) for x in row]
    return dot(exps, [1] * len(exps)).log() + top


def _has_values(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    return isinstance(x, Value)


def _lists(x: Any) -> Any:
    x = x.tolist() if hasattr(x, "tolist") else x
    return list(map(_lists, x)) if isinstance(x, (list, tuple)) else x


def _loss(name: str, formula: Rule, predictions: Any, targets: Any, reduction: str) -> Any:
    if _has_values(predictions):
        predictions, targets = _lists(predictions), _lists(targets)
        shapes = shape_of(predictions), shape_of(targets)
    else:
        predictions, targets = _tensor(name, predictions), _tensor(name, targets)
        shapes = predictions.shape, targets.shape
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name}: predictions of shape {shapes[0]} for targets of shape {shapes[1]}; "
                         "they must be equal (reshape one of them)")
    if isinstance(predictions, Tensor):
        return _reduced(name, formula(predictions, targets), reduction)
    return _reduced(name, zip_map(formula, len(shapes[0]), predictions, targets), reduction)


def _reduced(name: str, losses: Any, reduction: str) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    if reduction == "none":
        return losses
    if isinstance(losses, Tensor):
        return losses.sum() if reduction == "sum" else losses.mean()
    losses = flat(losses)
    total = dot(losses, [1] * len(losses))
    return total if reduction == "sum" else total / len(losses)


# ----------------------------------------------------------------------------------------------------
# Optimizers
#
# The formulas and keywords are PyTorch's. A step works out all new numbers before it changes any.
# ----------------------------------------------------------------------------------------------------

class Optimizer:
    """What SGD and Adam share: the parameters (Values and Tensors, also mixed), .lr, and a state for each.

    ValueError without parameters, or with one twice; TypeError for what is no Value or Tensor.
    """

    _KEYS: Tuple[str, ...] = ()     # what the state of a parameter holds

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        if isinstance(params, (Module, Node)):
            raise TypeError(f"{type(self).__name__}: params must be a list of parameters, such as model.parameters()")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: no parameters")
        for i, p in enumerate(self.params):
            if not isinstance(p, (Value, Tensor)):
                raise TypeError(f"{type(self).__name__}: parameter {i} must be a Value or a Tensor, not {p!r}")
        if len(set(map(id, self.params))) < len(self.params):
            raise ValueError(f"{type(self).__name__}: a parameter appears twice")
        self.lr = lr
        self.state: List[Dict[str, Any]] = [{} for _ in self.params]

    @property
    def lr(self) -> float:
        """The learning rate, to be assigned at will."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = self._at_least_0("lr", lr)

    def _at_least_0(self, name: str, x: Any) -> Any:
        if not isinstance(x, Number) or isinstance(x, complex) or not x >= 0:     # type: ignore[operator]
            raise ValueError(f"{type(self).__name__}: {name} must be a number of at least 0, not {x!r}")
        return x

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = p._NO_GRAD

    def step(self) -> None:
        """Change every parameter by its gradient; those without one are left alone."""
        updates = []
        for i, (p, state) in enumerate(zip(self.params, self.state)):
            if p.grad is not None:
                shape = shape_of(p.data)
                if shape_of(p.grad) != shape:
                    raise ValueError(f"step: parameter {i} has shape {shape}, its gradient {shape_of(p.grad)}")
                updates.append((p, state, *self._update(len(shape), p.data, p.grad, state)))
        for p, state, data, new in updates:
            p.data = data
            state.update(new)

    def _update(self, ndim: int, data: Nested, g: Nested, state: Dict[str, Any]) -> Tuple[Nested, Dict[str, Any]]:
        """New data and new state of one parameter."""
        raise NotImplementedError

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of lr and of what the optimizer remembers, as numbers and nested lists by name."""
        state = {f"{prefix}{i}.{key}": copied(x) for i, s in enumerate(self.state) for key, x in s.items()}
        return {f"{prefix}lr": self.lr, **state}

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "") -> None:
        """Go on from a state_dict(prefix). ValueError when it does not fit; nothing is changed then."""
        given = {name[len(prefix):]: x for name, x in state.items() if name.startswith(prefix)}
        if "lr" not in given:
            raise ValueError(f"load_state_dict: {prefix}lr is missing")
        lr, new = given.pop("lr"), [{} for _ in self.params]    # type: Any, List[Dict[str, Any]]
        for name, x in given.items():
            i, _, key = name.partition(".")
            if not i.isdigit() or int(i) >= len(new) or key not in self._KEYS:
                raise ValueError(f"load_state_dict: unexpected {prefix}{name}")
            x, shape = nested(x, prefix + name), shape_of(self.params[int(i)].data)
            if shape_of(x) != (() if key == "step" else shape):
                raise ValueError(f"load_state_dict: {prefix}{name} has shape {shape_of(x)}, the parameter {shape}")
            new[int(i)][key] = int(x) if key == "step" else x
        self.lr, self.state = self._at_least_0("lr", nested(lr, "lr")), new


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

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0, nesterov: bool = False,
                 weight_decay: float = 0) -> None:
        super().__init__(params, lr)
        self.momentum = self._at_least_0("momentum", momentum)
        self.weight_decay = self._at_least_0("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _update(self, ndim: int, data: Nested, g: Nested, state: Dict[str, Any]) -> Tuple[Nested, Dict[str, Any]]:
        lr, mu, decay, new = self.lr, self.momentum, self.weight_decay, {}
        if decay:
            g = map_rows(lambda p, g: [gi + decay * pi for pi, gi in zip(p, g)], ndim, data, g)
        if mu:
            v = state.get("momentum_buffer")
            v = g if v is None else map_rows(lambda v, g: [mu * vi + gi for vi, gi in zip(v, g)], ndim, v, g)
            new["momentum_buffer"] = copied(v)
            g = map_rows(lambda v, g: [gi + mu * vi for vi, gi in zip(v, g)], ndim, v, g) if self.nesterov else v
        return map_rows(lambda p, g: [pi - lr * gi for pi, gi in zip(p, g)], ndim, data, g), new


class Adam(Optimizer):
    """Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980); weight_decay adds to the gradient."""

    _KEYS = ("step", "exp_avg", "exp_avg_sq")

    def __init__(self, params: Iterable[Any], lr: float = 0.001, betas: Tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0) -> None:
        super().__init__(params, lr)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers from 0 to below 1, not {betas!r}")
        self.betas, self.eps = tuple(betas), self._at_least_0("eps", eps)
        self.weight_decay = self._at_least_0("weight_decay", weight_decay)

    def _update(self, ndim: int, data: Nested, g: Nested, state: Dict[str, Any]) -> Tuple[Nested, Dict[str, Any]]:
        decay, eps, t = self.weight_decay, self.eps, state.get("step", 0) + 1
        (b1, b2), zeros = self.betas, expand(0.0, (), shape_of(data))
        if decay:
            g = map_rows(lambda p, g: [gi + decay * pi for pi, gi in zip(p, g)], ndim, data, g)
        m = map_rows(lambda m, g: [mi + (gi - mi) * (1 - b1) for mi, gi in zip(m, g)], ndim,
                     state.get("exp_avg", zeros), g)
        v = map_rows(lambda v, g: [b2 * vi + (1 - b2) * gi * gi for vi, gi in zip(v, g)], ndim,
                     state.get("exp_avg_sq", zeros), g)
        size, root, sqrt = self.lr / (1 - b1 ** t), math.sqrt(1 - b2 ** t), math.sqrt
        new = map_rows(lambda p, m, v: [pi - size * mi / (sqrt(vi) / root + eps) for pi, mi, vi in zip(p, m, v)],
                       ndim, data, m, v)
        return new, {"step": t, "exp_avg": m, "exp_avg_sq": v}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101)."""

    def __init__(self, params: Iterable[Any], lr: float = 0.001, betas: Tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, ndim: int, data: Nested, g: Nested, state: Dict[str, Any]) -> Tuple[Nested, Dict[str, Any]]:
        keep, decay = 1 - self.lr * self.weight_decay, self.weight_decay
        data = map_rows(lambda p: [pi * keep for pi in p], ndim, data)
        try:
            self.weight_decay = 0
            return super()._update(ndim, data, g, state)
        finally:
            self.weight_decay = decay


def clip_grad_norm(params: Iterable[Any], max_norm: float) -> float:
    """Scale all gradients so that together they are no longer than max_norm; returns the norm before."""
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm: max_norm must be at least 0, not {max_norm!r}")
    params = [p for p in params if p.grad is not None]
    norm = math.sqrt(sum(sumprod(gs, gs) for gs in (flat(p.grad) for p in params)))
    scale = max_norm / (norm + 1e-6)            # PyTorch's guard against a norm of 0
    if scale < 1:
        for p in params:
            p.grad = zip_map(scale.__mul__, len(shape_of(p.grad)), p.grad)
    return norm


# ----------------------------------------------------------------------------------------------------
# Checking
# ----------------------------------------------------------------------------------------------------

def gradcheck(f: Callable[..., Any], *inputs: Any, eps: Any = 1e-6, tol: Any = 1e-5) -> bool:
    """Compare the gradients of f(*inputs) with central differences (f(x + eps) - f(x - eps)) / (2 eps).

    inputs are Values or Tensors, the result one of them. Its elements are weighted 1, 2, 3 ... so that
    errors cannot cancel. True, or an AssertionError with the input, the element and both numbers, when
    they differ by more than tol * max(1, |gradient|).

    >>> gradcheck(lambda x, y: (x * y).sin(), Value(0.5), Value(2.0))
    True
    """
    def weighted() -> Any:
        out = f(*inputs)
        if isinstance(out, Tensor):
            return (out * nest([1 + i % 7 for i in range(out.size)], out.shape)).sum()
        return out

    for i, (x, gradient) in enumerate(zip(inputs, grad(weighted(), inputs))):
        for index in product(*map(range, shape_of(x.data))):
            sides = []
            for sign in (1, -1):
                kept = x.data
                x.data = add_at(copied(kept), index, sign * eps)
                try:
                    with no_grad():
                        sides.append(weighted().data)
                finally:
                    x.data = kept
            numeric, exact = (sides[0] - sides[1]) / (2 * eps), take(gradient.data, index)
            if not abs(exact - numeric) <= tol * max(1, abs(exact)):
                where = f", element {list(index)}" if index else ""
                raise AssertionError(f"gradcheck: input {i}{where}: the gradient is {exact}, "
                                     f"finite differences give {numeric}")
    return True


# code written for micrograd runs unchanged: `from micrograd.engine import Value`, `from micrograd.nn import MLP`
if __name__ == "micrograd":
    for _alias in ("micrograd.engine", "micrograd.nn"):
        sys.modules.setdefault(_alias, sys.modules[__name__])
    engine = nn = sys.modules[__name__]
