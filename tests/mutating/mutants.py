"""The small changes that one module allows, each a mutant: what a slip of the hand could have made of it."""

import ast
import difflib
import itertools
import re
from dataclasses import dataclass

OPERATORS = {
    **{ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")},
    **{ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in")},
    **{ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.And: ("and", "or"), ast.Or: ("or", "and")},
    **{ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")},
    **{ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"), ast.Pow: ("**", "*")},
    **{ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&")},
}
PAIRS = [("min", "max"), ("any", "all"), ("floor", "ceil"), ("argmin", "argmax"), ("minimum", "maximum")]
OTHER = dict(PAIRS) | {second: first for first, second in PAIRS}
TOLD = ("__repr__", "__str__", "extra_repr")  # what people read
TEXTS = ("warn", "cast", "getattr")  # calls of which nothing but a text, or a type, would be changed


@dataclass(frozen=True)
class Mutant:
    """One change of a module: the bytes from ``start`` to ``end`` become ``new``."""

    path: str
    source: str
    line: int
    what: str
    start: int
    end: int
    new: str

    @property
    def mutated(self):
        """The module's text with the change."""
        whole = self.source.encode()
        return (whole[: self.start] + self.new.encode() + whole[self.end :]).decode()

    @property
    def diff(self):
        """The change as a unified diff."""
        both = (text.splitlines(keepends=True) for text in (self.source, self.mutated))
        return "".join(difflib.unified_diff(*both, self.path, f"{self.path} ({self.what})", n=2))


def mutants(source, path="module.py"):
    """All mutants of a module, in the order of its lines.

    Docstrings and other texts, type annotations, decorators, assertions (``zip(strict=True)`` is one), what a repr
    says, and what an error or a warning says have none; that an error is raised, or a warning given, does.
    """
    return sorted(set(_Module(source, path).of(ast.parse(source))), key=lambda each: (each.start, each.end, each.new))


class _Module:
    def __init__(self, source, path):
        self.source, self.path, self.bytes = source, path, source.encode()
        self.lines = [0]
        for line in self.bytes.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def begin(self, node):
        return self.lines[node.lineno - 1] + node.col_offset

    def end(self, node):
        return self.lines[node.end_lineno - 1] + node.end_col_offset

    def text(self, node):
        return self.bytes[self.begin(node) : self.end(node)].decode()

    def at(self, what, start, end, new):
        line = self.bytes[:start].count(b"\n") + 1
        return Mutant(self.path, self.source, line, what, start, end, new)

    def instead(self, what, node, new):
        return self.at(what, self.begin(node), self.end(node), new)

    def between(self, operator, left, right):
        """The operator that stands between two expressions, replaced."""
        if type(operator) not in OPERATORS:
            return
        old, new = OPERATORS[type(operator)]
        start = self.end(left)
        found = re.search(old.replace(" ", r"\s+") if old.isalpha() else re.escape(old), self.gap(start, right))
        yield self.at(f"{old} -> {new}", start + found.start(), start + found.end(), new)

    def gap(self, start, right):
        """What stands there, one character a byte, with comments blanked."""
        between = self.bytes[start : self.begin(right)].decode("latin-1")
        return re.sub("#.*", lambda comment: " " * len(comment[0]), between)

    def of(self, node, *, function=None):
        """The mutants of a node and of everything in it."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if node.name not in TOLD:
                    for part in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
                        yield from self.of(part, function=node.name)
                return
            case ast.ClassDef():
                parts = node.body
            case ast.AnnAssign():
                parts = [node.value] if node.value else []
            case ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                return
            case ast.Raise():
                yield self.instead("raise left out", node, "pass")
                return
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                return
            case ast.Call():
                parts = [] if name_of(node.func) in TEXTS else [node.func, *node.args, *node.keywords]
            case ast.keyword(arg="stacklevel" | "strict"):
                return
            case _:
                parts = ast.iter_child_nodes(node)
        yield from self.here(node, function)
        for part in parts:
            yield from self.of(part, function=function)

    def here(self, node, function):
        """The mutants of this node alone."""
        match node:
            case ast.Compare():
                sides = [node.left, *node.comparators]
                for operator, (left, right) in zip(node.ops, itertools.pairwise(sides), strict=True):
                    yield from self.between(operator, left, right)
            case ast.BoolOp():
                for left, right in itertools.pairwise(node.values):
                    yield from self.between(node.op, left, right)
            case ast.BinOp() if not is_text(node) and not (function is None and isinstance(node.op, ast.BitOr)):
                yield from self.between(node.op, node.left, node.right)  # a | of types has no function around it
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
                sign = self.bytes[self.begin(node) : self.begin(node.operand)].decode().strip(" (")
                yield self.instead(f"{sign} left out", node, f"({self.text(node.operand)})")
            case ast.Constant():
                if (new := constant(node.value)) is not None:
                    yield self.instead(f"{node.value} -> {new}", node, new)
            case ast.Call() if name_of(node.func) in OTHER:
                old, end = name_of(node.func), self.end(node.func)
                yield self.at(f"{old} -> {OTHER[old]}", end - len(old), end, OTHER[old])
            case ast.Slice(step=None):
                yield from self.bounds(node)
            case ast.Return() if not (node.value is None or is_none(node.value)):
                yield self.instead("nothing returned", node, "return None")
            case ast.Continue() | ast.Break():
                old = self.text(node)
                new = "break" if old == "continue" else "continue"
                yield self.instead(f"{old} -> {new}", node, new)
        yield from self.statement(node, function)

    def statement(self, node, function):
        """A statement left out, an operator of an assignment replaced, a condition reversed."""
        if isinstance(node, ast.AugAssign):
            yield from self.between(node.op, node.target, node.value)
        # What a constructor does not set is an AttributeError in any test.
        sets = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
        calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if isinstance(node, ast.AugAssign | ast.Delete) or calls or (sets and function != "__init__"):
            yield self.instead("statement left out", node, "pass")
        if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
            yield self.instead("condition reversed", node.test, f"(not ({self.text(node.test)}))")

    def bounds(self, node):
        """A slice that begins one later, or ends one earlier; numbers that stand there change by themselves."""
        if node.lower is None and node.upper is not None:
            yield self.at("slice from 1", self.begin(node), self.begin(node), "1")
        if node.upper is None and node.lower is not None:
            yield self.at("slice without its last", self.end(node), self.end(node), "-1")
        for bound, step in ((node.lower, "+ 1"), (node.upper, "- 1")):
            if bound is not None and not isinstance(bound, ast.Constant):
                yield self.instead(f"bound {step}", bound, f"({self.text(bound)}) {step}")


def constant(value):
    """Another one in place of a number; None for what is none."""
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return "0" if value == 1 else str(value + 1)
    return str(2 * value or 1.0) if isinstance(value, float) else None


def name_of(function):
    """The last part of a called name."""
    return getattr(function, "attr", getattr(function, "id", None))


def is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def is_text(node):
    """Whether an operator puts texts together."""
    parts = (node.left, node.right)
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in parts
    )
