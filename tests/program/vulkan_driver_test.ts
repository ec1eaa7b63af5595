/** Finds the version of a Vulkan driver on a simulated Linux system. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { vulkanDriver } from "../../engine/gpu/vulkan_driver.ts";
import { symlink } from "./run_tvllm.ts";

/**
 * Creates a system with these manifests, which each name a library, and these libraries. Returns
 * `vulkanDriver()` for that system.
 */
function system(
  drivers: Readonly<Record<string, string>>,
  libraries: Readonly<Record<string, string>>,
): (description: string) => string | undefined {
  const manifests = Deno.makeTempDirSync();
  const directory = Deno.makeTempDirSync();
  for (const [name, library_path] of Object.entries(drivers)) {
    const text = library_path === "" ? "{" : JSON.stringify({ ICD: { library_path } });
    Deno.writeTextFileSync(join(manifests, name), text);
  }
  for (const [name, text] of Object.entries(libraries)) {
    Deno.writeTextFileSync(join(directory, name), text);
  }
  const places = { manifests: ["/no/such/place", manifests], libraries: ["/none", directory] };
  return (description) => vulkanDriver(description, places);
}

Deno.test("vulkanDriver() finds Mesa's version in the library that the adapter's manifest names", () => {
  const find = system(
    {
      "lvp_icd.x86_64.json": "libvulkan_lvp.so",
      "radeon_icd.x86_64.json": "libvulkan_radeon.so",
      "intel_icd.x86_64.json": "libvulkan_intel.so",
    },
    {
      "libvulkan_lvp.so": "\x7fELF\xff\0Mesa 22.3.6 (LLVM 15.0.6)\0",
      "libvulkan_radeon.so": "\0Mesa 25.0.7%s\0",
      "libvulkan_intel.so": "\x7fELF\0" + "1.2.3\0" + "24.1.0-rc2\0",
    },
  );
  assert.equal(find("llvmpipe (LLVM 15.0.6, 256 bits)"), "Mesa 22.3.6");
  assert.equal(find("AMD Radeon RX 7900 XTX (RADV NAVI31)"), "Mesa 25.0.7");
  assert.equal(find("Intel(R) Arc(tm) A770 Graphics (DG2)"), "Mesa 24.1.0-rc2");
  assert.equal(find("Apple M2"), undefined);
});

Deno.test("vulkanDriver() finds NVIDIA's version in the name of its library, behind a link", () => {
  const directory = Deno.makeTempDirSync();
  Deno.writeTextFileSync(join(directory, "libGLX_nvidia.so.550.54.14"), "");
  const link = join(directory, "libGLX_nvidia.so.0");
  symlink(join(directory, "libGLX_nvidia.so.550.54.14"), link);
  const find = system({ "nvidia_icd.json": link }, {});
  assert.equal(find("NVIDIA GeForce RTX 4090"), "NVIDIA 550.54.14");
});

Deno.test("vulkanDriver() is undefined if a manifest is damaged, or its library missing or unversioned", () => {
  const find = system(
    { "lvp_icd.json": "", "radeon_icd.json": "gone.so", "intel_icd.json": "silent.so" },
    { "silent.so": "no version" },
  );
  for (const name of ["llvmpipe", "AMD (RADV)", "Intel"]) assert.equal(find(name), undefined, name);
});
