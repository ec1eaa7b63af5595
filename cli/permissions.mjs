/**
 * Reads permissions.txt and turns it into Deno's flags. Plain JavaScript, since the launcher for Node.js
 * imports it as well as the program; cli/launch.sh does the same in sh.
 */

/**
 * @typedef {"cache" | "data"} Place a directory: of models, of saved chats
 */

/**
 * @typedef {"all" | readonly Place[]} Write what may be written
 */

/**
 * @typedef {object} Row of the table
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
 * @property {boolean} run whether it may start Deno
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
 * What Deno is to find in the environment, unless the user says otherwise.
 *
 * @param {string} text of the table
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
 * The permissions of `command`.
 *
 * @param {readonly Row[]} rows
 * @param {string} command
 * @param {(word: string) => boolean} has whether it opens a model whose name starts with this, or is
 * given this option
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
 * Everything that these rows grant.
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
 * Deno's flags for exactly these permissions.
 *
 * @param {Grants} grants
 * @param {Readonly<Record<Place, string>>} directories "" where there is none
 * @param {string} [deno] what may be started, if it may be; without, nothing
 * @returns {string[]}
 */
export function denoFlags({ net, write, variables, run }, directories, deno) {
  // Deno.serve tells of clients that went away by a signal; without the first also of those that did not.
  // The second lets the worker that writes the reports keep the permission to.
  const flags = ["--unstable-no-legacy-abort", "--unstable-worker-options"];
  flags.push("--no-prompt", "--allow-read");
  // Other variables read as unset, so that libraries that look for them do not fail.
  flags.push("--ignore-env", `--allow-env=${variables.join(",")}`);
  // The hub sends its files from other hosts, whose names change.
  if (net) flags.push("--allow-net");
  const paths = write === "all"
    ? []
    : write.map((place) => directories[place]).filter((path) => path !== "");
  // To Deno a comma ends a path.
  if (write === "all" || paths.some((path) => path.includes(","))) flags.push("--allow-write");
  else if (paths.length > 0) flags.push(`--allow-write=${paths.join(",")}`);
  if (run && deno !== undefined) flags.push(`--allow-run=${deno}`);
  return flags;
}

/** @param {string} name */
function isPrefix(name) {
  return /[:/]$/.test(name);
}
