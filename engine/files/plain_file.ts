/**
 * Writing beside what others may have put in the way: a link would be written through, a pipe or a
 * device waited for.
 */

/**
 * Removes what is at `path` unless it is a regular file with no other name, or nothing. Of a link the
 * link alone goes.
 *
 * @throws an error of Deno's if it cannot be removed, as a directory with files in it.
 */
export function clearWay(path: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch {
    return; // Nothing is there, or opening it will say what is wrong.
  }
  if (found.isFile && (found.nlink ?? 1) <= 1) return;
  Deno.removeSync(path);
}

/** Puts a file in the place of whatever has the path; nobody sees half of it, and no link is followed. */
export function replaceFile(path: string, content: Uint8Array): void {
  replaceThrough(path, content, temporaryOf(path));
}

/** Where a file is written before it takes its place at `path`: on the same disk, by one process alone. */
export function temporaryOf(path: string): string {
  return `${path}.${Deno.pid}.tmp`;
}

/**
 * `replaceFile` through a given temporary file. It refers to nothing of this module, because a worker
 * gets its text.
 */
export function replaceThrough(path: string, content: Uint8Array, temporary: string): void {
  const remove = () => {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It is not there.
    }
  };
  let mode: number | null = null;
  try {
    const found = Deno.lstatSync(path);
    if (found.isFile && Deno.build.os !== "windows") mode = found.mode;
  } catch {
    // Nothing is there.
  }
  remove(); // A killed process of this number left it.
  try {
    const file = Deno.openSync(temporary, { write: true, createNew: true });
    try {
      for (let at = 0; at < content.length;) at += file.writeSync(content.subarray(at));
      file.syncDataSync(); // Else a power failure may keep the new name and lose the content.
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
