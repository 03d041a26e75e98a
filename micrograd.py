"""micrograd.py: automatic differentiation and neural networks in one file of pure Python.

Copy this file into your project; it needs nothing but Python 3.8 or newer. `python3 micrograd.py` checks
it. Read it from top to bottom:

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
import os
import random
import struct
import sys
from contextlib import ContextDecorator, nullcontext, suppress
from itertools import accumulate, chain, product, repeat
from numbers import Number
from reprlib import recursive_repr
from threading import get_ident

TYPE_CHECKING = False       # for type checkers only: to import typing takes longer than anything else here
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union
    Rule = Callable[..., Any]
    Nested = Any            # a number, or a list of Nested of one shape
    Shape = Tuple[int, ...]
    _Path = Union[str, "os.PathLike[str]"]

__version__ = "1.0.0"
_new = object.__new__


# ---- The chain rule --------------------------------------------------------------------------------
# Every operation makes a node that keeps its operands and, for each operand, a rule: a function that
# turns g, the gradient of the final result with respect to the node, into the gradient with respect to
# that operand. For out = x * y the rules are g * y and g * x. Rules are written with operators only, so
# one and the same rule works on plain numbers, on Tensors, and on Values or Tensors that record a graph
# themselves: that is all there is to gradients of gradients.

_LEAF: Tuple[str, Optional[Rule], Optional[Rule]] = ("", None, None)
_ZERO = 0.0                     # the .grad of a Value before any backward pass: this very object


class Node:
    """What Value and Tensor share: data, its gradient, and the operation that made it.

    `_a` and `_b` are the operands (`_b` may be a tuple of several; dot has rows, see there), `_rule` is
    (name of the operation, rule for a, rule for b). An operand without a rule is a constant: nothing is
    computed for it. A node refers to its operands and never back. Without cycles, a graph is freed the
    moment its result is, and the garbage collector has nothing to find.
    """

    __slots__ = ("data", "grad", "label", "_a", "_b", "_rule", "_due", "__weakref__")
    __array_ufunc__ = None      # NumPy arrays and numbers on the left of an operator leave it to us
    _NO_GRAD: Any = None        # what .grad is before any backward pass
    grad: Any
    _a: Any
    _b: Any
    _due: int
    _STATE: Tuple[str, ...] = ("data", "grad", "label")
    requires_grad: bool
    __neg__: Rule               # these two are made in "The rules", below
    __abs__: Rule
    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any: ...    # data, grad, label, and what elementwise adds

    @property
    def _op(self) -> str:
        """The name of the operation that made this node, "" for a leaf."""
        return self._rule[0]

    @property
    def _prev(self) -> Tuple[Any, ...]:
        """The operands as nodes; plain numbers among them as constant leaves."""
        parts: List[Any] = []
        for operand in (self._a, self._b):
            if isinstance(operand, _Row):
                operand = operand._b
            elif isinstance(operand, list):     # constants of a dot product; inputs end in a 1, see _Row
                operand = operand if operand is self._a else operand[:-1]
            parts += operand if isinstance(operand, (tuple, list)) else [] if operand is None else [operand]
        constant: Rule = Tensor._from if isinstance(self, Tensor) else Value
        return tuple(p if isinstance(p, Node) else constant(p) for p in parts)

    def backward(self, gradient: Any = None) -> None:
        """Add d self / d node into `.grad` of every node that self depends on, itself included.

        `gradient`, of the shape of self, is where to start instead of ones: the result is then the
        gradient of the sum of gradient * self. Called twice, it adds twice. When it fails (sqrt has no
        derivative at 0) the error names the operation, and every `.grad` is as it was.
        """
        _backpropagate(self, gradient, False, _add_to_grad)

    def maximum(self, other: Any) -> Any:
        """The larger of both, elementwise; equal ones get half the gradient each."""
        return _accepted("maximum", other, self._maximum(other))

    def minimum(self, other: Any) -> Any:
        """The smaller of both, elementwise; equal ones get half the gradient each."""
        return _accepted("minimum", other, self._minimum(other))

    def clip(self, low: Any = None, high: Any = None) -> Any:
        """x, at least low and at most high (numbers, or None); the gradient passes at the bounds too."""
        if low is None and high is None:
            raise ValueError("clip: give low, high or both")
        low, high = [x if x is None else _accepted("clip", x, _number(x)) for x in (low, high)]

        def clipped(x: Any) -> Any:
            x = low if low is not None and x < low else x
            return high if high is not None and x > high else x
        inside = _piecewise(lambda x: (low is None or x >= low) and (high is None or x <= high))
        return _function("clip", clipped, lambda g, out, x: _gate(g, inside(x)))(self)

    def leaky_relu(self, slope: float = 0.01) -> Any:
        """x where x > 0, slope * x elsewhere."""
        slope = _accepted("leaky_relu", slope, _number(slope))
        return _function("leaky_relu", lambda x: x if x > 0 else slope * x,
                         lambda g, out, x: g * (_positive(x) + slope * (1 - _positive(x))))(self)

    def __reduce__(self) -> Tuple[Any, ...]:
        """Pickle and deepcopy keep data, grad and label. The graph, however deep, stays behind."""
        return _restored, (type(self), *[getattr(self, name) for name in self._STATE])


def _restored(cls: Any, *state: Any) -> Any:
    node = _new(cls)
    node._a, node._b, node._rule, node._due = None, None, _LEAF, 0
    for name, x in zip(cls._STATE, state):
        setattr(node, name, x)
    return node


def _accepted(name: str, given: Any, result: Any) -> Any:
    """result, or a TypeError where it is NotImplemented because of what was given."""
    if result is NotImplemented:
        hint = " here: a plain number, or the same kind" if isinstance(given, Node) else ""
        raise TypeError(f"{name}: cannot take {given!r:.200}{hint}")
    return result


def _backpropagate(root: Any, gradient: Any, create_graph: bool, finish: Rule) -> Any:
    """Put d root / d node into `.grad` of each node below root, and return finish(nodes, kept).

    Why the order matters: in `b = a + a; c = b + b`, b must hand its gradient on to a only once, when
    both uses of b have paid in; too early, and a gets a part of it. So we first count how often each node
    is used (`_due`), and let a node pay its operands when all its users have paid. A list that grows
    while we walk it takes the place of recursion: a graph may be a million operations deep.

    What `.grad` held before is kept aside, so that only this pass's gradients flow. After an error
    (or Ctrl-C) it is put back.
    """
    seed = root._seed(gradient)             # ones, or the given gradient
    numbers = isinstance(root, Value) and not create_graph
    nodes: List[Any] = [root]
    kept: List[Tuple[Any, Any]] = []        # (node, what its .grad was)
    try:
        _count_uses(nodes, kept, root._NO_GRAD, 0 if numbers else None)
        root.grad = seed
        if numbers:
            _pay_numbers(root)
        else:
            with nullcontext() if create_graph else no_grad():
                _pay_nodes(root, create_graph)
        return finish(nodes, kept)
    except BaseException:
        _restore_grads(nodes, kept)
        raise


def _count_uses(nodes: List[Any], kept: List[Tuple[Any, Any]], untouched: Any, start: Any) -> None:
    """Append every node below nodes[0], count its uses into `_due`, and set its `.grad` to start."""
    push = nodes.append
    node: Any
    for node in nodes:
        if node.grad is not untouched:
            kept.append((node, node.grad))
        node.grad = start
        _, da, db = node._rule
        if db is not None:
            b = node._b
            if type(b) is tuple:
                for part in b:
                    if isinstance(part, Node) and part.requires_grad:
                        if not part._due:
                            push(part)
                        part._due += 1
                if type(node) is _Row:
                    node.grad = []          # a row collects pairs (g, other row)
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


def _pay_numbers(root: Any) -> None:
    """The chain rule on plain numbers: the hot path of Value, so one and two operands are unrolled.

    The rules of +, * and dot, most of what scalar code does, are written out: a call costs more than they
    do. A dot product with g = 0 (many are, behind a relu) has nothing to pay.
    """
    ready = [root]
    push = ready.append
    for node in ready:
        _, da, db = node._rule
        a = node._a
        b = node._b
        g = node.grad
        try:
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
                elif db is _DOT[2]:                             # see _Row
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
                for part, d in zip(b, db(g, None, b)):
                    if isinstance(part, Value):
                        part.grad += d
                        part._due -= 1
                        if not part._due:
                            push(part)
                node.grad = _ZERO
                continue
        except (ArithmeticError, ValueError) as error:
            raise _no_derivative(node, error) from error
        if a._due == 1:
            a._due = 0
            push(a)
        else:
            a._due -= 1


def _pay_nodes(root: Any, create_graph: bool) -> None:
    """The chain rule where gradients are nodes themselves: for Tensors, and for gradients of gradients.

    Broadcasting is undone here and nowhere else: an operand that was repeated to fit gets the sum over
    its copies.
    """
    ready = [root]

    def pay(operand: Any, d: Any) -> None:
        if isinstance(operand, Tensor):
            shape = shape_of(operand.data)
            if not isinstance(d, Tensor) or shape_of(d.data) != shape:
                d = _unbroadcast(d, shape)
        if operand.grad is None:
            operand.grad = d
        elif create_graph:
            operand.grad += d
        else:                               # Tensors of one shape: + without the checks of an operator
            operand.grad = Tensor._from(zip_map(operator.add, len(shape), operand.grad.data, d.data))
        operand._due -= 1
        if not operand._due:
            ready.append(operand)

    for node in ready:
        _, da, db = node._rule
        a, b, g = node._a, node._b, node.grad
        try:
            if da is not None:
                pay(a, da(g, node, a) if b is None else da(g, node, a, b))
            if db is not None:
                d = db(g, node, b) if a is None else db(g, node, a, b)
                for part, d in zip(b, d) if type(b) is tuple else [(b, d)]:
                    if isinstance(part, Node) and part.requires_grad:
                        pay(part, d)
        except (ArithmeticError, ValueError) as error:
            raise _no_derivative(node, error) from error


def _no_derivative(node: Any, error: Exception) -> Exception:
    at = ", ".join(f"{p.data}" if isinstance(p, Value) else f"shape {p.shape}" for p in node._prev)
    return type(error)(f"backward: no finite derivative of {node._op} at {at}: {error}")


def _add_to_grad(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> None:
    """The end of backward(): add what `.grad` held before."""
    for node, before in kept:
        if not isinstance(node, Tensor):
            node.grad += before
        elif shape_of(before) == node.shape:
            node.grad = Tensor._from(zip_map(operator.add, node.ndim, before, node.grad.data))
        else:
            raise ValueError(f"backward: .grad has shape {shape_of(before)}, its Tensor {node.shape}")
    if isinstance(nodes[0], Tensor):
        taken = set()                   # lists that are some node's: + pays the same g to both operands
        for node in nodes:
            data = node.grad.data
            node.grad = copied(data) if id(data) in taken or node._rule is _LEAF else data
            taken.add(id(data))


def _restore_grads(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> None:
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
    wanted = _nodes("grad", "input", [inputs] if isinstance(inputs, Node) else inputs)
    _nodes("grad", "output", [output])

    def read(nodes: List[Any], kept: List[Tuple[Any, Any]]) -> Tuple[Any, ...]:
        below = set(map(id, nodes))
        for i, node in enumerate(wanted):
            if id(node) not in below:
                raise ValueError(f"grad: the output does not depend on input {i}, {node!r:.200}")
        found = tuple(n.grad if isinstance(n.grad, Node) else Value(n.grad) for n in wanted)
        _restore_grads(nodes, kept)
        return found

    return _backpropagate(output, None, create_graph, read)


_paused: Dict[int, int] = {}    # thread -> how many no_grad blocks it is in; nearly always empty


class no_grad(ContextDecorator):
    """Context manager and decorator: operations in this thread record no graph, and so cost less.

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


# ---- The rules -------------------------------------------------------------------------------------
# One entry per operation: its name, what it does to numbers, and what it does to the gradient g of its
# result. Value and Tensor both take their operations from here.

def _power(x: Any, y: Any) -> Any:
    out = x ** y
    if type(out) is complex and complex not in (type(x), type(y)):
        raise ValueError("a negative number to a fractional power is not real")
    return out


def _power_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """d x**y / dx = y * x**(y - 1), and 0 for y = 0: where x**-1 may not exist, it is made x**0."""
    if _number(y) is not NotImplemented:
        return g * (y * x ** (y - 1)) if y else 0 * g
    x_is_zero = _is_zero(x) if y.requires_grad else 1   # for d/dy of this, only where it must be
    return g * (y * x ** (y - 1 + x_is_zero * _is_zero(y)))


def _same(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g


def _times_y(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * y


#       name  forward             gradient of x                  gradient of y
_ADD = ("+", operator.add, _same, _same)
_SUB = ("-", operator.sub, _same, lambda g, out, x, y: -g)
_MUL = ("*", operator.mul, _times_y, lambda g, out, x, y: g * x)
_DIV = ("/", operator.truediv, lambda g, out, x, y: g / y, lambda g, out, x, y: -g * (out / y))
_POW = ("**", _power, _power_base, lambda g, out, x, y: g * out * _log_of_base(x))
_MAXIMUM = ("maximum", lambda x, y: x if x >= y or x != x else y,
            lambda g, out, x, y: _won(g, x, y), lambda g, out, x, y: _won(g, y, x))
_MINIMUM = ("minimum", lambda x, y: x if x <= y or x != x else y,
            lambda g, out, x, y: _won(g, y, x), lambda g, out, x, y: _won(g, x, y))


def _piecewise(forward: Rule) -> Rule:
    """A piecewise constant function of numbers, for use in rules: its own derivative is 0."""
    def apply(*operands: Any) -> Any:
        if any(isinstance(p, Tensor) for p in operands):
            return Tensor._from(_broadcast("", forward, *operands))
        return forward(*[p.data if isinstance(p, Value) else p for p in operands])
    return apply


_is_zero = _piecewise(lambda x: x == 0)
_positive = _piecewise(lambda x: x > 0)
_sign = _piecewise(lambda x: (x > 0) - (x < 0))
_equal = _piecewise(lambda x, y: x == y or x != x)       # nan counts as equal: it is what max has found
_wins: Rule = _piecewise(lambda x, y: (x > y) + (x >= y))      # 2 for the larger, 1 each for equals


def _gate(g: Any, x: Any) -> Any:
    """g where x > 0 and 0 elsewhere: the gradient of relu."""
    if not isinstance(g, Node):
        return g if x > 0 else type(g)(0)
    if isinstance(g, Value):
        return g if x > 0 else 0 * g
    zero, xs = _zero(g.data), x.data
    data = map_rows(lambda g, x: [gi if xi > 0 else zero for gi, xi in zip(g, x)], g.ndim, g.data, xs)
    return _result(data, "gate", g, lambda g, out, _: _gate(g, Tensor._from(xs)))


def _won(g: Any, x: Any, y: Any) -> Any:
    """The share of x in the gradient g of the larger of x and y: all, half of it for equals, or nothing."""
    wins = _wins(x, y)
    return _gate(g, wins) / (3 - wins)      # 2 wins: g / 1, 1 win: g / 2


def _function(name: str, forward: Rule, rule: Rule, rows: Optional[Rule] = None) -> Rule:
    """A function of a Value, Tensor or number; `rows` is forward for a list of numbers, where that pays."""
    node_rule = (name, rule, None)

    def apply(x: Any) -> Any:
        if isinstance(x, Value):
            out = _new(Value)                   # as in _value, but inline: a hot path
            try:
                out.data = forward(x.data)
            except (ArithmeticError, ValueError):
                out.data = _compute(name, forward, x.data)
            out.grad = _ZERO
            out.label = ""
            out._due = 0
            out._a = x
            out._b = None
            out._rule = node_rule
            if _paused and get_ident() in _paused:
                out._a, out._rule = None, _LEAF
            return out
        if isinstance(x, Tensor):
            data = map_rows(rows, x.ndim, x.data) if rows else _broadcast(name, forward, x)
            return _result(data, name, x, rule)
        return _compute(name, forward, x)

    apply.__name__, apply.__qualname__, apply.__doc__ = name, f"Node.{name}", f"{name}, elementwise."
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
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"elementwise: {name!r} is not an identifier")
    if name in {*dir(Value), *dir(Tensor)} - (FUNCTIONS.keys() - _BUILT_IN):
        raise ValueError(f"elementwise: {name!r} is a method already")
    return _add_function(name, forward, rule)


def _add_function(name: str, forward: Rule, rule: Rule, rows: Optional[Rule] = None) -> Rule:
    FUNCTIONS[name] = function = _function(name, forward, rule, rows)
    setattr(Node, name, function)
    return function


def _compute(name: str, forward: Rule, *numbers: Any, where: str = "") -> Any:
    """forward(*numbers); an error names the operation and its operands, inf and nan pass through."""
    try:
        return forward(*numbers)
    except (ArithmeticError, ValueError) as error:
        if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
            return numbers[0] * math.copysign(math.inf, numbers[1]) if name == "/" else math.nan
        infix = len(numbers) == 2 and not name.isidentifier()
        texts = [f"{x!r:.60}" for x in numbers]
        if infix and texts[0].startswith("-"):
            texts[0] = f"({texts[0]})"
        call = f" {name} ".join(texts) if infix else f"{name}({', '.join(texts)})"
        raise type(error)(f"{call}{where}: {error}") from None


def _sigmoid(x: Any) -> float:
    e = math.exp(-abs(x))           # never overflows
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def _relu_row(row: List[Any]) -> List[Any]:
    zero = _zero(row)
    return [zero if x < 0 else x for x in row]


Node.__neg__ = _function("neg", operator.neg, lambda g, out, x: -g)
Node.__abs__ = _function("abs", abs, lambda g, out, x: g * _sign(x))
exp = _add_function("exp", math.exp, lambda g, out, x: g * out)
log = _add_function("log", math.log, lambda g, out, x: g / x)
sqrt = _add_function("sqrt", math.sqrt, lambda g, out, x: g / (2 * out))
sin = _add_function("sin", math.sin, lambda g, out, x: g * cos(x))
cos: Rule = _add_function("cos", math.cos, lambda g, out, x: -g * sin(x))
tanh = _add_function("tanh", math.tanh, lambda g, out, x: g * (1 - out * out))
sigmoid = _add_function("sigmoid", _sigmoid, lambda g, out, x: g * out * (1 - out))
relu = _add_function("relu", lambda x: type(x)(0) if x < 0 else x, lambda g, out, x: _gate(g, x),
                   rows=_relu_row)
silu = _add_function("silu", lambda x: x * _sigmoid(x),
                   lambda g, out, x: g * sigmoid(x) * (1 + x * sigmoid(-x)))
softplus = _add_function("softplus", lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
                       lambda g, out, x: g * sigmoid(x))
gelu = _add_function("gelu", lambda x: x * _normal_cdf(x),
                   lambda g, out, x: g * (_normal_cdf(x) + x * _normal_pdf(x)))
_normal_cdf: Rule = _function("normal_cdf", lambda x: math.erfc(-x / math.sqrt(2)) / 2,
                              lambda g, out, x: g * _normal_pdf(x))
_normal_pdf: Rule = _function("normal_pdf", lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
                        lambda g, out, x: -g * out * x)
# The gradient of an exponent is x**y * log(x): 0 at x = 0, as PyTorch has it, and nan where x < 0.
_log_of_base: Rule = _function("log", lambda x: math.log(x) if x > 0 else 0.0 if x == 0 else math.nan,
                         lambda g, out, x: g / x)
_BUILT_IN = frozenset(FUNCTIONS)


# ---- Value: one number -----------------------------------------------------------------------------

_PLAIN = frozenset([float, int])    # the usual types of numbers, told apart faster than by isinstance


def _number(x: Any) -> Any:
    """x as one of Python's numbers (those of NumPy are converted), or NotImplemented."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, Number) or getattr(x, "shape", None) == () and not isinstance(x, Node):
        return x.item() if hasattr(x, "item") else x
    return NotImplemented


def _value(data: Any, rule: Any, a: Any, b: Any) -> Value:
    """A Value made by an operation."""
    out = _new(Value)
    out.data, out.grad, out.label = data, _ZERO, ""
    out._a, out._b, out._rule = a, b, rule
    out._due = 0
    if _paused and get_ident() in _paused:
        out._a, out._b, out._rule = None, None, _LEAF
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
        except (ArithmeticError, ValueError):
            return other_kind(x, y)
        out.grad = _ZERO
        out.label = ""
        out._due = 0
        out._a = x
        out._b = y
        if _paused and get_ident() in _paused:
            out._a, out._b, out._rule = None, None, _LEAF
        return out

    def other_kind(x: Any, y: Any) -> Any:
        if isinstance(y, Value):
            return _value(_compute(name, forward, x.data, y.data), both, x, y)
        y = _number(y)
        return y if y is NotImplemented else _value(_compute(name, forward, x.data, y), left, x, y)

    def reflected(x: Any, y: Any) -> Any:
        y = _number(y)
        return y if y is NotImplemented else _value(_compute(name, forward, y, x.data), right, y, x)

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
    _NO_GRAD = _ZERO
    requires_grad = True

    def __init__(self, data: Any, label: str = "") -> None:
        number = _number(data)
        if number is NotImplemented:
            raise TypeError(f"Value: data must be a number, not {data!r:.200}")
        self.data, self.grad, self.label = number, _ZERO, label
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
        one = type(self.data)(1)
        seed = one if gradient is None else _accepted("backward", gradient, _number(gradient))
        return seed * one if type(seed) is int else seed        # an int becomes a number of this kind

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
    _NO_GRAD = _ZERO

    def __init__(self, values: Tuple[Any, ...], more: Tuple[Any, ...] = ()) -> None:
        if set(map(type, values)) == {Value}:
            self.requires_grad, self.data = True, [v.data for v in values]
        else:
            values = tuple(v if isinstance(v, Value) else _accepted("dot", v, _number(v)) for v in values)
            self.requires_grad = any(isinstance(v, Value) for v in values)
            self.data = [v.data if isinstance(v, Value) else v for v in values]
        self.data += more                               # the 1 that belongs to a bias
        self._a, self._b, self._rule, self._due = None, values, _ROW, 0
        self.grad, self.label = _ZERO, ""

    def __iter__(self) -> Iterator[Any]:        # where gradients are nodes: the Values, and the 1
        return chain(self._b, self.data[len(self._b):])


def _spread(pairs: List[Tuple[Any, Any]], out: Any, values: Any) -> Iterable[Any]:
    """The gradient of each Value in a row."""
    if not pairs:                               # every g was 0
        return repeat(0)
    gs, rows = zip(*pairs)
    return [sumprod(gs, column) for column in zip(*rows)]


_ROW = ("row", None, _spread)
_DOT = ("dot", lambda g, out, w, x: [(g, x)], lambda g, out, w, x: [(g, w)])


def dot(weights: Iterable[Any], inputs: Iterable[Any], bias: Any = 0) -> Value:
    """sum(w * x for w, x in zip(weights, inputs)) + bias as one node: a whole neuron.

    Values and numbers may be mixed. ValueError when the lengths differ.

    >>> dot([Value(2.0), 3.0], [10.0, Value(1.0)], bias=0.5).data
    23.5
    """
    ws, xs = _listed("dot", weights), _listed("dot", inputs)
    if len(ws) != len(xs):
        raise ValueError(f"dot: {len(ws)} weights for {len(xs)} inputs")
    return _dot(_Row((*ws, bias)), _Row(tuple(xs), (1,)))


def _dot(w: _Row, x: _Row) -> Value:
    """The dot product of two rows; the last weight is the bias, the last input its 1."""
    out = _new(Value)                           # as in _value, but inline: a hot path
    out.data = sumprod(w.data, x.data)
    out.grad = _ZERO
    out.label = ""
    out._due = 0
    out._a = w
    out._b = x
    out._rule = _DOT
    if not w.requires_grad or not x.requires_grad or _paused and get_ident() in _paused:
        return _dot_with_constants(out.data, w, x)
    return out


def _dot_with_constants(data: Any, w: _Row, x: _Row) -> Value:
    if w.requires_grad:
        return _value(data, ("dot", _DOT[1], None), w, x if x.requires_grad else x.data)
    return _value(data, ("dot", None, _DOT[2]), w.data, x) if x.requires_grad else Value(data)


def _listed(name: str, items: Any) -> List[Any]:
    """items as a list; TypeError when it is a single thing."""
    if isinstance(items, (Node, Module, str)) or not hasattr(items, "__iter__"):
        hint = "give a list of parameters, model.parameters(), " if isinstance(items, Module) else ""
        raise TypeError(f"{name}: {hint or 'needs a list, '}not {items!r:.200}")
    return list(items)


def _nodes(name: str, what: str, items: Any) -> List[Any]:
    """items as a list of Values and Tensors."""
    nodes = _listed(name, items)
    for i, x in enumerate(nodes):
        if not isinstance(x, (Value, Tensor)):
            kind = type(x).__name__
            raise TypeError(f"{name}: {what} {i} must be a Value or a Tensor, not the {kind} {x!r:.200}")
    return nodes


# ---- Nested lists ----------------------------------------------------------------------------------
# The arithmetic of Tensors, on plain nested lists: no graph, no gradients. Recursion goes over the
# dimensions (there are few); the loops over numbers run in C: map, zip, sum, sumprod.

try:
    from math import sumprod    # type: ignore[attr-defined]  # Python 3.12: three times as fast, more exact
except ImportError:
    def sumprod(p: Iterable[Any], q: Iterable[Any]) -> Any:  # type: ignore[misc]
        """The sum of the products of the numbers in p and q."""
        return sum(map(operator.mul, p, q))


def shape_of(data: Nested) -> Shape:
    """The lengths of nested lists along each dimension, () for a number.

    >>> shape_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    if type(data) is not list:
        return ()
    if not data or type(data[0]) is not list:
        return (len(data),)
    row = data[0]
    if not row or type(row[0]) is not list:
        return (len(data), len(row))
    return (len(data),) + shape_of(row)


def nested(data: Any, name: str = "Tensor", values: bool = False, where: str = "") -> Nested:
    """A copy of data as nested lists: of a number, lists or tuples of numbers, or anything with .tolist().

    TypeError for what is no number, ValueError for a ragged list; both say where. Values pass if `values`.
    """
    if values and isinstance(data, Value):
        return data
    if hasattr(data, "tolist") and not (isinstance(data, Tensor) and (where or values)):
        data = data.tolist()
    if not isinstance(data, (list, tuple)):
        number, place = _number(data), where and f" at {where}"
        if number is NotImplemented:
            hint = "; Values and Tensors do not mix, and stack(...) joins Tensors"
            raise TypeError(f"{name}: {data!r:.200}{place} is not a number{hint * isinstance(data, Node)}")
        return number
    if set(map(type, data)) <= _PLAIN:
        return list(data)
    if len(where) > 200:
        raise ValueError(f"{name}: lists nested too deeply (does one contain itself?)")
    items = [nested(item, name, values, f"{where}[{i}]") for i, item in enumerate(data)]
    shapes = list(map(shape_of, items))
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
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


def zip_map(f: Rule, ndim: int, *operands: Nested) -> Nested:
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


def map_rows(f: Rule, ndim: int, *operands: Nested) -> Nested:
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


def reduce_dim(f: Rule, data: Nested, *dims: int) -> Nested:
    """f of the list of all numbers along these dimensions, which disappear.

    >>> reduce_dim(sum, [[1, 2], [3, 4]], 0), reduce_dim(sum, [[1, 2], [3, 4]], 0, 1)
    ([4, 6], 10)
    """
    rest = [d for d in range(len(shape_of(data))) if d not in dims]
    blocks = permuted(data, [*rest, *dims])         # what is reduced comes last, as in one row
    return zip_map(f if len(dims) == 1 else lambda block: f(flat(block)), len(rest), blocks)


def products(x: Nested, w: Nested, bias: Optional[List[Any]] = None) -> Nested:
    """x @ w.T + bias, each row of x times each row of w: (..., n, k), (m, k), (m) -> (..., n, m).

    Row by row, since that needs no transpose.

    >>> products([[1, 2]], [[3, 4], [5, 6]], [0, 100])
    [[11, 117]]
    """
    if x and x[0] and type(x[0][0]) is list:
        return [products(item, w, bias) for item in x]
    if bias is not None:
        neurons = list(zip(w, bias))
        return [[sumprod(row, other) + b for other, b in neurons] for row in x]
    if x and len(x[0]) == 1:                        # a product of two numbers is not worth a call
        column = [other for other, in w]
        return [[number * other for other in column] for number, in x]
    return [[sumprod(row, other) for other in w] for row in x]


def matmul(x: Nested, y: Nested) -> Nested:
    """The product of two matrices: (n, k) and (k, m) -> (n, m)."""
    columns = list(map(list, zip(*y)))              # lists: PyPy is slow with numbers in tuples
    used = [k for k, column in enumerate(columns) if any(column)]
    if len(columns) < 20 or len(used) > 0.9 * len(columns):
        return products(x, columns)
    # Columns of zeros share one product: a third of the pixels is dark in all pictures of a batch.
    zeros = next(k for k, column in enumerate(columns) if not any(column))
    place = {k: i for i, k in enumerate(used)}
    arrange = operator.itemgetter(*[place.get(k, len(used)) for k in range(len(columns))])
    return [list(arrange(row)) for row in products(x, [columns[k] for k in used + [zeros]])]


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
    """The opposite of take: data, which is changed, plus values at the index; what is named twice adds up.

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


def _zero(data: Nested) -> Any:
    """0 as a number of the kind in data."""
    while type(data) is list:
        data = data[0] if data else 0.0
    return type(data)(0)


def _largest(row: Sequence[Any], best: Rule = max) -> Any:
    """max (or min), but nan when there is one, wherever it stands."""
    return next((x for x in row if x != x), None) or best(row)


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


# ---- Tensor: nested lists of numbers ---------------------------------------------------------------
# Names, shapes and numbers are PyTorch's. Each operation is a kernel from the section above, and a rule.

def _broadcast(name: str, forward: Rule, *operands: Any) -> Nested:
    """forward on the numbers of Tensors or plain numbers, broadcast to one shape."""
    datas = [p.data if isinstance(p, Tensor) else p for p in operands]
    shapes = list(map(shape_of, datas))
    shape = shapes[0]
    if shapes.count(shape) < len(shapes):
        a_number = len(shapes) == 2 and () in shapes        # then the shape is that of the other
        shape = max(shapes) if a_number else broadcast_shape(name, *shapes)
        datas = [expand(data, own, shape) for data, own in zip(datas, shapes)]
    try:
        return zip_map(forward, len(shape), *datas)
    except (ArithmeticError, ValueError):       # once more, slowly, to say where
        places = map(list, product(*map(range, shape)))
        return zip_map(lambda *numbers: _compute(name, forward, *numbers, where=f" at index {next(places)}"),
                       len(shape), *datas)


def _result(data: Nested, name: str, a: Any, da: Optional[Rule],
            b: Any = None, db: Optional[Rule] = None) -> Tensor:
    """A Tensor made by an operation. Operands that need no gradient lose their rule."""
    out = Tensor._from(data)
    if _paused and get_ident() in _paused:
        return out
    if da is not None and not _needs_grad(a):
        da = None
    if db is not None and not (any(map(_needs_grad, b)) if type(b) is tuple else _needs_grad(b)):
        db = None
    if da or db:
        out._a, out._b, out._rule, out.requires_grad = a, b, (name, da, db), True
    return out


def _needs_grad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _operand(name: str, x: Any) -> Any:
    """x as an operand of a Tensor: a Tensor, a number, or NotImplemented."""
    if isinstance(x, Tensor) or type(x) in _PLAIN:
        return x
    if isinstance(x, Value):
        raise TypeError(f"{name}: a Value and a Tensor do not mix; use tensor.item() or Tensor(value.data)")
    if isinstance(x, (list, tuple)) or hasattr(x, "tolist"):
        return Tensor._from(nested(x, name))
    return _number(x)


def _tensor(name: str, x: Any) -> Tensor:
    """x as a Tensor; TypeError when it cannot be."""
    x = _accepted(name, x, _operand(name, x))
    return x if isinstance(x, Tensor) else Tensor._from(x)


def _unbroadcast(d: Any, shape: Shape) -> Tensor:
    """Undo broadcasting: sum the gradient d over the dimensions along which an operand was repeated."""
    if not isinstance(d, Tensor):               # a rule gave a plain number
        return Tensor._from(copied(expand(d, (), shape)))
    have = d.shape
    added = len(have) - len(shape)              # dimensions in front
    d = d.sum([i for i in range(len(have)) if i < added or shape[i - added] != have[i]])
    return d if d.shape == shape else d.reshape(shape)


def _tensor_operators(name: str, forward: Rule, da: Optional[Rule], db: Optional[Rule]) -> Tuple[Any, Any]:
    """An operator of Tensor, and its reflection, from its entry in the rules."""
    def method(x: Any, y: Any) -> Any:
        y = y if type(y) is Tensor else _operand(name, y)
        return y if y is NotImplemented else _result(_broadcast(name, forward, x, y), name, x, da, y, db)

    def reflected(x: Any, y: Any) -> Any:
        y = _operand(name, y)
        return y if y is NotImplemented else _result(_broadcast(name, forward, y, x), name, y, da, x, db)

    return method, reflected


def _tensor_comparison(name: str, compare: Rule) -> Any:
    return _tensor_operators(name, lambda p, q: float(compare(p, q)), None, None)[0]    # no rules: a constant


def _dims(name: str, dim: Any, ndim: int) -> Tuple[int, ...]:
    """dim (None for all, an int or several, negative from the end) as a sorted tuple."""
    if dim is None:
        return tuple(range(ndim))
    given = dim if isinstance(dim, (tuple, list)) else (dim,)
    for d in given:
        if type(d) is not int:
            raise TypeError(f"{name}: a dim must be an int, not {d!r}")
        if not -max(ndim, 1) <= d < max(ndim, 1):       # a single number takes 0 and -1, as in PyTorch
            raise IndexError(f"{name}: dim {d} is out of range for a Tensor of {ndim} dimensions")
    dims = sorted({d % ndim for d in given}) if ndim else []
    if ndim and len(dims) < len(given):
        raise ValueError(f"{name}: a dim appears twice in {dim}")
    return tuple(dims)


def _one_dim(name: str, dim: Any, ndim: int) -> int:
    """dim, one int, counted from the front; 0 for a Tensor of 0 dimensions."""
    return (*_dims(name, (dim,), ndim), 0)[0]


def _sizes(name: str, shape: Tuple[Any, ...], least: int = 0) -> Shape:
    """A shape given as (2, 3) or ((2, 3),); no size below least."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else tuple(shape)
    for size in sizes:
        if type(size) is not int:
            raise TypeError(f"{name}: sizes must be ints, not {size!r}")
        if size < least:
            raise ValueError(f"{name}: size {size} in shape {sizes}")
    if 0 in sizes[:-1]:
        raise ValueError(f"{name}: nested lists cannot hold shape {sizes}: only the last size may be 0")
    return sizes


def _index(index: Any, shape: Shape) -> Tuple[Any, ...]:
    """An index as `take` wants it, checked against the shape."""
    items = list(index) if isinstance(index, tuple) else [index]
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    used = sum(i is not None and i is not Ellipsis for i in items)
    if used > len(shape) or len(dots) > 1:
        what = "more than one ..." if len(dots) > 1 else f"{used} indices"
        raise IndexError(f"index: {what} for a Tensor of shape {shape}")
    for at in dots:
        items[at:at + 1] = [slice(None)] * (len(shape) - used)
    dims = iter(enumerate(shape))
    items = [None if i is None else _checked(i, *next(dims)) for i in items]
    lists = [i for i in items if type(i) is list]
    picks = [k for k, i in enumerate(items) if type(i) in (int, list)]
    if len(lists) > 1:
        shapes = list(map(shape_of, lists))
        if len(lists) < len(items) or shapes.count(shapes[0]) < len(shapes):
            raise IndexError(f"index: lists of shapes {shapes}: several must be equal, with nothing beside "
                             "them; index in two steps instead")
        return (zip_map(lambda *places: places, len(shapes[0]), *lists),)
    if lists and picks[-1] - picks[0] >= len(picks):            # they do not stand side by side
        raise IndexError("index: an int and a list with something between are ambiguous; index in two steps")
    left = [1 if i is None else len(i) for i in items if type(i) is not int]
    _sizes("index", (*left, *[size for _, size in dims]))
    return tuple(items)


def _checked(i: Any, dim: int, size: int) -> Any:
    """One item of an index, for a dimension of the given size: an int, a range, or a list of ints."""
    if isinstance(i, slice):
        if i.step == 0:
            raise ValueError("index: the step of a slice must not be 0")
        return range(*i.indices(size))
    if isinstance(i, (list, range)) or hasattr(i, "tolist") and not isinstance(i, Node):
        places = nested(list(i) if isinstance(i, range) else i, "index")
        return zip_map(lambda k: _checked(k, dim, size), len(shape_of(places)), places)
    if isinstance(i, bool) or not hasattr(i, "__index__"):
        hint = "; for a mask use where(...)" if isinstance(i, (bool, Tensor)) else ""
        raise TypeError(f"index: {i!r:.200} is no int, slice, ..., None or list of ints{hint}")
    if not -size <= i < size:
        raise IndexError(f"index: {i} is out of range for dimension {dim} of size {size}")
    return operator.index(i) % size


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

    @staticmethod
    def _from(data: Nested) -> Tensor:
        """A constant of lists that are known to be good, and not copied."""
        out = _new(Tensor)
        out.data, out.grad, out.label, out.requires_grad = data, None, "", False
        out._a, out._b, out._rule, out._due = None, None, _LEAF, 0
        return out

    def _seed(self, gradient: Any) -> Tensor:
        if not self.requires_grad:
            raise ValueError("backward: nothing to differentiate: made of constants only, or under no_grad")
        ones = Tensor._from(zip_map(lambda x: type(x)(1), self.ndim, self.data))
        if gradient is None:
            return ones
        seed = _tensor("backward", gradient)
        if seed.shape != self.shape:
            raise ValueError(f"backward: the gradient has shape {seed.shape}, the Tensor {self.shape}")
        return seed.detach() * ones     # an int becomes a number of this kind

    # creation: sizes as ints or as one tuple; what is made requires gradients unless requires_grad=False

    @staticmethod
    def _fill(name: str, shape: Tuple[Any, ...], draw: Callable[[], Any], requires_grad: bool) -> Tensor:
        sizes = _sizes(name, shape)
        return Tensor(nest([draw() for _ in range(math.prod(sizes))], sizes), requires_grad=requires_grad)

    @staticmethod
    def full(shape: Any, value: Any, *, requires_grad: bool = True) -> Tensor:
        """One number everywhere."""
        number = _accepted("full", value, _number(value))
        return Tensor._fill("full", (shape,), lambda: number, requires_grad)

    @staticmethod
    def zeros(*shape: Any, requires_grad: bool = True) -> Tensor:
        """0.0 everywhere."""
        return Tensor._fill("zeros", shape, lambda: 0.0, requires_grad)

    @staticmethod
    def ones(*shape: Any, requires_grad: bool = True) -> Tensor:
        """1.0 everywhere."""
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
        return Tensor([[float(i == j) for j in range(m)] for i in range(n)], requires_grad=requires_grad)

    @staticmethod
    def arange(start: Any, end: Any = None, step: Any = 1, *, requires_grad: bool = True) -> Tensor:
        """start, start + step, ... up to end, which is left out; arange(n) counts from 0."""
        start, end = (0, start) if end is None else (start, end)
        if not step:
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
        """The only element as a number; ValueError when there is not exactly one."""
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
            raise ValueError(f"a Tensor of shape {self.shape} is ambiguous as a truth value: use .item()")
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
        """The matrix product as NumPy has it: 1-d operands are rows or columns, leading dims broadcast."""
        other = _tensor("matmul", other)
        xs, ys = self.shape, other.shape
        if not xs or not ys or xs[-1] != ys[-2:][0]:
            why = f"inner sizes {xs[-1]} and {ys[-2:][0]} differ" if xs and ys else "for numbers, use *"
            raise ValueError(f"matmul: {xs} @ {ys}: {why}")
        if len(xs) == 1:
            return (self.reshape(1, *xs) @ other).squeeze(-2 if len(ys) > 1 else 0)
        if len(ys) == 1:
            return (self @ other.reshape(*ys, 1)).squeeze(-1)
        batch = xs[:-2] if xs[:-2] == ys[:-2] else broadcast_shape(f"matmul: {xs} @ {ys}", xs[:-2], ys[:-2])
        data = zip_map(matmul, len(batch), expand(self.data, xs, batch + xs[-2:]),
                       expand(other.data, ys, batch + ys[-2:]))
        return _result(data, "matmul", self, lambda g, out, x, y: g @ y.mT,
                       other, lambda g, out, x, y: x.mT @ g)

    def __rmatmul__(self, other: Any) -> Any:
        return _tensor("matmul", other) @ self

    # reductions: dim is None for all dimensions, an int or several; keepdim leaves them in with size 1

    def _reduce(self, name: str, f: Rule, dim: Any, keepdim: bool, rule: Rule, least: int = 0) -> Tensor:
        """f over dim, of at least so many elements; n of them make one number.

        rule(g, out, x, n) gets g and out with the reduced dimensions kept, so that they broadcast.
        """
        shape = self.shape
        dims = _dims(name, dim, len(shape))
        kept = tuple([1 if i in dims else size for i, size in enumerate(shape)])
        n = math.prod([shape[d] for d in dims])
        if n < least:
            raise ValueError(f"{name}: {n} elements along dim {dim} of shape {shape}, {least} needed")
        whole = len(dims) == len(shape)
        data = f(flat(self.data)) if whole else reduce_dim(f, self.data, *dims)
        if keepdim:
            data = nest(flat(data), kept)
        if keepdim or whole:
            return _result(data, name, self, lambda g, out, x: rule(g, out, x, n))
        return _result(data, name, self, lambda g, out, x: rule(g.reshape(kept), out.reshape(kept), x, n))

    def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The sum over dim."""
        return self._reduce("sum", sum, dim, keepdim, lambda g, out, x, n: g._expand(x.shape))

    def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The mean over dim; ValueError when there is nothing to average."""
        return self._reduce("mean", lambda row: sum(row) / len(row), dim, keepdim,
                            lambda g, out, x, n: (g / n)._expand(x.shape), least=1)

    def var(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The unbiased variance over dim: the divisor is n - 1; ValueError for fewer than two elements."""
        n = math.prod([self.shape[d] for d in _dims("var", dim, self.ndim)])
        if n < 2:
            raise ValueError(f"var: {n} elements along dim {dim} of shape {self.shape}, 2 needed")
        deviation = self - self.mean(dim, keepdim=True)
        return (deviation * deviation).sum(dim, keepdim) / (n - 1)

    def max(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The largest element over dim; equal ones share the gradient. nan when there is one."""
        return self._extreme("max", _largest, dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The smallest element over dim; equal ones share the gradient. nan when there is one."""
        return self._extreme("min", lambda row: _largest(row, min), dim, keepdim)

    def _extreme(self, name: str, f: Rule, dim: Any, keepdim: bool) -> Tensor:
        def rule(g: Any, out: Any, x: Any, n: int) -> Any:
            hits = _equal(x, out)
            return g * hits / hits.sum(dim, keepdim=True)
        return self._reduce(name, f, dim, keepdim, rule, least=1)

    def argmax(self, dim: Optional[int] = None) -> Any:
        """The index of the (first) largest element over dim, as an int or nested lists of ints."""
        if not self.size:
            raise ValueError(f"argmax: no elements in shape {self.shape}")
        return reduce_dim(lambda row: row.index(_largest(row)), self.data, *_dims("argmax", dim, self.ndim))

    def logsumexp(self, dim: Any, keepdim: bool = False) -> Tensor:
        """log(sum(exp(x))) over dim."""
        return self._reduce("logsumexp", _logsumexp, dim, keepdim,
                            lambda g, out, x, n: g * (x - out).exp(), least=1)

    def _along(self, name: str, f: Rule, dim: int, rule: Rule) -> Tensor:
        """A function from rows to rows along dim."""
        dims, d = list(range(self.ndim)) or [0], _one_dim(name, dim, self.ndim)
        if not self.size:
            raise ValueError(f"{name}: no elements in shape {self.shape}")
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
        sizes, own = _sizes("reshape", shape, least=-1), self.shape
        size, rest = math.prod(own), -math.prod(sizes)
        if sizes.count(-1) == 1 and rest:
            sizes = tuple(size // rest if n == -1 else n for n in sizes)
        if -1 in sizes or math.prod(sizes) != size:
            raise ValueError(f"reshape: {own} has {size} elements, which do not fit into {shape}")
        return _result(nest(flat(self.data), sizes), "reshape", self, lambda g, out, x: g.reshape(own))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """All dimensions from start_dim to end_dim made one."""
        shape = self.shape or (1,)
        start, end = _one_dim("flatten", start_dim, len(shape)), _one_dim("flatten", end_dim, len(shape))
        if start > end:
            raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        return self.reshape(*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:])

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order, each given once."""
        given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        if not len(_dims("permute", given, self.ndim)) == len(given) == self.ndim:
            raise ValueError(f"permute: {len(given)} dims for a Tensor of {self.ndim} dimensions")
        return self._permute([d % self.ndim for d in given])

    def _permute(self, order: List[int]) -> Tensor:
        if not self.size:
            _sizes("permute", tuple([self.shape[d] for d in order]))
        back, data = sorted(range(len(order)), key=order.__getitem__), permuted(self.data, order)
        data = data if order == [1, 0] else copied(data)        # which may share rows with self
        return _result(data, "permute", self, lambda g, out, x: g._permute(back))

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
            raise ValueError(f"mT: needs at least two dimensions, not shape {self.shape}")
        return self._permute([*range(n - 2), n - 1, n - 2])

    def unsqueeze(self, dim: int) -> Tensor:
        """A new dimension of size 1 at dim."""
        at = _one_dim("unsqueeze", dim, self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def squeeze(self, dim: Any = None) -> Tensor:
        """The dimensions of size 1 left out: all of them, or those of dim that are."""
        dims = _dims("squeeze", dim, self.ndim)
        return self.reshape([n for i, n in enumerate(self.shape) if n != 1 or i not in dims])

    def broadcast_to(self, *shape: Any) -> Tensor:
        """Repeated along new dimensions in front and dimensions of size 1; the gradient sums the copies."""
        sizes = _sizes("broadcast_to", shape)
        if broadcast_shape("broadcast_to", self.shape, sizes) != sizes:
            raise ValueError(f"broadcast_to: {self.shape} does not broadcast to {sizes}")
        return self._expand(sizes)

    def _expand(self, sizes: Shape) -> Tensor:
        data = copied(expand(self.data, self.shape, sizes))
        return _result(data, "broadcast_to", self, lambda g, out, x: g)

    # indexing

    def __getitem__(self, index: Any) -> Tensor:
        """Ints, slices, ... and None as in NumPy; a (nested) list of ints picks along a dimension.

        A tuple of int lists of one shape picks single places: logits[range(n), targets].
        """
        return self._take(_index(index, self.shape))

    def _take(self, index: Tuple[Any, ...]) -> Tensor:
        shape = self.shape
        return _result(copied(take(self.data, index)), "index", self,
                       lambda g, out, x: g._scatter(index, shape))

    def _scatter(self, index: Tuple[Any, ...], shape: Shape) -> Tensor:
        """The opposite of _take: self at the index of a Tensor of zeros."""
        data = add_at(copied(expand(_zero(self.data), (), shape)), index, self.data)
        return _result(data, "put", self, lambda g, out, x: g._take(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("items of a Tensor cannot be assigned: use where(...), or set .data of a leaf")

    def __repr__(self) -> str:
        """Short numbers; of a large Tensor only the corners, and the shape."""
        shape, large = self.shape, self.size > 1000
        words = zip_map(lambda x: f"{x:.4g}" if isinstance(x, float) else str(x), len(shape),
                        _corners(self.data) if large else self.data)
        width = max(map(len, flat(words)), default=0)
        return f"Tensor({_written(words, width, 8)}{f', shape={shape}' if large or 0 in shape else ''})"


def _corners(data: Nested) -> Nested:
    """Three items from each end of each dimension, and dots between them."""
    if type(data) is not list:
        return data
    if len(data) <= 7:
        return list(map(_corners, data))
    ends = list(map(_corners, data[:3] + data[-3:]))
    return ends[:3] + [expand("...", (), shape_of(ends[0]))] + ends[3:]


def _written(words: Nested, width: int, indent: int) -> str:
    if type(words) is not list:
        return words.rjust(width)
    between = ",\n" + " " * indent if words and type(words[0]) is list else ", "
    return f"[{between.join(_written(item, width, indent + 1) for item in words)}]"


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where condition is true (not 0), b elsewhere; all three broadcast. The condition is a constant."""
    mask = _tensor("where", condition).detach()
    a, b = [_accepted("where", x, _operand("where", x)) for x in (a, b)]
    data = _broadcast("where", lambda c, x, y: x if c else y, mask, a, b)
    return _result(data, "where", a, lambda g, out, x, y: where(mask, g, _zero(g.data)),
                   b, lambda g, out, x, y: where(mask, _zero(g.data), g))


def cat(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors joined along dim; their other sizes must be equal (ValueError)."""
    parts = tuple(_tensor("cat", t) for t in _listed("cat", tensors))
    shapes = [t.shape for t in parts]
    if not parts:
        raise ValueError("cat: no tensors")
    if () in shapes:
        raise ValueError("cat: needs Tensors of at least one dimension; stack(...) joins single numbers")
    d = _one_dim("cat", dim, len(shapes[0]))
    if len({(len(shape), shape[:d], shape[d + 1:]) for shape in shapes}) > 1:
        raise ValueError(f"cat: shapes {', '.join(map(str, shapes))} differ elsewhere than in dim {dim}")
    ends = [0, *accumulate(shape[d] for shape in shapes)]

    def split(g: Any, out: Any, parts: Any) -> List[Any]:
        before = tuple(map(range, g.shape[:d]))
        return [g._take(before + (range(start, end),)) for start, end in zip(ends, ends[1:])]
    data = zip_map(lambda *blocks: list(chain(*blocks)), d, *[t.data for t in parts])
    return _result(copied(data), "cat", None, None, parts, split)


def stack(tensors: Iterable[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    parts = [_tensor("stack", t) for t in _listed("stack", tensors)]
    if len({t.shape for t in parts}) != 1:
        shapes = ", ".join(str(t.shape) for t in parts)
        raise ValueError(f"stack: shapes {shapes} differ" if parts else "stack: no tensors")
    at = _one_dim("stack", dim, parts[0].ndim + 1)
    return cat([t.unsqueeze(at) for t in parts], at)


def linear(x: Any, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """x @ weight.T + bias as one node: (..., nin), (nout, nin), (nout) -> (..., nout)."""
    x, weight = _tensor("linear", x), _tensor("linear", weight)
    bias, ws = bias if bias is None else _tensor("linear", bias), weight.shape
    if not x.ndim or len(ws) != 2 or x.shape[-1] != ws[1] or bias is not None and bias.shape != ws[:1]:
        raise ValueError(f"linear: x of shape {x.shape} does not fit a weight of shape {ws}"
                         + (f" and a bias of shape {bias.shape}" if bias is not None else ""))
    if x.ndim == 1:
        return linear(x.reshape(1, -1), weight, bias).reshape(-1)

    def to_parts(g: Any, out: Any, x: Any, parts: Any) -> Tuple[Any, Any]:
        columns = g.mT
        return columns @ x if weight.requires_grad else None, columns.sum(-1)
    data = products(x.data, weight.data, None if bias is None else bias.data)
    return _result(data, "linear", x, lambda g, out, x, parts: g @ weight,
                   (weight,) if bias is None else (weight, bias), to_parts)


# ---- Networks --------------------------------------------------------------------------------------

class Module:
    """Something with parameters: the Values and Tensors in its attributes, in lists, dicts and modules there.

    Parameters are named by the way to them: `layers.0.neurons.2.b`.
    """

    def _children(self) -> Iterable[Tuple[Any, Any]]:
        return vars(self).items()

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def named_parameters(self, prefix: str = "") -> Iterator[Tuple[str, Any]]:
        """(name, parameter) for everything that requires a gradient, each parameter once."""
        first: Dict[Any, str] = {}
        for name, p in list(_leaves(self, prefix)):
            if p.requires_grad and first.setdefault(p, name) == name:
                yield name, p

    def parameters(self) -> List[Any]:
        """All that an optimizer should change."""
        return list(dict.fromkeys([p for _, p in _leaves(self, "") if p.requires_grad]))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = p._NO_GRAD

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of all data, as numbers and nested lists by name; constants are included."""
        return {name: copied(p.data) for name, p in _leaves(self, prefix)}

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "") -> None:
        """Take the data from state, which must have the names and shapes of state_dict(prefix).

        With a prefix, other names are left alone. ValueError when a name is missing or unknown, or a
        shape differs; nothing is changed then.
        """
        mine = dict(_leaves(self, prefix))
        new = _matching(_with_prefix(state, prefix), {name: shape_of(p.data) for name, p in mine.items()})
        for name, p in mine.items():
            p.data = new[name]

    @recursive_repr("...")
    def __repr__(self) -> str:
        """A line per child, with its shape and number of parameters."""
        lines = [f"  {name}: {_summary(child)}" for name, child in self._children() if _summary(child)]
        total = sum(len(flat(p.data)) for p in self.parameters())
        return "\n".join([f"{type(self).__name__}(", *lines, f")  # {total} parameters"])


def _leaves(value: Any, prefix: str, above: Tuple[Any, ...] = ()) -> Iterator[Tuple[str, Any]]:
    """(name, node) for all Values and Tensors below value; `above` guards against modules in themselves."""
    above += (value,)
    for key, child in (value._children() if isinstance(value, Module) else
                       value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(child, (Value, Tensor)):
            yield f"{prefix}{key}", child
        elif isinstance(child, (Module, list, tuple, dict)) and not any(child is other for other in above):
            yield from _leaves(child, f"{prefix}{key}.", above)


def _with_prefix(state: Any, prefix: str) -> Dict[str, Any]:
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"load_state_dict: needs a dict with names, not {state!r:.200}")
    return {name: x for name, x in state.items() if name.startswith(prefix)}


def _matching(given: Dict[str, Any], shapes: Dict[str, Shape]) -> Dict[str, Nested]:
    """The data that are given, which must have just these names and shapes, in this order."""
    if given.keys() != shapes.keys():
        missing, unexpected = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
        raise ValueError(f"load_state_dict: missing {missing}, unexpected {unexpected}")
    data = {}
    for name, shape in shapes.items():
        x = given[name]
        data[name] = nested(x.data if isinstance(x, Value) else x, f"load_state_dict: {name}")
        if shape_of(data[name]) != shape:
            raise ValueError(f"load_state_dict: {name} has shape {shape_of(data[name])}, here it is {shape}")
    return data


def _summary(child: Any) -> str:
    if isinstance(child, (Tensor, Value)):
        return f"{type(child).__name__} {shape_of(child.data)}"
    if isinstance(child, Module):
        return repr(child).replace("\n", "\n  ")
    if isinstance(child, (list, tuple)) and any(isinstance(item, (Module, Node)) for item in child):
        return "[" + ", ".join(map(_summary, child)) + "]"
    return getattr(child, "__name__", "") if callable(child) else ""


def _at_least_1(what: str, n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise ValueError(f"{what} must be an int of at least 1, not {n!r}")
    return operator.index(n)


class Neuron(Module):
    """act(w . x + b) of Values, one node for the dot product; nin inputs (numbers or Values) -> one Value.

    The weights are random.uniform(-1, 1), the bias is 0. `act` is "linear", the name of a function of
    Value ("relu", "tanh", ...) or any function of a Value; nonlin=False means "linear".
    """

    _row: Optional[_Row] = None     # the weights as one row for all examples, made anew when they change
    _of: Sequence[Value] = ()       # what it was made of

    def __init__(self, nin: int, act: Any = "relu", nonlin: bool = True) -> None:
        if isinstance(act, bool):           # micrograd's Neuron(nin, nonlin)
            act = "relu" if act else "linear"
        known = ["linear", "leaky_relu", *FUNCTIONS]
        if not callable(act) and act not in known:
            raise ValueError(f"act must be a function or one of {', '.join(sorted(known))}, not {act!r}")
        act = act if nonlin else "linear"
        self.w = [Value(random.uniform(-1, 1)) for _ in range(_at_least_1("Neuron: nin", nin))]
        self.b = Value(0)
        self.act, self.nonlin = act, act != "linear"

    def __call__(self, x: Any) -> Any:
        if type(x) is not _Row:
            x = _inputs(x)
        row = self._row
        if (row is None or row.data != [v.data for v in row._b]
                or row._b[-1] is not self.b or self._of != self.w):
            self._of = self.w[:]
            self._row = row = _Row((*self.w, self.b))
        if len(row.data) != len(x.data):
            raise ValueError(f"Neuron: {len(x.data) - 1} inputs given, {len(self.w)} expected")
        out, act = _dot(row, x), self.act
        return out if act == "linear" else getattr(out, act)() if type(act) is str else act(out)

    def __getstate__(self) -> Dict[str, Any]:
        return {**vars(self), "_row": None, "_of": ()}

    def _children(self) -> Iterable[Tuple[Any, Any]]:
        return (("w", self.w), ("b", self.b))

    def __repr__(self) -> str:
        name = self.act if isinstance(self.act, str) else getattr(self.act, "__name__", "")
        return f"{'ReLU' if name == 'relu' else name.capitalize()}Neuron({len(self.w)})"


def _inputs(x: Any) -> _Row:
    """The inputs of a neuron as a row; a layer makes it once for all its neurons."""
    if isinstance(x, Tensor):
        raise TypeError("a network of Values takes numbers or Values, not a Tensor; use x.tolist()")
    if hasattr(x, "tolist"):
        x = x.tolist()
    return _Row((x,) if isinstance(x, (Value, Number)) else tuple(_listed("inputs", x)), (1,))


class Layer(Module):
    """nout Neurons with the same nin inputs -> a list of nout Values, or the bare Value of a single one."""

    def __init__(self, nin: int, nout: int, act: Any = "relu", nonlin: bool = True) -> None:
        self.neurons = [Neuron(nin, act, nonlin) for _ in range(_at_least_1("Layer: nout", nout))]

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
        sizes = [nin, *_listed("MLP", nouts)]
        if len(sizes) < 2:
            raise ValueError("MLP: nouts must name at least one layer")
        self.layers = [Layer(n, m, act, nonlin=i < len(sizes) - 1)
                       for i, (n, m) in enumerate(zip(sizes, sizes[1:]), 1)]

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
        nin, nout = _at_least_1("Linear: nin", nin), _at_least_1("Linear: nout", nout)
        bound = 1 / math.sqrt(nin)
        self.weight = Tensor.uniform(-bound, bound, nout, nin)
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
                raise TypeError(f"Sequential: step {i} must be a Module or a function, not {step!r:.200}")
        self.steps = list(steps)

    def _children(self) -> Iterable[Tuple[Any, Any]]:
        return chain(enumerate(self.steps), [(name, x) for name, x in vars(self).items() if name != "steps"])

    def __call__(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x

    def __getitem__(self, i: int) -> Any:
        return self.steps[i]

    def __len__(self) -> int:
        return len(self.steps)


# ---- Losses ----------------------------------------------------------------------------------------
# One formula each, for Tensors and for (nested) lists of Values. `reduction` is "mean", "sum" or "none".

def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Mean squared error, (prediction - target)**2; targets of the same shape."""
    def squared(p: Any, t: Any) -> Any:
        error = p - t
        return error * error
    return _loss("mse_loss", squared, predictions, targets, reduction)


def hinge_loss(scores: Any, targets: Any, reduction: str = "mean") -> Any:
    """The max-margin loss relu(1 - target * score), for targets of -1 and 1 of the same shape."""
    return _loss("hinge_loss", lambda s, t: (1 - t * s).relu(), scores, targets, reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), targets t from 0 to 1, of the same shape."""
    return _loss("binary_cross_entropy_with_logits",
                 lambda x, t: t * (-x).softplus() + (1 - t) * x.softplus(), logits, targets, reduction)


def cross_entropy(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-log(softmax(logits))[target]; logits (n, classes) and n class indices, or (classes) and one.

    >>> cross_entropy(Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 0]).item() == math.log(2) / 2
    True
    """
    logits = _predictions("cross_entropy", logits)
    shape = logits.shape if isinstance(logits, Tensor) else shape_of(logits)
    indices = nested(targets, "cross_entropy: targets")
    if not 1 <= len(shape) <= 2 or shape_of(indices) != shape[:-1]:
        raise ValueError(f"cross_entropy: logits of shape {shape} and targets of shape {shape_of(indices)}: "
                         "(n, classes) and n class indices are needed")
    for i, t in enumerate(flat(indices)):
        if not isinstance(t, int) or not 0 <= t < shape[-1]:
            raise ValueError(f"cross_entropy: target {i} must be an int from 0 to {shape[-1] - 1}, not {t!r}")
    if isinstance(logits, Tensor):
        rows = logits.reshape(-1, shape[-1])
        losses: Any = _cross_entropy_of_tensor(rows, flat(indices)).reshape(shape[:-1])
    else:
        losses = zip_map(_cross_entropy_of_values, len(shape) - 1, logits, indices)
    return _reduced("cross_entropy", losses, reduction)


def _cross_entropy_of_tensor(logits: Tensor, targets: List[int]) -> Tensor:
    """One node, for the gradient's sake: softmax(logits), minus 1 at the target."""
    hit = Tensor._from([[int(c == t) for c in range(logits.shape[1])] for t in targets])
    return _result([-_log_softmax(row)[t] for row, t in zip(logits.data, targets)], "cross_entropy", logits,
                   lambda g, out, x: (x.softmax(-1) - hit) * g.unsqueeze(-1))


def _cross_entropy_of_values(row: List[Any], target: int) -> Any:
    top = max(x.data for x in row)
    shifted = [x - top for x in row]            # so that no exponent is above 0
    return dot([x.exp() for x in shifted], [1] * len(row)).log() - shifted[target]


def _predictions(name: str, x: Any) -> Any:
    """A Tensor, or nested lists of Values where there is a Value among them."""
    if isinstance(x, (Value, list, tuple)):
        x = nested(x, name, values=True)
        if any(isinstance(v, Value) for v in flat(x)):
            return zip_map(lambda v: v if isinstance(v, Value) else Value(v), len(shape_of(x)), x)
    return _tensor(name, x)


def _loss(name: str, formula: Rule, predictions: Any, targets: Any, reduction: str) -> Any:
    predictions = _predictions(name, predictions)
    of_tensors = isinstance(predictions, Tensor)
    targets = _tensor(name, targets) if of_tensors else nested(targets, name, values=True)
    have, want = (x.shape if of_tensors else shape_of(x) for x in (predictions, targets))
    if have != want:
        raise ValueError(f"{name}: predictions of shape {have}, targets of shape {want}; reshape one of them")
    ndim = 0 if of_tensors else len(have)       # 0: the formula gets the Tensors themselves
    return _reduced(name, zip_map(formula, ndim, predictions, targets), reduction)


def _reduced(name: str, losses: Any, reduction: str) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    if reduction == "none":
        return losses
    if isinstance(losses, Tensor):
        return losses.sum() if reduction == "sum" else losses.mean()
    losses = flat(losses)
    if not losses:
        raise ValueError(f"{name}: no predictions")
    total = dot(losses, [1] * len(losses))
    return total if reduction == "sum" else total / len(losses)


# ---- Optimizers ------------------------------------------------------------------------------------
# The formulas and keywords are PyTorch's. A step works out all new numbers before it changes any.

def _not_negative(name: str, x: Any) -> Any:
    if _number(x) is NotImplemented or isinstance(x, complex) or not x >= 0:
        raise ValueError(f"{name} must be a number of at least 0, not {x!r}")
    return x


class Optimizer:
    """What SGD and Adam share: the parameters (Values and Tensors, also mixed), .lr, and a state for each.

    ValueError without parameters, or with one twice; TypeError for what is no Value or Tensor.
    """

    _KEYS: Tuple[str, ...] = ()     # what the state of a parameter holds

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.params = _nodes(name, "parameter", params)
        if not self.params or len(set(map(id, self.params))) < len(self.params):
            raise ValueError(f"{name}: {'a parameter appears twice' if self.params else 'no parameters'}")
        self.lr, self.weight_decay = lr, _not_negative(f"{name}: weight_decay", weight_decay)
        self.state: List[Dict[str, Any]] = [{} for _ in self.params]

    @property
    def lr(self) -> float:
        """The learning rate, to be assigned at will."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = _not_negative(f"{type(self).__name__}: lr", lr)

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
                    raise ValueError(f"step: parameter {i}: shape {shape}, its gradient {shape_of(p.grad)}")
                if any(len(x) != math.prod(shape) for key, x in state.items() if key != "step"):
                    raise ValueError(f"step: parameter {i}: its shape is {shape} now, and was another before")
                try:
                    numbers, new = self._update(*self._decayed(flat(p.data), flat(p.grad)), state)
                except (TypeError, ArithmeticError, ValueError) as error:
                    raise type(error)(f"step: parameter {i}: {error}") from error
                updates.append((p, nest(numbers, shape), state, new))
        for p, data, state, new in updates:
            p.data = data
            state.update(new)

    def _decayed(self, p: List[Any], g: List[Any]) -> Tuple[List[Any], List[Any]]:
        return p, _plus(g, self.weight_decay, p) if self.weight_decay else g

    def _update(self, p: List[Any], g: List[Any], state: Dict[str, Any]) -> Tuple[List[Any], Dict[str, Any]]:
        """New numbers and new state of one parameter, from its numbers and gradient, all as flat lists."""
        raise NotImplementedError

    def state_dict(self, prefix: str = "") -> Dict[str, Nested]:
        """A copy of lr and of what the optimizer remembers, as numbers and nested lists by name."""
        state = {f"{prefix}lr": self.lr}
        for i, (p, mine) in enumerate(zip(self.params, self.state)):
            state.update({f"{prefix}{i}.{key}": x if key == "step" else nest(x, shape_of(p.data))
                          for key, x in mine.items()})
        return state

    def load_state_dict(self, state: Dict[str, Any], prefix: str = "") -> None:
        """Go on from a state_dict(prefix). ValueError when it does not fit; nothing is changed then."""
        given = _with_prefix(state, prefix)
        shapes: Dict[str, Shape] = {prefix + "lr": ()}
        for i, p in enumerate(self.params):
            mine = {f"{prefix}{i}.{key}": () if key == "step" else shape_of(p.data) for key in self._KEYS}
            if mine.keys() & given.keys():          # else it has made no step yet
                shapes.update(mine)
        (_, lr), *found = _matching(given, shapes).items()
        new: List[Dict[str, Any]] = [{} for _ in self.params]
        for name, x in found:
            number, key = name[len(prefix):].split(".")
            if key == "step" and not (x >= 1 and x % 1 == 0):
                raise ValueError(f"load_state_dict: {name} must be a whole number of at least 1, not {x}")
            new[int(number)][key] = int(x) if key == "step" else flat(x)
        self.lr, self.state = lr, new


def _plus(x: List[Any], factor: Any, y: List[Any]) -> List[Any]:
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

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0, nesterov: bool = False,
                 weight_decay: float = 0) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = _not_negative("SGD: momentum", momentum), nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _update(self, p: List[Any], g: List[Any], state: Dict[str, Any]) -> Tuple[List[Any], Dict[str, Any]]:
        if not self.momentum:
            return _plus(p, -self.lr, g), {}
        v = _plus(g, self.momentum, state["momentum_buffer"]) if state else g
        g = _plus(g, self.momentum, v) if self.nesterov else v
        return _plus(p, -self.lr, g), {"momentum_buffer": v}


class Adam(Optimizer):
    """Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980); weight_decay adds to the gradient."""

    _KEYS = ("step", "exp_avg", "exp_avg_sq")

    def __init__(self, params: Iterable[Any], lr: float = 0.001, betas: Tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0) -> None:
        super().__init__(params, lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), not {betas!r}")
        self.betas, self.eps = tuple(betas), _not_negative("eps", eps)

    def _update(self, p: List[Any], g: List[Any], state: Dict[str, Any]) -> Tuple[List[Any], Dict[str, Any]]:
        (b1, b2), t, zeros = self.betas, state.get("step", 0) + 1, [0.0] * len(p)
        c1, c2, root = 1 - b1, 1 - b2, math.sqrt(1 - b2 ** t)
        m = [b1 * mi + c1 * gi for mi, gi in zip(state.get("exp_avg", zeros), g)]
        v = [b2 * vi + c2 * gi * gi for vi, gi in zip(state.get("exp_avg_sq", zeros), g)]
        size, eps = self.lr / (1 - b1 ** t) * root, self.eps * root     # for one division, not two
        p = [pi - size * mi / (vi + eps) for pi, mi, vi in zip(p, m, map(math.sqrt, v))]
        return p, {"step": t, "exp_avg": m, "exp_avg_sq": v}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101)."""

    def __init__(self, params: Iterable[Any], lr: float = 0.001, betas: Tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decayed(self, p: List[Any], g: List[Any]) -> Tuple[List[Any], List[Any]]:
        return [pi * (1 - self.lr * self.weight_decay) for pi in p], g


def clip_grad_norm(params: Iterable[Any], max_norm: float) -> float:
    """Scale all gradients so that together they are no longer than max_norm; returns the norm before."""
    _not_negative("clip_grad_norm: max_norm", max_norm)
    params = [p for p in _nodes("clip_grad_norm", "parameter", params) if p.grad is not None]
    norm = math.sqrt(sum(sumprod(gs, gs) for gs in (flat(p.grad) for p in params)))
    scale = max_norm / (norm + 1e-6)            # PyTorch's guard against a norm of 0
    if not scale >= 1:                          # a nan goes to all gradients, as in PyTorch
        new = [zip_map(lambda g: g * scale, len(shape_of(p.grad)), p.grad) for p in params]
        for p, scaled in zip(params, new):
            p.grad = scaled
    return norm


# ---- Checking --------------------------------------------------------------------------------------

def gradcheck(f: Callable[..., Any], *inputs: Any, eps: Any = 1e-6, tol: Any = 1e-5) -> bool:
    """Compare the gradients of f(*inputs) with central differences, (f(x + eps) - f(x - eps)) / (2 eps).

    inputs are Values or Tensors, and so is the result. Its elements are weighted 1 to 7 in turn, so that
    errors cannot cancel. True, or an AssertionError with the input, the element and both numbers, when
    they differ by more than tol * max(1, |gradient|).

    >>> gradcheck(lambda x, y: (x * y).sin(), Value(0.5), Value(2.0))
    True
    """
    if not inputs:
        raise ValueError("gradcheck: no inputs to differentiate by")
    _nodes("gradcheck", "input", inputs)

    def weighted() -> Any:
        out, = _nodes("gradcheck", "result", [f(*inputs)])
        if isinstance(out, Value):
            return out
        return (out * nest([1 + i % 7 for i in range(out.size)], out.shape)).sum()

    def moved(x: Any, index: Tuple[int, ...], step: Any) -> Any:
        kept, x.data = x.data, add_at(copied(x.data), index, step)
        try:
            return weighted().data          # not under no_grad: f may call grad itself
        finally:
            x.data = kept

    for i, (x, gradient) in enumerate(zip(inputs, grad(weighted(), inputs))):
        for index in product(*map(range, shape_of(x.data))):
            numeric = (moved(x, index, eps) - moved(x, index, -eps)) / (2 * eps)
            exact = take(gradient.data, index)
            if not abs(exact - numeric) <= tol * max(1, abs(exact)):
                raise AssertionError(f"gradcheck: input {i}{f', element {list(index)}' if index else ''}: "
                                     f"the gradient is {exact}, finite differences give {numeric}")
    return True


# ---- Saving ----------------------------------------------------------------------------------------
# A safetensors file is the length of a header (8 bytes, little-endian), the header (JSON: dtype, shape
# and place of each tensor by name), then the numbers of all tensors, row by row, end to end. Nothing in
# it is ever executed, but a length or a shape can lie: `load` checks every rule before it takes memory,
# and `save` keeps to the same rules.

_CODES = {"F64": "d", "F32": "f", "F16": "e", "BF16": "H", "I64": "q", "I32": "i", "I16": "h", "I8": "b",
          "U64": "Q", "U32": "I", "U16": "H", "U8": "B", "BOOL": "?"}   # the letters of struct
_MAX_HEADER = 100_000_000                       # bytes


def save(path: _Path, state: Any, metadata: Optional[Dict[str, str]] = None, dtype: str = "F64") -> None:
    """Write `state` to `path` as a safetensors file, its numbers as `dtype`: "F64" (exact) or "F32".

    `state`: a Module, or a dict of name to Tensor, Value, number or nested lists; `metadata`: any strings.
    TypeError or ValueError names what cannot be saved. A crash leaves the old file or the new one, whole.
    """
    entries = state.state_dict() if hasattr(state, "state_dict") else state
    _require(isinstance(entries, dict), f"save: give a Module or dict, not {type(state).__name__}", TypeError)
    _require(_maps_strings(metadata or {}), "save: metadata must be a dict of string to string", TypeError)
    _require(dtype in ("F64", "F32"), f'save: dtype must be "F64" or "F32", not {dtype!r}')
    header: Dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data, size = [], 0
    for name, value in entries.items():
        shape, raw = _encode(name, value, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [size, size + len(raw)]}
        data.append(raw)
        size += len(raw)
    import json                                 # here: it takes a third of the time of import micrograd
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)             # so that the numbers are aligned
    _read_header(text, size)
    _replace(path, [struct.pack("<Q", len(text)), text, *data])


def load(path: _Path) -> Dict[str, Nested]:
    """The content of a safetensors file: a dict of name to nested lists (a number when 0-d), in file order.

    Reads F64 F32 F16 BF16, all int dtypes and BOOL. ValueError names the file and the rule that it breaks.
    """
    with open(path, "rb") as file:
        try:
            room = os.fstat(file.fileno()).st_size - 8
            length = int.from_bytes(file.read(8), "little")
            _require(length <= min(room, _MAX_HEADER), f"a header of {length} bytes in a file of {room + 8}")
            entries = _read_header(file.read(length), room - length)
            return {name: _decode(file.read(end - begin), dtype, shape)
                    for begin, end, name, dtype, shape in entries}
        except (ValueError, struct.error) as error:     # struct.error: the file has just become shorter
            raise ValueError(f"load: {os.fspath(path)!r} is not valid safetensors: {error!s:.300}") from None


def _encode(name: str, value: Any, dtype: str) -> Tuple[Shape, bytes]:
    """The shape and the bytes of one entry."""
    what = f"save: entry {name!r}"
    _require(isinstance(name, str), f"{what}: a name must be a string", TypeError)
    _require(name != "__metadata__", f"{what}: the name is reserved; use the argument metadata")
    data = nested(value.data if isinstance(value, Value) else value, what)
    try:
        name.encode()                           # ValueError for half a surrogate pair
        numbers = list(map(float, flat(data)))  # TypeError for complex numbers
        return shape_of(data), struct.pack(f"<{len(numbers)}{_CODES[dtype]}", *numbers)
    except (TypeError, ValueError, OverflowError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{what}: {error}") from None


def _decode(raw: bytes, dtype: str, shape: List[int]) -> Nested:
    """Nested lists from the bytes of one entry."""
    if dtype == "BF16":                         # the upper half of an F32
        wide = bytearray(2 * len(raw))
        wide[2::4], wide[3::4] = raw[::2], raw[1::2]
        raw, dtype = bytes(wide), "F32"
    numbers = struct.unpack(f"<{math.prod(shape)}{_CODES[dtype]}", raw)
    return nest(numbers, tuple(shape))


def _read_header(raw: bytes, size: int) -> List[Tuple[Any, ...]]:
    """The entries of a header, in the order of the `size` bytes of data; ValueError for a broken rule."""
    _require(raw[:1] == b"{" and len(raw) <= _MAX_HEADER, "the header does not begin with { or is too long")
    import json
    import re
    text = raw.decode()
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\\.", "", text))[1:]     # without strings and the first brace
    _require(not re.search(r"\{[^{}]*\{|\[[^\[\]{}]*[\[{]", bare), "the header is nested too deeply")
    _require(not re.search(r"\d{20}", bare), "a number in the header is too long")
    header = json.loads(text, object_pairs_hook=_unique)
    _require(_maps_strings(header.pop("__metadata__", {})), "__metadata__ does not map strings to strings")
    entries = sorted((_read_entry(*item) for item in header.items()), key=lambda entry: entry[:2])
    last = 0
    for begin, end, name, _, _ in entries:
        _require(begin == last, f"the data of {name!r} begin at byte {begin}, those before it end at {last}")
        last = end
    _require(last == size, f"the data end at byte {last} of {size}")
    # A list takes memory even where it holds no bytes, as the many of shape [2**40, 0] would.
    lists = sum(math.prod(shape[:dim]) for *_, shape in entries for dim in range(len(shape)))
    _require(lists <= len(raw) + size + 100_000, f"{lists} lists in so small a file")
    return entries


def _read_entry(name: str, info: Any) -> Tuple[Any, ...]:
    """One entry of a header: where its data begin and end, its name, dtype and shape."""
    _require(isinstance(info, dict) and set(info) == {"dtype", "shape", "data_offsets"},
             f"{name!r} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    _require(isinstance(dtype, str) and dtype in _CODES, f"{name!r} has the unknown dtype {dtype!r}")
    _require(_are_sizes(shape) and len(shape) <= 64, f"{name!r} has the shape {shape!r}")
    _require(_are_sizes(offsets) and len(offsets) == 2, f"{name!r} has the offsets {offsets!r}")
    needed = math.prod(shape) * struct.calcsize("<" + _CODES[dtype])
    _require(offsets[1] - offsets[0] == needed, f"{name!r} has offsets {offsets} for {needed} bytes")
    return (*offsets, name, dtype, shape)


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """A JSON object as a dict; ValueError for a name that is there twice or is half a surrogate pair."""
    names = dict(pairs)
    _require(len(names) == len(pairs), "a name is there twice")
    "".join(names).encode()
    return names


def _are_sizes(x: Any) -> bool:
    return isinstance(x, list) and all(type(n) is int and n >= 0 for n in x)    # True is an int, but no size


def _maps_strings(x: Any) -> bool:
    return isinstance(x, dict) and all(isinstance(text, str) for pair in x.items() for text in pair)


def _require(condition: bool, message: str, kind: Any = ValueError) -> None:
    if not condition:
        raise kind(message)


def _replace(path: _Path, chunks: List[bytes]) -> None:
    """Put these bytes in the place of `path`, where the old ones stay until the new ones are on the disk."""
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
# A node stands one column before the first that uses it, and an edge gets a bend in every column that it
# passes. Sweeping to and fro, each column is sorted by the mean position of its neighbours, so that few
# edges cross, and moved there as far as there is room. x is along the edges and y across; from top to
# bottom (`turn` is -1) the same picture is drawn with the two exchanged.

_CHARACTER, _LINE, _PADDING, _GAP, _ARROW = 7.25, 16, 7, 14, 20     # pixels
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
    """A picture of a graph: `.svg` is laid out here, `.source` is DOT for Graphviz; a notebook shows it."""

    def __init__(self, source: str, svg: str) -> None:
        self.source, self.svg = source, svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: _Path) -> None:
        """Write `.svg` or `.source`, as `path` ends in .svg or .dot; ValueError for another ending."""
        text = {".svg": self.svg, ".dot": self.source}.get(os.path.splitext(path)[1])
        if text is None:
            raise ValueError(f"Drawing.save: the path must end in .svg or .dot: {str(path)!r}")
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


def draw_dot(root: Any, rankdir: str = "LR", max_nodes: int = 500) -> Drawing:
    """The Drawing of all that `root` (a Value, a Tensor, or a list of them) was computed from, as it is now.

    `rankdir` is "LR" (left to right) or "TB" (top to bottom); more than `max_nodes` nodes are a ValueError.
    """
    roots = root if isinstance(root, (list, tuple)) and root else [root]
    if not all(isinstance(node, (Value, Tensor)) for node in roots):
        raise TypeError(f"draw_dot: draws a Value, a Tensor or a list of them, not {root!r:.80}")
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"draw_dot: rankdir is 'LR' or 'TB', not {rankdir!r:.80}")
    nodes, operands = _numbered(roots)
    if len(nodes) > max_nodes:
        raise ValueError(f"draw_dot: the graph has {len(nodes)} nodes, more than max_nodes={max_nodes}: "
                         f"draw a smaller part, or pass max_nodes={len(nodes)}")
    texts, ops = [_texts(node) for node in nodes], [_one_line(node._op) for node in nodes]
    return Drawing(_dot_text(texts, ops, operands, rankdir), _svg_text(texts, ops, operands, rankdir))


def _numbered(roots: Sequence[Any]) -> Tuple[List[Any], List[List[int]]]:
    """The nodes of the graph, operands first, and for each the places of its operands in this list."""
    nodes: List[Any] = []
    operands, place = [], {}
    stack: List[Any] = [(root, None) for root in reversed(roots)]
    while stack:
        node, prev = stack.pop()
        if prev is not None:                        # back again, after its operands
            place[id(node)] = len(nodes)
            nodes.append(node)
            operands.append([place[id(p)] for p in prev])
        elif id(node) not in place:
            place[id(node)], prev = -1, node._prev
            stack += [(node, prev)] + [(p, None) for p in reversed(prev)]
    return nodes, operands


def _texts(node: Any) -> List[str]:
    """What stands in the box of a node: label, shape, data and grad; of a large Tensor, no numbers."""
    texts = [_one_line(node.label)] if node.label else []
    if isinstance(node, Tensor):
        texts.append(f"shape {node.shape}")
    if isinstance(node, Value) or node.size <= 8:
        texts += ["data " + _rows(node.data), "grad " + _rows(node.grad)]
    return texts


def _one_line(text: Any) -> str:
    """At most 40 characters of text, without line breaks and what XML forbids."""
    text = str(text)
    return "".join(c if c.isprintable() else " " for c in (text if len(text) <= 40 else text[:39] + "…"))


def _rows(data: Nested) -> str:
    """A number, or a line for each innermost list, aligned behind a caption of five characters."""
    numbers, length = [_decimals(x) for x in flat(data)], (shape_of(data) or (1,))[-1] or 1
    width = max(map(len, numbers), default=0)
    numbers = [text.rjust(width, "\xa0") for text in numbers]       # Graphviz squeezes plain spaces
    lines = ["\xa0".join(numbers[i:i + length]) for i in range(0, len(numbers), length)]
    return ("\n" + "\xa0" * 5).join(lines)


def _decimals(x: Any) -> str:
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


def _dot_text(texts: List[List[str]], ops: List[str], operands: List[List[int]], rankdir: str) -> str:
    """A record for each node and, in front of it, an ellipse for its operation."""
    lines = ["digraph {", f'rankdir={rankdir}; node [fontname="monospace"]']
    for n, op in enumerate(ops):
        fields = " | ".join(text.translate(_DOT_ESCAPES) for text in texts[n])
        lines.append(f'n{n} [shape=record, label="{{ {fields} }}"]')
        if op:
            lines += [f'op{n} [label="{op.translate(_DOT_ESCAPES)}"]', f"op{n} -> n{n}"]
        lines += [f"n{p} -> {'op' if op else 'n'}{n}" for p in operands[n]]
    return "\n".join(lines + ["}\n"])


def _svg_text(texts: List[List[str]], ops: List[str], operands: List[List[int]], rankdir: str) -> str:
    """The same as a picture."""
    turn, left = 1 if rankdir == "LR" else -1, [places[:] for places in operands]
    column = _add_bends(left)
    nodes = [_node(op, row, turn) for op, row in zip(ops, texts)]
    svgs, lengths, widths = zip(*nodes + [("", 0.0, 0.0)] * (len(left) - len(nodes)))
    y = _sweep(left, column, widths)
    start, end = _stretch(left, column, lengths, y)
    parts = []
    for p, neighbours in enumerate(left):
        for i, q in enumerate(neighbours):
            apart = 18 * ((neighbours[:i].count(q) + 0.5) / neighbours.count(q) - 0.5)      # the two of a + a
            y0, y1 = y[q] + apart * (q < len(ops)), y[p] + apart * (p < len(ops))
            parts.append(_link(end[q], y0, start[p], y1, end[p] - lengths[p], p < len(ops), turn))
    for n, svg in enumerate(svgs[:len(ops)]):
        place = "%.1f,%.1f" % (end[n] - lengths[n], y[n])[::turn]
        parts.append(f'<g class="node" transform="translate({place})">{svg}</g>')
    top = min(y[p] - width / 2 for p, width in enumerate(widths)) - _PADDING
    bottom = max(y[p] + width / 2 for p, width in enumerate(widths)) + _PADDING
    corner, extent = (-_PADDING, top)[::turn], (max(end) + 2 * _PADDING, bottom - top)[::turn]
    return _SVG.format(*corner, *extent, "\n".join(parts))


def _node(op: str, texts: List[str], turn: int) -> Tuple[str, float, float]:
    """A node from x = 0 along y = 0: its operation, an arrow, its box; with its length and width."""
    svg, x, widths = "", 0.0, []
    for kind, row in [("op", [op])] * bool(op) + [("box", texts)]:
        if kind == "box" and op:
            svg += _link(x, 0, x, 0, x + _ARROW, True, turn)
            x += _ARROW
        sizes = [_text_size(text)[::turn] for text in row]
        widths.append(max(width for _, width in sizes))
        for text, (length, _) in zip(row, sizes):
            svg += _rectangle(kind, text, (x + length / 2, 0.0)[::turn], (length, widths[-1])[::turn])
            x += length
    return svg, x, max(widths)


def _text_size(text: str) -> Tuple[float, ...]:
    """Width and height of a text with some space around it; Chinese and emoji are twice as wide."""
    lines = text.split("\n")
    return (max(sum(1 + (c > "\u2e7f") for c in line) for line in lines) * _CHARACTER + 2 * _PADDING,
            len(lines) * _LINE + _PADDING)


def _rectangle(kind: str, text: str, middle: Tuple[float, ...], size: Tuple[float, ...]) -> str:
    """A text in the middle of a rectangle."""
    (x, y), (width, height), lines = middle, size, text.translate(_XML_ESCAPES).split("\n")
    svg = (f'<rect class="{kind}" {_COLORS[kind]} x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
           f'width="{width:.1f}" height="{height:.1f}"/>')
    for i, line in enumerate(lines):
        svg += f'<text x="{x:.1f}" y="{y + 4 + (i - (len(lines) - 1) / 2) * _LINE:.1f}">{line}</text>'
    return svg


def _link(x0: float, y0: float, x1: float, y1: float, x2: float, arrow: bool, turn: int) -> str:
    """A curve from x0, y0 to x1, y1, then a line to x2 and, if wanted, the head of an arrow."""
    middle, path = (x0 + x1) / 2, "M{} C{} {} {} L{}" + " M{} L{} L{}" * arrow
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1), (x2, y1)]
    points += [(x2 - 6, y1 - 4), (x2, y1), (x2 - 6, y1 + 4)]
    path = path.format(*("%.1f,%.1f" % point[::turn] for point in points))
    return f'<path d="{path}" fill="none" stroke="#848d97" stroke-width="1.3"/>'


def _add_bends(left: List[List[int]]) -> List[int]:
    """The column of each point. `left` grows by a bend where edges pass a column, one for those of a node."""
    steps, bends = [0] * len(left), {}                  # steps on the longest path to the end
    for n in reversed(range(len(left))):
        for p in left[n]:
            steps[p] = max(steps[p], steps[n] + 1)
    for n, neighbours in enumerate(left[:]):
        for i, p in enumerate(neighbours):
            for step in range(steps[p] - 1, steps[n], -1):
                if (p, step) not in bends:
                    bends[p, step] = len(left)
                    left.append([neighbours[i]])
                    steps.append(step)
                neighbours[i] = bends[p, step]
    last = max(steps)
    return [last - step for step in steps]


def _sweep(left: List[List[int]], column: List[int], widths: Sequence[float]) -> Dict[int, float]:
    """The y of each point. Leaves weigh next to nothing, so that what is computed runs straight."""
    right: List[List[int]] = [[] for _ in left]
    columns: List[List[int]] = [[] for _ in range(max(column) + 1)]
    for p, neighbours in enumerate(left):
        columns[column[p]].append(p)
        for q in neighbours:
            right[q].append(p)
    y, weight = dict.fromkeys(range(len(left)), 0.0), [1.0 if neighbours else 0.001 for neighbours in left]
    for sweep in range(12):
        near, far, step = (left, right, 1) if sweep % 2 else (right, left, -1)
        for points in columns[::step]:
            wish = {}
            for p in points:
                others = near[p] or far[p] or [p]
                wish[p] = sum(weight[q] * y[q] for q in others) / sum(weight[q] for q in others)
            if sweep < 5:
                points.sort(key=wish.__getitem__)
            y.update(zip(points, _settle([(wish[p], widths[p] + _GAP, weight[p]) for p in points])))
    return y


def _settle(wishes: List[Tuple[float, float, float]]) -> List[float]:
    """The positions nearest (least squares) to the wishes, given (wish, room, weight) in their order."""
    ends = accumulate(room for _, room, _ in wishes)
    offsets = [end - room / 2 for end, (_, room, _) in zip(ends, wishes)]       # if all of them touch
    blocks: List[Tuple[float, float, int]] = []             # those that do touch: position, weight, count
    for (wish, _, weight), offset in zip(wishes, offsets):
        start, count = wish - offset, 1
        while blocks and blocks[-1][0] >= start:
            start0, weight0, count0 = blocks.pop()
            start = (start0 * weight0 + start * weight) / (weight0 + weight)
            weight, count = weight0 + weight, count0 + count
        blocks.append((start, weight, count))
    starts = [start for start, _, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets)]


def _stretch(left: List[List[int]], column: List[int], lengths: Sequence[float],
             y: Dict[int, float]) -> Tuple[List[float], List[float]]:
    """The x where the column of each point starts and ends: far from the one before if edges are steep."""
    gaps, longest = [0.0] + [30.0] * max(column), [0.0] * (max(column) + 1)
    for p, c in enumerate(column):
        longest[c] = max(longest[c], lengths[p])
        gaps[c] = max([gaps[c]] + [min(30 + abs(y[p] - y[q]) / 8, 120) for q in left[p]])
    end = list(accumulate(map(sum, zip(gaps, longest))))
    return [end[c] - longest[c] for c in column], [end[c] for c in column]


# ---- Code written for micrograd runs unchanged, and the file checks itself -------------------------

engine = nn = sys.modules[__name__]     # from micrograd.engine import Value; from micrograd.nn import MLP
for _alias in ("engine", "nn"):
    sys.modules.setdefault(f"{__name__}.{_alias}", engine)


def _self_check() -> bool:
    """Are all examples in docstrings right, and all first and second derivatives? Prints what is not."""
    import doctest
    unary: List[Rule] = [*FUNCTIONS.values(), operator.neg, abs, Node.leaky_relu,
                         lambda a: a.clip(0.4, 1.3)]
    binary: List[Rule] = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
                          Node.maximum, Node.minimum]
    tensors: List[Rule] = [
        lambda a: a.sum(0), lambda a: a.mean(-1), Tensor.var, lambda a: a.max(0), lambda a: a.min(1),
        lambda a: a.softmax(0), Tensor.log_softmax, lambda a: a.logsumexp(1), lambda a: a.T,
        lambda a: a.reshape(-1), lambda a: a.unsqueeze(1).broadcast_to(2, 4, 3), lambda a: a[[1, 1, 0], 1:],
        lambda a: a[range(2), [2, 0]], lambda a: cat([a, a], 1), lambda a: stack([a, a], 1),
        lambda a: where(a > 1, a, 0), lambda a: a @ a.T, lambda a: linear(a, a, a[:, 0]),
        lambda a: cross_entropy(a, [2, 0]), lambda a: mse_loss(a, [[1.0] * 3] * 2),
        lambda a: hinge_loss(a, [[1, -1, 1]] * 2),
        lambda a: binary_cross_entropy_with_logits(a, [[1, 0, 1]] * 2)]
    x, y = Value(0.6), Value(1.7)
    t, u = Tensor([[0.3, 1.4, 0.8], [1.1, 0.5, 2.0]]), Tensor([1.2, 0.7, 0.4])
    cases: List[Tuple[Rule, Tuple[Any, ...]]] = [(lambda a, b: dot([a, b], [b, 3.0], a), (x, y))]
    cases += [(f, inputs) for f in binary for inputs in ((x, y), (t, u))]
    cases += [(f, inputs) for f in unary for inputs in ((x,), (t,))] + [(f, (t,)) for f in tensors]
    wrong = 0
    for f, inputs in cases:
        def slopes(*inputs: Any) -> Any:
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
