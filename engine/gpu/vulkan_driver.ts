/** Finds the version of a Vulkan driver in the driver's own files, as WebGPU does not report it. */

import { basename, isAbsolute, join } from "node:path";

/**
 * The directories on Linux of the Vulkan loader's manifests, and of the libraries that they name.
 */
const MANIFESTS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
const LIBRARIES = [
  `/usr/lib/${Deno.build.arch}-linux-gnu`,
  ...["/usr/lib64", "/usr/lib", "/usr/local/lib"],
];

/**
 * Patterns that recognize a driver in an adapter's description, and the file name of its manifest.
 */
const DRIVERS: readonly (readonly [RegExp, RegExp])[] = [
  [/llvmpipe/i, /^(lvp|lavapipe)_icd/],
  [/\bRADV\b/i, /^radeon_icd/],
  [/\bNVK\b/i, /^nouveau_icd/],
  [/nvidia|geforce|quadro|tesla/i, /^nvidia_icd/],
  [/turnip|adreno/i, /^freedreno_icd/],
  [/\bv3d\b/i, /^broadcom_icd/],
  [/intel/i, /^intel_icd/],
];

/** The directories to search; tests pass their own. */
export interface DriverFiles {
  readonly manifests: readonly string[];
  readonly libraries: readonly string[];
}

/**
 * Returns the driver of an adapter, such as `Mesa 22.3.6` or `NVIDIA 550.54.14`; undefined if its
 * files are not in the usual directories or do not contain a version.
 */
export function vulkanDriver(
  description: string,
  { manifests, libraries }: DriverFiles = { manifests: MANIFESTS, libraries: LIBRARIES },
): string | undefined {
  const [, manifest] = DRIVERS.find(([own]) => own.test(description)) ?? [];
  if (manifest === undefined) return undefined;
  for (const path of manifests.flatMap((directory) => filesOf(directory, manifest))) {
    try {
      const { ICD } = JSON.parse(Deno.readTextFileSync(path));
      const library = String(ICD.library_path);
      const places = isAbsolute(library) ? [library] : libraries.map((one) => join(one, library));
      const real = places.flatMap(realPaths)[0];
      const version = real && versionOf(real);
      if (version) return version;
    } catch (error) {
      // Ignore a manifest that is not JSON, or that only another user may read.
      if (!(error instanceof SyntaxError || error instanceof Deno.errors.PermissionDenied)) {
        throw error;
      }
    }
  }
  return undefined;
}

function filesOf(directory: string, name: RegExp): string[] {
  try {
    return [...Deno.readDirSync(directory)].map((entry) => entry.name)
      .filter((entry) => name.test(entry)).sort().map((entry) => join(directory, entry));
  } catch {
    return [];
  }
}

function realPaths(path: string): string[] {
  try {
    return [Deno.realPathSync(path)];
  } catch {
    return [];
  }
}

/** NVIDIA's libraries have the version in their file name; Mesa's contain it as a string. */
function versionOf(library: string): string | undefined {
  const [, nvidia] = /nvidia\S*\.so\.(\d+\.\d[\d.]*)$/.exec(basename(library)) ?? [];
  if (nvidia !== undefined) return `NVIDIA ${nvidia}`;
  const text = new TextDecoder("latin1").decode(Deno.readFileSync(library));
  const [, mesa] = /\bMesa (\d+\.\d+\.\d+(?:-\w+)?)/.exec(text) ??
    /\0(\d\d\.\d\.\d{1,2}(?:-\w+)?)\0/.exec(text) ?? [];
  return mesa === undefined ? undefined : `Mesa ${mesa}`;
}
