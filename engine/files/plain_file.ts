/**
 * Writes files at paths where other programs may have put something else. An ordinary write would
 * follow a link there, or wait for a pipe or a device.
 */

/**
 * Removes what is at `path`, if anything, unless it is a regular file without other hard links. Of
 * a symbolic link, removes only the link.
 *
 * @throws an error of Deno's if it cannot be removed, for example if it is a directory with files.
 */
export function clearWay(path: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch {
    return; // Nothing is there, or opening the path will fail with the reason.
  }
  if (found.isFile && (found.nlink ?? 1) <= 1) return;
  Deno.removeSync(path);
}

/** Replaces what is at `path` with a file, atomically and without following a link. */
export function replaceFile(path: string, content: Uint8Array): void {
  replaceThrough(path, content, temporaryOf(path));
}

/** Returns the path of this process's own temporary file on the same disk as `path`. */
export function temporaryOf(path: string): string {
  return `${path}.${Deno.pid}.tmp`;
}

/**
 * Like `replaceFile`, with a given temporary file. It must not refer to anything else in this
 * module, because a worker gets its source text.
 */
export function replaceThrough(path: string, content: Uint8Array, temporary: string): void {
  const remove = () => {
    try {
      Deno.removeSync(temporary);
    } catch {
      // The file does not exist.
    }
  };
  let mode: number | null = null;
  try {
    const found = Deno.lstatSync(path);
    if (found.isFile && Deno.build.os !== "windows") mode = found.mode;
  } catch {
    // There is no file to replace.
  }
  remove(); // A killed process with the same process ID may have left it.
  try {
    const file = Deno.openSync(temporary, { write: true, createNew: true });
    try {
      for (let at = 0; at < content.length;) at += file.writeSync(content.subarray(at));
      file.syncDataSync(); // Otherwise a power failure could keep the name but lose the content.
    } finally {
      file.close();
    }
    if (mode !== null) Deno.chmodSync(temporary, mode & 0o777);
    Deno.renameSync(temporary, path);
  } catch (error) {
    remove();
    throw error;
  }
}
