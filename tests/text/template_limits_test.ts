import assert from "node:assert/strict";
import { ModelFormatError } from "../../engine/errors.ts";
import { renderChat } from "../../engine/text/chat_template.ts";
import { cpuSeconds } from "../time.ts";

// 100,000 characters, which is below every limit.
const long = "{% set ns = namespace(s='xxxxxxxxxx') %}{% for i in range(4) %}" +
  "{% set ns.s = ns.s + ns.s + ns.s + ns.s + ns.s + ns.s + ns.s + ns.s + ns.s + ns.s %}" +
  "{% endfor %}{% set long = ns.s %}";

const nested = (open: string, close: string, times: number) =>
  `{{ ${open.repeat(times)}1${close.repeat(times)} }}`;

/** Repeats a statement so often that only a limit can end it. */
const forever = (body: string) =>
  "{% set r = range(30000) %}{% for a in r %}{% for b in r %}" + body + "{% endfor %}{% endfor %}";

/** Templates that would use all memory or time, and the error of the limit that each must reach. */
const HOSTILE: Record<string, [template: string, message: RegExp]> = {
  "a huge range": ["{{ range(300000000) }}", /array of more than/],
  "a huge range to loop over": ["{% for i in range(300000000) %}{% endfor %}", /array of more/],
  "a range downwards": ["{{ range(0, -300000000, -1) }}", /array of more than/],
  "loops in loops": [forever(""), /steps/],
  "loops in loops that skip all": [
    "{% set r = range(30000) %}{% for a in r %}{% for b in r if b < 0 %}{% endfor %}{% endfor %}",
    /steps/,
  ],
  "string doubling": [
    "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    /text of more than/,
  ],
  "string doubling by ~": [
    "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    /text of more than/,
  ],
  "array doubling": [
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    /array of more than/,
  ],
  "an array that doubles by nesting": [
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}" +
    "{{ ns.s }}",
    /text of more than/,
  ],
  "dictionaries that double by nesting": [
    "{% set ns = namespace(d={}) %}{% for i in range(99) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}" +
    "{% endfor %}{{ ns.d|tojson }}",
    /text of more than/,
  ],
  "namespaces that double by nesting, from the outside": [
    Array.from({ length: 40 }, (_, i) => `{% set n${i} = namespace() %}`).join("") +
    Array.from({ length: 39 }, (_, i) => `{% set n${i}.x = [n${i + 1}, n${i + 1}] %}`).join("") +
    "{{ n0 }}",
    /steps/,
  ],
  "a namespace that contains itself": [
    "{% set a = namespace() %}{% set a.x = [a, a] %}{{ a }}",
    /values are nested more than/,
  ],
  "a macro that calls itself": [
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    /it is nested more than/,
  ],
  "a macro that calls itself twice": [
    "{% macro f(n) %}{% if n < 99 %}{{ f(n + 1) }}{{ f(n + 1) }}{% endif %}{% endmacro %}{{ f(0) }}",
    /it is nested more than|steps/,
  ],
  "deep parentheses": [nested("(", ")", 60_000), /nested too deeply/],
  "deep brackets": [nested("[", "]", 60_000), /nested too deeply/],
  "500 brackets": [nested("[", "]", 500), /nest/],
  "deep negation": [nested("not ", "", 60_000), /nested too deeply/],
  "deep conditions": [
    "{% if true %}".repeat(9000) + "{% endif %}".repeat(9000),
    /nested too deeply|it is nested more than/,
  ],
  "a long sum": ["{{ 'a'" + " + 'a'".repeat(20_000) + " }}", /it is nested more than/],
  "a wide indent": ["{{ 'a\nb'|indent(1000000000) }}", /text of more than/],
  "an indent that is no number": ["{{ 'a\nb'|indent(400000000, 0/0) }}", /text of more than/],
  "an indent with its opposite": [
    "{{ 'a\nb'|indent(400000000, -400000000) }}",
    /text of more than/,
  ],
  "a wide indent in a list": [
    "{% set l = [400000000] %}{{ 'a\nb'|indent(*l) }}",
    /text of more than/,
  ],
  "a wide indent in a dictionary": [
    "{% set m = {'width': 400000000} %}{{ 'a\nb'|indent(**m) }}",
    /text of more than/,
  ],
  "a wide indent of a block": [
    "{% filter indent(1000000000) %}a\nb{% endfilter %}",
    /text of more than/,
  ],
  "a wide indent of JSON": ["{{ [[[1]]]|tojson(indent=1000000000) }}", /text of more than/],
  "long separators of JSON": [
    long + "{{ range(30000)|tojson(separators=(long, long)) }}",
    /text of more than/,
  ],
  "a long separator": [long + "{{ range(30000)|join(long) }}", /text of more than/],
  "a long literal separator": [
    `{{ range(30000)|join('${"y".repeat(200_000)}') }}`,
    /text of more than/,
  ],
  "a string joined to itself": [long + "{{ long|join(long) }}", /text of more than/],
  "a long replacement": [long + "{{ long|replace('x', long) }}", /text of more than/],
  "a long replacement by method": [long + "{{ long.replace('x', long) }}", /text of more than/],
  "a long replacement by a stored method": [
    long + "{% set f = long.replace %}{{ f('x', long) }}",
    /text of more than/,
  ],
  "a replacement between all characters": [
    long + "{{ long|replace('', long) }}",
    /text of more than/,
  ],
  "a slow search": [
    long + forever("{% set y = long.replace(long[:50000] ~ 'y', '') %}"),
    /steps/,
  ],
  "splitting into pieces": [long + "{{ long.split('x') }}", /array of more than/],
  "splitting into words": [long + "{{ long.replace('x', 'a ').split() }}", /array of more than/],
  "slicing again and again": [long + forever("{% set y = long[::-1] %}"), /steps/],
  "upper case again and again": [long + forever("{% set y = long|upper %}"), /steps/],
  "searching again and again": [long + forever("{% if 'y' in long %}{% endif %}"), /steps/],
  "searching an array again and again": [forever("{% if 'y' in r %}{% endif %}"), /steps/],
  "comparing again and again": [
    long + "{% set other = long[:-1] ~ 'y' %}" + forever("{% if long == other %}{% endif %}"),
    /steps/,
  ],
  "comparing with every element": [
    long + "{% set other = long[:-1] ~ 'y' %}{% set list = [other, other, other, other] %}" +
    forever("{% if long in list %}{% endif %}"),
    /steps/,
  ],
  "stripping again and again": [long + forever("{% set y = long.strip(long) %}"), /steps/],
  "trimming again and again": [long + forever("{% set y = long|trim|length %}"), /steps/],
  "startswith again and again": [long + forever("{% set y = long.startswith(long) %}"), /steps/],
  "printing again and again": [forever("{{ r }}"), /steps|text of more than/],
  "joining text and a list again and again": [forever("{% set y = 'a' ~ r %}"), /steps/],
  "listing items again and again": [
    "{% set m = {'a': 1} %}" + forever("{% set y = m.items() %}"),
    /steps/,
  ],
  "slicing an array again and again": [forever("{% set y = r[::2] %}"), /steps/],
  "sorting again and again": [forever("{% set y = r|sort %}"), /steps/],
  "unknown names again and again": [forever("{{ u }}"), /steps/],
  "breaking out again and again": [forever("{% break %}"), /steps/],
  "a large macro made again and again": [
    "{% for i in range(30000) %}{% macro f() %}" + "{{ a }}".repeat(20_000) +
    "{% endmacro %}{% endfor %}",
    /steps/,
  ],
  "many arrays kept": [
    Array.from({ length: 5000 }, (_, i) => `{% set v${i} = range(30000) %}`).join(""),
    /steps/,
  ],
  "many strings kept": [
    long + Array.from({ length: 5000 }, (_, i) => `{% set v${i} = long|upper %}`).join(""),
    /steps/,
  ],
  "selecting by a long list": ["{{ range(30000)|select('in', range(30000))|list }}", /steps/],
  "selecting again and again": [forever("{% set y = r|select('odd') %}"), /steps/],
  "selecting by a long name": [
    "{{ range(30000)|selectattr('" + "a.".repeat(100_000) + "')|list }}",
    /steps/,
  ],
  "mapping again and again": [forever("{% set y = r|map('string') %}"), /steps/],
  "the minimum again and again": [forever("{% set y = r|min %}"), /steps/],
  "indexing a text again and again": [long + forever("{% set y = long[200000] %}"), /steps/],
  "a loop over characters": [
    long + forever("{% for c in long %}{% endfor %}"),
    /splits a text|steps/,
  ],
  "listing characters again and again": [
    long + "{% set part = long[:9] ~ long[:200000] %}" + forever("{% set y = part|list %}"),
    /array of more than/,
  ],
  "comparing lists again and again": [
    "{% set l = [r, r] %}".replaceAll("r", "range(30000)") +
    forever("{% if l == [r] %}{% endif %}"),
    /steps/,
  ],
  "a list formatted again and again": [forever("{% set y = '{}'.format(r) %}"), /steps/],
  "a list truncated again and again": [
    "{% set l = range(30000) %}{{ '" + "{0:.1}".repeat(30_000) + "'.format(l) }}",
    /steps/,
  ],
  "a list formatted by a filter": [
    "{% set l = range(30000) %}{{ '" + "%.1s".repeat(30_000) + "'|format(" + "l,".repeat(30_000) +
    "l) }}",
    /steps|text of more than/,
  ],
  "a wide field": ["{{ '{:>4000000}{:>4000000}'.format(1, 2) }}", /text of more than/],
  "a text repeated": ["{{ 'abc' * 2000000 }}", /text of more than/],
  "a text repeated again and again": [forever("{% set y = 'a' * 4000000 %}"), /steps/],
  "join as a method": [long + "{{ long.join(range(30000)) }}", /text of more than/],
  "splitting lines again and again": [
    long + forever("{% set y = long.splitlines() %}"),
    /steps/,
  ],
  "a dictionary of numbers again and again": [
    forever("{% set y = {1: r, 2: r}.items() %}"),
    /steps/,
  ],
  "much output": [long + "{{ long }}".repeat(9000), /steps/],
  "a long template": ["a".repeat(300_000), /has 300000 characters/],
  "many spaces": [" ".repeat(200_000), /spaces or line breaks in a row/],
};

/**
 * Maximum CPU time for a template, in seconds. The slowest of these take half a second. Without the
 * limit that ends it, each would take minutes, or all memory.
 */
const PATIENCE = 2;

Deno.test("renderChat() stops hostile templates quickly", async (t) => {
  for (const [name, [template, message]] of Object.entries(HOSTILE)) {
    await t.step(name, () => {
      const seconds = cpuSeconds(() => {
        assert.throws(() => renderChat(template, [{ role: "user", content: "hi" }]), (error) => {
          assert.ok(error instanceof ModelFormatError, String(error));
          assert.match(error.message, /^Cannot render the chat template: [^\n]*$/);
          assert.match(error.message, message);
          return true;
        });
      });
      assert.ok(seconds < PATIENCE, `${seconds} s`);
    });
  }
});

Deno.test("renderChat() reaches no limit in a long conversation", () => {
  const template = "{% for m in messages %}{% if messages|length > loop.index0 %}" +
    "{{ '<' + m.role + '>' + m.content|trim }}{% endif %}{% endfor %}";
  const messages = Array.from({ length: 3000 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: "word ".repeat(200),
  }));
  assert.equal(renderChat(template, messages).length, 1500 * (6 + 11) + 3000 * 999);
});
