"""The written form of a brand query: its grammar, its tree and its errors.

    query   = all ("OR" all)*
    all     = not (["AND"] not)*            two neighbours without an operator: AND
    not     = "NOT" not | near
    near    = item ("NEAR/n" item)*
    item    = "-" item | "(" query ")" | ["="] word | ["="] "phrase" | #hashtag | @handle

The tree keeps the terms as they were written. :func:`parse` refuses what cannot be meant; whether
a tree matches a text is decided in ``connectors.query``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from connectors.querytext import fold, fold_keeping_case

MAX_LENGTH = 10_000
"""Characters of a query."""
MAX_TERMS = 500
MAX_DEPTH = 32
"""Of brackets and negations inside one another."""
MAX_DISTANCE = 100
"""The largest n of NEAR/n, in words."""
MIN_LITERALS = 2
"""Letters or digits that a word with wildcards must have at least."""


class QuerySyntaxError(ValueError):
    """A query that cannot be read. ``str()`` names the place and draws a caret below it.

    Attributes:
        reason: what is wrong and what is expected, one sentence without the place.
        source: the query as written.
        position: offset in characters from the start of ``source``.
        line: counted from 1.
        column: counted from 1.
    """

    def __init__(self, reason: str, source: str, position: int) -> None:
        self.reason = reason
        self.source = source
        self.position = position
        before = source[:position]
        self.line = before.count("\n") + 1
        self.column = position - (before.rfind("\n") + 1) + 1
        super().__init__(self._rendered())

    def _rendered(self) -> str:
        lines = self.source.split("\n")
        shown = lines[self.line - 1].replace("\t", " ")
        at = self.column - 1
        cut = max(0, at - 60)
        excerpt = (
            ("…" if cut else "") + shown[cut : at + 40] + ("…" if len(shown) > at + 40 else "")
        )
        caret = " " * (at - cut + (1 if cut else 0)) + "^"
        return f"line {self.line}, column {self.column}: {self.reason}\n  {excerpt}\n  {caret}"


class TermKind(StrEnum):
    """What a term is looked up among."""

    WORDS = "words"
    """A word or a phrase: in the running text, in hashtags and in handles."""
    HASHTAG = "hashtag"
    HANDLE = "handle"


_GLOB = re.compile(r"[*?]")
ANY_WORD = "*"
"""Alone in a phrase: any one word."""


@dataclass(frozen=True)
class Pattern:
    """One word of a term, folded; ``*`` and ``?`` in it are wildcards."""

    text: str
    cased: str
    """The same with its capitals, for ``=Exact``."""

    @cached_property
    def literal(self) -> bool:
        """Whether it has no wildcards."""
        return not _GLOB.search(self.text)

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """The spellings to look for: with its apostrophes, and without (domino's, dominos)."""
        joined = self.text.replace("'", "")
        return (self.text,) if joined == self.text else (self.text, joined)

    @cached_property
    def needle(self) -> str:
        """A piece that every text in which it is found must hold."""
        return max(re.split(r"[*?']", self.text), key=len)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Matches the whole of a folded word. Linear: no piece is ever tried at a second place."""
        return re.compile("|".join(_glob(form) for form in self.forms))

    @cached_property
    def cased_regex(self) -> re.Pattern[str]:
        """Like :attr:`regex` for a word with its capitals."""
        cased = self.cased
        return re.compile("|".join(_glob(form) for form in {cased, cased.replace("'", "")}))


def _glob(pattern: str) -> str:
    """Translate wildcards to a regular expression for ``fullmatch``.

    Between two ``*`` the first place where a piece fits is as good as any later one, so each piece
    goes into an atomic group that is never tried again: no exponential search, whatever the text.
    """
    pieces = [
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in re.split(r"\*+", pattern)
    ]
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"


@dataclass(frozen=True)
class Term:
    """A word, phrase, hashtag or handle as written."""

    raw: str
    """Without quotation marks and ``=``; with ``#`` or ``@``."""
    kind: TermKind = TermKind.WORDS
    quoted: bool = False
    exact: bool = False
    """Capitals must be as written."""
    words: tuple[Pattern, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        text = f'"{self.raw}"' if self.quoted else self.raw
        return f"={text}" if self.exact else text


@dataclass(frozen=True)
class Near:
    """Each operand within ``distances[i]`` words of the one before it, in either order."""

    operands: tuple[Term | Or, ...]
    distances: tuple[int, ...]

    def __str__(self) -> str:
        text = _bracketed(self.operands[0])
        for distance, operand in zip(self.distances, self.operands[1:], strict=True):
            text += f" NEAR/{distance} {_bracketed(operand)}"
        return text


@dataclass(frozen=True)
class Not:
    """What must not be."""

    child: Node

    def __str__(self) -> str:
        inner = f"({self.child})" if isinstance(self.child, And | Or) else str(self.child)
        return f"NOT {inner}"


@dataclass(frozen=True)
class And:
    """All of them. Never holds another And."""

    children: tuple[Node, ...]

    def __str__(self) -> str:
        return " AND ".join(_bracketed(child) for child in self.children)


@dataclass(frozen=True)
class Or:
    """At least one of them. Never holds another Or."""

    children: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(
            f"({child})" if isinstance(child, Or) else str(child) for child in self.children
        )


Node = Term | Near | Not | And | Or


def _bracketed(node: Node) -> str:
    return f"({node})" if isinstance(node, Or) else str(node)


def conjunction(children: list[Node]) -> Node:
    """All of ``children``, without And inside And."""
    flat: list[Node] = []
    for child in children:
        flat.extend(child.children if isinstance(child, And) else [child])
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def disjunction(children: list[Node]) -> Node:
    """Any of ``children``, without Or inside Or."""
    flat: list[Node] = []
    for child in children:
        flat.extend(child.children if isinstance(child, Or) else [child])
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


class _Kind(StrEnum):
    OPEN = "("
    CLOSE = ")"
    MINUS = "-"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    NEAR = "NEAR"
    TERM = "term"
    END = "the end of the query"


@dataclass(frozen=True)
class _Token:
    kind: _Kind
    position: int
    text: str
    distance: int = 0
    term: Term | None = None


_QUOTES = '"“”„‟«»＂'
_DASHES = "-‐‑–—−"
_BARE = re.compile(rf"[^\s(){_QUOTES}]+")
_QUOTED = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]*)([{_QUOTES}]?)")
_NEAR = re.compile(r"NEAR(?:/(\d+))?")
_OPERATORS = {"AND": _Kind.AND, "OR": _Kind.OR, "NOT": _Kind.NOT}
_FOREIGN = {"&&": "AND", "||": "OR", "!": "NOT", "EN": "AND", "OF": "OR", "NIET": "NOT"}
_FIELD = re.compile(
    r"(from|to|lang|language|site|url|is|has|title|text|author|user|place|since|until):\S",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?:[^\W_]|[*?])+(?:'(?:[^\W_]|[*?])+)*")
_TAG_NAME = re.compile(r"[\w*?]+")
_HANDLE_NAME = re.compile(r"[\w*?]+(?:[.-][\w*?]+)*(?:@[\w*?]+(?:[.-][\w*?]+)*)?")


class _Lexer:
    def __init__(self, source: str) -> None:
        self.source = source

    def tokens(self) -> Iterator[_Token]:
        source, at = self.source, 0
        while at < len(source):
            char = source[at]
            if char.isspace():
                at += 1
            elif char in "()":
                yield _Token(_Kind(char), at, char)
                at += 1
            elif char in _DASHES:
                self._check_minus(at)
                yield _Token(_Kind.MINUS, at, char)
                at += 1
            else:
                token, at = self._operand(at)
                yield token
        yield _Token(_Kind.END, len(source), "")

    def _check_minus(self, at: int) -> None:
        following = self.source[at + 1 : at + 2]
        if not following or following.isspace() or following == ")":
            raise self._error("a minus sign stands directly before what it excludes: -word", at)

    def _operand(self, at: int) -> tuple[_Token, int]:
        source, start = self.source, at
        exact = source[at] == "="
        if exact:
            at += 1
            if not source[at : at + 1].strip() or source[at] in "()=":
                raise self._error('"=" stands directly before a word or a phrase: =Word', start)
        if source[at] in _QUOTES:
            return self._phrase(start, at, exact=exact)
        found = _BARE.match(source, at)
        if found is None:  # what is neither space, bracket nor quote is bare
            raise self._error("expected a word", at)
        text = found.group()
        token = None if exact else self._operator(text, start)
        if token is None:
            token = _Token(_Kind.TERM, start, text, term=self._term(text, start, exact=exact))
        return token, found.end()

    def _phrase(self, start: int, at: int, *, exact: bool) -> tuple[_Token, int]:
        found = _QUOTED.match(self.source, at)
        if found is None or not found.group(2):
            raise self._error("this quotation mark is never closed", at)
        raw = found.group(1)
        words = self._words(raw, start, in_phrase=True)
        term = Term(raw, quoted=True, exact=exact, words=words)
        return _Token(_Kind.TERM, start, found.group(), term=term), found.end()

    def _operator(self, text: str, at: int) -> _Token | None:
        if text in _OPERATORS:
            return _Token(_OPERATORS[text], at, text)
        near = _NEAR.fullmatch(text)
        if near:
            distance = int(near.group(1)[:6]) if near.group(1) else 0
            if not 1 <= distance <= MAX_DISTANCE:
                raise self._error(
                    f"NEAR needs a distance in words from 1 to {MAX_DISTANCE}: NEAR/5", at
                )
            return _Token(_Kind.NEAR, at, text, distance=distance)
        upper = text.upper()
        if upper in _OPERATORS or _NEAR.fullmatch(upper):
            raise self._error(
                f'operators are written in capitals: {upper} (or "{text}" in quotation marks '
                "to search for the word)",
                at,
            )
        if text in _FOREIGN:
            raise self._error(
                f'write {_FOREIGN[text]} instead of {text} (or "{text}" in quotation marks '
                "to search for the word)",
                at,
            )
        return None

    def _term(self, raw: str, at: int, *, exact: bool) -> Term:
        folded = fold(raw)
        if folded[:1] in {"#", "@"}:
            return self._name(raw, at, exact=exact)
        operator = _FIELD.match(raw)
        if operator:
            raise self._error(
                f"{operator.group(1)}: is not part of this language; a query looks at words, "
                'hashtags and handles (use "quotation marks" to search for text with a colon)',
                at,
            )
        return Term(raw, exact=exact, words=self._words(raw, at, in_phrase=False))

    def _name(self, raw: str, at: int, *, exact: bool) -> Term:
        tag = fold(raw)[0] == "#"
        what = "hashtag" if tag else "handle"
        if exact:
            raise self._error(f"a {what} has no capitals to keep: write it without =", at)
        name = fold(raw)[1:]
        if not (_TAG_NAME if tag else _HANDLE_NAME).fullmatch(name):
            raise self._error(
                f"{raw[0]} stands directly before the name of a {what}: letters, digits and _", at
            )
        pattern = Pattern(name, name)
        self._check_wildcards(pattern, raw, at)
        kind = TermKind.HASHTAG if tag else TermKind.HANDLE
        return Term(raw, kind=kind, words=(pattern,))

    def _words(self, raw: str, at: int, *, in_phrase: bool) -> tuple[Pattern, ...]:
        folded, cased = fold(raw), fold_keeping_case(raw)
        places = [found.span() for found in _WORD.finditer(folded)]
        words = tuple(Pattern(folded[start:end], cased[start:end]) for start, end in places)
        if not words:
            raise self._error("there is no letter or digit in this to search for", at)
        for index, word in enumerate(words):
            if word.text == ANY_WORD and in_phrase and 0 < index < len(words) - 1:
                continue
            self._check_wildcards(word, raw, at)
        return words

    def _check_wildcards(self, word: Pattern, raw: str, at: int) -> None:
        literals = sum(char not in "*?'" for char in word.text)
        if not word.literal and literals < MIN_LITERALS:
            raise self._error(
                f"{raw} would match nearly everything: a word with * or ? needs at least "
                f"{MIN_LITERALS} letters or digits",
                at,
            )

    def _error(self, reason: str, at: int) -> QuerySyntaxError:
        return QuerySyntaxError(reason, self.source, at)


_STARTS = frozenset({_Kind.TERM, _Kind.OPEN, _Kind.MINUS, _Kind.NOT})


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = list(_Lexer(source).tokens())
        self.index = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def parse(self) -> Node:
        terms = sum(token.kind is _Kind.TERM for token in self.tokens)
        if terms > MAX_TERMS:
            raise self._error(f"{terms} terms are too many: at most {MAX_TERMS}", self.tokens[0])
        root = self._any()
        if self.token.kind is not _Kind.END:
            raise self._error(f"this {self.token.text} closes nothing", self.token)
        return root

    def _any(self) -> Node:
        children = [self._all()]
        while self.token.kind is _Kind.OR:
            self.index += 1
            children.append(self._all())
        return disjunction(children)

    def _all(self) -> Node:
        children = [self._not()]
        while True:
            if self.token.kind is _Kind.AND:
                self.index += 1
            elif self.token.kind not in _STARTS:
                return conjunction(children)
            children.append(self._not())

    def _not(self) -> Node:
        if self.token.kind is not _Kind.NOT:
            return self._near()
        token = self.token
        self.index += 1
        self._deeper(token)
        child = self._not()
        self.depth -= 1
        return Not(child)

    def _near(self) -> Node:
        start = self.token
        first = self._item()
        operands: list[Term | Or] = []
        distances: list[int] = []
        while self.token.kind is _Kind.NEAR:
            if not operands:
                operands.append(self._near_operand(first, start))
            distances.append(self.token.distance)
            self.index += 1
            start = self.token
            operands.append(self._near_operand(self._item(), start))
        return Near(tuple(operands), tuple(distances)) if operands else first

    def _near_operand(self, node: Node, token: _Token) -> Term | Or:
        if isinstance(node, Term):
            return node
        if isinstance(node, Or) and all(isinstance(child, Term) for child in node.children):
            return node
        raise self._error(
            "beside NEAR may stand a word, a phrase, or a group of these joined by OR", token
        )

    def _item(self) -> Node:
        token = self.token
        self.index += 1
        if token.kind is _Kind.TERM and token.term is not None:
            return token.term
        if token.kind is _Kind.MINUS:
            self._deeper(token)
            child = self._item()
            self.depth -= 1
            return Not(child)
        if token.kind is _Kind.OPEN:
            self._deeper(token)
            inner = self._any()
            self.depth -= 1
            if self.token.kind is not _Kind.CLOSE:
                raise self._error("this bracket is never closed", token)
            self.index += 1
            return inner
        self.index -= 1
        raise self._unexpected(token)

    def _unexpected(self, token: _Token) -> QuerySyntaxError:
        found = token.text or "the end of the query"
        if self.index == 0:
            place = "at the start of the query" if token.text else "in an empty query"
        else:
            place = f"after {self.tokens[self.index - 1].text}"
        return self._error(
            f'expected a word, a "phrase", a #hashtag, a @handle or ( {place}, found {found}', token
        )

    def _deeper(self, token: _Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(
                f"nested too deeply: at most {MAX_DEPTH} brackets inside one another", token
            )

    def _error(self, reason: str, token: _Token) -> QuerySyntaxError:
        return QuerySyntaxError(reason, self.source, token.position)


def parse(source: str) -> Node:
    """Read a query.

    Raises:
        QuerySyntaxError: it cannot be read; names the place.
    """
    if len(source) > MAX_LENGTH:
        raise QuerySyntaxError(
            f"{len(source)} characters are too many: at most {MAX_LENGTH}", source[:80], 0
        )
    return _Parser(source).parse()


def normal(node: Node, *, negated: bool = False) -> Node:
    """The same query with every NOT directly before a term or a NEAR."""
    if isinstance(node, Not):
        return normal(node.child, negated=not negated)
    if isinstance(node, Term | Near):
        return Not(node) if negated else node
    children = [normal(child, negated=negated) for child in node.children]
    return conjunction(children) if isinstance(node, And) is not negated else disjunction(children)
