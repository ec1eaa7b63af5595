/** Simulates a device with little memory. */

import { DeviceError } from "../../engine/errors.ts";
import type { Gpu } from "../../engine/gpu/device.ts";

/** Makes the device refuse buffers while those of the KV cache take more than `bytes`. */
export function limitCacheMemory(gpu: Gpu, bytes: number): { readonly refused: number } {
  const { device } = gpu;
  const scopes: { readonly filter: GPUErrorFilter; error: GPUError | null }[] = [];
  const faults = { refused: 0 };
  const createBuffer = device.createBuffer.bind(device);
  const pushErrorScope = device.pushErrorScope.bind(device);
  const popErrorScope = device.popErrorScope.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    if (gpu.memory.kv > bytes) {
      faults.refused++;
      // The buffer becomes invalid, like one for which the driver has no memory.
      buffer.destroy();
      const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
      if (scope) scope.error ??= new GPUOutOfMemoryError("not enough memory left");
      else gpu.failure ??= new DeviceError("out-of-memory", "Out of device memory");
    }
    return buffer;
  };
  device.pushErrorScope = (filter) => {
    scopes.push({ filter, error: null });
    pushErrorScope(filter);
  };
  device.popErrorScope = async () => {
    const { error } = scopes.pop()!;
    return await popErrorScope() ?? error;
  };
  return faults;
}
