/** Finds an adapter and opens it with the limits and features that the engine uses. */

import { DeviceError } from "../errors.ts";

/** Hardware GPUs and software drivers need different kernels; see kernels/tuning.ts. */
export type DriverKind = "hardware" | "software";

/** An open device, its properties, and the bytes of the buffers allocated on it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** The adapter's own description, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: DriverKind;
  /** Graphics API: Vulkan, Metal, OpenGL, or on Windows "Vulkan or Direct3D 12". */
  readonly api: string;
  /** The version in the description, else "unknown", as WebGPU does not report it. */
  readonly driverVersion: string;
  readonly limits: GPUSupportedLimits;
  readonly features: ReadonlySet<string>;
  /** The minimum number of lanes of a subgroup; 0 without subgroups. */
  readonly subgroupSize: number;
  /** Bytes of all buffers by purpose; buffers.ts, readback.ts and pass.ts update them. */
  readonly memory: Record<BufferPurpose, number>;
  /** Bytes copied so far, by Uploader and Readback. */
  readonly copied: { toDevice: number; toHost: number };
  /** The result of timestampPeriod(); undefined until timestamps are used. */
  timestampPeriod: Promise<number> | undefined;
  /** The first uncaught error that the device reported. */
  failure: Error | undefined;
}

/** The purpose of a buffer, for reports. */
export type BufferPurpose = "weights" | "kv" | "scratch" | "readback";

const OPTIONAL_FEATURES = ["timestamp-query", "subgroups"] as const;

const LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupStorageSize",
  "maxStorageBuffersPerShaderStage",
] as const;

/** How to get a driver, for the error when there is no adapter. */
const NO_ADAPTER_HELP =
  "install a Vulkan driver (on Debian or Ubuntu: apt install mesa-vulkan-drivers libvulkan1), or use --device cpu";

// Software drivers by their own names: Mesa's llvmpipe and softpipe, SwiftShader, and Microsoft's
// WARP ("Microsoft Basic Render Driver").
const SOFTWARE = /llvmpipe|softpipe|swiftshader|basic render|\bwarp\b/i;

/**
 * Variable with the directory of Wayland's socket:
 * https://specifications.freedesktop.org/basedir-spec.
 */
const WAYLAND_DIRECTORY = "XDG_RUNTIME_DIR";

/** Returns the kind of driver that a description names. */
function driverKind(description: string): DriverKind {
  return SOFTWARE.test(description) ? "software" : "hardware";
}

/** The best adapter, not opened yet. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly description: string;
  readonly driver: DriverKind;
}

/** @throws {DeviceError} "no-adapter" if there is none. */
export async function findAdapter(): Promise<FoundAdapter> {
  using _quiet = quietWayland();
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new DeviceError("no-adapter", `Cannot find a GPU adapter: ${NO_ADAPTER_HELP}`);
  }
  const { description, device } = adapter.info;
  return {
    adapter,
    description: description || device || "unknown adapter",
    driver: driverKind(`${description} ${device}`),
  };
}

/**
 * Keeps libwayland from printing errors until the returned object is disposed. While drivers
 * enumerate adapters, Mesa asks Wayland which one draws the screen. If XDG_RUNTIME_DIR names no
 * directory, libwayland prints an error each time; if the directory has no socket, libwayland stays
 * silent. Deno's environment is that of the process, so the drivers see the variable. Does nothing
 * without permission for the variable, and never prompts for it.
 */
function quietWayland(): Disposable {
  const nothing = { [Symbol.dispose]: () => {} };
  if (Deno.build.os !== "linux") return nothing;
  const { state } = Deno.permissions.querySync({ name: "env", variable: WAYLAND_DIRECTORY });
  if (state !== "granted") return nothing;
  const before = Deno.env.get(WAYLAND_DIRECTORY);
  if (before?.startsWith("/")) return nothing;
  Deno.env.set(WAYLAND_DIRECTORY, "/dev/null");
  return {
    [Symbol.dispose]: () => {
      if (before === undefined) Deno.env.delete(WAYLAND_DIRECTORY);
      else Deno.env.set(WAYLAND_DIRECTORY, before);
    },
  };
}

/**
 * Returns the graphics API of an adapter, which WebGPU does not report. wgpu sets no limit for the
 * bindings in a group on OpenGL adapters (2³² − 1); all other adapters have one.
 */
function graphicsApi(
  { maxBindingsPerBindGroup }: Pick<GPUSupportedLimits, "maxBindingsPerBindGroup">,
  os: string,
): string {
  if (os === "darwin") return "Metal";
  if (maxBindingsPerBindGroup === 2 ** 32 - 1) return "OpenGL";
  return os === "windows" ? "Vulkan or Direct3D 12" : "Vulkan";
}

/** Returns the version in a description such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
function driverVersion(description: string): string {
  return /\b(?:LLVM|Mesa|driver)?\s*\d+\.\d+(?:\.\d+)*/i.exec(description)?.[0].trim() ?? "unknown";
}

/**
 * Opens the best adapter, with the limits that it reports.
 *
 * @throws {DeviceError} "no-adapter" if there is no adapter or it refuses to open a device.
 */
export async function openGpu(): Promise<Gpu> {
  const { adapter, description, driver } = await findAdapter();
  const requiredLimits: Record<string, number> = {};
  for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
  // adapter.features may omit subgroups although requestDevice accepts them; `accepts` tries it.
  const features: GPUFeatureName[] = [];
  for (const feature of OPTIONAL_FEATURES) {
    if (await accepts(adapter, feature)) features.push(feature as GPUFeatureName);
  }
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      label: "tvllm",
      requiredFeatures: features,
      requiredLimits,
    });
  } catch (error) {
    throw new DeviceError("no-adapter", `Cannot open ${adapter.info.description}: ${error}`, {
      cause: error,
    });
  }
  const gpu: Gpu = {
    device,
    description,
    vendor: adapter.info.vendor,
    architecture: adapter.info.architecture,
    driver,
    api: graphicsApi(adapter.limits, Deno.build.os),
    driverVersion: driverVersion(description),
    limits: device.limits,
    features: new Set(features),
    subgroupSize: features.includes("subgroups" as GPUFeatureName)
      ? adapter.info.subgroupMinSize
      : 0,
    memory: { weights: 0, kv: 0, scratch: 0, readback: 0 },
    copied: { toDevice: 0, toHost: 0 },
    timestampPeriod: undefined,
    failure: undefined,
  };
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    gpu.failure ??= asError((event as GPUUncapturedErrorEvent).error);
  });
  device.lost.then((info) => {
    if (info.reason === "destroyed") return;
    gpu.failure ??= new DeviceError(
      "lost",
      `Cannot continue on ${gpu.description}: the device was lost (${info.message})`,
    );
  });
  return gpu;
}

function asError(error: GPUError): Error {
  return error instanceof GPUOutOfMemoryError
    ? new DeviceError("out-of-memory", `Cannot allocate device memory: ${oneLine(error)}`)
    : new Error(`Cannot run a command on the device: ${oneLine(error)}`);
}

/** Returns the device's message on one line; it may be a paragraph. */
export function oneLine({ message }: GPUError): string {
  return message.replaceAll(/\s+/g, " ").trim();
}

async function accepts(adapter: GPUAdapter, feature: string): Promise<boolean> {
  if (adapter.features.has(feature as GPUFeatureName)) return true;
  if (feature !== "subgroups") return false;
  try {
    (await adapter.requestDevice({ requiredFeatures: [feature as GPUFeatureName] })).destroy();
    return true;
  } catch {
    return false;
  }
}
