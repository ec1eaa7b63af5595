/**
 * Parses permissions.txt and converts it to Deno's flags. This is plain JavaScript because not only
 * the program but also the launcher for Node.js imports it. cli/launch.sh does the same in sh.
 */

/** @typedef {"cache" | "data"} Place the directory of models, or that of saved chats */

/** @typedef {"all" | readonly Place[]} Write the directories that may be written */

/**
 * @typedef {object} Row a row of the table
 * @property {string} name
 * @property {boolean} net
 * @property {Write} write
 * @property {readonly string[]} variables
 * @property {boolean} opensModel
 * @property {boolean} run
 */

/**
 * @typedef {object} Grants
 * @property {boolean} net
 * @property {Write} write
 * @property {readonly string[]} variables
 * @property {boolean} run whether the command may start Deno
 */

/** @type {Readonly<Record<string, Write>>} */
const WRITE = { "-": [], "cache": ["cache"], "data": ["data"], "yes": "all" };

/**
 * Parses the table's rows.
 *
 * @param {string} text
 * @returns {Row[]}
 */
export function parsePermissions(text) {
  return rowsOf(text).flatMap(([name = "", net, write = "", variables = "-", model, run]) => {
    if (name === "env") return [];
    return {
      name,
      net: net === "yes",
      write: WRITE[write] ?? [],
      variables: variables === "-" ? [] : variables.split(","),
      opensModel: model !== "no",
      run: run === "deno",
    };
  });
}

/**
 * Returns the environment variables to set for Deno, unless the user has set them.
 *
 * @param {string} text the table's text
 * @returns {Record<string, string>}
 */
export function parseEnvironment(text) {
  return Object.fromEntries(
    rowsOf(text).flatMap(([kind, name = "", value = ""]) => kind === "env" ? [[name, value]] : []),
  );
}

/** @param {string} text */
function rowsOf(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("#"));
  return lines.map((line) => line.trim().split(/\s+/));
}

/**
 * Returns the permissions of `command`.
 *
 * @param {readonly Row[]} rows
 * @param {string} command
 * @param {(word: string) => boolean} has whether the command line has this option, or a model whose
 * name starts with this word
 * @returns {Grants}
 */
export function grantsOf(rows, command, has) {
  const own = rows.filter(({ name }) => {
    const [base, option] = name.split("+");
    if (option !== undefined) return base === command && has(option);
    return name === "*" || (name === command && !isPrefix(name));
  });
  const models = own.every(({ opensModel }) => opensModel)
    ? rows.filter(({ name }) => isPrefix(name) && has(name))
    : [];
  return unionOf([...own, ...models]);
}

/**
 * Returns the union of the permissions in these rows.
 *
 * @param {readonly Row[]} rows
 * @returns {Grants}
 */
export function unionOf(rows) {
  const writes = rows.map(({ write }) => write);
  return {
    net: rows.some(({ net }) => net),
    write: writes.includes("all")
      ? "all"
      : [...new Set(writes.flatMap((write) => write === "all" ? [] : write))],
    variables: [...new Set(rows.flatMap(({ variables }) => variables))],
    run: rows.some(({ run }) => run),
  };
}

/**
 * Returns Deno's flags for exactly these permissions.
 *
 * @param {Grants} grants
 * @param {Readonly<Record<Place, string>>} directories the path of each place; "" if there is none
 * @param {string} [deno] the path of Deno, for permission to run it; without it, nothing may be
 * started
 * @returns {string[]}
 */
export function denoFlags({ net, write, variables, run }, directories, deno) {
  // Deno.serve aborts a request's signal when its client disconnects; without the first flag, also
  // after a complete response. With the second flag, the worker that writes reports can keep write
  // access.
  const flags = ["--unstable-no-legacy-abort", "--unstable-worker-options"];
  flags.push("--no-prompt", "--allow-read");
  // Other variables read as unset, so that libraries that look for them do not fail.
  flags.push("--ignore-env", `--allow-env=${variables.join(",")}`);
  // Not limited to the hub: it serves files from other hosts, whose names change.
  if (net) flags.push("--allow-net");
  const paths = write === "all"
    ? []
    : write.map((place) => directories[place]).filter((path) => path !== "");
  // Deno splits lists of paths at commas, so a path with a comma cannot be granted alone.
  if (write === "all" || paths.some((path) => path.includes(","))) flags.push("--allow-write");
  else if (paths.length > 0) flags.push(`--allow-write=${paths.join(",")}`);
  if (run && deno !== undefined) {
    flags.push(deno.includes(",") ? "--allow-run" : `--allow-run=${deno}`);
  }
  return flags;
}

/** @param {string} name */
function isPrefix(name) {
  return /[:/]$/.test(name);
}
