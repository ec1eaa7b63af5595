/** A first run behind a proxy that inspects TLS, with a certificate authority of its own. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { lacks, ROOT, run, which } from "./run_tvllm.ts";
import { makeCertificates, openHubBehindProxy, serveProxy } from "./tls_proxy.ts";

const ignore = lacks("the proxy's certificate", "openssl", "tar");

/** Serves a stand-in for npm's registry, with one package and a certificate of the proxy. */
async function serveRegistry(folder: string) {
  const script = `
    mkdir package
    echo '{ "name": "greeting", "version": "1.0.0", "type": "module", "main": "main.js" }' \\
      >package/package.json
    echo 'export default "It came through the proxy.";' >package/main.js
    tar -czf greeting.tgz package`;
  const made = await run("sh", ["-ec", script], { cwd: folder });
  assert.equal(made.code, 0, made.stderr);
  const tarball = Deno.readFileSync(join(folder, "greeting.tgz"));
  const dist = {
    tarball: "https://registry.test/greeting.tgz",
    integrity: `sha512-${createHash("sha512").update(tarball).digest("base64")}`,
  };
  const version = { name: "greeting", version: "1.0.0", dist };
  const about = {
    name: "greeting",
    "dist-tags": { latest: "1.0.0" },
    versions: { "1.0.0": version },
  };
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await makeCertificates(folder) },
    ({ url }) => url.endsWith(".tgz") ? new Response(tarball) : Response.json(about),
  );
}

/** Creates a project with the launchers and a program that needs a package. */
function makeProject(folder: string): string {
  const root = join(folder, "project");
  Deno.mkdirSync(join(root, "cli"), { recursive: true });
  for (
    const file of ["tvllm", "package.json"].concat(
      ["find_deno.sh", "launch.sh", "launcher.mjs", "permissions.mjs", "permissions.txt"]
        .map((name) => `cli/${name}`),
    )
  ) {
    Deno.copyFileSync(join(ROOT, file), join(root, file));
  }
  Deno.writeTextFileSync(join(root, "deno.json"), '{ "nodeModulesDir": "none" }');
  Deno.writeTextFileSync(
    join(root, "cli/main.ts"),
    'import greeting from "npm:greeting@1.0.0"; console.log(greeting);\n',
  );
  return root;
}

Deno.test({
  name: "a first run downloads packages behind a proxy with its own certificate authority",
  ignore,
  fn: async () => {
    const folder = Deno.makeTempDirSync();
    await using registry = await serveRegistry(folder);
    await using proxy = serveProxy(registry.addr.port);
    const root = makeProject(folder);
    let runs = 0;
    const first = (launcher: readonly [string, string], more: Record<string, string> = {}) =>
      run(launcher[0], [launcher[1], "list"], {
        env: {
          HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
          NPM_CONFIG_REGISTRY: "https://registry.test/",
          DENO_DIR: join(folder, `deno ${runs++}`), // an empty cache
          SSL_CERT_FILE: join(folder, "ca.pem"), // the system's store
          ...more,
        },
      });
    const launchers = [["sh", join(root, "tvllm")]] as [string, string][];
    if (which("node") !== undefined) launchers.push(["node", join(root, "cli/launcher.mjs")]);
    for (const launcher of launchers) {
      const { stdout, stderr, code } = await first(launcher);
      assert.equal(stdout, "It came through the proxy.\n", stderr);
      assert.equal(code, 0);
    }
    assert.match(proxy.asked[0]!, /^CONNECT registry\.test:443 /);
    // The user's own setting is respected: here, the system's store is not trusted.
    const { stderr, code } = await first(launchers[0]!, { DENO_TLS_CA_STORE: "mozilla" });
    assert.equal(code, 1);
    assert.match(stderr, /UnknownIssuer/);
  },
});

Deno.test({
  name: "behind such a proxy, pull trusts the system's certificates, or says what to set",
  ignore,
  fn: async () => {
    await using behind = await openHubBehindProxy();
    const pull = (launcher: readonly [string, string], more: Record<string, string> = {}) =>
      run(launcher[0], [launcher[1], "pull", "hf:org/repo"], {
        env: { ...behind.env, TVLLM_CACHE: Deno.makeTempDirSync(), ...more },
      });
    const launchers = [["sh", join(ROOT, "tvllm")]] as [string, string][];
    if (which("node") !== undefined) launchers.push(["node", join(ROOT, "cli/launcher.mjs")]);
    for (const launcher of launchers) {
      const { stdout, stderr, code } = await pull(launcher);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /model\.gguf\n$/);
    }
    const { stderr, code } = await pull(launchers[0]!, { DENO_TLS_CA_STORE: "mozilla" });
    assert.equal(code, 3);
    assert.match(
      stderr,
      /^error: Cannot download .*: the certificate's authority is not trusted .*; set DENO_TLS_CA_STORE=mozilla,system, or DENO_CERT to its file\n$/,
    );
  },
});
