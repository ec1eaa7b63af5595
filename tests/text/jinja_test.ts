import assert from "node:assert/strict";
import { renderChat } from "../../engine/text/chat_template.ts";

const { cases, variables } = JSON.parse(
  await Deno.readTextFile(new URL("../../fixtures/goldens/jinja.json", import.meta.url)),
) as { cases: [template: string, text: string][]; variables: Record<string, unknown> };

Deno.test("renderChat() supports the values, filters, tests and methods of Python's jinja2", async (t) => {
  assert.ok(cases.length > 200);
  for (const [template, text] of cases) {
    await t.step(template, () => {
      const now = new Date(2025, 2, 4, 15, 6, 7);
      assert.equal(renderChat(template, [], { variables, now }), text);
    });
  }
});
