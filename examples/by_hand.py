"""Backpropagation by hand: worked out on paper, and written with the means of micrograd.py.

Matrices are lists of rows; `sumprod`, `zip` and comprehensions go over them. The benchmark races these
steps against those of the engine: what that takes beyond them is the price of not having to do this. (It
multiplies out what relu sets to 0 afterwards; to skip that would take 13 % off the moons, 3 % off the
digits.) Beside them stands the same MLP in NumPy.
"""
import math
from itertools import chain, count, islice
from operator import add, mul

sumprod = getattr(math, "sumprod", None) or (lambda a, b: sum(map(mul, a, b)))     # Python 3.12 has it


# ---------------------------------------------------------------------------- a network of linear layers

def transpose(a):
    """aᵀ, as lists: PyPy is three times as fast where no row is a tuple."""
    return list(map(list, zip(*a)))


def product(a, b):
    """a bᵀ: each row of a times each row of b."""
    if len(b[0]) == 1:
        column = [s for s, in b]
        return [[r * s for s in column] for r, in a]
    return [[sumprod(r, s) for s in b] for r in a]


def affine(x, weight, bias):
    """x weightᵀ + bias"""
    neurons = list(zip(weight, bias))
    return [[sumprod(r, w) + b for w, b in neurons] for r in x]


def plus(a, b):
    """a + b"""
    return [list(map(add, r, s)) for r, s in zip(a, b)]


def relu(a):
    """What is above 0, and 0 for the rest."""
    return [[x if x > 0 else 0.0 for x in r] for r in a]


def relu_back(g, out):
    """g where `out`, the result of relu, is above 0."""
    return [[x if y > 0 else 0.0 for x, y in zip(r, s)] for r, s in zip(g, out)]


def softmax(row):
    """exp(x) / sum(exp(x)) without overflow, and the logarithm of the sum."""
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    total = sum(exps)
    return [e / total for e in exps], top + math.log(total)


def hinge(scores, targets):
    """mean(relu(1 - target * score)), and its gradient."""
    n, margins = len(targets), [1 - y * s for y, (s,) in zip(targets, scores)]
    gradient = [[-y / n if m > 0 else 0.0] for y, m in zip(targets, margins)]
    return sum(m for m in margins if m > 0) / n, gradient


def cross_entropy(logits, targets):
    """mean(-log softmax(row)[target]), and its gradient."""
    n, loss, gradient = len(targets), 0.0, []
    for row, target in zip(logits, targets):
        shares, log_sum = softmax(row)
        loss += (log_sum - row[target]) / n
        shares[target] -= 1
        gradient.append([s / n for s in shares])
    return loss, gradient


def mlp_by_hand(layers, x, targets, loss, lr, l2):
    """A function that makes a step of SGD on the layers, lists [weight, bias], and returns the loss."""
    def step():
        inputs = [x]
        for weight, bias in layers[:-1]:
            inputs.append(relu(affine(inputs[-1], weight, bias)))
        value, g = loss(affine(inputs[-1], *layers[-1]), targets)
        if l2:
            value += l2 * sum(sumprod(r, r) for weight, bias in layers for r in weight + [bias])
        for layer, inp in zip(layers[::-1], inputs[::-1]):
            (weight, bias), columns, keep = layer, transpose(g), 1 - 2 * lr * l2
            gradient = product(columns, transpose(inp))
            if inp is not x:
                g = relu_back(product(g, transpose(weight)), inp)
            layer[:] = ([[keep * p - lr * d for p, d in zip(r, s)] for r, s in zip(weight, gradient)],
                        [keep * p - lr * sum(c) for p, c in zip(bias, columns)])
        return value
    return step


def mlp_in_numpy(np, layers, x, targets, lr, l2):
    """The same with NumPy."""
    layers = [[np.array(p) for p in layer] for layer in layers]
    x, targets = np.array(x), np.array(targets)
    n, signs = len(x), targets[:, None]

    def loss(scores):
        if l2:
            margins = 1 - signs * scores
            return np.maximum(margins, 0).mean(), (margins > 0) * -signs / n
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        value = -np.log(shares[range(n), targets]).mean()
        shares[range(n), targets] -= 1
        return value, shares / n

    def step():
        inputs = [x]
        for weight, bias in layers[:-1]:
            inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0))
        value, g = loss(inputs[-1] @ layers[-1][0].T + layers[-1][1])
        if l2:
            value += l2 * sum((p * p).sum() for layer in layers for p in layer)
        for layer, inp in zip(layers[::-1], inputs[::-1]):
            (weight, bias), above = layer, g
            if inp is not x:
                g = above @ weight * (inp > 0)
            layer[:] = (weight - lr * (above.T @ inp + 2 * l2 * weight),
                        bias - lr * (above.sum(0) + 2 * l2 * bias))
        return float(value)
    return step


# ------------------------------------------------------------------------------------- the GPT of gpt.py

def rmsnorm(x):
    """Each row scaled to a root mean square of 1, and the scales."""
    scales = [(sumprod(r, r) / len(r) + 1e-5) ** -0.5 for r in x]
    return [[a * s for a in r] for r, s in zip(x, scales)], scales


def rmsnorm_back(g, out, scales):
    """The gradient for x: scale * (g - out * mean(g * out))."""
    means = [sumprod(r, o) / len(r) for r, o in zip(g, out)]
    return [[s * (a - b * m) for a, b in zip(r, o)] for r, o, m, s in zip(g, out, means, scales)]


def attention(q, k, v):
    """softmax(q kᵀ / √d) v for one head, where row t sees rows 0 to t; and the shares."""
    scale, shares = len(q[0]) ** -0.5, []
    for t, row in enumerate(q, 1):
        shares.append(softmax([sumprod(row, s) * scale for s in k[:t]])[0] + [0.0] * (len(q) - t))
    return product(shares, transpose(v)), shares


def attention_back(g, shares, q, k, v):
    """The gradients for q, k and v."""
    scale, g_shares = len(q[0]) ** -0.5, product(g, v)
    means = map(sumprod, g_shares, shares)
    g_scores = [[(a - m) * p * scale for a, p in zip(r, s)] for r, s, m in zip(g_shares, shares, means)]
    return (product(g_scores, transpose(k)), product(transpose(g_scores), transpose(q)),
            product(transpose(shares), transpose(g)))


def gpt_gradients(weights, heads, tokens, targets):
    """The loss of a GPT of one layer, and the gradient of each of its weights."""
    wte, wpe, lm_head, wq, wk, wv, wo, fc1, fc2 = weights
    width, zeros = len(wte[0]), [0.0] * len(wte[0])
    cuts = [slice(a, a + width // heads) for a in range(0, width, width // heads)]
    x0, scales0 = rmsnorm(plus([wte[token] for token in tokens], wpe))
    x1, scales1 = rmsnorm(x0)
    qkv = [product(x1, w) for w in (wq, wk, wv)]
    parts = [[[row[cut] for row in x] for x in qkv] for cut in cuts]
    outs, shares = zip(*[attention(*part) for part in parts])
    x2 = [list(chain(*rows)) for rows in zip(*outs)]
    x3 = plus(x0, product(x2, wo))
    x4, scales4 = rmsnorm(x3)
    x5 = relu(product(x4, fc1))
    x6 = plus(x3, product(x5, fc2))
    loss, g7 = cross_entropy(product(x6, lm_head), targets)

    g6 = product(g7, transpose(lm_head))
    g5 = relu_back(product(g6, transpose(fc2)), x5)
    g3 = plus(g6, rmsnorm_back(product(g5, transpose(fc1)), x4, scales4))
    g2 = product(g3, transpose(wo))
    g_outs = [[row[cut] for row in g2] for cut in cuts]
    g_parts = [attention_back(g, s, *part) for g, s, part in zip(g_outs, shares, parts)]
    gq, gk, gv = ([list(chain(*rows)) for rows in zip(*g_heads)] for g_heads in zip(*g_parts))
    g1 = plus(plus(product(gq, transpose(wq)), product(gk, transpose(wk))), product(gv, transpose(wv)))
    g0 = rmsnorm_back(plus(g3, rmsnorm_back(g1, x1, scales1)), x0, scales0)
    g_wte = [zeros for _ in wte]
    for token, row in zip(tokens, g0):
        g_wte[token] = list(map(add, g_wte[token], row))
    pairs = (g7, x6), (gq, x1), (gk, x1), (gv, x1), (g3, x2), (g5, x4), (g6, x5)
    return loss, [g_wte, g0 + [zeros] * (len(wpe) - len(g0)),
                  *(product(transpose(g), transpose(x)) for g, x in pairs)]


def gpt_by_hand(weights, heads, examples):
    """A function that takes a step of Adam for each example (tokens, targets): the mean loss."""
    weights = list(weights)
    p = list(chain.from_iterable(chain.from_iterable(weights)))
    m, v, steps = [0.0] * len(p), [0.0] * len(p), count()

    def adam_step(i, tokens, targets):
        loss, gradients = gpt_gradients(weights, heads, tokens, targets)
        g = list(chain.from_iterable(chain.from_iterable(gradients)))
        rate, scale = 0.01 * (1 - i / 1000) / (1 - 0.85 ** (i + 1)), (1 - 0.99 ** (i + 1)) ** -0.5
        m[:] = [0.85 * a + 0.15 * b for a, b in zip(m, g)]
        v[:] = [0.99 * a + 0.01 * b * b for a, b in zip(v, g)]
        p[:] = [w - rate * a / (scale * math.sqrt(b) + 1e-8) for w, a, b in zip(p, m, v)]
        numbers = iter(p)
        weights[:] = [[list(islice(numbers, len(row))) for row in rows] for rows in weights]
        return loss
    return lambda: sum(adam_step(next(steps), *example) for example in examples) / len(examples)


# ---------------------------------------------------------------------------- by hand, on single numbers

def rosenbrock(x):
    """The sum of 100 (b - a²)² + (1 - a)² over neighbours a, b in x, and its gradient."""
    value, gradient = 0.0, [0.0] * len(x)
    for i, (a, b) in enumerate(zip(x, x[1:])):
        u, v = b - a * a, 1 - a
        value += 100 * u * u + v * v
        gradient[i] -= 400 * u * a + 2 * v
        gradient[i + 1] = 200 * u
    return value, gradient


def recurrence(numbers):
    """x of w and x after 20 times x = tanh(w x + 0.1), and its gradient."""
    w, x = numbers
    xs, g_w, g = [x], 0.0, 1.0
    for _ in range(20):
        xs.append(math.tanh(w * xs[-1] + 0.1))
    for before, after in zip(xs[-2::-1], xs[:0:-1]):
        g *= 1 - after * after
        g_w += g * before
        g *= w
    return xs[-1], [g_w, g]
