"""Renders chats with Python's jinja2, in the same environment as the `transformers` package.

    python3 render_chats.py TEMPLATES < CHATS.json > TEXTS.json

TEMPLATES is a directory of .jinja files, CHATS a list of lists of messages. The output is an object
with a list for each file. The list has a text or {"error": MESSAGE} for each chat. The environment
follows _compile_jinja_template and render_jinja_template of
transformers/utils/chat_template_utils.py.
"""

import json
import pathlib
import sys
from datetime import datetime

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

# The date that tests/peers/chats.ts uses too.
NOW = datetime(2025, 3, 4, 15, 6, 7)


class GenerationTag(Extension):
    """`{% generation %}` marks an assistant's text, which is rendered unchanged."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("text"), [], [], body).set_lineno(line)

    def text(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: NOW.strftime(format)


def render(source, messages):
    try:
        return environment.from_string(source).render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=True,
            bos_token="<BOS>",
            eos_token="<EOS>",
        )
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


chats = json.load(sys.stdin)
# newline="" leaves line ends to Jinja2.
sources = {
    path.name: path.open(encoding="utf-8", newline="").read()
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja"))
}
texts = {name: [render(source, chat) for chat in chats] for name, source in sources.items()}
json.dump(texts, sys.stdout)
