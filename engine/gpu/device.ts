/** Finding an adapter and opening it, with the limits and features that the engine uses. */

import { DeviceError } from "../errors.ts";

/** Hardware GPUs and software drivers want different kernels; see kernels/tuning.ts. */
export type DriverKind = "hardware" | "software";

/** An open device, what is known of it, and the bytes of the buffers made on it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** The adapter's own description, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: DriverKind;
  /** Graphics API: Vulkan, Metal, Direct3D 12, OpenGL; "unknown" where it cannot be told. */
  readonly api: string;
  /** As the description states it; else "unknown", as WebGPU does not tell. */
  readonly driverVersion: string;
  readonly limits: GPUSupportedLimits;
  readonly features: ReadonlySet<string>;
  /** The fewest lanes that a subgroup has; 0 without subgroups. */
  readonly subgroupSize: number;
  /** Bytes of all buffers by purpose, kept by those who make them: buffers.ts, readback.ts, pass.ts. */
  readonly memory: Record<BufferPurpose, number>;
  /** Bytes copied so far by Uploader and Readback. */
  readonly copied: { toDevice: number; toHost: number };
  /** What timestampPeriod() found; undefined until timestamps are used. */
  timestampPeriod: Promise<number> | undefined;
  /** The first error that the device reported and nobody caught. */
  failure: Error | undefined;
}

/** What a buffer is for, in reports. */
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

/** How to get a driver, for errors that report none. */
const NO_ADAPTER_HELP =
  "install a Vulkan driver (on Debian or Ubuntu: apt install mesa-vulkan-drivers libvulkan1), or use --device cpu";

// Software drivers by the names that they give themselves: Mesa's llvmpipe and softpipe,
// SwiftShader, Microsoft's WARP ("Microsoft Basic Render Driver").
const SOFTWARE = /llvmpipe|softpipe|swiftshader|basic render|\bwarp\b/i;

/** Where Wayland's socket is: https://specifications.freedesktop.org/basedir-spec. */
const WAYLAND_DIRECTORY = "XDG_RUNTIME_DIR";

/** Whether a description names a software driver. */
function driverKind(description: string): DriverKind {
  return SOFTWARE.test(description) ? "software" : "hardware";
}

/** The best adapter, not opened. */
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
 * While drivers look for adapters, Mesa asks Wayland which one draws the screen. Without a directory of
 * the session, libwayland then prints an error each time; with one that has no socket it stays silent.
 * Deno's environment is the process's, so drivers see the variable. Needs its permission; never asks for it.
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
 * The graphics API under an adapter, which WebGPU does not name. wgpu gives adapters of OpenGL no
 * bound on bindings in a group (2³² − 1); all others have one.
 */
function graphicsApi(
  { maxBindingsPerBindGroup }: Pick<GPUSupportedLimits, "maxBindingsPerBindGroup">,
  os: string,
): string {
  if (os === "darwin") return "Metal";
  if (maxBindingsPerBindGroup === 2 ** 32 - 1) return "OpenGL";
  return os === "windows" ? "Vulkan or Direct3D 12" : "Vulkan";
}

/** The version that a description states, as in `llvmpipe (LLVM 15.0.6, 256 bits)`. */
function driverVersion(description: string): string {
  return /\b(?:LLVM|Mesa|driver)?\s*\d+\.\d+(?:\.\d+)*/i.exec(description)?.[0].trim() ?? "unknown";
}

/**
 * Opens the best adapter with its own limits.
 *
 * @throws {DeviceError} "no-adapter" if there is none or it refuses a device.
 */
export async function openGpu(): Promise<Gpu> {
  const { adapter, description, driver } = await findAdapter();
  const requiredLimits: Record<string, number> = {};
  for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
  // adapter.features hides some that requestDevice accepts, so each is tried.
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
    gpu.failure ??= new DeviceError("lost", `Lost the device ${gpu.description}: ${info.message}`);
  });
  return gpu;
}

function asError(error: GPUError): Error {
  return error instanceof GPUOutOfMemoryError
    ? new DeviceError("out-of-memory", `Out of device memory: ${oneLine(error)}`)
    : new Error(`The device refused a command: ${oneLine(error)}`);
}

/** What the device says, which may be a paragraph. */
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
