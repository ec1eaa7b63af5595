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
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    Deno.removeSync(temporary); // A killed process of this number left it.
  } catch {
    // There is none.
  }
  try {
    Deno.writeFileSync(temporary, content, { createNew: true });
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was not made.
    }
    throw error;
  }
}
